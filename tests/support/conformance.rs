//! The tables of the semantic conventions v1.44 for HTTP, row by row, and what each means for real requests.
//!
//! One list of rows is held against live traffic (`tests/e2e/conformance.rs`) and against a recording of the same traffic
//! that is replayed through the whole line (`tests/conformance.rs`). A row that is left out on purpose says why.
//! Numbers of the tables: 1.1 names of spans, 1.2 HTTP attributes, 1.3 status and `error.type`, 1.4 headers, 1.5 redaction
//! and lengths, 1.6 metrics, 1.7 other attributes that spans carry, 1.8 log records.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric, metric::Data};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use serde_json::{Value, json};

/// `tap.routes` of the agent that is looked at.
pub const ROUTES: [&str; 2] = ["/conf/status/{code}", "/conf/upload/{name}"];
/// `metrics.headers` of it.
pub const METRIC_HEADER: (&str, &str) = ("x-tenant", "tenant");

/// What came out.
pub struct Seen {
    pub spans: Vec<Span>,
    pub logs: Vec<LogRecord>,
    /// The last of each name.
    pub metrics: Vec<Metric>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}
use Side::{Client, Server};

/// What an attribute must be.
pub enum Want {
    /// Not there.
    No,
    /// This JSON; `{port}` is the port of the server that was asked.
    Is(&'static str),
    /// Anything that this is true of.
    Fits(fn(&Value) -> bool),
}
use Want::{Fits, Is, No};

/// One thing that a row means.
pub enum Check {
    /// On the span of a call (its path behind `/conf/`, or from `/` on) on one side.
    Attribute(&'static str, Side, &'static str, Want),
    Name(&'static str, Side, &'static str),
    /// Code of the status, and `error.type`.
    Outcome(&'static str, Side, Option<&'static str>),
    /// Anything else.
    That(fn(&Seen) -> Result<(), String>),
    /// Not there, with the reason.
    LeftOut(&'static str),
}
use Check::{Attribute, LeftOut, Name, Outcome, That};

/// One row of a table.
pub struct Row {
    pub table: &'static str,
    pub row: &'static str,
    pub checks: &'static [Check],
}

const fn row(table: &'static str, row: &'static str, checks: &'static [Check]) -> Row {
    Row { table, row, checks }
}

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY",
];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("1.1", "server, route known", &[Name("status/404", Server, "GET /conf/status/{code}"), Name("upload/post", Server, "POST /conf/upload/{name}")]),
    row("1.1", "client, template known", &[Name("status/404", Client, "GET /conf/status/{code}")]),
    row("1.1", "no low-cardinality target", &[Name("plain", Client, "GET"), Name("plain", Server, "GET")]),
    row("1.1", "method is not a known one", &[Name("odd", Client, "HTTP"), Name("odd", Server, "HTTP")]),
    row("1.1", "call of gRPC", &[Name(UNARY, Client, "plainspan.test.v1.Echo/Unary"), Name(UNARY, Server, "plainspan.test.v1.Echo/Unary"), Name(UNKNOWN, Server, "grpc")]),

