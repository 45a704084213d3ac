"""Publishes a process context (OTEP 4719) as it is told to, line by line.

`map KIND`        makes the mapping: memfd (with a name), anonymous (with a name), bare (a memfd without one); says
                  whether the kernel took the name, which one without CONFIG_ANON_VMA_NAME does not
`payload HEX`     keeps a payload, and says its address
`write AT HEX`    writes into the mapping
`flip HEX HEX`    publishes two payloads in turn, without end, as the updating protocol says
`get URL`         asks for it over HTTP, with what is published so far
"""

import ctypes
import mmap
import os
import struct
import sys
import urllib.request

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_VMA = 0x53564D41
kept = []


def address(view):
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def make(kind):
    size = 2 * mmap.PAGESIZE
    if kind == "anonymous":
        view = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        fd = os.memfd_create("OTEL_CTX")
        os.ftruncate(fd, size)
        view = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE)
        os.close(fd)
    named = False
    if kind != "bare":
        name = ctypes.create_string_buffer(b"OTEL_CTX")
        named = libc.prctl(PR_SET_VMA, 0, ctypes.c_void_p(address(view)), size, name) == 0
    return view, named


def keep(payload):
    buffer = ctypes.create_string_buffer(payload, len(payload))
    kept.append(buffer)
    return ctypes.addressof(buffer)


def flip(view, payloads):
    ready = [(len(payload), keep(payload)) for payload in payloads]
    published_at = 1
    while True:
        for size, at in ready:
            published_at += 1
            view[16:24] = bytes(8)
            view[12:16] = struct.pack("<I", size)
            view[24:32] = struct.pack("<Q", at)
            view[16:24] = struct.pack("<Q", published_at)


view = None
for line in sys.stdin:
    command, *rest = line.split()
    said = "done"
    if command == "map":
        view, named = make(rest[0])
        said = "named" if named else "unnamed"
    elif command == "payload":
        said = str(keep(bytes.fromhex(rest[0])))
    elif command == "write":
        at, content = int(rest[0]), bytes.fromhex(rest[1])
        view[at : at + len(content)] = content
    elif command == "flip":
        print(said, flush=True)
        flip(view, [bytes.fromhex(payload) for payload in rest])
    elif command == "get":
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        said = str(len(opener.open(rest[0]).read()))
    print(said, flush=True)
