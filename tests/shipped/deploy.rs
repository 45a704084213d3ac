//! What is put somewhere: compose files, units of systemd, objects of Kubernetes, the agent's files and pages beside them.

use crate::{documents, files, list, names, root, text, walk, yaml};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("collector-examples")).expect("a folder");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

#[test]
fn every_file_that_compose_mounts_is_there_and_every_port_is_on_loopback() {
    for path in files("collector-examples", &["compose.yaml"]) {
        let folder = path.parent().expect("a folder");
        let config = yaml(&path);
        for (name, service) in config["services"].as_object().expect("services") {
            for mount in list(&service["volumes"]) {
                let source = mount.split(':').next().expect("a source");
                if source.starts_with('.') {
                    assert!(
                        folder.join(source).exists(),
                        "{name} mounts {source}, which is not there"
                    );
                } else {
                    assert!(
                        names(&config["volumes"]).contains(source),
                        "{name} mounts the volume {source}"
                    );
                }
            }
            for port in list(&service["ports"]) {
                assert!(
                    port.starts_with("127.0.0.1:"),
                    "{name} is reachable from outside: {port}"
                );
            }
            let image = service["image"].as_str().expect("image");
            assert!(
                image.contains(':') && !image.ends_with(":latest"),
                "{image} is not pinned"
            );
        }
    }
}

#[test]
fn every_example_says_in_its_first_line_what_was_not_run() {
    for path in folders().iter().map(|folder| folder.join("README.md")) {
        let first = text(&path).lines().next().unwrap_or_default().to_owned();
        assert!(
            first.contains("Not run here"),
            "{}: {first}",
            path.display()
        );
    }
}

#[test]
fn every_example_has_a_page_that_says_what_for_how_and_where_to_look() {
    let index = text(&root().join("collector-examples/README.md"));
    for folder in folders() {
        let name = folder.file_name().expect("a name").to_string_lossy();
        assert!(
            index.contains(&format!("({name})")),
            "the index has no {name}"
        );
        let page = text(&folder.join("README.md"));
        for part in ["\nFor: ", "\n## Start\n", "\n## Look\n"] {
            assert!(page.contains(part), "{name}/README.md has no {part:?}");
        }
        // Files that the page starts something with.
        for word in page.split([' ', '\n', '`', '=']) {
            let file = word.trim_end_matches(['.', ',', ';', ':']);
            if file.ends_with(".yaml") && !file.contains(['*', '/']) {
                let here = folder.join(file).exists() || folder.join("systemd").join(file).exists();
                let preset = root().join("otel-config").join(file).exists();
                assert!(here || preset, "{name}/README.md names {file}");
            }
        }
    }
}

#[test]
fn what_was_not_run_says_so_in_its_first_line() {
    let mut said = 0;
    for path in files("collector-examples", &[".yaml", ".service"]) {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        // The agent's files are checked by the agent; Tempo's and Loki's in containers are under compose.yaml's word.
        let checked = ["plainspan.yaml", "tempo.yaml", "loki.yaml"].contains(&&*name);
        if !checked {
            said += 1;
            let first = text(&path).lines().next().unwrap_or_default().to_owned();
            assert!(
                first.starts_with("# Not run here"),
                "{}: {first}",
                path.display()
            );
        }
    }
    assert!(said > 20);
}