    row("1.2", "http.request.method", &[That(known_methods), Attribute("odd", Client, "http.request.method", Is("\"_OTHER\"")), Attribute("odd", Server, "http.request.method", Is("\"_OTHER\""))]),
    row("1.2", "http.request.method_original", &[Attribute("odd", Client, "http.request.method_original", Is("\"PROPFIND\"")), Attribute("odd", Server, "http.request.method_original", Is("\"PROPFIND\"")), Attribute("plain", Client, "http.request.method_original", No)]),
    row("1.2", "url.full", &[
        Attribute("plain", Client, "url.full", Is("\"https://localhost:{port}/conf/plain?a=b\"")),
        Attribute("http", Client, "url.full", Is("\"http://localhost:{port}/conf/http\"")),
        Attribute("absolute", Client, "url.full", Is("\"http://abs.example:81/conf/absolute?x=y\"")),
        Attribute("plain", Server, "url.full", No)]),
    row("1.2", "url.scheme", &[Attribute("plain", Server, "url.scheme", Is("\"https\"")), Attribute("http", Server, "url.scheme", Is("\"http\"")), Attribute("forwarded", Server, "url.scheme", Is("\"http\"")), Attribute("xforwarded", Server, "url.scheme", Is("\"http\"")), Attribute("forwarded", Client, "url.scheme", Is("\"https\""))]),
    row("1.2", "url.path", &[Attribute("plain", Server, "url.path", Is("\"/conf/plain\"")), Attribute("plain", Client, "url.path", No)]),
    row("1.2", "url.query", &[Attribute("plain", Server, "url.query", Is("\"a=b\"")), Attribute("bare", Server, "url.query", No), Attribute("plain", Client, "url.query", No)]),
    row("1.2", "server.address", &[
        Attribute("plain", Client, "server.address", Is("\"localhost\"")), Attribute("absolute", Client, "server.address", Is("\"abs.example\"")),
        Attribute("plain", Server, "server.address", Is("\"localhost\"")), Attribute("h2", Server, "server.address", Is("\"localhost\"")),
        Attribute("forwarded", Server, "server.address", Is("\"shop.example\"")), Attribute("xforwarded", Server, "server.address", Is("\"shop.example\"")),
        Attribute("forwarded", Client, "server.address", Is("\"localhost\""))]),
    row("1.2", "server.port", &[
        Attribute("plain", Client, "server.port", Is("{port}")), Attribute("absolute", Client, "server.port", Is("81")), Attribute("plain", Server, "server.port", Is("{port}")),
        Attribute("forwarded", Server, "server.port", Is("8443")), Attribute("xforwarded", Server, "server.port", Is("444"))]),
    row("1.2", "client.address", &[Attribute("plain", Server, "client.address", Is("\"127.0.0.1\"")), Attribute("forwarded", Server, "client.address", Is("\"2001:db8::7\"")), Attribute("xforwarded", Server, "client.address", Is("\"203.0.113.7\"")), Attribute("plain", Client, "client.address", No)]),
    row("1.2", "client.port", &[LeftOut("opt-in, and proxies do not tell it; network.peer.port is there"), Attribute("plain", Server, "client.port", No)]),
    row("1.2", "network.peer.address, network.peer.port", &[Attribute("forwarded", Server, "network.peer.address", Is("\"127.0.0.1\"")), Attribute("forwarded", Server, "network.peer.port", Fits(is_port)), Attribute("plain", Client, "network.peer.address", Is("\"127.0.0.1\"")), Attribute("absolute", Client, "network.peer.port", Is("{port}"))]),
    row("1.2", "network.local.address, network.local.port", &[Attribute("plain", Server, "network.local.address", Is("\"127.0.0.1\"")), Attribute("plain", Server, "network.local.port", Is("{port}")), Attribute("plain", Client, "network.local.port", Fits(is_port))]),
    row("1.2", "network.protocol.name", &[Attribute("plain", Client, "network.protocol.name", No), Attribute("h2", Server, "network.protocol.name", No)]),
    row("1.2", "network.protocol.version", &[Attribute("http10", Client, "network.protocol.version", Is("\"1.0\"")), Attribute("http10", Server, "network.protocol.version", Is("\"1.0\"")), Attribute("plain", Server, "network.protocol.version", Is("\"1.1\"")), Attribute("h2", Client, "network.protocol.version", Is("\"2\"")), Attribute("h2", Server, "network.protocol.version", Is("\"2\""))]),
    row("1.2", "network.transport", &[LeftOut("opt-in, and always tcp"), Attribute("plain", Client, "network.transport", No)]),
    row("1.2", "http.response.status_code", &[Attribute("plain", Client, "http.response.status_code", Is("200")), Attribute("status/404", Server, "http.response.status_code", Is("404")), Attribute("h2", Client, "http.response.status_code", Is("404")), Attribute("wait/3", Client, "http.response.status_code", No)]),
    row("1.2", "error.type", &[Attribute("status/503", Server, "error.type", Is("\"503\"")), Attribute("half/1000", Client, "error.type", Is("\"incomplete_response\"")), Attribute("plain", Client, "error.type", No), Attribute("plain", Server, "error.type", No)]),
    row("1.2", "http.request.resend_count", &[LeftOut("whether a request is sent again is known in the program alone"), Attribute("plain", Client, "http.request.resend_count", No)]),
    row("1.2", "http.route", &[Attribute("status/404", Server, "http.route", Is("\"/conf/status/{code}\"")), Attribute("plain", Server, "http.route", No), Attribute("status/404", Client, "http.route", No)]),
    row("1.2", "url.template", &[Attribute("status/404", Client, "url.template", Is("\"/conf/status/{code}\"")), Attribute("plain", Client, "url.template", No), Attribute("status/404", Server, "url.template", No)]),
    row("1.2", "user_agent.original", &[Attribute("plain", Server, "user_agent.original", Is("\"probe/1\"")), Attribute("plain", Client, "user_agent.original", Is("\"probe/1\"")), Attribute("bare", Server, "user_agent.original", No)]),
    row("1.2", "user_agent.synthetic.type", &[LeftOut("opt-in, and a list of robots is no matter of capture"), Attribute("plain", Server, "user_agent.synthetic.type", No)]),
    row("1.2", "http.request.header.<key>, http.response.header.<key>", &[Attribute("plain", Client, "http.request.header.x-multi", Is("[\"one, two\", \"three\"]")), Attribute("plain", Server, "http.response.header.x-server", Is("[\"nginx\"]"))]),
    row("1.2", "http.request.body.size, http.response.body.size", &[Attribute("upload/post", Client, "http.request.body.size", Is("5")), Attribute("upload/post", Server, "http.request.body.size", Is("5")), Attribute("upload/post", Server, "http.response.body.size", Is("7")), Attribute("chunked/3000", Client, "http.response.body.size", Is("3000"))]),
    row("1.2", "http.request.size, http.response.size", &[Attribute("upload/post", Client, "http.request.size", Fits(|v| v.as_i64() > Some(60))), Attribute("chunked/3000", Client, "http.response.size", Fits(|v| v.as_i64() > Some(3100)))]),
    row("1.2", "http.request.body.content, http.response.body.content", &[LeftOut("not released; bodies are in payloads"), Attribute("upload/post", Server, "http.request.body.content", No)]),
    row("1.2", "deprecated names", &[That(no_deprecated_name)]),

