#!/usr/bin/env bash
# The demo itself, as root; demo/run.sh installs and builds what it needs, and calls it.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d /tmp/plainspan-demo.XXXXXX)
pids=()
finish() {
    local code=$?
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    if [ "$code" -ne 0 ] && [ -e "$dir/agent.log" ]; then
        echo "--- the agent's log" >&2
        tail -n 40 "$dir/agent.log" >&2
    fi
    rm -rf "$dir"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        for pid in "${pids[@]}"; do
            kill -0 "$pid" 2>/dev/null || end=0
        done
        if [ "$SECONDS" -ge "$end" ]; then
            echo "no $what" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# Four ports of loopback that are free now.
read -r https_port grpc_port http_port status_port < <(/usr/bin/python3 -c '
import socket
sockets = [socket.socket() for _ in range(4)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')

echo "1. nginx with TLS on 127.0.0.1:$https_port, with a certificate made a moment ago"
openssl req -x509 -nodes -days 1 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
sed -e "s|@DIR@|$dir|g" -e "s|@PORT@|$https_port|g" demo/nginx.conf >"$dir/nginx.conf"
/usr/sbin/nginx -p "$dir" -c "$dir/nginx.conf" 2>"$dir/nginx.log" &
pids+=($!)

echo "2. rotel, an OpenTelemetry collector, on 127.0.0.1:$grpc_port"
rotel=$(target/demo-venv/bin/python -c 'import os, rotel; print(os.path.dirname(rotel.__file__))')/rotel-agent
"$rotel" start --exporter blackhole --debug-log traces --debug-log logs --debug-log-verbosity detailed \
    --batch-timeout 100ms --pid-file "$dir/rotel.pid" --log-file "$dir/rotel-agent.log" \
    --otlp-grpc-endpoint "127.0.0.1:$grpc_port" --otlp-http-endpoint "127.0.0.1:$http_port" \
    >"$dir/rotel.log" 2>&1 &
pids+=($!)
wait_for 15 "nginx on port $https_port" bash -c "</dev/tcp/127.0.0.1/$https_port"
wait_for 15 "rotel on port $grpc_port" bash -c "</dev/tcp/127.0.0.1/$grpc_port"

echo "3. plainspan at level full, with payloads in a folder"
sed -e "s|@DIR@|$dir|g" -e "s|@GRPC@|$grpc_port|g" demo/plainspan.yaml >"$dir/plainspan.yaml"
target/debug/plainspan run -c "$dir/plainspan.yaml" --status-listen "127.0.0.1:$status_port" 2>"$dir/agent.log" &
pids+=($!)
wait_for 30 "agent that is ready" curl -q -sf "http://127.0.0.1:$status_port/readyz"

echo "4. one HTTPS request: curl to nginx"
curl -q -sS --http1.1 --cacert "$dir/cert.pem" -o "$dir/answer" \
    -H 'content-type: application/json' -H 'authorization: Bearer a-secret-of-the-demo' \
    -d '{"item": "book", "count": 2}' "https://localhost:$https_port/orders?page=1&access_token=another-secret"

wait_for 15 "span, log record and payload of the request" \
    /usr/bin/python3 demo/show.py --quiet "$dir/rotel.log" /orders
/usr/bin/python3 demo/show.py "$dir/rotel.log" /orders