#[test]
fn the_agent_takes_every_configuration_of_its_own() {
    let mut all = files("collector-examples", &["plainspan.yaml"]);
    all.push(root().join("grafana/plainspan.yaml"));
    for path in &all {
        let output = Command::new(env!("CARGO_BIN_EXE_plainspan"))
            .arg("check")
            .arg(path)
            .env_clear()
            .env("NODE_NAME", "node-1")
            .env("PLAINSPAN_HASH_KEY", "a key of the test's own")
            .output()
            .expect("run plainspan");
        assert!(
            output.status.success(),
            "{}\n{}{}",
            path.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(
        all.len(),
        folders().len() + 1,
        "a folder has no plainspan.yaml"
    );
}

#[test]
fn units_start_what_is_configured_here_and_have_no_rights() {
    for path in files("collector-examples", &[".service"]) {
        let unit = text(&path);
        let at = path.display();
        let line = unit
            .lines()
            .find(|line| line.starts_with("ExecStart="))
            .unwrap_or_else(|| panic!("{at} starts nothing"));
        let config = line
            .split([' ', '='])
            .find(|word| word.starts_with("/etc/plainspan-example/"))
            .unwrap_or_else(|| panic!("{at}: {line}"));
        let name = config.trim_start_matches("/etc/plainspan-example/");
        assert!(
            path.with_file_name(name).exists(),
            "{at} reads {config}, which is not here"
        );
        for wanted in [
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "CapabilityBoundingSet=\n",
            "WantedBy=",
        ] {
            assert!(unit.contains(wanted), "{at} has no {wanted:?}");
        }
    }
    // On one machine: nothing is reachable from outside.
    let folder = "collector-examples/tempo-loki-prometheus/systemd";
    for path in files(folder, &[".yaml", ".yml", ".service"]) {
        assert!(!text(&path).contains("0.0.0.0"), "{}", path.display());
    }
}

/// All objects of the Kubernetes example, and the names of what its kustomization makes.
fn cluster() -> (Vec<Value>, BTreeSet<String>) {
    let folder = root().join("collector-examples/kubernetes");
    let kustomization = yaml(&folder.join("kustomization.yaml"));
    let mut objects = Vec::new();
    for name in list(&kustomization["resources"]) {
        objects.extend(documents(&folder.join(name)));
    }
    let mut maps = BTreeSet::new();
    for map in kustomization["configMapGenerator"]
        .as_array()
        .expect("maps")
    {
        maps.insert(map["name"].as_str().expect("a name").to_owned());
        for file in list(&map["files"]) {
            assert!(folder.join(&file).exists(), "no {file}");
        }
    }
    (objects, maps)
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|o| o["kind"] == kind).collect()
}

#[test]
fn objects_of_kubernetes_name_what_is_there() {
    let (objects, maps) = cluster();
    for object in &objects {
        for key in ["apiVersion", "kind"] {
            assert!(object[key].is_string(), "no {key}: {object}");
        }
        assert!(object["metadata"]["name"].is_string(), "{object}");
    }
    let accounts = of_kind(&objects, "ServiceAccount");
    for kind in ["DaemonSet", "Deployment"] {
        for object in of_kind(&objects, kind) {
            let (spec, name) = (&object["spec"], &object["metadata"]["name"]);
            let template = &spec["template"];
            assert_eq!(
                spec["selector"]["matchLabels"], template["metadata"]["labels"],
                "{name}"
            );
            let pod = &template["spec"];
            if let Some(account) = pod["serviceAccountName"].as_str() {
                assert!(accounts.iter().any(|a| a["metadata"]["name"] == account));
            }
            let volumes = pod["volumes"].as_array().expect("volumes");
            let named: BTreeSet<&str> = volumes.iter().filter_map(|v| v["name"].as_str()).collect();
            for volume in volumes {
                if let Some(map) = volume["configMap"]["name"].as_str() {
                    assert!(maps.contains(map), "no config map {map}");
                }
            }
            for container in pod["containers"].as_array().expect("containers") {
                let mounts = container["volumeMounts"].as_array().expect("mounts");
                let mounted: BTreeSet<&str> =
                    mounts.iter().filter_map(|m| m["name"].as_str()).collect();
                assert_eq!(mounted, named, "{name}");
                let ports = container["ports"].as_array().expect("ports");
                let ports: BTreeSet<&str> =
                    ports.iter().filter_map(|p| p["name"].as_str()).collect();
                walk(container, &mut |fields| {
                    if let Some(port) = fields.get("httpGet").and_then(|get| get["port"].as_str()) {
                        assert!(ports.contains(port), "{name}: no port {port}");
                    }
                });
                let image = container["image"].as_str().expect("image");
                assert!(
                    image.contains(':') && !image.ends_with(":latest"),
                    "{image}"
                );
                assert!(container["resources"]["limits"]["memory"].is_string());
                assert!(container["resources"]["requests"]["cpu"].is_string());
            }
        }
    }
    for service in of_kind(&objects, "Service") {
        let selector = &service["spec"]["selector"];
        let chosen = of_kind(&objects, "Deployment");
        let mut labels = chosen
            .iter()
            .map(|d| &d["spec"]["template"]["metadata"]["labels"]);
        assert!(labels.any(|labels| labels == selector), "{selector}");
    }
    let agent = text(&root().join("collector-examples/kubernetes/plainspan.yaml"));
    let service = of_kind(&objects, "Service")[0]["metadata"]["name"].clone();
    let host = format!("{}.plainspan.svc:4317", service.as_str().expect("a name"));
    assert!(agent.contains(&host), "the agent sends to no {host}");
}

/// `kubernetes-validate` of the tests' Python environment: Kubernetes' own schemas, 1.37, and no key that they do not have.
fn validated(paths: &[PathBuf]) -> std::process::Output {
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV")
        .map_or_else(|| root().join("target/test-venv"), PathBuf::from);
    Command::new(venv.join("bin/kubernetes-validate"))
        .args(["--strict", "--kubernetes-version", "1.37"])
        .args(paths)
        .output()
        .unwrap_or_else(|e| panic!("kubernetes-validate: {e}; run tests/setup.sh"))
}

#[test]
fn objects_of_kubernetes_are_what_its_schemas_say() {
    let folder = root().join("collector-examples/kubernetes");
    let kustomization = yaml(&folder.join("kustomization.yaml"));
    let resources = list(&kustomization["resources"]);
    let paths: Vec<PathBuf> = resources.iter().map(|name| folder.join(name)).collect();
    let output = validated(&paths);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("passed for resource").count(), 7, "{said}");

    let wrong = tempfile::tempdir().expect("a folder");
    let path = wrong.path().join("agent.yaml");
    let text = text(&folder.join("agent.yaml")).replace("hostPID:", "hostPid:");
    std::fs::write(&path, text).expect("write an object");
    assert!(
        !validated(&[path]).status.success(),
        "a wrong key was taken"
    );
}