    row("1.3", "1xx, 2xx, 3xx", &[Outcome("plain", Client, None), Outcome("plain", Server, None), Outcome("status/204", Client, None), Outcome("location/x", Client, None), Outcome("location/x", Server, None), Outcome("websocket", Client, None), Outcome("websocket", Server, None)]),
    row("1.3", "4xx", &[Outcome("status/404", Client, Some("404")), Outcome("status/404", Server, None)]),
    row("1.3", "5xx or a code that cannot be understood", &[Outcome("status/503", Client, Some("503")), Outcome("status/503", Server, Some("503"))]),
    row("1.3", "no response", &[Outcome("wait/3", Client, Some("incomplete_response"))]),
    row("1.3", "status arrived, body broken later", &[Outcome("half/1000", Client, Some("incomplete_response")), Outcome("half/1000", Server, Some("incomplete_response")), Outcome("reset/1000", Client, Some("connection_reset")), Attribute("reset/1000", Client, "http.response.status_code", Is("200"))]),
    row("1.3", "cancelled on purpose by the caller", &[LeftOut("on the wire it is a request without response")]),
    row("1.3", "code of a call", &[Outcome(UNARY, Client, None), Outcome(UNKNOWN, Client, Some("UNIMPLEMENTED")), Outcome(UNKNOWN, Server, Some("UNIMPLEMENTED"))]),
    row("1.3", "never Ok, and no description", &[That(never_ok)]),
    row("1.3", "error.type is the same on span and metric", &[That(errors_agree)]),

