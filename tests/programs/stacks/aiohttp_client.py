"""Client over aiohttp: carries out a plan of calls (see ../client.py), its connections side by side on one thread.

    aiohttp_client.py PLAN.json
"""

import asyncio
import json
import ssl
import sys

import aiohttp


async def connection(plan, context, calls):
    connector = aiohttp.TCPConnector(limit=1, ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        for call in calls:
            body = None
            if call["body"] is not None:
                with open(call["body"], "rb") as file:
                    body = file.read()
            url = plan["base"] + call["target"]
            async with session.request(call["method"], url, headers=call["headers"], data=body) as answer:
                # The transport goes back to the pool with the end of a short body.
                transport = answer.connection.transport if answer.connection else None
                port = transport.get_extra_info("sockname")[1] if transport else 0
                content = await answer.read()
            with open(f"{plan['out']}/{call['index']}", "wb") as file:
                file.write(content)
            print(json.dumps({"index": call["index"], "status": answer.status, "local_port": port}), flush=True)


async def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    context = ssl.create_default_context(cafile=plan["ca"])
    await asyncio.gather(*[connection(plan, context, calls) for calls in plan["connections"]])


asyncio.run(main())
