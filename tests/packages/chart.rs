//! The Helm chart, linted and rendered by Helm's own library, and what it renders.

use crate::{repository, tool};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// Helm's answer for these values.
fn helm(values: &Value) -> Value {
    let mut command = Command::new(tool("python3"));
    command
        .arg(repository("tests/packages/helm.py"))
        .arg(repository("packaging/helm/plainspan"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}; run tests/setup.sh"));
    let mut stdin = child.stdin.take().expect("stdin");
    stdin
        .write_all(values.to_string().as_bytes())
        .expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// All objects of the chart by kind; each template without NOTES.
fn objects(answer: &Value) -> BTreeMap<String, Value> {
    use serde::Deserialize;
    let rendered = answer["rendered"].as_object().expect("templates");
    let manifests = rendered.iter().filter(|(name, _)| name.ends_with(".yaml"));
    let texts = manifests.map(|(_, text)| text.as_str().expect("text"));
    let mut all = BTreeMap::new();
    for document in
        texts.flat_map(|text| serde_yaml::Deserializer::from_str(text).collect::<Vec<_>>())
    {
        let object = Value::deserialize(document).expect("YAML");
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        assert!(all.insert(kind, object).is_none());
    }
    all
}

#[test]
fn helm_finds_nothing_wrong_with_the_chart() {
    for values in [json!({}), more()] {
        let answer = helm(&values);
        let messages = answer["lint"]["messages"].as_array().expect("a list");
        // 1 is information: it recommends an icon.
        let wrong: Vec<_> = messages
            .iter()
            .filter(|m| m["severity"].as_i64() > Some(1))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(answer["lint"]["errors"], json!([]));
    }
}

/// Every value that is empty by default, set.
fn more() -> Value {
    json!({
        "imagePullSecrets": [{"name": "pull"}],
        "secretName": "keys",
        "env": [{"name": "A", "value": "b"}],
        "serviceAccount": {"name": "mine"},
        "priorityClassName": "system-node-critical",
        "affinity": {"nodeAffinity": {}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "runtimeSockets": ["/run/containerd", "/run/crio"],
        "hostNetwork": false,
        "capabilities": ["BPF", "PERFMON", "SYS_ADMIN"],
    })
}

#[test]
fn the_daemon_set_has_the_least_that_the_agent_needs() {
    let objects = objects(&helm(&json!({})));
    assert_eq!(
        objects.keys().collect::<Vec<_>>(),
        [
            "ClusterRole",
            "ClusterRoleBinding",
            "ConfigMap",
            "DaemonSet",
            "ServiceAccount"
        ]
    );
    let pod = &objects["DaemonSet"]["spec"]["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["privileged"], false);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(
        security["capabilities"]["add"].as_array().map(Vec::len),
        Some(6)
    );
    assert!(container["resources"]["limits"]["memory"].is_string());
    for rule in objects["ClusterRole"]["rules"].as_array().expect("rules") {
        for verb in rule["verbs"].as_array().expect("verbs") {
            assert!(
                ["get", "list", "watch"].contains(&verb.as_str().expect("a verb")),
                "{rule}"
            );
        }
        assert!(
            !rule.to_string().contains("secrets") && !rule.to_string().contains('*'),
            "{rule}"
        );
    }
}

#[test]
fn what_belongs_together_has_one_name() {
    for values in [json!({}), more()] {
        let objects = objects(&helm(&values));
        let set = &objects["DaemonSet"]["spec"];
        let labels = set["template"]["metadata"]["labels"]
            .as_object()
            .expect("labels");
        for (name, value) in set["selector"]["matchLabels"].as_object().expect("labels") {
            assert_eq!(labels.get(name), Some(value));
        }
        let pod = &set["template"]["spec"];
        let account = &objects["ClusterRoleBinding"]["subjects"][0]["name"];
        assert_eq!(&pod["serviceAccountName"], account);
        assert_eq!(
            objects["ClusterRoleBinding"]["roleRef"]["name"],
            objects["ClusterRole"]["metadata"]["name"]
        );
        let volumes = pod["volumes"].as_array().expect("volumes");
        let mounts = pod["containers"][0]["volumeMounts"]
            .as_array()
            .expect("mounts");
        let names = |list: &[Value]| {
            list.iter()
                .map(|item| item["name"].to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(volumes), names(mounts));
        assert_eq!(
            volumes[0]["configMap"]["name"],
            objects["ConfigMap"]["metadata"]["name"]
        );
    }
}

#[test]
fn kubernetes_would_take_what_the_chart_renders() {
    for values in [json!({}), more()] {
        assert_eq!(helm(&values)["invalid"], json!([]));
    }
    // It would say so.
    for wrong in [
        json!({"podLabels": {"a": 1}}),
        json!({"resources": {"limit": {}}}),
    ] {
        assert_ne!(helm(&wrong)["invalid"], json!([]), "{wrong}");
    }
}

#[test]
fn the_configuration_of_the_chart_is_fine() {
    let objects = objects(&helm(&json!({})));
    let text = objects["ConfigMap"]["data"]["plainspan.yaml"]
        .as_str()
        .expect("text");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plainspan.yaml");
    std::fs::write(&file, text).expect("written");
    let said = crate::outcome(
        Command::new(env!("CARGO_BIN_EXE_plainspan"))
            .arg("check")
            .arg(&file)
            .env("NODE_NAME", "node-1"),
    );
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
}
