"""Prints HTTP/1 messages, well-formed and not, with what h11 makes of them.

    http1_corpus.py [SEED]

One JSON object a line: `name` (the kind of message, and a number), `side` (`request` or `response`), `asked` (method of
the request that a response answers), `bytes`, and `h11`: `verdict` (`whole`, `partial`, or `error` with `why`),
the start line, `fields`, `interim` (status codes), `body`, `trailers`, and `left`, the bytes behind the message; bytes in base64.
The same seed gives the same lines.
"""

import base64
import json
import random
import sys

import h11

METHODS = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "M-SEARCH", "BREW"]
TOKENS = ["Accept", "X-A", "x-b", "User-Agent", "X_under", "X.dot", "ETag", "If-Match", "X-Long-Name-With-Parts"]
VALUES = ["1", "a, b;q=0.5", '"quoted, text"', "text/plain; charset=utf-8", "", "  padded  ", "a\tb", "*/*", "x" * 300]
TARGETS = ["/", "/a/b?c=d", "/%41%zz", "*", "http://example.com/x?y", "https://user@example.com:8443/", "/a;b=c", "/~x!$&'()"]


def head(start, fields, end="\r\n"):
    return (start + end + "".join(f"{n}: {v}{end}" for n, v in fields) + end).encode("latin-1")


def fields(rng, most=5):
    return [(rng.choice(TOKENS), rng.choice(VALUES)) for _ in range(rng.randrange(most))]


def content(rng, most=60):
    return bytes(rng.randrange(256) for _ in range(rng.randrange(most)))


def chunked(rng, body, end=b"\r\n"):
    out = b""
    while body:
        n = rng.randrange(1, len(body) + 1)
        size = rng.choice([f"{n:x}", f"{n:X}", f"{n:04x}"])
        extension = rng.choice(["", "", ";a=b", ';a="x y"', ";flag"])
        out += (size + extension).encode() + end + body[:n] + end
        body = body[n:]
    return out + b"0" + end