#[test]
fn the_agent_in_a_cluster_has_the_least_rights() {
    let (objects, _) = cluster();
    let daemon_sets = of_kind(&objects, "DaemonSet");
    let [agent] = daemon_sets[..] else {
        panic!("one DaemonSet")
    };
    let pod = &agent["spec"]["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    for never in ["hostNetwork", "hostIPC"] {
        assert!(pod[never].is_null(), "{never}");
    }
    let security = &pod["containers"][0]["securityContext"];
    for (key, wanted) in [
        ("privileged", false),
        ("allowPrivilegeEscalation", false),
        ("readOnlyRootFilesystem", true),
    ] {
        assert_eq!(security[key], wanted, "{key}");
    }
    assert_eq!(list(&security["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(
        list(&security["capabilities"]["add"]),
        [
            "BPF",
            "PERFMON",
            "SYS_PTRACE",
            "DAC_READ_SEARCH",
            "CHECKPOINT_RESTORE",
            "SYS_NICE"
        ]
    );
    for role in of_kind(&objects, "ClusterRole") {
        for rule in role["rules"].as_array().expect("rules") {
            for verb in list(&rule["verbs"]) {
                assert!(["get", "list", "watch"].contains(&&*verb), "{verb}");
            }
            let resources = list(&rule["resources"]);
            let known = ["pods", "replicasets", "jobs"];
            assert!(
                resources.iter().all(|r| known.contains(&&**r)),
                "{resources:?}"
            );
        }
    }
    for object in of_kind(&objects, "Deployment") {
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        let security = &pod["containers"][0]["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert!(security["capabilities"]["add"].is_null());
    }
}
