"""Lints and renders the chart by Helm's own SDK, and checks what is rendered by the schemas of Kubernetes.

Prints {"lint": …, "rendered": {template: text}, "invalid": [text]} for the values on stdin.

    helm.py CHART < values.json
"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml

chart, values = sys.argv[1], json.load(sys.stdin)
lint = helm_python.lint(chart, values, strict=True, namespace="obs", kube_version="v1.30.0")
with helm_python.Chart.load(chart) as loaded:
    rendered = loaded.render(values=values, name="it", namespace="obs")
invalid = []
for name, text in rendered.items():
    for document in yaml.safe_load_all(text) if name.endswith(".yaml") else []:
        # The oldest that Chart.yaml names, and the newest that there are schemas of. Strict: unknown keys too.
        for version in ("1.27", "1.37"):
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                invalid.append(f"{name}, Kubernetes {version}: {error}")
json.dump({"lint": lint, "rendered": rendered, "invalid": invalid}, sys.stdout)