    row("1.4", "key in lower case, dashes kept", &[Attribute("xforwarded", Server, "http.request.header.x-forwarded-for", Is("[\"203.0.113.7, 10.0.0.1\"]"))]),
    row("1.4", "an array, one element a line, never split", &[Attribute("plain", Server, "http.request.header.x-multi", Is("[\"one, two\", \"three\"]")), Attribute("plain", Server, "http.request.header.accept", Is("[\"*/*\"]"))]),
    row("1.4", "captured by configuration alone", &[Attribute("userinfo", Client, "http.request.header.authorization", Is("[\"REDACTED\"]")), Attribute("plain", Client, "http.request.header.x-excluded", No)]),
    row("1.4", "user agent", &[Attribute("plain", Server, "user_agent.original", Is("\"probe/1\""))]),
    row("1.4", "pseudo-headers are none", &[Attribute("h2", Client, "http.request.header.:path", No), Attribute("h2", Server, "http.request.header.:method", No), Attribute("h2", Client, "http.request.method", Is("\"GET\""))]),

    row("1.5", "user info of url.full", &[Attribute("absolute-user", Client, "url.full", Is("\"http://REDACTED:REDACTED@abs.example/conf/absolute-user\"")), Attribute("userinfo", Client, "url.full", Is("\"https://localhost:{port}/conf/userinfo\""))]),
    row("1.5", "values of the query, name percent-decoded", &[Attribute("secret", Client, "url.full", Is("\"https://localhost:{port}/conf/secret?si%67=REDACTED&x=1\"")), Attribute("secret", Server, "url.query", Is("\"si%67=REDACTED&x=1\"")), That(no_secret)]),
    row("1.5", "body attributes", &[LeftOut("not released; bodies are in payloads")]),
    row("1.5", "length of attributes", &[
        Attribute("long", Server, "url.path", Fits(|v| v.as_str().map(str::len) == Some(2048))), Attribute("long", Client, "url.full", Fits(|v| v.as_str().map(str::len) == Some(2048))),
        Attribute("long", Server, "http.request.header.x-long", Fits(|v| v[0].as_str().map(str::len) == Some(2048))),
        Attribute("long", Server, "http.request.header.x-many", Fits(|v| v.as_array().is_some_and(|a| a.len() == 4))),
        Attribute("long", Server, "plainspan.attribute.truncated", Is("[\"url.path\", \"http.request.header.x-long\", \"http.request.header.x-many\"]")),
        Attribute("plain", Server, "plainspan.attribute.truncated", No)]),

    row("1.6", "http.server.request.duration", &[That(|seen| duration(seen, Server))]),
    row("1.6", "http.client.request.duration", &[That(|seen| duration(seen, Client))]),
    row("1.6", "bucket boundaries of durations", &[That(buckets)]),
    row("1.6", "http.server.active_requests", &[LeftOut("in development, and a request is known when it is over: a number of those that go on would be late"), That(|seen| absent(seen, "http.server.active_requests"))]),
    row("1.6", "http.client.active_requests", &[LeftOut("as of servers"), That(|seen| absent(seen, "http.client.active_requests"))]),
    row("1.6", "http.{server,client}.{request,response}.body.size", &[That(sizes)]),
    row("1.6", "http.client.open_connections", &[LeftOut("in development, and of pools that programs have: an open socket does not say idle or active"), That(|seen| absent(seen, "http.client.open_connections"))]),
    row("1.6", "http.client.connection.duration", &[LeftOut("as http.client.open_connections"), That(|seen| absent(seen, "http.client.connection.duration"))]),
    row("1.6", "no client.address, path or query; no server.address of servers", &[That(nothing_that_clients_choose)]),
    row("1.6", "header as attribute", &[That(tenants)]),

