//! What `plainspan doctor` says.

use super::{Asker, Stage, own_library};
use crate::harness::agent::plainspan;
use crate::harness::free_port;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use serde_json::Value;

#[test]
fn the_doctor_names_each_process_and_library_of_a_running_agent() {
    let _turn = turn();
    let stage = Stage::new();
    let library = own_library(&stage.work.folder("lib"));
    let asker = Asker::start(&stage, "asker", &library);
    stage.wait_captured(&library);
    let address = stage.agent.status_address().to_string();
    let said = plainspan(&stage.work, &["doctor", "--status", &address], &[]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
    let lines: Vec<&str> = said.stdout.lines().collect();
    let pid = asker.running.pid().to_string();
    let path = library.to_str().expect("UTF-8");
    let of_process = lines
        .iter()
        .find(|line| line.trim_start().starts_with(&pid));
    let of_process = of_process.unwrap_or_else(|| panic!("{}", said.stdout));
    for part in ["captured", "python3", "OpenSSL 3.0", path, "internal"] {
        assert!(of_process.contains(part), "no {part:?} in {of_process}");
    }
    let of_file = |line: &&&str| line.contains(path) && line.contains("4 exported, internal");
    assert!(lines.iter().any(|l| of_file(&l)), "{}", said.stdout);
    assert!(said.stdout.contains("agent "), "{}", said.stdout);
    asker.end();
}

#[test]
fn without_an_agent_the_doctor_says_what_one_would_do_and_probes_nothing() {
    let _turn = turn();
    let work = Work::new();
    let nginx = servers::nginx(&work);
    let nowhere = format!("127.0.0.1:{}", free_port());
    let said = plainspan(&work, &["doctor", "--status", &nowhere, "--json"], &[]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
    let report: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(report["agent_running"], false);
    let programs = &report["host"][0];
    assert_eq!(
        (&programs["check"], &programs["outcome"]),
        (&"kernel programs".into(), &"ok".into())
    );
    let processes = report["verdicts"]["processes"]
        .as_array()
        .expect("processes");
    let of_nginx = |p: &&Value| p["exe"] == "/usr/sbin/nginx" && p["state"] == "captured";
    assert!(processes.iter().any(|p| of_nginx(&p)), "{processes:?}");
    let text = plainspan(&work, &["doctor", "--status", &nowhere, "--all"], &[]);
    assert!(text.stdout.contains("would be captured"), "{}", text.stdout);
    assert!(text.stdout.contains("no TLS found"), "{}", text.stdout);
    drop(nginx);
}
