//! Every key that this version acts on: one case of its effect and one of its error. A test in `src/config` sees to it
//! that the table below and the tables of keys have the same keys.

use crate::{loaded, read};
use plainspan::config::{Config, known_keys};

/// Where the case's YAML goes.
enum At {
    Root,
    Service,
    EventStore,
    ObjectStore,
    Capture,
    AccessLogs,
    Stack,
    Tap,
}
use At::{AccessLogs, Capture, EventStore, ObjectStore, Root, Service, Stack, Tap};

/// Section and key of the tables, where it goes, a right value, what `Debug` of the configuration then shows, a wrong
/// value, what the error says.
type Case = (
    &'static str,
    &'static str,
    At,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("the configuration", "version", Root, "", "Config", "version: 1", "must be 2"),
    ("the configuration", "services", Root, "services: {}", "event_stores: []", "services: []", "must be a map"),
    ("the configuration", "stacks", Root, "stacks: {q: {}}", "\"q\": Stack", "stacks: {q: 1}", "must be a map"),
    ("the configuration", "tap", Root, "tap: {direction: ingress}", "direction: Ingress", "tap: []", "must be a map"),
    ("the configuration", "resource", Root, "resource: {attributes: {a: b}}", "resource: {\"a\": \"b\"}", "resource: 1", "must be a map"),
    ("the configuration", "limits", Root, "limits: {ring: 1MiB}", "ring: 1048576", "limits: 1", "must be a map"),
    ("the configuration", "rulekit", Root, "rulekit: {macros: [{name: m, expr: 'true'}]}", "macros: [Macro { name: \"m\"", "rulekit: [m]", "must be a map"),
    ("rulekit", "macros", Root, "rulekit: {macros: [{name: m, expr: 'n()'}, {name: n, expr: 'true'}]}", "expr: \"n()\"", "rulekit: {macros: m}", "must be a list"),
    ("rulekit.macros", "name", Root, "rulekit: {macros: [{name: m, expr: 'true'}]}", "name: \"m\"", "rulekit: {macros: [{name: lower, expr: 'true'}]}", "name of a function"),
    ("rulekit.macros", "expr", Root, "rulekit: {macros: [{name: m, expr: 'tls.enabled'}]}", "expr: \"tls.enabled\"", "rulekit: {macros: [{name: m, expr: 'm()'}]}", "calls itself"),
    ("services", "event_stores", Service, "event_stores: [{type: stdout}]", "kind: Stdout", "event_stores: {}", "must be a list"),
    ("services", "object_stores", Service, "object_stores: [{type: stdout}]", "kind: Stdout", "object_stores: {}", "must be a list"),

    ("event store otel", "id", EventStore, "id: c1", "id: \"c1\"", "id: a/b", "letters, digits"),
    ("event store otel", "type", EventStore, "", "Otel(", "type: otel2", "duplicate key"),
    ("event store otel", "endpoint", EventStore, "endpoint: 'http://c:4317'", "url: \"http://c:4317\"", "endpoint: 'http://c:0'", "1 to 65535"),
    ("event store otel", "protocol", EventStore, "protocol: http", "protocol: Http", "protocol: grcp", "did you mean `grpc`"),
    ("event store otel", "signals", EventStore, "signals: [traces]", "logs: None", "signals: [trace]", "did you mean `traces`"),
    ("event store otel", "headers", EventStore, "headers: {x-a: {type: text, value: v}}", "headers: [(\"x-a\", ********)]", "headers: {'x a': {type: text, value: v}}", "is not a header name"),
    ("event store otel", "tls", EventStore, "tls: {ca_file: /ca}", "ca_file: Some(\"/ca\")", "tls: true", "must be a map"),
    ("event store otel", "compression", EventStore, "compression: zstd", "compression: Zstd", "compression: br", "one of none, gzip, zstd"),
    ("event store otel", "timeout", EventStore, "timeout: 250ms", "timeout: 250ms", "timeout: 10", "`10s`"),
    ("event store otel", "environment", EventStore, "environment: staging", "\"deployment.environment.name\": \"staging\"", "environment: ''", "must not be empty"),
    ("tls", "enabled", EventStore, "endpoint: 'c:4317', tls: {enabled: true}", "https://c:4317", "tls: {enabled: yes}", "true or false"),
    ("tls", "ca_file", EventStore, "tls: {ca_file: /a}", "ca_file: Some(\"/a\")", "tls: {ca_file: ''}", "must not be empty"),
    ("tls", "cert_file", EventStore, "tls: {cert_file: /a, key_file: /b}", "cert_file: Some(\"/a\")", "tls: {cert_file: /a}", "without `key_file`"),
    ("tls", "key_file", EventStore, "tls: {cert_file: /a, key_file: /b}", "key_file: Some(\"/b\")", "tls: {key_file: /b}", "without `cert_file`"),
    ("tls", "insecure_skip_verify", EventStore, "endpoint: 'https://c', tls: {insecure_skip_verify: true}", "insecure_skip_verify: true", "tls: {insecure_skip_verify: 1}", "true or false"),

    ("event store otel", "spool", EventStore, "spool: {dir: /s}", "spool: Some(SpoolSettings { dir: \"/s\", max_bytes: 1073741824, max_age: 86400s })", "spool: {max_age: 1h}", "is missing `dir`"),
    ("spool", "dir", EventStore, "spool: {dir: /var/s}", "dir: \"/var/s\"", "spool: {dir: s}", "must begin with `/`"),
    ("spool", "max_bytes", EventStore, "spool: {dir: /s, max_bytes: 5MiB}", "max_bytes: 5242880", "spool: {dir: /s, max_bytes: 5KiB}", "1MiB"),
    ("spool", "max_age", EventStore, "spool: {dir: /s, max_age: 2h}", "max_age: 7200s", "spool: {dir: /s, max_age: 0s}", "1s"),

    ("event store", "id", Service, "event_stores: [{type: stdout, id: x}]", "id: \"x\"", "event_stores: [{type: stdout, id: ''}]", "letters, digits"),
    ("event store", "type", Service, "event_stores: [{type: disabled}]", "kind: Disabled", "event_stores: [{type: stdou}]", "did you mean `stdout`"),

    ("object store s3", "id", ObjectStore, "id: o1", "id: \"o1\"", "id: a b", "letters, digits"),
    ("object store s3", "type", ObjectStore, "", "S3(", "type: s4", "duplicate key"),
    ("object store s3", "endpoint", ObjectStore, "endpoint: 'minio:9000'", "endpoint: \"minio:9000\"", "endpoint: 'http://minio'", "has no scheme"),
    ("object store s3", "bucket", Service, "object_stores: [{type: s3, bucket: bb}]", "bucket: \"bb\"", "object_stores: [{type: s3}]", "is missing `bucket`"),
    ("object store s3", "region", ObjectStore, "region: eu-1", "region: \"eu-1\"", "region: ''", "must not be empty"),
    ("object store s3", "access_url", ObjectStore, "access_url: 'https://x/{{KEY}}'", "https://x/{{KEY}}", "access_url: 'https://x/{{DIGST}}'", "did you mean `{{DIGEST}}`"),
    ("object store s3", "insecure", ObjectStore, "insecure: true", "insecure: true", "insecure: no", "true or false"),
    ("object store s3", "access_key", ObjectStore, "access_key: {type: text, value: a}, secret_key: {type: text, value: b}", "credentials: Some((********, ********))", "access_key: {type: text, value: a}", "without `secret_key`"),
    ("object store s3", "secret_key", ObjectStore, "access_key: {type: env, value: SET}, secret_key: {type: env, value: SET}", "credentials: Some", "access_key: {type: env, value: SET}, secret_key: {type: env, value: UNSET}", "`UNSET`"),
    ("object store s3", "prefix", ObjectStore, "prefix: /a/b", "prefix: \"a/b/\"", "prefix: []", "must be text"),
    ("object store s3", "layout", ObjectStore, "layout: segment", "layout: Segment { bytes: 8388608, time: 10s }", "layout: tree", "cannot be `tree`"),
    ("object store s3", "segment_bytes", ObjectStore, "layout: segment, segment_bytes: 64KiB", "Segment { bytes: 65536", "segment_bytes: 1KiB", "64KiB"),
    ("object store s3", "segment_time", ObjectStore, "layout: segment, segment_time: 1s", "time: 1s", "segment_time: 1ms", "100ms"),
    ("object store s3", "spool", ObjectStore, "spool: {dir: /s}", "spool: Some(SpoolSettings { dir: \"/s\", max_bytes: 1073741824, max_age: 86400s })", "spool: {max_age: 1h}", "is missing `dir`"),
    ("object store s3", "encryption", ObjectStore, "encryption: 'aws:kms'", "encryption: Some(Kms(None))", "encryption: aes", "one of AES256, aws:kms"),
    ("object store s3", "kms_key_id", ObjectStore, "encryption: 'aws:kms', kms_key_id: k1", "Kms(Some(\"k1\"))", "encryption: AES256, kms_key_id: k1", "needs `encryption: aws:kms`"),
    ("object store s3", "object_tags", ObjectStore, "object_tags: {team: shop}", "object_tags: {\"team\": \"shop\"}", "object_tags: {'a&b': shop}", "no store takes the tag"),
    ("object store gcs", "id", Service, "object_stores: [{type: gcs, bucket: b, id: g1}]", "id: \"g1\"", "object_stores: [{type: gcs, bucket: b, id: '/'}]", "letters, digits"),
    ("object store gcs", "type", Service, "object_stores: [{type: gcs, bucket: b}]", "Gcs(", "object_stores: [{type: gsc, bucket: b}]", "did you mean `gcs`"),
    ("object store gcs", "endpoint", Service, "object_stores: [{type: gcs, bucket: b, endpoint: 'g:1'}]", "endpoint: \"g:1\"", "object_stores: [{type: gcs, bucket: b, endpoint: 'http://g'}]", "has no scheme"),
    ("object store gcs", "bucket", Service, "object_stores: [{type: gcs, bucket: bb}]", "bucket: \"bb\"", "object_stores: [{type: gcs}]", "is missing `bucket`"),
    ("object store gcs", "insecure", Service, "object_stores: [{type: gcs, bucket: b, insecure: true}]", "insecure: true", "object_stores: [{type: gcs, bucket: b, insecure: no}]", "true or false"),
    ("object store gcs", "credentials_file", Service, "object_stores: [{type: gcs, bucket: b, credentials_file: /k.json}]", "credentials_file: Some(\"/k.json\")", "object_stores: [{type: gcs, bucket: b, credentials_file: k.json}]", "must begin with `/`"),
    ("object store gcs", "access_url", Service, "object_stores: [{type: gcs, bucket: b, access_url: 'http://f/{{KEY}}'}]", "http://f/{{KEY}}", "object_stores: [{type: gcs, bucket: b, access_url: 'http://f/{{KEY'}]", "without `}}`"),
    ("object store gcs", "prefix", Service, "object_stores: [{type: gcs, bucket: b, prefix: 'x/{date}'}]", "prefix: \"x/{date}/\"", "object_stores: [{type: gcs, bucket: b, prefix: '{dat}'}]", "unknown variable `{dat}`"),
    ("object store gcs", "layout", Service, "object_stores: [{type: gcs, bucket: b, layout: segment}]", "layout: Segment", "object_stores: [{type: gcs, bucket: b, layout: tree}]", "cannot be `tree`"),
    ("object store gcs", "segment_bytes", Service, "object_stores: [{type: gcs, bucket: b, layout: segment, segment_bytes: 1MiB}]", "Segment { bytes: 1048576", "object_stores: [{type: gcs, bucket: b, segment_bytes: 1GiB}]", "256MiB"),
    ("object store gcs", "segment_time", Service, "object_stores: [{type: gcs, bucket: b, layout: segment, segment_time: 1m}]", "time: 60s", "object_stores: [{type: gcs, bucket: b, segment_time: 2h}]", "1h"),
    ("object store gcs", "spool", Service, "object_stores: [{type: gcs, bucket: b, spool: {dir: /s}}]", "spool: Some(SpoolSettings { dir: \"/s\"", "object_stores: [{type: gcs, bucket: b, spool: {dir: s}}]", "must begin with `/`"),
    ("object store azure", "spool", Service, "object_stores: [{type: azure, account: acc, container: c, spool: {dir: /s}}]", "spool: Some(SpoolSettings { dir: \"/s\"", "object_stores: [{type: azure, account: acc, container: c, spool: {dir: s}}]", "must begin with `/`"),
    ("object store azure", "id", Service, "object_stores: [{type: azure, account: acc, container: c, id: z1}]", "id: \"z1\"", "object_stores: [{type: azure, account: acc, container: c, id: '/'}]", "letters, digits"),
    ("object store azure", "type", Service, "object_stores: [{type: azure, account: acc, container: c}]", "Azure(", "object_stores: [{type: azur, account: acc, container: c}]", "did you mean `azure`"),
    ("object store azure", "endpoint", Service, "object_stores: [{type: azure, account: acc, container: c, endpoint: 'z:1'}]", "endpoint: \"z:1\"", "object_stores: [{type: azure, account: acc, container: c, endpoint: 'http://z'}]", "has no scheme"),
    ("object store azure", "account", Service, "object_stores: [{type: azure, account: acc, container: c}]", "acc.blob.core.windows.net", "object_stores: [{type: azure, container: c}]", "is missing `account`"),
    ("object store azure", "container", Service, "object_stores: [{type: azure, account: acc, container: cc}]", "container: \"cc\"", "object_stores: [{type: azure, account: acc}]", "is missing `container`"),
    ("object store azure", "insecure", Service, "object_stores: [{type: azure, account: acc, container: c, insecure: true}]", "insecure: true", "object_stores: [{type: azure, account: acc, container: c, insecure: no}]", "true or false"),
    ("object store azure", "access_key", Service, "object_stores: [{type: azure, account: acc, container: c, access_key: {type: env, value: SET}}]", "access_key: Some(********)", "object_stores: [{type: azure, account: acc, container: c, access_key: {type: env, value: UNSET}}]", "`UNSET`"),
    ("object store azure", "object_tags", Service, "object_stores: [{type: azure, account: acc, container: c, object_tags: {team: shop}}]", "object_tags: {\"team\": \"shop\"}", "object_stores: [{type: azure, account: acc, container: c, object_tags: {'a&b': shop}}]", "no store takes the tag"),
    ("object store azure", "access_url", Service, "object_stores: [{type: azure, account: acc, container: c, access_url: 'http://f/{{KEY}}'}]", "http://f/{{KEY}}", "object_stores: [{type: azure, account: acc, container: c, access_url: 'http://f/{{KEY'}]", "without `}}`"),
    ("object store azure", "prefix", Service, "object_stores: [{type: azure, account: acc, container: c, prefix: 'x/{date}'}]", "prefix: \"x/{date}/\"", "object_stores: [{type: azure, account: acc, container: c, prefix: '{dat}'}]", "unknown variable `{dat}`"),
    ("object store azure", "layout", Service, "object_stores: [{type: azure, account: acc, container: c, layout: segment}]", "layout: Segment", "object_stores: [{type: azure, account: acc, container: c, layout: tree}]", "cannot be `tree`"),
    ("object store azure", "segment_bytes", Service, "object_stores: [{type: azure, account: acc, container: c, layout: segment, segment_bytes: 1MiB}]", "Segment { bytes: 1048576", "object_stores: [{type: azure, account: acc, container: c, segment_bytes: 1GiB}]", "256MiB"),
    ("object store azure", "segment_time", Service, "object_stores: [{type: azure, account: acc, container: c, layout: segment, segment_time: 1m}]", "time: 60s", "object_stores: [{type: azure, account: acc, container: c, segment_time: 2h}]", "1h"),
    ("object store disk", "max_bytes", Service, "object_stores: [{type: disk, path: /p, max_bytes: 5MiB}]", "max_bytes: 5242880", "object_stores: [{type: disk, path: /p, max_bytes: 5KiB}]", "1MiB"),
    ("object store disk", "max_age", Service, "object_stores: [{type: disk, path: /p, max_age: 2h}]", "max_age: 7200s", "object_stores: [{type: disk, path: /p, max_age: 0s}]", "1s"),
    ("object store disk", "prefix", Service, "object_stores: [{type: disk, path: /p, prefix: '{service}'}]", "prefix: \"{service}/\"", "object_stores: [{type: disk, path: /p, prefix: '../a'}]", "cannot begin a key"),
    ("object store disk", "id", Service, "object_stores: [{type: disk, path: /p, id: d1}]", "id: \"d1\"", "object_stores: [{type: disk, path: /p, id: '/'}]", "letters, digits"),
    ("object store disk", "type", Service, "object_stores: [{type: disk, path: /p}]", "Disk(", "object_stores: [{type: dsik, path: /p}]", "did you mean `disk`"),
    ("object store disk", "path", Service, "object_stores: [{type: disk, path: /p}]", "path: \"/p\"", "object_stores: [{type: disk, path: p}]", "must begin with `/`"),
    ("object store disk", "access_url", Service, "object_stores: [{type: disk, path: /p, access_url: 'http://f/{{KEY}}'}]", "http://f/{{KEY}}", "object_stores: [{type: disk, path: /p, access_url: 'http://f/{{KEY'}]", "without `}}`"),
    ("object store disk", "layout", Service, "object_stores: [{type: disk, path: /p, layout: object}]", "Disk(", "object_stores: [{type: disk, path: /p, layout: tree}]", "cannot be `tree`"),
    ("object store disk", "segment_bytes", Service, "object_stores: [{type: disk, path: /p, layout: segment, segment_bytes: 1MiB}]", "Segment { bytes: 1048576", "object_stores: [{type: disk, path: /p, segment_bytes: 1GiB}]", "256MiB"),
    ("object store disk", "segment_time", Service, "object_stores: [{type: disk, path: /p, layout: segment, segment_time: 1m}]", "time: 60s", "object_stores: [{type: disk, path: /p, segment_time: 2h}]", "1h"),
    ("object store", "id", Service, "object_stores: [{type: stdout, id: y}]", "id: \"y\"", "object_stores: [{type: stdout, id: []}]", "must be text"),
    ("object store", "type", Service, "object_stores: [{type: disabled}]", "kind: Disabled", "object_stores: [{id: a}]", "without `type`"),

    ("stack", "plugins", Stack, "plugins: [{type: report_usage}]", "report_usage: true", "plugins: {}", "must be a list"),
    ("plugin", "type", Stack, "plugins: [{type: http_metrics}]", "http_metrics: true", "plugins: [{type: http_metric}]", "did you mean `http_metrics`"),
    ("plugin http_capture", "type", Stack, "plugins: [{type: http_capture}]", "http_capture: Some", "plugins: [{type: http-capture}]", "did you mean `http_capture`"),
    ("plugin http_capture", "config", Capture, "level: full", "level: Full", "levels: full", "did you mean `level`"),
    ("plugin access_logs", "type", Stack, "plugins: [{type: debug}]", "access_logs: Some", "plugins: [{type: access_log}]", "did you mean `access_logs`"),
    ("plugin access_logs", "config", AccessLogs, "mode: full", "mode: Full", "mod: full", "did you mean `mode`"),
    ("http_capture.config", "level", Capture, "level: details", "level: Headers", "level: detials", "did you mean `details`"),
    ("http_capture.config", "format", Capture, "format: text", "HttpCapture", "format: xml", "one of json, text"),
    ("http_capture.config", "rules", Capture, "level: full, rules: [{name: n, expr: 'http.res.status < 400', level: none}]", "rules: [Rule { name: Some(\"n\"), expr: \"http.res.status < 400\", level: None }]", "rules: {}", "must be a list"),
    ("http_capture.config", "object_store", Capture, "object_store: {disabled: true}", "object_store: None", "object_store: payloads", "must be a map"),
    ("http_capture.config", "headers", Capture, "headers: {include: [a]}", "headers_include: [\"a\"]", "headers: [a]", "must be a map"),
    ("http_capture.config", "redact", Capture, "redact: {rules: [{in: header, key: k}]}", "redact: [RedactRule", "redact: [k]", "must be a map"),
    ("http_capture.config", "bodies", Capture, "bodies: {max_bytes: 2KiB}", "body_max_bytes: 2048", "bodies: 2KiB", "must be a map"),
    ("http_capture.config.rules", "name", Capture, "rules: [{name: n, expr: 'true', level: full}]", "name: Some(\"n\")", "rules: [{name: [], expr: 'true', level: full}]", "must be text"),
    ("http_capture.config.rules", "expr", Capture, "rules: [{expr: 'tls.enabled', level: full}]", "expr: \"tls.enabled\"", "rules: [{expr: 'http.res.stauts == 1', level: full}]", "did you mean `http.res.status`"),
    ("http_capture.config.rules", "level", Capture, "rules: [{expr: 'true', level: details}]", "level: Headers }]", "rules: [{expr: 'true', level: ful}]", "did you mean `full`"),
    ("http_capture.config.rules", "format", Capture, "rules: [{expr: 'true', level: full, format: json}]", "HttpCapture", "rules: [{expr: 'true', level: full, format: js}]", "one of json, text"),
    ("http_capture.config.object_store", "id", Capture, "object_store: {id: second}", "object_store: Some(\"second\")", "object_store: {id: secnd}", "did you mean `second`"),
    ("http_capture.config.object_store", "disabled", Capture, "object_store: {disabled: true}", "object_store: None", "object_store: {disabled: 0}", "true or false"),
    ("http_capture.config.object_store", "from_level", Capture, "object_store: {from_level: full}", "object_from_level: Full", "object_store: {from_level: all}", "cannot be `all`"),
    ("http_capture.config.headers", "include", Capture, "headers: {include: [x-*]}", "headers_include: [\"x-*\"]", "headers: {include: ['[']}", "is not a pattern"),
    ("http_capture.config.headers", "exclude", Capture, "headers: {exclude: [x-*]}", "headers_exclude: [\"x-*\"]", "headers: {exclude: x-*}", "must be a list"),
    ("http_capture.config.redact", "hash_key", Capture, "redact: {hash_key: {type: text, value: 0123456789abcdef}}", "hash_key: Some(Text(********))", "redact: {hash_key: {type: text, value: short}}", "less than 16 bytes"),
    ("http_capture.config.redact", "hash_key_file", Capture, "redact: {hash_key_file: /etc/plainspan/key}", "hash_key: Some(File(\"/etc/plainspan/key\"))", "redact: {hash_key_file: key}", "must begin with `/`"),
    ("http_capture.config.redact", "rules", Capture, "redact: {rules: [{in: query, key: k}]}", "place: Query", "redact: {rules: [k]}", "must be a map"),
    ("http_capture.config.redact.rules", "name", Capture, "redact: {rules: [{name: users, in: query, key: k}]}", "name: \"users\"", "redact: {rules: [{name: '', in: query, key: k}]}", "must not be empty"),
    ("http_capture.config.redact.rules", "in", Capture, "redact: {rules: [{in: cookie, key: k}]}", "place: Cookie", "redact: {rules: [{in: jsn, key: k}]}", "did you mean `json`"),
    ("http_capture.config.redact.rules", "match", Capture, "redact: {rules: [{in: cookie, match: regex, key: '^k'}]}", "Regex(\"^k\")", "redact: {rules: [{in: cookie, match: regexp, key: k}]}", "did you mean `regex`"),
    ("http_capture.config.redact.rules", "key", Capture, "redact: {rules: [{in: header, match: glob, key: 'k*'}]}", "Glob(\"k*\")", "redact: {rules: [{in: header, match: glob, key: '['}]}", "is not a pattern"),
    ("http_capture.config.redact.rules", "mode", Capture, "redact: {rules: [{in: header, key: k, mode: keep}]}", "mode: Keep", "redact: {rules: [{in: header, key: k, mode: hash}]}", "has no key"),
    ("http_capture.config", "sample", Capture, "sample: {ratio: 0.25}", "ratio: Ratio(54043195528445952)", "sample: 0.25", "must be a map"),
    ("http_capture.config.sample", "ratio", Capture, "sample: {ratio: 0}", "ratio: Ratio(72057594037927936)", "sample: {ratio: 25%}", "must be a number from 0 to 1"),
    ("http_capture.config.sample", "per_endpoint", Capture, "sample: {per_endpoint: 100/s}", "per_endpoint: Some(Rate { count: 100, period: 1s })", "sample: {per_endpoint: 100}", "such as `100/s`"),
    ("http_capture.config.sample", "per_process", Capture, "sample: {per_process: 60/m}", "per_process: Some(Rate { count: 60, period: 60s })", "sample: {per_process: 0/s}", "such as `100/s`"),
    ("http_capture.config.sample", "keep", Capture, "sample: {keep: ['http.res.status >= 500']}", "keep: [\"http.res.status >= 500\"]", "sample: {keep: ['http.res.stats >= 500']}", "did you mean `http.res.status`"),
    ("http_capture.config.rules", "ratio", Capture, "rules: [{name: r, expr: 'true', level: full, ratio: 0.5}]", "ratio: Some(Ratio(36028797018963968))", "rules: [{expr: 'true', level: full, ratio: 2}]", "must be a number from 0 to 1"),
    ("http_capture.config.rules", "max_bytes", Capture, "rules: [{name: r, expr: 'true', level: full, max_bytes: 4KiB}]", "max_bytes: Some(4096)", "rules: [{expr: 'true', level: full, max_bytes: 4}]", "`4B`"),
    ("http_capture.config.bodies", "content_types", Capture, "bodies: {content_types: ['text/*']}", "body_content_types: [\"text/*\"]", "bodies: {content_types: ['[']}", "is not a pattern"),
    ("http_capture.config.bodies", "max_bytes", Capture, "bodies: {max_bytes: 0B}", "body_max_bytes: 0", "bodies: {max_bytes: 2TiB}", "from 0B to 1GiB"),
    ("http_capture.config.bodies", "as_sent", Capture, "bodies: {as_sent: true}", "body_as_sent: true", "bodies: {as_sent: 1}", "true or false"),
    ("access_logs.config", "mode", AccessLogs, "mode: details", "mode: Headers", "mode: detail", "did you mean `details`"),
    ("access_logs.config", "rules", AccessLogs, "rules: [{name: n, expr: 'true', mode: full}]", "rules: [Rule { name: Some(\"n\"), expr: \"true\", level: Full }]", "rules: [true]", "must be a map"),
    ("access_logs.config.rules", "name", AccessLogs, "rules: [{name: n, expr: 'true', mode: full}]", "name: Some(\"n\")", "rules: [{name: {}, expr: 'true', mode: full}]", "must be text"),
    ("access_logs.config.rules", "expr", AccessLogs, "rules: [{expr: 'tls.enabled', mode: full}]", "expr: \"tls.enabled\"", "rules: [{expr: 'tls.enabled ==', mode: full}]", "is expected"),
    ("access_logs.config.rules", "mode", AccessLogs, "rules: [{expr: 'true', mode: details}]", "level: Headers }]", "rules: [{expr: 'true'}]", "is missing `mode`"),
    ("access_logs.config", "format", AccessLogs, "format: json", "json: true", "format: text", "one of console, json"),

    ("tap", "direction", Tap, "direction: egress-external", "direction: EgressExternal", "direction: egres", "did you mean `egress`"),
    ("tap", "ignore_loopback", Tap, "ignore_loopback: true", "ignore_loopback: true", "ignore_loopback: 'true'", "true or false"),
    ("tap", "http", Tap, "http: {stack: s}", "http_stack: Some(\"s\")", "http: s", "must be a map"),
    ("tap", "filters", Tap, "filters: {groups: [gke]}", "exclude: [ExeMatch", "filters: [gke]", "must be a map"),
    ("the configuration", "tags", Root, "tags: [{key: t, source: env, location: T}]", "tags: [TagRule", "tags: {}", "must be a list"),
    ("tags", "key", Root, "tags: [{key: team, source: env, location: T}]", "key: \"team\"", "tags: [{source: env, location: T}]", "is missing `key`"),
    ("tags", "source", Root, "tags: [{key: t, source: k8s.label, location: T}]", "source: PodLabel", "tags: [{key: t, source: k8s.labels, location: T}]", "did you mean `k8s.label`"),
    ("tags", "location", Root, "tags: [{key: t, source: container.label, location: a/b}]", "location: \"a/b\"", "tags: [{key: t, source: env, location: ''}]", "must not be empty"),
    ("tap", "endpoints", Tap, "endpoints: [{domain: a.b, http: {stack: s}}]", "endpoints: [EndpointStack", "endpoints: [{domain: a.b, http: {stack: s}}, {domain: A.b, http: {stack: none}}]", "has an entry already"),
    ("tap", "private_ranges", Tap, "private_ranges: [100.64.0.0/10]", "100.64.0.0", "private_ranges: [100.64.0.0/40]", "must be a network"),
    ("tap", "identity", Tap, "identity: {docker: [/a]}", "docker: [\"/a\"]", "identity: [docker]", "must be a map"),
    ("tap.identity", "docker", Tap, "identity: {docker: [/a/docker.sock]}", "docker: [\"/a/docker.sock\"]", "identity: {docker: [docker.sock]}", "must begin with `/`"),
    ("tap.identity", "containerd", Tap, "identity: {containerd: [/a/c.sock]}", "containerd: [\"/a/c.sock\"]", "identity: {containerd: /a}", "must be a list"),
    ("tap.identity", "cri", Tap, "identity: {cri: []}", "cri: []", "identity: {cri: ['']}", "must begin with `/`"),
    ("tap.identity", "kubelet", Tap, "identity: {kubelet: {url: 'https://n:10250'}}", "kubelet: Some(KubernetesServer", "identity: {kubelet: {insecure_skip_verify: true}}", "is missing `url`"),
    ("tap.identity.kubelet", "url", Tap, "identity: {kubelet: {url: 'https://n:10250/'}}", "url: \"https://n:10250\"", "identity: {kubelet: {url: 'n:10250'}}", "must be a URL of http or https"),
    ("tap.identity.kubelet", "token_file", Tap, "identity: {kubelet: {url: 'https://n:1', token_file: /t}}", "token_file: Some(\"/t\")", "identity: {kubelet: {url: 'http://n:1', token_file: /t}}", "in the clear"),
    ("tap.identity.kubelet", "ca_file", Tap, "identity: {kubelet: {url: 'https://n:1', ca_file: /c}}", "ca_file: Some(\"/c\")", "identity: {kubelet: {url: 'https://n:1', ca_file: c}}", "must begin with `/`"),
    ("tap.identity.kubelet", "insecure_skip_verify", Tap, "identity: {kubelet: {url: 'https://n:1', insecure_skip_verify: true}}", "insecure_skip_verify: true", "identity: {kubelet: {url: 'https://n:1', insecure_skip_verify: 1}}", "true or false"),
    ("tap.identity", "kubernetes", Tap, "identity: {kubernetes: {node: n1}}", "server: KubernetesServer { url: \"https://kubernetes.default.svc\", token_file: Some(\"/var/run/secrets/kubernetes.io/serviceaccount/token\"), ca_file: Some(\"/var/run/secrets/kubernetes.io/serviceaccount/ca.crt\")", "identity: {kubernetes: true}", "must be a map"),
    ("tap.identity.kubernetes", "url", Tap, "identity: {kubernetes: {node: n1, url: 'https://k:6443/'}}", "url: \"https://k:6443\"", "identity: {kubernetes: {node: n1, url: 'k:6443'}}", "must be a URL of http or https"),
    ("tap.identity.kubernetes", "node", Tap, "identity: {kubernetes: {node: n1}}", "node: \"n1\"", "identity: {kubernetes: {ca_file: /c}}", "is missing `node`"),
    ("tap.identity.kubernetes", "token_file", Tap, "identity: {kubernetes: {node: n1, token_file: /t}}", "token_file: Some(\"/t\")", "identity: {kubernetes: {node: n1, url: 'http://k:1', token_file: /t}}", "in the clear"),
    ("tap.identity.kubernetes", "ca_file", Tap, "identity: {kubernetes: {node: n1, ca_file: /c}}", "ca_file: Some(\"/c\")", "identity: {kubernetes: {node: n1, ca_file: c}}", "must begin with `/`"),
    ("tap.identity.kubernetes", "insecure_skip_verify", Tap, "identity: {kubernetes: {node: n1, insecure_skip_verify: true}}", "ca_file: None, insecure_skip_verify: true", "identity: {kubernetes: {node: n1, insecure_skip_verify: 1}}", "true or false"),
    ("tap", "trace", Tap, "trace: {context: link}", "trace_context: Link", "trace: link", "must be a map"),
    ("tap", "routes", Tap, "routes: ['/users/{id}']", "Pattern { text: \"/users/{id}\"", "routes: ['/users/{id']", "not one parameter"),
    ("tap", "route_heuristic", Tap, "route_heuristic: true", "route_heuristic: true", "route_heuristic: 2", "must be true or false"),
    ("tap", "scan_cache", Tap, "scan_cache: 'off'", "scan_cache: None", "scan_cache: scans", "or be `off`"),
    ("tap", "java", Tap, "java: true", "java: true", "java: 2", "must be true or false"),
    ("tap", "progress", Tap, "progress: 5s", "progress: 5s", "progress: 10ms", "from 1s to 1d"),
    ("tap.http", "stack", Tap, "http: {stack: none}", "http_stack: None", "http: {stack: t}", "there is no stack `t`"),
    ("tap.filters", "groups", Tap, "filters: {groups: [kubernetes]}", "exe: \"/kubelet\", strategy: Suffix", "filters: {groups: [k8s]}", "cannot be `k8s`"),
    ("tap.filters", "custom", Tap, "filters: {custom: [{exe: /a}]}", "exe: \"/a\", strategy: Exact", "filters: {custom: [/a]}", "must be a map"),
    ("tap.filters", "include", Tap, "filters: {include: [{exe: /a}]}", "include: [Include", "filters: {include: [{}]}", "matches nothing"),
    ("tap.filters.custom", "exe", Tap, "filters: {custom: [{exe: /a}]}", "exe: \"/a\"", "filters: {custom: [{exe: a}]}", "whole path"),
    ("tap.filters.custom", "strategy", Tap, "filters: {custom: [{exe: a, strategy: contains}]}", "strategy: Contains", "filters: {custom: [{exe: '(', strategy: regex}]}", "not a regular expression"),
    ("tap.filters.custom", "only", Tap, "filters: {custom: [{exe: /a, only: [tls]}]}", "exclude_tls: [ExeMatch { exe: \"/a\"", "filters: {custom: [{exe: /a, only: [dsn]}]}", "did you mean `dns`"),
    ("tap.filters.include", "exe", Tap, "filters: {include: [{exe: /a}]}", "exe: Some(ExeMatch", "filters: {include: [{exe: ''}]}", "must not be empty"),
    ("tap.filters.include", "strategy", Tap, "filters: {include: [{exe: a, strategy: suffix}]}", "strategy: Suffix", "filters: {include: [{exe: a, strategy: sufix}]}", "did you mean `suffix`"),
    ("tap.filters.include", "pid", Tap, "filters: {include: [{pid: 1}]}", "pid: Some(1)", "filters: {include: [{pid: 0}]}", "whole number"),
    ("tap.filters.include", "uid", Tap, "filters: {include: [{uid: 0}]}", "uid: Some(0)", "filters: {include: [{uid: root}]}", "whole number"),
    ("tap.filters.include", "port", Tap, "filters: {include: [{port: 443}]}", "port: Some(443)", "filters: {include: [{port: 65536}]}", "from 1 to 65535"),
    ("tap.filters.include", "netns", Tap, "filters: {include: [{netns: 4026531840}]}", "netns: Some(4026531840)", "filters: {include: [{netns: host}]}", "whole number"),
    ("tap.filters.include", "cgroup", Tap, "filters: {include: [{cgroup: /a.slice}]}", "cgroup: Some(\"/a.slice\")", "filters: {include: [{cgroup: a.slice}]}", "must begin with `/`"),
    ("tap.filters.include", "container", Tap, "filters: {include: [{container: 'web-*'}]}", "container: Some(\"web-*\")", "filters: {include: [{container: '['}]}", "is not a pattern"),
    ("tap.filters.include", "pod", Tap, "filters: {include: [{pod: 'web-*'}]}", "pod: Some(\"web-*\")", "filters: {include: [{pod: '['}]}", "is not a pattern"),
    ("tap.filters.include", "k8s_namespace", Tap, "filters: {include: [{k8s_namespace: prod}]}", "k8s_namespace: Some(\"prod\")", "filters: {include: [{k8s_namespace: ''}]}", "must not be empty"),
    ("tap.endpoints", "domain", Tap, "endpoints: [{domain: '*.A.b', http: {stack: s}}]", "domain: \"*.a.b\"", "endpoints: [{domain: 'a..b'}]", "must be a host name"),
    ("tap.endpoints", "http", Tap, "endpoints: [{domain: a.b, http: {stack: s}}]", "stack: Some(\"s\") }]", "endpoints: [{domain: a.b, http: {stack: t}}]", "there is no stack `t`"),
    ("tap.trace", "context", Tap, "trace: {context: off}", "trace_context: Off", "trace: {context: adapt}", "did you mean `adopt`"),
    ("tap.trace", "joined_networks", Tap, "trace: {joined_networks: [10.0.0.0/8]}", "networks: [Net { address: 10.0.0.0", "trace: {joined_networks: [10.0.0.0/40]}", "10.0.0.0/40"),
    ("tap.trace", "site_key", Tap, "trace: {site_key: {type: text, value: 0123456789abcdef}}", "site_key: Some(Text(********))", "trace: {site_key: {type: text, value: short}}", "`site_key` has less than 16 bytes"),
    ("tap.trace", "site_key_file", Tap, "trace: {site_key_file: /etc/plainspan/site}", "site_key: Some(File(\"/etc/plainspan/site\"))", "trace: {site_key_file: site}", "must begin with `/`"),
    ("tap.trace", "untrusted", Tap, "trace: {untrusted: ['203.0.113.0/24', '::/0']}", "untrusted: [Net { address: 203.0.113.0", "trace: {untrusted: [203.0.113.0/33]}", "203.0.113.0/33"),
    ("tap.trace", "adopt_max", Tap, "trace: {adopt_max: 7}", "requests: 7", "trace: {adopt_max: 0}", "from 1"),
    ("tap.trace", "adopt_age", Tap, "trace: {adopt_age: 90s}", "age: 90s", "trace: {adopt_age: 10ms}", "from 1s"),
    ("tap.trace", "inferred", Tap, "trace: {inferred: false}", "inferred: false", "trace: {inferred: maybe}", "true or false"),
    ("tap.trace", "state_file", Tap, "trace: {state_file: 'off'}", "state_file: None", "trace: {state_file: connections}", "or be `off`"),
    ("the configuration", "metrics", Root, "metrics: {interval: 20s}", "interval: 20s", "metrics: 10s", "must be a map"),
    ("metrics", "interval", Root, "metrics: {interval: 1m}", "interval: 60s", "metrics: {interval: 100ms}", "from 1s to 1d"),
    ("metrics", "max_series", Root, "metrics: {max_series: 5}", "max_series: 5", "metrics: {max_series: 0}", "from 1 to 16384"),
    ("metrics", "exemplars", Root, "metrics: {exemplars: false}", "exemplars: false", "metrics: {exemplars: some}", "must be true or false"),
    ("metrics", "temporality_preference", Root, "metrics: {temporality_preference: delta}", "temporality: Delta", "metrics: {temporality_preference: lowmemory}", "did you mean `low_memory`"),
    ("metrics", "default_histogram_aggregation", Root, "metrics: {default_histogram_aggregation: base2_exponential_bucket_histogram}", "aggregation: Exponential", "metrics: {default_histogram_aggregation: base2}", "one of explicit_bucket_histogram"),
    ("metrics", "headers", Root, "metrics: {headers: [{header: X-Tenant, attribute: tenant}]}", "headers: [MetricHeader {", "metrics: {headers: [{header: a, attribute: a.b}, {header: b, attribute: a_b}]}", "is an attribute already"),
    ("metrics.headers", "header", Root, "metrics: {headers: [{header: X-Tenant, attribute: tenant}]}", "header: \"x-tenant\"", "metrics: {headers: [{header: 'x tenant', attribute: tenant}]}", "the name of a header"),
    ("metrics.headers", "from", Root, "metrics: {headers: [{header: a, from: response, attribute: a}]}", "from: Response", "metrics: {headers: [{header: a, from: answer, attribute: a}]}", "one of request, response"),
    ("metrics.headers", "attribute", Root, "metrics: {headers: [{header: a, attribute: tenant.id}]}", "attribute: \"tenant.id\"", "metrics: {headers: [{header: a, attribute: http.route}]}", "that metrics have already"),
    ("metrics.headers", "max_values", Root, "metrics: {headers: [{header: a, attribute: a, max_values: 7}]}", "max_values: 7", "metrics: {headers: [{header: a, attribute: a, max_values: 9999}]}", "from 1 to 2000"),
    ("resource", "attributes", Root, "resource: {attributes: {team: 7}}", "\"team\": \"7\"", "resource: {attributes: {team: []}}", "must be text"),
    ("limits", "memory", Root, "limits: {memory: 1GiB}", "memory: 1073741824", "limits: {memory: 1MiB}", "from 16MiB"),
    ("limits", "connection_memory", Root, "limits: {connection_memory: 2MB}", "connection_memory: 2000000", "limits: {connection_memory: 512MiB}", "more than memory"),
    ("the configuration", "telemetry", Root, "telemetry: {program_stats: true}", "program_stats: true", "telemetry: 1", "must be a map"),
    ("telemetry", "program_stats", Root, "telemetry: {program_stats: true}", "program_stats: true", "telemetry: {program_stats: often}", "must be"),
    ("the configuration", "live", Root, "live: {socket: 'off'}", "live_socket: None", "live: 1", "must be a map"),
    ("live", "socket", Root, "live: {socket: /a/live.sock}", "live_socket: Some(\"/a/live.sock\")", "live: {socket: live.sock}", "or be `off`"),
    ("the configuration", "security", Root, "security: {sandbox: false}", "sandbox: false", "security: 1", "must be a map"),
    ("security", "sandbox", Root, "security: {sandbox: false}", "sandbox: false", "security: {sandbox: half}", "must be true or false"),
    ("limits", "cpu", Root, "limits: {cpu: 0.25}", "cpu: Some(250)", "limits: {cpu: 0}", "from 0.01 to 1024"),
    ("limits", "ring", Root, "limits: {ring: 20MiB}", "ring: 33554432", "limits: {ring: 16}", "`16B`"),
];