    row("1.7", "tls.protocol.name, tls.protocol.version", &[Attribute("plain", Client, "tls.protocol.name", Is("\"tls\"")), Attribute("plain", Server, "tls.protocol.version", Is("\"1.3\"")), Attribute("http", Client, "tls.protocol.name", No)]),
    row("1.7", "tls.client.server_name", &[LeftOut("deprecated: server.address"), Attribute("plain", Client, "tls.client.server_name", No)]),
    row("1.7", "service.peer.name, peer.service", &[Attribute("plain", Client, "service.peer.name", Is("\"localhost\"")), Attribute("plain", Client, "peer.service", Is("\"localhost\"")), Attribute("traced", Client, "peer.service", No), Attribute("plain", Server, "peer.service", No)]),
    row("1.7", "rpc.*", &[Attribute(UNARY, Client, "rpc.system.name", Is("\"grpc\"")), Attribute(UNARY, Client, "rpc.method", Is("\"plainspan.test.v1.Echo/Unary\"")), Attribute(UNARY, Server, "rpc.response.status_code", Is("\"OK\"")), Attribute(UNARY, Server, "rpc.method_original", No), Attribute(UNKNOWN, Server, "rpc.method", Is("\"_OTHER\"")), Attribute(UNKNOWN, Server, "rpc.method_original", Is("\"plainspan.test.v1.Echo/NoSuch\"")), Attribute(UNKNOWN, Client, "rpc.response.status_code", Is("\"UNIMPLEMENTED\""))]),
    row("1.7", "WebSocket", &[Attribute("websocket", Client, "http.response.status_code", Is("101")), Attribute("websocket", Client, "plainspan.websocket.from_client.messages", Fits(|v| v.as_i64() > Some(0))), Attribute("websocket", Server, "plainspan.websocket.from_client.messages", Fits(|v| v.as_i64() > Some(0))), Name("websocket", Client, "GET")]),

    row("1.8", "event name", &[That(|seen| logs(seen, |_, log| log.event_name == "plainspan.http.transaction"))]),
    row("1.8", "timestamp is when it happened", &[That(|seen| logs(seen, |span, log| log.time_unix_nano == span.end_time_unix_nano && log.observed_time_unix_nano >= log.time_unix_nano))]),
    row("1.8", "severity number, no text", &[That(|seen| logs(seen, |_, log| log.severity_text.is_empty() && log.severity_number == severity(log)))]),
    row("1.8", "body is a line", &[That(|seen| logs(seen, |_, log| matches!(log.body.as_ref().and_then(|b| b.value.as_ref()), Some(Any::StringValue(line)) if !line.contains('\n') && line.ends_with(" ms"))))]),
    row("1.8", "trace id, span id, flags", &[That(|seen| logs(seen, |span, log| log.trace_id == span.trace_id && log.flags == span.flags & 0xff))]),
    row("1.8", "not every attribute of the span", &[That(|seen| logs(seen, |span, log| log.attributes.len() < span.attributes.len() && attr(&log.attributes, "network.peer.address").is_none()))]),
    row("1.8", "error.type", &[That(|seen| logs(seen, |span, log| attr(&log.attributes, "error.type") == attr(&span.attributes, "error.type")))]),
];

const UNARY: &str = "/plainspan.test.v1.Echo/Unary";
const UNKNOWN: &str = "/plainspan.test.v1.Echo/NoSuch";

/// All that is not as the rows say.
pub fn faults(seen: &Seen) -> Vec<String> {
    let mut faults = Vec::new();
    for row in ROWS {
        let reason = row.checks.iter().filter_map(|check| match check {
            LeftOut(reason) => Some(*reason),
            _ => None,
        });
        let reasons = reason.into_iter().all(|reason| reason.len() > 10);
        assert!(
            !row.checks.is_empty() && reasons,
            "{} {}",
            row.table,
            row.row
        );
        for check in row.checks {
            if let Err(fault) = holds(check, seen) {
                faults.push(format!("{} {}: {fault}", row.table, row.row));
            }
        }
    }
    faults
}

