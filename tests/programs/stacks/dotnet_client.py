"""Client over .NET's HttpClient, by pythonnet: carries out a plan of calls (see ../client.py), its connections side by
side. FOLDER has what fetch.sh unpacked.

    dotnet_client.py FOLDER 1.1|2 PLAN.json
"""

import json
import os
import sys

folder, version = sys.argv[1:3]
with open(sys.argv[3], encoding="utf-8") as file:
    plan = json.load(file)
os.environ["SSL_CERT_FILE"] = plan["ca"]

from clr_loader import get_coreclr
from pythonnet import set_runtime

config = f"{plan['out']}/runtimeconfig.json"
with open(config, "w", encoding="utf-8") as file:
    framework = {"name": "Microsoft.NETCore.App", "version": "3.1.23"}
    properties = {"System.Globalization.Invariant": True}
    options = {"tfm": "netcoreapp3.1", "framework": framework, "configProperties": properties}
    json.dump({"runtimeOptions": options}, file)
set_runtime(get_coreclr(runtime_config=config, dotnet_root=f"{folder}/dotnetcore2/dotnetcore2/bin"))
import clr

clr.AddReference("System.Net.Http")
import System
from System.IO import File
from System.Net.Http import ByteArrayContent, HttpClient, HttpClientHandler, HttpMethod, HttpRequestMessage


def request(call):
    message = HttpRequestMessage(HttpMethod(call["method"]), System.Uri(plan["base"] + call["target"]))
    message.Version = System.Version(2, 0) if version == "2" else System.Version(1, 1)
    for name, value in call["headers"].items():
        message.Headers.TryAddWithoutValidation(name, value)
    if call["body"] is not None:
        message.Content = ByteArrayContent(File.ReadAllBytes(call["body"]))
    return message


def client():
    handler = HttpClientHandler()
    handler.MaxConnectionsPerServer = 1
    handler.UseProxy = False
    return HttpClient(handler)


# One call of each connection at a time: waiting holds up Python, and not .NET.
clients = [client() for _ in plan["connections"]]
for number in range(max(map(len, plan["connections"]))):
    asked = [
        (calls[number], one.SendAsync(request(calls[number])))
        for one, calls in zip(clients, plan["connections"])
        if number < len(calls)
    ]
    for call, answering in asked:
        answer = answering.Result
        File.WriteAllBytes(f"{plan['out']}/{call['index']}", answer.Content.ReadAsByteArrayAsync().Result)
        print(json.dumps({"index": call["index"], "status": int(answer.StatusCode), "local_port": None}), flush=True)
