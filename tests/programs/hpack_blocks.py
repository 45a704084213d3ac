"""Header blocks as the `hpack` package encodes them, with table sizes that change at random.

    hpack_blocks.py SEED BLOCKS

Prints lines of JSON, one a block: {"new": true where a new connection begins, "block": HEX, "fields": [[HEX, HEX], ...]}.
"""

import json
import random
import sys

import hpack

NAMES = [":path", ":authority", "cookie", "user-agent", "accept", "x-request-id", "traceparent", "x-long", "date", "etag"]
COMMON = [(":method", "GET"), (":method", "POST"), (":status", "200"), (":status", "404"), (":scheme", "https")]
SIZES = [0, 31, 32, 64, 100, 200, 300, 1000, 4096, 4096, 8192, 65536]


def value(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return str(rng.randrange(20))
    if kind == 1:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789-./") for _ in range(rng.randrange(60)))
    if kind == 2:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(40)))
    return "v" * rng.choice([0, 1, 126, 127, 128, 300, 5000])


def fields(rng):
    for _ in range(rng.randrange(1, 12)):
        if rng.random() < 0.3:
            yield rng.choice(COMMON)
        else:
            name = rng.choice(NAMES) if rng.random() < 0.8 else f"x-{rng.randrange(40)}"
            yield (name, value(rng))


def text(part):
    return (part if isinstance(part, bytes) else part.encode()).hex()


def main():
    rng = random.Random(int(sys.argv[1]))
    encoder = hpack.Encoder()
    for number in range(int(sys.argv[2])):
        new = number == 0 or rng.random() < 0.01
        if new:
            encoder = hpack.Encoder()
        while rng.random() < 0.15:
            size = rng.choice(SIZES)
            # Setting the size that it has already makes the encoder of hpack 4.2.0 forget to announce the change before
            # that: no decoder, its own included, can follow it then.
            if size != encoder.header_table_size:
                encoder.header_table_size = size
        chosen = list(fields(rng))
        sensitive = [
            hpack.NeverIndexedHeaderTuple(*f) if rng.random() < 0.1 else hpack.HeaderTuple(*f) for f in chosen
        ]
        block = encoder.encode(sensitive, huffman=rng.random() < 0.7)
        print(json.dumps({"new": new, "block": block.hex(), "fields": [[text(n), text(v)] for n, v in chosen]}))


main()
