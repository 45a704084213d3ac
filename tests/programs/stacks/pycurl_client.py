"""Client over pycurl, whose package brings libcurl and libssl of its own: carries out a plan of calls (see ../client.py).

    pycurl_client.py 1.1|2 PLAN.json
"""

import io
import json
import sys

import pycurl


def perform(plan, curl, call):
    curl.reset()
    out = io.BytesIO()
    curl.setopt(pycurl.URL, plan["base"] + call["target"])
    curl.setopt(pycurl.CUSTOMREQUEST, call["method"])
    curl.setopt(pycurl.CAINFO, plan["ca"])
    curl.setopt(pycurl.TIMEOUT, 30)
    curl.setopt(pycurl.PROXY, "")
    version = pycurl.CURL_HTTP_VERSION_2_0 if sys.argv[1] == "2" else pycurl.CURL_HTTP_VERSION_1_1
    curl.setopt(pycurl.HTTP_VERSION, version)
    curl.setopt(pycurl.WRITEDATA, out)
    headers = [f"{name}: {value}" for name, value in call["headers"].items()] + ["expect:"]
    if call["body"] is not None:
        headers.append("content-type: application/octet-stream")
        with open(call["body"], "rb") as file:
            curl.setopt(pycurl.POSTFIELDS, file.read())
    curl.setopt(pycurl.HTTPHEADER, headers)
    curl.perform()
    with open(f"{plan['out']}/{call['index']}", "wb") as file:
        file.write(out.getvalue())
    status, port = curl.getinfo(pycurl.RESPONSE_CODE), curl.getinfo(pycurl.LOCAL_PORT)
    print(json.dumps({"index": call["index"], "status": status, "local_port": port}), flush=True)


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        plan = json.load(file)
    for calls in plan["connections"]:
        curl = pycurl.Curl()
        for call in calls:
            perform(plan, curl, call)
        curl.close()


main()
