//! `plainspan rules explain`, `rules test` and `rules fields`, as a person calls them.

use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = "\
version: 2
services:
  event_stores: [{ type: stdout }]
  object_stores: [{ type: disk, path: /p }]
stacks:
  s:
    plugins:
      - type: http_capture
        config:
          level: headers
          rules:
            - { name: health, expr: 'http.req.path == \"/healthz\"', level: none }
            - { name: errors, expr: 'is_error() or http.duration > 2s', level: full }
      - type: access_logs
        config: { mode: summary, rules: [{ name: slow, expr: 'http.duration > 2s', mode: details }] }
tap: { http: { stack: s } }
rulekit: { macros: [{ name: is_error, expr: 'http.res.status >= 500' }] }
";

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plainspan"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .output()
        .expect("plainspan runs")
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn explain_names_the_rule_and_the_part_that_decided() {
    let transaction = r#"{"http.req.path": "/a", "http.res.status": 503, "http.duration": "1s"}"#;
    let folder = folder(&[("c.yaml", CONFIG), ("t.json", transaction)]);
    let output = run(folder.path(), &["rules", "explain", "c.yaml", "t.json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "\
stack `s`
http_capture: level full, by `errors`
  `health` is false
    false    http.req.path == \"/healthz\"   -- http.req.path is \"/a\"
  `errors` is true
    true     is_error() or http.duration > 2s
      true     is_error()
        true     http.res.status >= 500 (in `is_error`)   -- http.res.status is 503
      false    http.duration > 2s   -- http.duration is 1s
  decided by: http.res.status >= 500 (in `is_error`)
access_logs: level summary, by default: no rule applies
  `slow` is false
    false    http.duration > 2s   -- http.duration is 1s
"
    );
}

#[test]
fn explain_escapes_control_bytes_and_refuses_what_it_cannot_read() {
    let folder = folder(&[
        ("c.yaml", CONFIG),
        ("evil.json", "{\"http.req.path\": \"/\\u001b[31m\"}"),
        ("bad.json", "{\"http.req.pth\": 1}"),
        ("no.json", "{"),
        (
            "bad.yaml",
            &CONFIG.replace("http.duration", "http.duratoin"),
        ),
    ]);
    let output = run(folder.path(), &["rules", "explain", "c.yaml", "evil.json"]);
    assert!(
        output.status.success() && !output.stdout.contains(&0x1b),
        "{output:?}"
    );
    for (config, transaction, said) in [
        ("c.yaml", "bad.json", "did you mean `http.req.path`"),
        ("c.yaml", "no.json", "is not JSON"),
        ("c.yaml", "none.json", "cannot read none.json"),
        ("bad.yaml", "evil.json", "did you mean `http.duration`"),
    ] {
        let output = run(folder.path(), &["rules", "explain", config, transaction]);
        assert_eq!(output.status.code(), Some(2), "{config} {transaction}");
        assert!(
            text(&output.stderr).contains(said),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn test_checks_what_is_expected_beside_the_configuration() {
    let met = "\
- { name: errors whole, transaction: { http.res.status: 500 }, level: full, rule: errors, mode: summary }
- { name: slow ones, transaction: { http: { duration: 3s } }, level: full, mode: details }
- { name: health checks, transaction: { http.req.path: /healthz, http.res.status: 500 }, level: none }
- { name: the rest, transaction: t.json, level: headers, rule: '' }
";
    let folder = folder(&[
        ("c.yaml", CONFIG),
        ("c.tests.yaml", met),
        ("t.json", "{\"http.res.status\": 200}"),
    ]);
    let output = run(folder.path(), &["rules", "test", "c.yaml"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        text(&output.stdout).ends_with("4 of 4 expectations met\n"),
        "{}",
        text(&output.stdout)
    );

    let missed = met.replace("level: full, rule: errors", "level: headers, rule: health");
    std::fs::write(folder.path().join("c.tests.yaml"), missed).expect("written");
    let output = run(folder.path(), &["rules", "test", "c.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("FAILED  errors whole: level full, not headers; rule `errors` decides, not rule `health`"), "{shown}");
    assert!(
        shown.contains("decided by: http.res.status >= 500")
            && shown.ends_with("3 of 4 expectations met\n"),
        "{shown}"
    );

    for (wrong, said) in [
        (
            "- { name: a, transaction: {}, level: ful }",
            "`ful` is no level",
        ),
        ("- { name: a, transaction: {} }", "expects nothing"),
        ("- { name: a, transaction: {}, levle: full }", "levle"),
        (
            "- { name: a, transaction: { http.req.pth: 1 }, level: full }",
            "the expectation `a`",
        ),
        ("[]", "expects nothing"),
    ] {
        std::fs::write(folder.path().join("c.tests.yaml"), wrong).expect("written");
        let output = run(folder.path(), &["rules", "test", "c.yaml"]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(
            text(&output.stderr).contains(said),
            "{wrong}: {}",
            text(&output.stderr)
        );
    }
}

/// Stacks of domains, of a pod's label, and none.
const STACKS: &str = "\
version: 2
services: { event_stores: [{ type: stdout }], object_stores: [{ type: disk, path: /p }] }
stacks:
  general: { plugins: [{ type: http_capture, config: { level: summary } }] }
  bank:
    plugins:
      - type: http_capture
        config:
          level: summary
          rules: [{ name: inside, expr: 'direction == \"egress-internal\"', level: full }]
      - { type: access_logs, config: { mode: details } }
  pods: { plugins: [{ type: http_capture, config: { level: headers } }] }
tap:
  http: { stack: general }
  private_ranges: [100.64.0.0/10]
  endpoints:
    - { domain: '*.bank.example', http: { stack: bank } }
    - { domain: off.bank.example, http: { stack: none } }
";

#[test]
fn explain_goes_through_the_stack_that_the_domain_or_the_pod_chooses() {
    let folder = folder(&[("c.yaml", STACKS)]);
    for (transaction, said) in [
        (
            r#"{"http.req.host": "a.example"}"#,
            "stack `general`\nhttp_capture: level summary, by default: no rule applies\n",
        ),
        (
            r#"{"http.req.host": "API.bank.example:8443", "direction": "egress", "dst.ip": "100.64.0.9"}"#,
            "stack `bank`\nhttp_capture: level full, by `inside`\n",
        ),
        (
            r#"{"tls.sni": "api.bank.example", "direction": "egress", "dst.ip": "192.0.2.1"}"#,
            "stack `bank`\nhttp_capture: level summary, by default",
        ),
        (
            r#"{"http.req.host": "off.bank.example"}"#,
            "no stack: nothing of it is captured\n",
        ),
        (
            r#"{"http.req.host": "api.bank.example", "src.pod.labels.tap.qpoint.io/stack": "pods"}"#,
            "stack `pods`\nhttp_capture: level headers",
        ),
    ] {
        std::fs::write(folder.path().join("t.json"), transaction).expect("written");
        let output = run(folder.path(), &["rules", "explain", "c.yaml", "t.json"]);
        let shown = text(&output.stdout);
        assert!(
            output.status.success() && shown.starts_with(said),
            "{transaction}: {output:?}"
        );
    }
}

#[test]
fn test_expects_of_the_stack_that_the_domain_chooses() {
    let met = "\
- { name: the rest, transaction: { http.req.host: a.example }, stack: general, level: summary }
- { name: bank, transaction: { http.req.host: a.bank.example }, stack: bank, mode: details }
- { name: off, transaction: { http.req.host: off.bank.example }, stack: none, level: none, rule: '', mode: none }
";
    let folder = folder(&[("c.yaml", STACKS), ("c.tests.yaml", met)]);
    let output = run(folder.path(), &["rules", "test", "c.yaml"]);
    assert!(output.status.success(), "{output:?}");

    let missed = "\
- { name: other, transaction: { http.req.host: a.bank.example }, stack: general }
- { name: off, transaction: { http.req.host: off.bank.example }, level: summary }
- { name: no lines, transaction: { http.req.host: a.example }, mode: none }
";
    std::fs::write(folder.path().join("c.tests.yaml"), missed).expect("written");
    let output = run(folder.path(), &["rules", "test", "c.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    for line in [
        "FAILED  other: it goes through stack `bank`, not `general`",
        "FAILED  off: level none, not summary",
        "FAILED  no lines: the stack has no access_logs",
        "0 of 3 expectations met",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
}

#[test]
fn fields_lists_the_table() {
    let folder = folder(&[]);
    let shown = text(&run(folder.path(), &["rules", "fields"]).stdout);
    assert!(
        shown.contains("http.req.headers.<name>") && shown.contains("http.duration"),
        "{shown}"
    );
}