fn holds(check: &Check, seen: &Seen) -> Result<(), String> {
    match check {
        LeftOut(_) => Ok(()),
        That(holds) => holds(seen),
        Name(call, side, name) => {
            let span = seen.span(call, *side)?;
            same(
                &format!("name of {call} {side:?}"),
                &span.name,
                &(*name).to_owned(),
            )
        }
        Outcome(call, side, error) => {
            let span = seen.span(call, *side)?;
            let code = span.status.as_ref().map_or(0, |status| status.code);
            let expected = (if error.is_some() { 2 } else { 0 }, error.map(Value::from));
            let found = (code, attr(&span.attributes, "error.type"));
            same(&format!("outcome of {call} {side:?}"), &found, &expected)
        }
        Attribute(call, side, name, want) => {
            let span = seen.span(call, *side)?;
            let found = attr(&span.attributes, name);
            let fits = match want {
                No => found.is_none(),
                Is(text) => {
                    let port = seen.port(call)?;
                    let expected: Value = serde_json::from_str(&text.replace("{port}", &port))
                        .map_err(|error| format!("{text}: {error}"))?;
                    found.as_ref() == Some(&expected)
                }
                Fits(fits) => found.as_ref().is_some_and(fits),
            };
            let wanted = match want {
                No => "nothing",
                Is(text) => text,
                Fits(_) => "something else",
            };
            match fits {
                true => Ok(()),
                false => Err(format!(
                    "{name} of {call} {side:?} is {found:?}, not {wanted}"
                )),
            }
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    found: &T,
    wanted: &T,
) -> Result<(), String> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{what}: {found:?}, not {wanted:?}")),
    }
}

impl Seen {
    /// The one span of a call and side.
    pub fn span(&self, call: &str, side: Side) -> Result<&Span, String> {
        let kind = match side {
            Client => SpanKind::Client,
            Server => SpanKind::Server,
        };
        let found: Vec<&Span> = self
            .spans
            .iter()
            .filter(|span| span.kind == kind as i32 && is_of(span, call))
            .collect();
        match found[..] {
            [span] => Ok(span),
            _ => Err(format!("{} spans of {call} {side:?}", found.len())),
        }
    }

    /// The port of the server that a call went to.
    fn port(&self, call: &str) -> Result<String, String> {
        let client = self.span(call, Client)?;
        let port = attr(&client.attributes, "network.peer.port");
        port.map(|port| port.to_string())
            .ok_or_else(|| format!("{call} has no port"))
    }

    fn metric(&self, name: &str) -> Result<&[HistogramDataPoint], String> {
        let metric = self.metrics.iter().find(|metric| metric.name == name);
        match metric.and_then(|metric| metric.data.as_ref()) {
            Some(Data::Histogram(histogram)) => Ok(&histogram.data_points),
            _ => Err(format!("there is no histogram {name}")),
        }
    }

    fn points(&self) -> impl Iterator<Item = (&str, &HistogramDataPoint)> {
        let metrics = self.metrics.iter();
        metrics.flat_map(|metric| match &metric.data {
            Some(Data::Histogram(histogram)) => {
                let points = histogram.data_points.iter();
                points.map(|point| (metric.name.as_str(), point)).collect()
            }
            _ => Vec::new(),
        })
    }
}

/// Whether a span is of this call.
fn is_of(span: &Span, call: &str) -> bool {
    let wanted = match call.starts_with('/') {
        true => call.to_owned(),
        false => format!("/conf/{call}"),
    };
    let path = match attr(&span.attributes, "url.path") {
        Some(path) => path,
        None => match attr(&span.attributes, "url.full") {
            Some(full) => json!(full.as_str().map(path_of)),
            None => return false,
        },
    };
    // The path of `long` is cut.
    path.as_str()
        .is_some_and(|path| path == wanted || (call == "long" && path.starts_with("/conf/longaaa")))
}

fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split('?').next().unwrap_or_default().to_owned()
}

/// An attribute as JSON.
pub fn attr(list: &[KeyValue], name: &str) -> Option<Value> {
    let found = list.iter().find(|kv| kv.key == name)?;
    found.value.as_ref().map(plain)
}

fn plain(value: &AnyValue) -> Value {
    match value.value.as_ref() {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::BoolValue(truth)) => json!(truth),
        Some(Any::ArrayValue(array)) => array.values.iter().map(plain).collect(),
        _ => Value::Null,
    }
}

fn is_port(value: &Value) -> bool {
    value
        .as_u64()
        .is_some_and(|port| (1..65536).contains(&port))
}

