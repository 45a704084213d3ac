"""Client that loads one of libcurl's builds: carries out a plan of calls (see ../client.py), one handle for each list.

    libcurl.py libcurl-gnutls.so.4|libcurl-nss.so.4 PLAN.json
"""

import ctypes
import json
import sys

URL, HEADERS, BODY, METHOD, WRITE_TO, CA = 10002, 10023, 10015, 10036, 10001, 10065
SIZE, TIMEOUT, VERIFY_PEER, HTTP_1_1, VERSION = 60, 13, 64, 2, 84
RESPONSE_CODE, LOCAL_PORT = 0x200000 + 2, 0x200000 + 42

curl = ctypes.CDLL(sys.argv[1])
libc = ctypes.CDLL(None)
curl.curl_easy_init.restype = ctypes.c_void_p
curl.curl_slist_append.restype = ctypes.c_void_p
curl.curl_slist_append.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
libc.fopen.restype = ctypes.c_void_p
libc.fclose.argtypes = [ctypes.c_void_p]


def perform(plan, handle, call):
    def option(number, value):
        value = ctypes.c_long(value) if isinstance(value, int) else value
        assert curl.curl_easy_setopt(handle, number, value) == 0, number

    def told(number):
        value = ctypes.c_long()
        assert curl.curl_easy_getinfo(handle, number, ctypes.byref(value)) == 0
        return value.value

    curl.curl_easy_reset(handle)
    headers = None
    for line in [f"{n}: {v}" for n, v in call["headers"].items()] + ["expect:", "content-type: application/octet-stream"]:
        headers = curl.curl_slist_append(headers, line.encode())
    out = libc.fopen(f"{plan['out']}/{call['index']}".encode(), b"wb")
    option(URL, ctypes.c_char_p((plan["base"] + call["target"]).encode()))
    option(METHOD, ctypes.c_char_p(call["method"].encode()))
    option(HEADERS, ctypes.c_void_p(headers))
    option(WRITE_TO, ctypes.c_void_p(out))
    option(VERSION, HTTP_1_1)
    option(TIMEOUT, 30)
    if "nss" in sys.argv[1]:
        # Certificates in files need a module of NSS that Debian does not have.
        option(VERIFY_PEER, 0)
    else:
        option(CA, ctypes.c_char_p(plan["ca"].encode()))
    body = None
    if call["body"] is not None:
        with open(call["body"], "rb") as file:
            body = file.read()
        option(SIZE, len(body))
        option(BODY, ctypes.c_char_p(body))
    result = curl.curl_easy_perform(handle)
    libc.fclose(out)
    assert result == 0, f"curl error {result}"
    print(json.dumps({"index": call["index"], "status": told(RESPONSE_CODE), "local_port": told(LOCAL_PORT)}), flush=True)


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        plan = json.load(file)
    for calls in plan["connections"]:
        handle = ctypes.c_void_p(curl.curl_easy_init())
        for call in calls:
            perform(plan, handle, call)
        curl.curl_easy_cleanup(handle)


main()
