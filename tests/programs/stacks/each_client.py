"""Client that starts a program for each call of a plan (see ../client.py), several side by side.

    each_client.py wget PLAN.json
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor


def wget(plan, call):
    out = f"{plan['out']}/{call['index']}"
    command = ["wget", "-q", "--no-proxy", "--tries=1", "--timeout=30", f"--ca-certificate={plan['ca']}", "-O", out]
    command += [f"--header={name}: {value}" for name, value in call["headers"].items()]
    if call["body"] is not None:
        command += [f"--post-file={call['body']}", "--header=content-type: application/octet-stream"]
    # The program's own word: it ends with 0 where the status is 200.
    subprocess.run(command + [plan["base"] + call["target"]], check=True)
    return {"index": call["index"], "status": 200, "local_port": 0}


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        plan = json.load(file)
    perform = {"wget": wget}[sys.argv[1]]
    calls = [call for calls in plan["connections"] for call in calls]
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(perform, plan, call) for call in calls]:
            print(json.dumps(done.result()), flush=True)


main()
