"""Loads OpenSSL late: no library of it is mapped until `import ssl`, AFTER seconds into the life of the process.

    late.py AFTER SETTLE CA URL...      then asks for each URL, over new connections
"""

import sys
import time

after, settle, ca, urls = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]


def mapped():
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return [line.split()[-1] for line in maps if "libssl" in line]


print("started", mapped(), flush=True)
time.sleep(after)

import ssl  # noqa: E402: late on purpose
import urllib.request  # noqa: E402

print("loaded", sorted(set(mapped())), flush=True)
time.sleep(settle)
context = ssl.create_default_context(cafile=ca)
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
)
for url in urls:
    with opener.open(url, timeout=30) as answer:
        answer.read()
print("done", flush=True)
