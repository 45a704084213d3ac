"""HTTP/1.1 service in the middle: answers each request with what another server says to a request of its own.

    middle.py MODE ADDRESS PORT BACK CA [CERT KEY]      prints "ready" when it listens

MODE is `wsgi` (wsgiref, one blocking thread a connection) or `asyncio` (one event loop). BACK is the other server's
URL: for /a/b it is asked for BACK/a/b?hop=2. With CERT and KEY it listens over TLS. CA says whom it believes.

With OTEL_EXPORTER_OTLP_ENDPOINT in its environment it traces itself with the OpenTelemetry SDK: a SERVER span for what
it is asked, a CLIENT span for what it asks; `traceparent` goes on, or `b3` where it came as that.

Work that belongs to no request: with BACKGROUND in its environment, a call to BACK + that path every 20 ms, by a
thread of its own or by a task of the loop.
"""

import asyncio
import contextlib
import os
import socketserver
import ssl
import sys
import threading
import time
import urllib.request
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

MODE, ADDRESS, PORT, BACK, CA = sys.argv[1:6]
SERVER_TLS = sys.argv[6:8]
TRUST = ssl.create_default_context(cafile=CA)
BACKGROUND = os.environ.get("BACKGROUND")


class Untraced:
    """Nothing is traced."""

    @contextlib.contextmanager
    def server(self, path, headers):
        yield

    @contextlib.contextmanager
    def client(self, url, headers):
        yield {}


class Traced:
    """The OpenTelemetry SDK."""

    def __init__(self):
        from opentelemetry import propagate, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=200))
        self.trace, self.propagate = trace, propagate
        self.tracer = provider.get_tracer("middle")

    def context(self, headers):
        if "b3" not in headers:
            return self.propagate.extract(headers)
        trace_id, span_id, sampled = headers["b3"].split("-")[:3]
        flags = self.trace.TraceFlags(int(sampled == "1"))
        parent = self.trace.SpanContext(int(trace_id, 16), int(span_id, 16), True, flags)
        return self.trace.set_span_in_context(self.trace.NonRecordingSpan(parent))

    @contextlib.contextmanager
    def server(self, path, headers):
        kind = self.trace.SpanKind.SERVER
        with self.tracer.start_as_current_span(
            "GET", self.context(headers), kind=kind, attributes={"url.path": path}
        ):
            yield

    @contextlib.contextmanager
    def client(self, url, headers):
        kind = self.trace.SpanKind.CLIENT
        with self.tracer.start_as_current_span("GET", kind=kind, attributes={"url.full": url}) as span:
            carrier = {}
            if "b3" in headers:
                own = span.get_span_context()
                carrier["b3"] = f"{own.trace_id:032x}-{own.span_id:016x}-{int(own.trace_flags)}"
            else:
                self.propagate.inject(carrier)
            yield carrier


TRACING = Traced() if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ else Untraced()


def call(url, headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, context=TRUST if url.startswith("https") else None) as answer:
        return answer.read()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    names = {name[5:].lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    url = f"{BACK}{path}?hop=2"
    with TRACING.server(path, names), TRACING.client(url, names) as carrier:
        body = call(url, carrier)
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


class ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


def background():
    while True:
        with contextlib.suppress(OSError):
            call(BACK + BACKGROUND, {})
        time.sleep(0.02)


def serve_wsgi():
    server = ThreadingServer((ADDRESS, int(PORT)), Quiet)
    server.set_app(application)
    if SERVER_TLS:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*SERVER_TLS)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    if BACKGROUND:
        threading.Thread(target=background, daemon=True).start()
    print("ready", flush=True)
    server.serve_forever()


async def ask(url, headers):
    parts = urlsplit(url)
    tls = TRUST if parts.scheme == "https" else None
    name = parts.hostname if tls else None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls, server_hostname=name)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {target} HTTP/1.1", f"host: {parts.netloc}", "connection: close"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


async def answer_one(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    path = lines[0].split(" ")[1]
    pairs = [line.split(":", 1) for line in lines[1:] if ":" in line]
    names = {key.strip().lower(): value.strip() for key, value in pairs}
    url = f"{BACK}{path}?hop=2"
    with TRACING.server(path, names), TRACING.client(url, names) as carrier:
        body = await ask(url, carrier)
    start = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(start.encode() + body)
    await writer.drain()


async def serve_one(reader, writer):
    try:
        await answer_one(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError) as error:
        print("connection ended:", error, file=sys.stderr)
    finally:
        writer.close()


async def background_task():
    while True:
        with contextlib.suppress(OSError):
            await ask(BACK + BACKGROUND, {})
        await asyncio.sleep(0.02)


async def serve_asyncio():
    context = None
    if SERVER_TLS:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*SERVER_TLS)
    server = await asyncio.start_server(serve_one, ADDRESS, int(PORT), ssl=context, backlog=128)
    if BACKGROUND:
        task = asyncio.create_task(background_task())
        task.add_done_callback(lambda done: done.exception())
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if MODE == "wsgi":
    serve_wsgi()
else:
    asyncio.run(serve_asyncio())
