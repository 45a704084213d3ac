//! Fifty rules, each in both languages, and the transactions that they are evaluated on.

/// Ours, then CEL's. Header fields are lists of values in both; times are nanoseconds in CEL.
pub const RULES: [(&str, &str); 50] = [
    (r#"http.req.method == "GET""#, r#"http.req.method == "GET""#),
    (
        r#"http.req.method != "POST""#,
        r#"http.req.method != "POST""#,
    ),
    (
        r#"http.req.method in ["PUT", "PATCH", "DELETE"]"#,
        r#"http.req.method in ["PUT", "PATCH", "DELETE"]"#,
    ),
    (
        r#"http.req.path == "/healthz""#,
        r#"http.req.path == "/healthz""#,
    ),
    (
        r#"http.req.path == "/readyz" or http.req.path == "/livez""#,
        r#"http.req.path == "/readyz" || http.req.path == "/livez""#,
    ),
    (
        r#"starts_with(http.req.path, "/internal/")"#,
        r#"http.req.path.startsWith("/internal/")"#,
    ),
    (
        r#"starts_with(http.req.path, "/api/v1/")"#,
        r#"http.req.path.startsWith("/api/v1/")"#,
    ),
    (
        r#"ends_with(http.req.path, ".css")"#,
        r#"http.req.path.endsWith(".css")"#,
    ),
    (
        r#"ends_with(http.req.path, ".js") or ends_with(http.req.path, ".png")"#,
        r#"http.req.path.endsWith(".js") || http.req.path.endsWith(".png")"#,
    ),
    (
        r#"http.req.path contains "/admin/""#,
        r#"http.req.path.contains("/admin/")"#,
    ),
    (
        r#"http.req.path not contains "/api/""#,
        r#"!http.req.path.contains("/api/")"#,
    ),
    (
        r#"http.req.scheme == "http""#,
        r#"http.req.scheme == "http""#,
    ),
    ("http.res.status == 404", "http.res.status == 404"),
    ("http.res.status >= 500", "http.res.status >= 500"),
    (
        "http.res.status >= 400 and http.res.status < 500",
        "http.res.status >= 400 && http.res.status < 500",
    ),
    (
        "http.res.status in [301, 302, 307, 308]",
        "http.res.status in [301, 302, 307, 308]",
    ),
    (
        "http.res.status < 200 or http.res.status > 599",
        "http.res.status < 200 || http.res.status > 599",
    ),
    (
        "not (http.res.status >= 200 and http.res.status < 600)",
        "!(http.res.status >= 200 && http.res.status < 600)",
    ),
    ("http.duration > 2s", "http.duration > 2000000000"),
    (
        "http.duration > 500ms and http.res.status < 400",
        "http.duration > 500000000 && http.res.status < 400",
    ),
    (
        r#"http.duration >= 10s and http.req.method == "GET""#,
        r#"http.duration >= 10000000000 && http.req.method == "GET""#,
    ),
    (
        r#"http.req.headers.x-tenant == "globex""#,
        r#""globex" in http.req.headers["x-tenant"]"#,
    ),
    (
        r#"http.req.headers.x-tenant in ["initech", "umbrella"]"#,
        r#"http.req.headers["x-tenant"].exists(v, v in ["initech", "umbrella"])"#,
    ),
    (
        "exists(http.req.headers.x-debug)",
        r#""x-debug" in http.req.headers"#,
    ),
    (
        "exists(http.req.headers.x-canary) and tls.enabled",
        r#"("x-canary" in http.req.headers) && tls.enabled"#,
    ),
    (
        r#"http.req.headers.content-type contains "xml""#,
        r#"http.req.headers["content-type"].exists(v, v.contains("xml"))"#,
    ),
    (
        r#"http.req.headers.user-agent contains "bot""#,
        r#"http.req.headers["user-agent"].exists(v, v.contains("bot"))"#,
    ),
    (
        r#"http.req.headers.accept == "text/event-stream""#,
        r#""text/event-stream" in http.req.headers["accept"]"#,
    ),
    (
        r#"http.res.headers.content-type contains "octet-stream""#,
        r#"http.res.headers["content-type"].exists(v, v.contains("octet-stream"))"#,
    ),
    (
        r#"http.res.headers.x-cache == "MISS""#,
        r#""MISS" in http.res.headers["x-cache"]"#,
    ),
    (
        "exists(http.res.headers.set-cookie)",
        r#""set-cookie" in http.res.headers"#,
    ),
    ("not tls.enabled", "!tls.enabled"),
    (
        r#"dst.port == 8080 or dst.port == 9090"#,
        "dst.port == 8080 || dst.port == 9090",
    ),
    (
        "dst.port < 1024 and dst.port != 443",
        "dst.port < 1024 && dst.port != 443",
    ),
    (
        r#"src.process.binary == "curl""#,
        r#"src.process.binary == "curl""#,
    ),
    (
        r#"src.process.binary in ["wget", "nc", "socat"]"#,
        r#"src.process.binary in ["wget", "nc", "socat"]"#,
    ),
    (
        r#"starts_with(src.process.path, "/tmp/")"#,
        r#"src.process.path.startsWith("/tmp/")"#,
    ),
    (
        r#"src.process.path not contains "/bin/""#,
        r#"!src.process.path.contains("/bin/")"#,
    ),
    (
        r#"src.container.name contains "payments""#,
        r#"src.container.name.contains("payments")"#,
    ),
    (
        r#"src.container.name == "checkout" and http.res.status >= 400"#,
        r#"src.container.name == "checkout" && http.res.status >= 400"#,
    ),
    (
        r#"src.pod.namespace == "kube-system""#,
        r#"src.pod.namespace == "kube-system""#,
    ),
    (
        r#"src.pod.namespace == "prod" and (http.res.status >= 500 or http.req.method == "DELETE")"#,
        r#"src.pod.namespace == "prod" && (http.res.status >= 500 || http.req.method == "DELETE")"#,
    ),
    (
        r#"src.pod.namespace in ["dev", "staging"] and http.duration > 1s"#,
        r#"src.pod.namespace in ["dev", "staging"] && http.duration > 1000000000"#,
    ),
    (
        r#"http.req.method == "POST" and http.req.path == "/login" and http.res.status == 401"#,
        r#"http.req.method == "POST" && http.req.path == "/login" && http.res.status == 401"#,
    ),
    (
        r#"(http.req.method == "PUT" or http.req.method == "POST") and http.res.status == 409"#,
        r#"(http.req.method == "PUT" || http.req.method == "POST") && http.res.status == 409"#,
    ),
    (
        r#"http.req.path matches /^\/api\/v[3-9]\//"#,
        r#"http.req.path.matches("^/api/v[3-9]/")"#,
    ),
    (
        r#"http.req.path matches /\.(php|asp|cgi)$/"#,
        r#"http.req.path.matches("[.](php|asp|cgi)$")"#,
    ),
    (
        r#"http.req.path matches |^/users/[0-9]+/orders$|"#,
        r#"http.req.path.matches("^/users/[0-9]+/orders$")"#,
    ),
    (
        r#"src.process.binary matches |^python[0-9.]*$|"#,
        r#"src.process.binary.matches("^python[0-9.]*$")"#,
    ),
    (
        r#"src.process.binary matches /^(java|node)$/ and http.res.status >= 500"#,
        r#"src.process.binary.matches("^(java|node)$") && http.res.status >= 500"#,
    ),
];

/// Rules from here on have a regular expression.
pub const PATTERNS_FROM: usize = 45;

/// Transactions as `rules explain` takes them. To the first few rules apply, to the second none: the most work.
pub const TRANSACTIONS: [&str; 3] = [
    r#"{"http.req.method": "GET", "http.req.url": "https://shop.example/api/v1/orders?page=2",
        "http.req.headers": {"x-tenant": "globex", "content-type": "application/json", "user-agent": "probe-bot/1", "accept": "*/*"},
        "http.res.status": 503, "http.res.headers": {"content-type": "text/html", "x-cache": "MISS"},
        "http.duration": "2500ms", "dst.ip": "10.1.2.3", "dst.port": 8080, "src.process.path": "/usr/bin/python3.11",
        "src.container.name": "payments-api", "src.pod.namespace": "prod"}"#,
    r#"{"http.req.method": "POST", "http.req.url": "https://shop.example/api/v2/orders?page=2",
        "http.req.headers": {"x-tenant": "acme", "content-type": "application/json", "user-agent": "client/7.1", "accept": ["*/*", "text/html"]},
        "http.res.status": 201, "http.res.headers": {"content-type": "application/json", "x-cache": "HIT"},
        "http.duration": "40ms", "dst.ip": "10.1.2.3", "dst.port": 443, "src.process.path": "/usr/bin/shop",
        "src.container.name": "shop-api", "src.pod.namespace": "prod"}"#,
    r#"{"http.req.method": "DELETE", "http.req.url": "http://shop.example/users/17/orders",
        "http.req.headers": {"x-debug": "1"}, "http.res.status": 302,
        "http.duration": "1s", "dst.ip": "10.1.2.3", "dst.port": 80, "src.process.path": "/tmp/java"}"#,
];
