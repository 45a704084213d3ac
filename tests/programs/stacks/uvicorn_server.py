"""HTTPS server over uvicorn.

    uvicorn_server.py ADDRESS PORT CERT KEY      prints "ready" when it listens
"""

import sys

import uvicorn


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.startup":
                print("ready", flush=True)
            else:
                return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"{scope['method']} {size} {scope['path']}\n".encode()
    headers = [(b"x-server", b"uvicorn-app"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


address, port, cert, key = sys.argv[1:]
uvicorn.run(
    app,
    host=address,
    port=int(port),
    ssl_certfile=cert,
    ssl_keyfile=key,
    log_level="warning",
    server_header=False,
    timeout_keep_alive=60,
)
