//! A transaction as variables of CEL: what an agent whose rules are in CEL would have to make for each.

use cel::Value;
use plainspan::rules::TransactionFacts;
use plainspan::transaction::Headers;
use std::collections::HashMap;

type Map = HashMap<&'static str, Value>;

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn headers(headers: &Headers) -> Value {
    let mut lists: HashMap<String, Vec<Value>> = HashMap::new();
    for (name, value) in headers.iter() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        lists.entry(name).or_default().push(text(value));
    }
    Value::from(lists)
}

/// Variables by name. What is not known has no key.
pub fn variables(facts: &TransactionFacts<'_>) -> [(&'static str, Value); 4] {
    let tls = facts.transaction.connection.tls.is_some()
        || facts.transaction.connection.tls_info.is_some();
    [
        ("http", http(facts, tls).into()),
        ("tls", Map::from([("enabled", Value::Bool(tls))]).into()),
        ("dst", destination(facts).into()),
        ("src", source(facts).into()),
    ]
}

fn http(facts: &TransactionFacts<'_>, tls: bool) -> Map {
    let transaction = facts.transaction;
    let mut http = Map::new();
    if let Some(request) = &transaction.request {
        let target = request.target.split(|b| *b == b'?').next();
        let scheme = if tls { "https" } else { "http" };
        let request = Map::from([
            ("method", text(&request.method)),
            ("path", text(target.unwrap_or_default())),
            ("scheme", scheme.into()),
            ("headers", headers(&request.headers)),
        ]);
        http.insert("req", request.into());
    }
    if let Some(response) = &transaction.response {
        let response = Map::from([
            ("status", Value::Int(response.status.into())),
            ("headers", headers(&response.headers)),
        ]);
        http.insert("res", response.into());
    }
    let duration = transaction.timing.end.since(transaction.timing.start);
    http.insert(
        "duration",
        Value::Int(i64::try_from(duration).unwrap_or(i64::MAX)),
    );
    http
}

fn destination(facts: &TransactionFacts<'_>) -> Map {
    let mut destination = Map::new();
    if let Some(remote) = facts.transaction.connection.remote {
        destination.insert("ip", remote.ip().to_string().into());
        destination.insert("port", Value::Int(remote.port().into()));
    }
    destination
}

fn source(facts: &TransactionFacts<'_>) -> Map {
    let process = facts.process;
    let mut of_process = Map::from([("binary", process.name.as_str().into())]);
    if let Some(path) = &process.exe {
        of_process.insert("path", path.as_str().into());
    }
    let mut source = Map::from([("process", of_process.into())]);
    let container = process.identity.container.as_ref();
    if let Some(name) = container.and_then(|container| container.name.as_deref()) {
        source.insert("container", Map::from([("name", name.into())]).into());
    }
    if let Some(pod) = process.identity.pod() {
        let pod = Map::from([("namespace", Value::from(pod.namespace.as_str()))]);
        source.insert("pod", pod.into());
    }
    source
}