fn file(at: &At, yaml: &str) -> String {
    let stores = |event: &str, object: &str| format!("services: {{{event}{object}}}\n");
    let usual =
        "object_stores: [{type: disk, path: /p, id: first}, {type: disk, path: /q, id: second}]";
    let stack = |plugins: &str| format!("stacks: {{s: {{{plugins}}}}}\n");
    let s = stack("plugins: [{type: http_capture, config: {level: headers}}]");
    let tap = "tap: {http: {stack: s}}\n";
    let body = match at {
        Root => format!("{yaml}\n"),
        Service => format!("services: {{{yaml}}}\n{s}{tap}"),
        EventStore => stores(&format!("event_stores: [{{type: otel, {yaml}}}]"), "") + &s + tap,
        ObjectStore => {
            stores(
                &format!("object_stores: [{{type: s3, bucket: b, {yaml}}}]"),
                "",
            ) + &s
                + tap
        }
        Capture => {
            stores(usual, "")
                + &stack(&format!(
                    "plugins: [{{type: http_capture, config: {{{yaml}}}}}]"
                ))
                + tap
        }
        AccessLogs => {
            stack(&format!(
                "plugins: [{{type: access_logs, config: {{{yaml}}}}}]"
            )) + tap
        }
        Stack => stack(yaml) + tap,
        Tap => format!("{s}tap: {{{yaml}}}\n"),
    };
    if yaml.starts_with("version") {
        body
    } else {
        format!("version: 2\n{body}")
    }
}