fn known_methods(seen: &Seen) -> Result<(), String> {
    for method in METHODS {
        for side in [Client, Server] {
            let span = seen.span(&format!("method-{method}"), side)?;
            let found = attr(&span.attributes, "http.request.method");
            same(method, &found, &Some(json!(method)))?;
            let original = attr(&span.attributes, "http.request.method_original");
            same(method, &original, &None)?;
            same(method, &span.name, &method.to_owned())?;
        }
    }
    Ok(())
}

fn no_deprecated_name(seen: &Seen) -> Result<(), String> {
    let old = [
        "http.method",
        "http.status_code",
        "http.url",
        "http.target",
        "http.host",
        "net.",
        "rpc.service",
        "rpc.system",
    ];
    for kv in seen.spans.iter().flat_map(|span| &span.attributes) {
        if kv.key != "rpc.system.name" && old.iter().any(|old| kv.key.starts_with(old)) {
            return Err(kv.key.clone());
        }
    }
    Ok(())
}

fn never_ok(seen: &Seen) -> Result<(), String> {
    let statuses = seen.spans.iter().filter_map(|span| span.status.as_ref());
    match statuses
        .into_iter()
        .find(|status| status.code == 1 || !status.message.is_empty())
    {
        Some(status) => Err(format!("{status:?}")),
        None => Ok(()),
    }
}

fn no_secret(seen: &Seen) -> Result<(), String> {
    let all = format!("{:?} {:?} {:?}", seen.spans, seen.logs, seen.metrics);
    match all.contains("s3cret") {
        true => Err("the secret is there".to_owned()),
        false => Ok(()),
    }
}

fn side_name(side: Side) -> (&'static str, i32) {
    match side {
        Client => ("client", SpanKind::Client as i32),
        Server => ("server", SpanKind::Server as i32),
    }
}

/// As many transactions of each `error.type` as there are spans of it.
fn errors_agree(seen: &Seen) -> Result<(), String> {
    for side in [Client, Server] {
        let (name, kind) = side_name(side);
        let mut of_spans = std::collections::BTreeMap::new();
        for span in seen.spans.iter().filter(|span| span.kind == kind) {
            let error = attr(&span.attributes, "error.type").map(|e| e.to_string());
            *of_spans.entry(error).or_insert(0) += 1;
        }
        let mut of_points = std::collections::BTreeMap::new();
        for point in seen.metric(&format!("http.{name}.request.duration"))? {
            let error = attr(&point.attributes, "error.type").map(|e| e.to_string());
            *of_points.entry(error).or_insert(0) += point.count;
        }
        same(name, &of_points, &of_spans)?;
    }
    Ok(())
}

fn duration(seen: &Seen, side: Side) -> Result<(), String> {
    let (name, _) = side_name(side);
    let name = format!("http.{name}.request.duration");
    let metric = seen.metrics.iter().find(|metric| metric.name == name);
    same(
        "unit",
        &metric.map(|metric| metric.unit.as_str()),
        &Some("s"),
    )?;
    let (mut routes, mut errors, mut answers) = (0, 0, 0);
    for point in seen.metric(&name)? {
        let of = |key: &str| attr(&point.attributes, key);
        let required: &[&str] = match side {
            Client => &[
                "http.request.method",
                "server.address",
                "server.port",
                "network.protocol.version",
            ],
            Server => &[
                "http.request.method",
                "url.scheme",
                "network.protocol.version",
            ],
        };
        if let Some(missing) = required.iter().find(|key| of(key).is_none()) {
            return Err(format!("{name} without {missing}: {point:?}"));
        }
        let route = match side {
            Client => "url.template",
            Server => "http.route",
        };
        routes += u64::from(of(route).is_some());
        errors += u64::from(of("error.type").is_some());
        answers += u64::from(of("http.response.status_code").is_some());
        if point.exemplars.is_empty() {
            return Err(format!("{name} without exemplar: {point:?}"));
        }
    }
    match routes > 0 && errors > 0 && answers > 0 {
        true => Ok(()),
        false => Err(format!(
            "{routes} routes, {errors} errors, {answers} answers"
        )),
    }
}

