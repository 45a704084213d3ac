"""Asks for what a folder says, over a new TLS connection each, until the folder holds `end`.

    asker.py FOLDER CA

FOLDER/N.url holds a URL; FOLDER/N.done appears when its answer was read. The TLS library is loaded at once; which one
shows in what it prints.
"""

import os
import ssl
import sys
import time
import urllib.request

folder, ca = sys.argv[1:]
with open("/proc/self/maps", encoding="utf-8") as maps:
    print("loaded", sorted({line.split()[-1] for line in maps if "libssl" in line}), flush=True)
context = ssl.create_default_context(cafile=ca)
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
)
while not os.path.exists(f"{folder}/end"):
    asked = sorted(name for name in os.listdir(folder) if name.endswith(".url"))
    for name in asked:
        with open(f"{folder}/{name}", encoding="utf-8") as file:
            url = file.read()
        with opener.open(url, timeout=30) as answer:
            answer.read()
        os.rename(f"{folder}/{name}", f"{folder}/{name[:-4]}.done")
    time.sleep(0.02)