#[test]
fn rules_of_content_are_read_and_refused_with_a_place() {
    let key = "hash_key: {type: text, value: 0123456789abcdef}";
    for (rule, shows) in [
        ("{in: json, key: '$.user.mail', mode: drop}", "place: Json"),
        ("{in: json, key: '*pass*', match: glob}", "Glob(\"*pass*\")"),
        (
            "{in: body, key: 'id=([0-9]+)', match: regex, mode: hash}",
            "mode: Hash",
        ),
        (
            "{in: body, match: detector, key: jwt, mode: keep}",
            "place: Detector",
        ),
        (
            "{in: body, match: detector, key: '*', mode: drop}",
            "mode: Drop",
        ),
    ] {
        let text = file(&Capture, &format!("redact: {{{key}, rules: [{rule}]}}"));
        let debug = format!("{:?}", loaded(&text, &[]).config);
        assert!(debug.contains(shows), "{rule}: no {shows} in {debug}");
    }
    for (rule, says) in [
        ("{in: json, key: 'items[3].id'}", "picks elements"),
        ("{in: json, key: 'a..b'}", "is not a path"),
        ("{in: json, key: '$a'}", "is not a path"),
        (
            "{in: json, key: '(', match: regex}",
            "is not a regular expression",
        ),
        (
            "{in: body, key: '(', match: regex}",
            "is not a regular expression",
        ),
        (
            "{in: body, key: '\\p{Greek}', match: regex}",
            "is not a pattern over bytes",
        ),
        (
            "{in: body, match: detector, key: jtw}",
            "did you mean `jwt`",
        ),
        (
            "{in: body, match: detector, key: passport}",
            "one of bearer-token",
        ),
        (
            "{in: header, match: detector, key: jwt}",
            "looks into bodies alone",
        ),
        (
            "{in: body, match: detectr, key: jwt}",
            "did you mean `detector`",
        ),
    ] {
        let text = file(&Capture, &format!("redact: {{{key}, rules: [{rule}]}}"));
        let shown = read(&text, &[]).expect_err(rule);
        assert!(shown.contains(says), "{rule}: no {says} in {shown}");
        assert!(shown.starts_with("test.yaml:"), "{shown}");
    }
    let both = format!("redact: {{{key}, hash_key_file: /k}}");
    let shown = read(&file(&Capture, &both), &[]).expect_err("both");
    assert!(shown.contains("are both there"), "{shown}");
}