fn buckets(seen: &Seen) -> Result<(), String> {
    let bounds = [
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ];
    for name in [
        "http.server.request.duration",
        "http.client.request.duration",
    ] {
        for point in seen.metric(name)? {
            same(name, &point.explicit_bounds[..], &bounds[..])?;
            same(name, &point.bucket_counts.len(), &(bounds.len() + 1))?;
            same(name, &point.bucket_counts.iter().sum::<u64>(), &point.count)?;
        }
    }
    Ok(())
}

fn absent(seen: &Seen, name: &str) -> Result<(), String> {
    match seen.metrics.iter().any(|metric| metric.name == name) {
        true => Err("it is there".to_owned()),
        false => Ok(()),
    }
}

/// Sums of the metrics are those of the spans.
fn sizes(seen: &Seen) -> Result<(), String> {
    for side in [Client, Server] {
        let (name, kind) = side_name(side);
        for message in ["request", "response"] {
            let metric = format!("http.{name}.{message}.body.size");
            let unit = seen
                .metrics
                .iter()
                .find(|m| m.name == metric)
                .map(|m| m.unit.as_str());
            same(&metric, &unit, &Some("By"))?;
            let points: f64 = seen
                .metric(&metric)?
                .iter()
                .filter_map(|point| point.sum)
                .sum();
            let spans = seen.spans.iter().filter(|span| span.kind == kind);
            let key = format!("http.{message}.body.size");
            let spans: i64 = spans
                .filter_map(|span| attr(&span.attributes, &key)?.as_i64())
                .sum();
            same(&metric, &points, &(spans as f64))?;
        }
    }
    Ok(())
}

fn nothing_that_clients_choose(seen: &Seen) -> Result<(), String> {
    for (name, point) in seen.points() {
        let of_server = name.starts_with("http.server.");
        let chosen = |kv: &&KeyValue| {
            let key = kv.key.as_str();
            let url = key.starts_with("url.") && !matches!(key, "url.scheme" | "url.template");
            url || key == "client.address" || (of_server && key.starts_with("server."))
        };
        if let Some(kv) = point.attributes.iter().find(chosen) {
            return Err(format!("{name} has {}", kv.key));
        }
    }
    Ok(())
}

fn tenants(seen: &Seen) -> Result<(), String> {
    for name in [
        "http.server.request.duration",
        "http.client.request.duration",
    ] {
        let points = seen.metric(name)?.iter();
        let of_tenant = |point: &&HistogramDataPoint| {
            attr(&point.attributes, METRIC_HEADER.1) == Some(json!("acme"))
        };
        let count: u64 = points.filter(of_tenant).map(|point| point.count).sum();
        same(name, &count, &1)?;
    }
    Ok(())
}

/// Each span has one log record of which this holds.
fn logs(seen: &Seen, holds: fn(&Span, &LogRecord) -> bool) -> Result<(), String> {
    if seen.spans.is_empty() {
        return Err("no span".to_owned());
    }
    for span in &seen.spans {
        let of_span = |log: &&LogRecord| log.span_id == span.span_id;
        let mut found = seen.logs.iter().filter(of_span);
        match (found.next(), found.next()) {
            (Some(log), None) if holds(span, log) => {}
            other => return Err(format!("{} has {other:?}", span.name)),
        }
    }
    Ok(())
}

/// What the severity of a log record has to be.
fn severity(log: &LogRecord) -> i32 {
    let of = |name: &str| attr(&log.attributes, name);
    let code = of("rpc.response.status_code");
    match code.as_ref().and_then(Value::as_str) {
        Some("OK") => return 9,
        Some(
            "UNKNOWN" | "DEADLINE_EXCEEDED" | "UNIMPLEMENTED" | "INTERNAL" | "UNAVAILABLE"
            | "DATA_LOSS",
        ) => return 17,
        Some(_) => return 13,
        None => {}
    }
    let status = of("http.response.status_code").and_then(|status| status.as_i64());
    match (of("error.type"), status) {
        (Some(Value::String(error)), Some(400..500)) if error.parse::<u16>().is_err() => 17,
        (_, Some(400..500)) => 13,
        (Some(_), _) => 17,
        (None, _) => 9,
    }
}
