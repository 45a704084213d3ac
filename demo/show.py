"""Shows one request out of what the demo's collector printed: its span, its log record, its payload.

    show.py [--quiet] LOG PATH

LOG is the detailed debug log of rotel. Exit code 1 when one of the three is missing. --quiet prints nothing.
"""

import base64
import json
import re
import sys
import urllib.parse


def records(lines):
    """(kind, lines) of each span and log record; the resource's attributes go with each."""
    resource, current, kind = [], None, None
    in_resource = False
    for line in lines:
        if re.match(r"(ResourceSpans|ResourceLog) #", line):
            resource, in_resource, current = [], False, None
        elif line.startswith("Resource attributes"):
            in_resource = True
        elif line.startswith("Scope"):
            in_resource, current = False, None
        elif match := re.match(r"(Span|LogRecord) #", line):
            kind = match[1]
            current = []
            yield kind, resource, current
        elif in_resource:
            resource.append(line)
        elif current is not None:
            current.append(line)


def attribute(lines, name):
    for line in lines:
        match = re.match(rf"\s*-> {re.escape(name)}: \w+\((.*)\)$", line)
        if match:
            return match[1]
    return None


def field(lines, name):
    for line in lines:
        match = re.match(rf"\s*{name}\s*: (\S+)", line)
        if match:
            return match[1]
    return None


def find(log, path):
    """The CLIENT span of the path, its log record and its payload's text; None for what is missing."""
    with open(log, encoding="utf-8", errors="replace") as file:
        found = list(records(file.read().splitlines()))
    span = record = payload = None
    for kind, resource, lines in found:
        url = attribute(lines, "url.full") or ""
        if kind == "Span" and field(lines, "Kind") == "SPAN_KIND_CLIENT" and urllib.parse.urlsplit(url).path == path:
            span = (resource, lines)
    if span is not None:
        for kind, resource, lines in found:
            if kind == "LogRecord" and field(lines, "Span ID") == field(span[1], "ID"):
                record = (resource, lines)
        link = attribute(span[1], "plainspan.payload.url") or ""
        if link.startswith("file://"):
            try:
                with open(urllib.parse.unquote(urllib.parse.urlsplit(link).path), encoding="utf-8") as file:
                    payload = json.load(file)
            except OSError:
                pass
    return span, record, payload


def show(title, part):
    resource, lines = part
    print(f"\n=== {title}")
    print("\n".join(line for line in lines if line.strip()))
    print("Resource:")
    print("\n".join(resource))


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--quiet"]
    span, record, payload = find(*arguments)
    if "--quiet" not in sys.argv:
        for title, part in (("SPAN of curl, as the collector got it", span), ("LOG RECORD of the same", record)):
            if part is not None:
                show(title, part)
        if payload is not None:
            print("\n=== PAYLOAD, as stored where the link of both points")
            print(json.dumps(payload, indent=2))
            for side in ("request", "response"):
                body = base64.b64decode((payload.get(side) or {}).get("body") or "")
                print(f"{side} body, decoded: {body.decode(errors='replace').strip()}")
    missing = [name for name, part in (("span", span), ("log record", record), ("payload", payload)) if part is None]
    if missing:
        sys.exit("missing: " + ", ".join(missing))


main()