#[test]
fn each_key_has_its_effect() {
    let without: Config = loaded("version: 2\n", &[]).config;
    for (section, key, at, right, shows, ..) in CASES {
        let config = loaded(&file(at, right), &[("SET", "x")]).config;
        let debug = format!("{config:?}");
        assert!(
            debug.contains(shows),
            "{key} in {section}: no {shows} in\n{debug}"
        );
        let alone = format!("{without:?}");
        assert!(
            !alone.contains(shows)
                || ["Config", "Tap"].contains(shows)
                || right.contains("none")
                || right.contains("services"),
            "{key} in {section}: {shows} shows without the key"
        );
    }
}

#[test]
fn each_key_has_its_error_with_a_place() {
    for (section, key, at, _, _, wrong, says) in CASES {
        let text = file(at, wrong);
        let shown = match read(&text, &[("SET", "x")]) {
            Ok(_) => panic!("{key} in {section}: {wrong} was accepted"),
            Err(shown) => shown,
        };
        assert!(
            shown.contains(says),
            "{key} in {section}: no {says:?} in\n{shown}"
        );
        assert!(
            shown.starts_with("test.yaml:") && shown.contains(": error: "),
            "{shown}"
        );
        assert!(
            shown.as_bytes().get(10).is_some_and(u8::is_ascii_digit),
            "no line: {shown}"
        );
    }
}

#[test]
fn the_cases_above_are_all_the_keys_there_are() {
    let mut known: Vec<(String, String)> = known_keys()
        .map(|(s, k)| (s.to_owned(), k.to_owned()))
        .collect();
    let mut cases: Vec<(String, String)> = CASES
        .iter()
        .map(|(s, k, ..)| ((*s).to_owned(), (*k).to_owned()))
        .collect();
    known.sort();
    cases.sort();
    assert_eq!(cases, known);
}
