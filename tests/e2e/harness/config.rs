//! Configurations for the agent under test.

use super::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::{Value, json};
use std::path::Path;

/// A configuration in the making; [`Config::yaml`] is the file.
pub struct Config {
    event_stores: Vec<Value>,
    object_stores: Vec<Value>,
    plugins: Vec<Value>,
    tap: Value,
    limits: Value,
    stacks: Value,
    root: Value,
    resource: Value,
}

impl Config {
    /// Captures everything at `level`, loopback included.
    pub fn new(level: &str) -> Config {
        Config {
            event_stores: Vec::new(),
            object_stores: Vec::new(),
            plugins: vec![
                json!({"type": "http_capture", "config": {"level": level, "format": "json"}}),
            ],
            // Every program is scanned, whatever ran on this host before.
            tap: json!({
                "direction": "all",
                "ignore_loopback": false,
                "http": {"stack": "all"},
                "scan_cache": "off",
            }),
            limits: json!({}),
            stacks: json!({}),
            root: json!({}),
            resource: json!({}),
        }
    }

    /// Level full, to this collector over gRPC, with payloads in a folder of `work`.
    pub fn full(work: &Work, sink: &OtlpSink) -> Config {
        Config::new("full")
            .grpc(&sink.grpc_endpoint())
            .disk(&work.folder("payloads"))
    }

    /// All signals over gRPC.
    pub fn grpc(mut self, endpoint: &str) -> Config {
        self.event_stores.push(
            json!({"id": "collector", "type": "otel", "endpoint": endpoint, "protocol": "grpc"}),
        );
        self
    }

    /// Traces and logs alone over gRPC. Metrics of an interval are lost while a collector is away: the next ones say the same
    /// and more.
    pub fn grpc_without_metrics(mut self, endpoint: &str) -> Config {
        self.event_stores.push(
            json!({"id": "collector", "type": "otel", "endpoint": endpoint, "protocol": "grpc", "signals": ["traces", "logs"]}),
        );
        self
    }

    /// Traces alone over gRPC.
    pub fn grpc_traces(mut self, endpoint: &str) -> Config {
        self.event_stores.push(
            json!({"id": "collector", "type": "otel", "endpoint": endpoint, "protocol": "grpc", "signals": ["traces"]}),
        );
        self
    }

    /// Traces and logs over HTTP with protobuf.
    pub fn http(mut self, endpoint: &str) -> Config {
        self.event_stores.push(
            json!({"id": "collector", "type": "otel", "endpoint": endpoint, "protocol": "http"}),
        );
        self
    }

    /// Nothing is compressed for the event store that was added last.
    pub fn uncompressed(mut self) -> Config {
        if let Some(store) = self.event_stores.last_mut() {
            store["compression"] = json!("none");
        }
        self
    }

    /// A spool for the event store that was added last.
    pub fn spool(mut self, dir: &Path, max_bytes: &str) -> Config {
        if let Some(store) = self.event_stores.last_mut() {
            store["spool"] = json!({"dir": dir, "max_bytes": max_bytes});
        }
        self
    }

    /// A line a transaction on stdout.
    pub fn stdout(mut self) -> Config {
        self.event_stores
            .push(json!({"id": "lines", "type": "stdout"}));
        self
    }

    /// Payloads in a folder.
    pub fn disk(mut self, path: &Path) -> Config {
        self.object_stores
            .push(json!({"id": "payloads", "type": "disk", "path": path}));
        self
    }

    /// Payloads in an S3 store; an object of the store's keys.
    pub fn s3(mut self, store: Value) -> Config {
        self.object_stores.push(store);
        self
    }

    /// Adds a rule to http_capture.
    pub fn rule(mut self, name: &str, expr: &str, level: &str) -> Config {
        let config = &mut self.plugins[0]["config"];
        if config["rules"].is_null() {
            config["rules"] = json!([]);
        }
        if let Some(rules) = config["rules"].as_array_mut() {
            rules.push(json!({"name": name, "expr": expr, "level": level}));
        }
        self
    }

    pub fn access_logs(mut self, mode: &str, format: &str) -> Config {
        self.plugins
            .push(json!({"type": "access_logs", "config": {"mode": mode, "format": format}}));
        self
    }

    /// One more plugin.
    pub fn plugin(mut self, plugin: Value) -> Config {
        self.plugins.push(plugin);
        self
    }

    /// A key beside `level` of http_capture.
    pub fn capture(mut self, key: &str, value: Value) -> Config {
        self.plugins[0]["config"][key] = value;
        self
    }

    /// An attribute on every resource.
    pub fn resource(mut self, name: &str, value: &str) -> Config {
        self.resource[name] = json!(value);
        self
    }

    pub fn tap(mut self, key: &str, value: Value) -> Config {
        self.tap[key] = value;
        self
    }

    /// One more stack, of one plugin `http_capture` at `level`.
    pub fn stack(mut self, name: &str, level: &str) -> Config {
        self.stacks[name] =
            json!({"plugins": [{"type": "http_capture", "config": {"level": level}}]});
        self
    }

    /// A key at the top of the file.
    pub fn root(mut self, key: &str, value: Value) -> Config {
        self.root[key] = value;
        self
    }

    pub fn limit(mut self, key: &str, value: &str) -> Config {
        self.limits[key] = json!(value);
        self
    }

    /// The file's text.
    pub fn yaml(&self) -> String {
        let mut all = json!({
            "version": 2,
            "services": {"event_stores": self.event_stores},
            "stacks": {"all": {"plugins": self.plugins}},
            "tap": self.tap,
            "resource": {"attributes": self.resource},
        });
        for (name, stack) in self.stacks.as_object().into_iter().flatten() {
            all["stacks"][name] = stack.clone();
        }
        for (key, value) in self.root.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        if !self.object_stores.is_empty() {
            all["services"]["object_stores"] = json!(self.object_stores);
        }
        if self
            .limits
            .as_object()
            .is_some_and(|limits| !limits.is_empty())
        {
            all["limits"] = self.limits.clone();
        }
        serde_yaml::to_string(&all).expect("JSON is YAML")
    }
}