def requests(rng):
    """(kind, bytes) of well-formed requests."""
    for _ in range(50):
        start = f"{rng.choice(METHODS)} {rng.choice(TARGETS)} HTTP/1.1"
        yield "plain", head(start, [("Host", "a"), *fields(rng)])
    for _ in range(25):
        body = content(rng)
        start = f"{rng.choice(METHODS)} {rng.choice(TARGETS)} HTTP/1.1"
        yield "length", head(start, [("Host", "a"), *fields(rng), ("Content-Length", len(body))]) + body
    for _ in range(25):
        body = content(rng)
        sent = head("POST /c HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + chunked(rng, body)
        trailers = rng.choice([[], [], [("X-Sum", "1")], [("A", "1"), ("B", "2")]])
        yield "chunked", sent + b"".join(f"{n}: {v}\r\n".encode() for n, v in trailers) + b"\r\n"
    for _ in range(8):
        yield "http10", head(f"GET {rng.choice(TARGETS)} HTTP/1.0", fields(rng))
    for _ in range(8):
        yield "connect", head(f"CONNECT host{rng.randrange(99)}:443 HTTP/1.1", [("Host", "a:443")])
    for _ in range(8):
        one = head("GET /1 HTTP/1.1", [("Host", "a")])
        yield "pipelined", one + head("GET /2 HTTP/1.1", [("Host", "a")])
    for _ in range(8):
        yield "folded", b"GET /f HTTP/1.1\r\nHost: a\r\nX-Fold: one\r\n" + rng.choice(
            [b" two", b"\ttwo", b"   two", b" two\r\n three", b" \ttwo \r\n\t three"]
        ) + b"\r\nX-After: 1\r\n\r\n"


def responses(rng):
    """(kind, method asked, bytes) of well-formed responses."""
    for _ in range(30):
        body = content(rng)
        status = rng.choice(["200 OK", "404 Not Found", "500", "299 Odd Reason", "302 Found"])
        sent = [*fields(rng), ("Content-Length", len(body))]
        yield "length", "GET", head(f"HTTP/1.1 {status}", sent) + body
    for _ in range(25):
        body = content(rng)
        sent = head("HTTP/1.1 200 OK", [*fields(rng), ("Transfer-Encoding", "chunked")]) + chunked(rng, body)
        yield "chunked", "GET", sent + rng.choice([b"\r\n", b"X-End: 1\r\n\r\n"])
    for _ in range(12):
        yield "until_close", "GET", head("HTTP/1.1 200 OK", [("Connection", "close")]) + content(rng)
    for _ in range(8):
        yield "http10", "GET", head("HTTP/1.0 200 OK", fields(rng)) + content(rng)
    for _ in range(8):
        yield "head", "HEAD", head("HTTP/1.1 200 OK", [("Content-Length", rng.randrange(1, 999))])
    for _ in range(8):
        status = rng.choice(["204 No Content", "304 Not Modified"])
        yield "bodiless", "GET", head(f"HTTP/1.1 {status}", fields(rng, 3))
    for _ in range(10):
        codes = [rng.choice(["100 Continue", "102 Processing", "103 Early Hints"]) for _ in range(rng.randrange(1, 3))]
        interim = b"".join(head(f"HTTP/1.1 {c}", []) for c in codes)
        yield "interim", "GET", interim + head("HTTP/1.1 200 OK", [("Content-Length", 2)]) + b"ok"
    for _ in range(4):
        yield "tunnel", "CONNECT", head("HTTP/1.1 200 Established", []) + b"\x16\x03\x01"


def broken(rng):
    """(kind, side, bytes) of what the grammar does not allow, or only for old times' sake."""
    get = "GET / HTTP/1.1\r\nHost: a\r\n"
    post = "POST / HTTP/1.1\r\nHost: a\r\n"
    ok = "HTTP/1.1 200 OK\r\n"
    for kind, text in [
        ("bare_lf", "GET / HTTP/1.1\nHost: a\n\n"),
        ("mixed_line_ends", "GET / HTTP/1.1\r\nHost: a\nX-A: 1\r\n\n"),
        ("blank_lines_first", "\r\n\r\n" + get + "\r\n"),
        ("bare_cr_in_value", get + "X-A: a\rb\r\n\r\n"),
        ("nul_in_value", get + "X-A: a\0b\r\n\r\n"),
        ("control_in_value", get + "X-A: a\x01b\r\n\r\n"),
        ("latin1_in_value", get + "X-A: caf\xe9\r\n\r\n"),
        ("space_before_colon", get + "X-A : 1\r\n\r\n"),
        ("space_in_name", get + "X A: 1\r\n\r\n"),
        ("no_colon", get + "X-A\r\n\r\n"),
        ("empty_name", get + ": 1\r\n\r\n"),
        ("fold_first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("no_host", "GET / HTTP/1.1\r\nX-A: 1\r\n\r\n"),
        ("two_hosts", get + "Host: b\r\n\r\n"),
        ("two_spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("tab_in_line", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        ("space_in_target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("high_byte_in_target", "GET /caf\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("trailing_space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        ("no_version", "GET /\r\nHost: a\r\n\r\n"),
        ("version_2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("version_12", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        ("version_lower", "GET / http/1.1\r\nHost: a\r\n\r\n"),
        ("bad_method", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("length_twice_same", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        ("length_list_same", post + "Content-Length: 3, 3\r\n\r\nabc"),
        ("length_twice_other", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ("length_negative", post + "Content-Length: -1\r\n\r\n"),
        ("length_plus", post + "Content-Length: +3\r\n\r\nabc"),
        ("length_hex", post + "Content-Length: 0x3\r\n\r\nabc"),
        ("length_empty", post + "Content-Length: \r\n\r\n"),
        ("length_huge", post + "Content-Length: 99999999999999999999999\r\n\r\n"),
        ("both_lengths", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("coding_unknown", post + "Transfer-Encoding: gzip\r\n\r\n"),
        ("coding_before_chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("chunked_twice", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ("chunked_case", post + "Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("chunked_http10", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("chunk_bare_lf", post + "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n"),
        ("chunk_size_bad", post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n"),
        ("chunk_size_negative", post + "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"),
        ("chunk_size_0x", post + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"),
        ("chunk_size_huge", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("chunk_size_space", post + "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n"),
        ("chunk_too_long", post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
        ("chunk_size_empty", post + "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n"),
        ("trailer_bad", post + "Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n"),
    ]:
        yield kind, "request", text.encode("latin-1")
    for kind, text in [
        ("response_bare_lf", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        ("no_reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        ("empty_reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
        ("latin1_reason", "HTTP/1.1 200 Gr\xfc\xdfe\r\nContent-Length: 0\r\n\r\n"),
        ("status_two_digits", "HTTP/1.1 20 OK\r\n\r\n"),
        ("status_four_digits", "HTTP/1.1 2000 OK\r\n\r\n"),
        ("status_letters", "HTTP/1.1 abc OK\r\n\r\n"),
        ("status_600", "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n"),
        ("status_999", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
        ("response_two_spaces", "HTTP/1.1  200  OK\r\nContent-Length: 0\r\n\r\n"),
        ("response_both_lengths", ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("response_length_twice", ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ("response_coding_unknown", ok + "Transfer-Encoding: gzip\r\n\r\nabc"),
        ("response_folded", ok + "X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"),
        ("response_space_before_colon", ok + "X-A : 1\r\nContent-Length: 0\r\n\r\n"),
        ("response_no_colon", ok + "X-A\r\nContent-Length: 0\r\n\r\n"),
        ("response_cut_head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("response_cut_body", ok + "Content-Length: 9\r\n\r\nabc"),
        ("response_cut_chunk", ok + "Transfer-Encoding: chunked\r\n\r\n9\r\nabc"),
        ("no_content_with_length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    ]:
        yield kind, "response", text.encode("latin-1")
    for _ in range(30):
        whole = bytearray(rng.choice([m for _, m in requests(rng)]))
        at = rng.randrange(len(whole))
        whole[at] = rng.choice(b"\0\n\r :;x\x80\xff")
        yield "mutated", "request", bytes(whole)
    for _ in range(12):
        whole = rng.choice([m for _, m in requests(rng)])
        yield "cut", "request", whole[: rng.randrange(len(whole))]


def b64(data):
    return base64.b64encode(bytes(data)).decode()


def pairs(headers):
    return [[b64(n), b64(v)] for n, v in headers]


def read(side, asked, data):
    """What h11 says of one message whose direction ends behind it."""
    out = {"verdict": "partial", "interim": [], "body": b"", "trailers": [], "left": ""}
    connection = h11.Connection(h11.SERVER if side == "request" else h11.CLIENT)
    if side == "response":
        host = "a:443" if asked == "CONNECT" else "a"
        target = "a:443" if asked == "CONNECT" else "/"
        connection.send(h11.Request(method=asked, target=target, headers=[("Host", host)]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    ended = False
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if ended:
                    break
                connection.receive_data(b"")
                ended = True
            elif isinstance(event, h11.InformationalResponse):
                out["interim"].append(event.status_code)
            elif isinstance(event, h11.Request):
                out.update(method=b64(event.method), target=b64(event.target), fields=pairs(event.headers.raw_items()))
                out["version"] = event.http_version.decode()
            elif isinstance(event, h11.Response):
                out.update(status=event.status_code, reason=b64(event.reason), fields=pairs(event.headers.raw_items()))
                out["version"] = event.http_version.decode()
            elif isinstance(event, h11.Data):
                out["body"] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                out["verdict"] = "whole"
                out["trailers"] = pairs(event.headers.raw_items())
                out["left"] = b64(connection.trailing_data[0])
                break
            else:
                break
    except h11.RemoteProtocolError as error:
        # Behind the end of the direction it can only be that something is missing.
        out.update(verdict="partial" if ended else "error", why=str(error))
    out["body"] = b64(out["body"])
    return out


def main():
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    messages = [(kind, "request", "", data) for kind, data in requests(rng)]
    messages += [(kind, "response", asked, data) for kind, asked, data in responses(rng)]
    messages += [(kind, side, "GET", data) for kind, side, data in broken(rng)]
    for number, (kind, side, asked, data) in enumerate(messages):
        line = {"name": f"{kind}/{number}", "side": side, "asked": asked, "bytes": b64(data)}
        print(json.dumps(line | {"h11": read(side, asked, data)}))


main()
