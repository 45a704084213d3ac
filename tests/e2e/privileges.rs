//! What the agent may do: which capabilities are enough on which tier, what it gives up, what it cannot do then.

use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::Scene;
use crate::harness::work::Work;
use crate::harness::{repository, servers, turn, wait_until};
use crate::otlp_sink::OtlpSink;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::slice::from_ref;
use std::time::{Duration, Instant};

/// `nobody`.
const USER: u32 = 65534;
const TIERS: [&str; 3] = ["session", "multi", "perf"];
const SETS: [&[&str]; 5] = [
    &["bpf"],
    &["bpf", "perfmon"],
    &["bpf", "perfmon", "sys_ptrace", "dac_read_search"],
    &[
        "bpf",
        "perfmon",
        "sys_ptrace",
        "dac_read_search",
        "checkpoint_restore",
        "sys_nice",
    ],
    &[
        "bpf",
        "perfmon",
        "sys_ptrace",
        "dac_read_search",
        "sys_admin",
    ],
];

/// Numbers of linux/capability.h.
const BITS: [(&str, u32); 7] = [
    ("dac_read_search", 2),
    ("sys_ptrace", 19),
    ("sys_admin", 21),
    ("sys_nice", 23),
    ("perfmon", 38),
    ("bpf", 39),
    ("checkpoint_restore", 40),
];

fn mask(names: &[&str]) -> u64 {
    let bit = |name: &&str| {
        let known = BITS.iter().find(|(known, _)| known == name);
        1 << known.unwrap_or_else(|| panic!("{name}?")).1
    };
    names.iter().map(bit).sum()
}

/// A field of each thread's status.
fn of_threads(agent: &Agent, field: &str) -> Vec<(String, String)> {
    let tasks = format!("/proc/{}/task", agent.pid());
    let threads = std::fs::read_dir(tasks).expect("its threads");
    let value = |thread: std::fs::DirEntry| {
        // It may have ended.
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let of = |field: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            value.map(|value| value.trim().to_owned())
        };
        let name = of("Name").expect("a name");
        let value = of(field).unwrap_or_else(|| panic!("{field}: {status}"));
        Some((name, value))
    };
    threads.flatten().filter_map(value).collect()
}

/// Every thread has these capabilities in effect and permitted, none to be inherited, and the sandbox's marks.
fn assert_lowered(agent: &Agent, kept: u64, bounding: Option<u64>) {
    let is = |field: &str, wanted: &str| {
        let threads = of_threads(agent, field);
        assert!(threads.len() > 4, "{threads:?}");
        for (name, value) in threads {
            assert_eq!(value, wanted, "{field} of thread {name}");
        }
    };
    let hex = |set: u64| format!("{set:016x}");
    // The thread that raises another one's priority has ended by now.
    is("CapEff", &hex(kept));
    is("CapPrm", &hex(kept));
    is("CapInh", &hex(0));
    is("CapAmb", &hex(0));
    if let Some(bounding) = bounding {
        is("CapBnd", &hex(bounding));
    }
    is("NoNewPrivs", "1");
    is("Seccomp", "2");
}

/// Nice value of a thread, by its name.
fn nice(agent: &Agent, name: &str) -> i32 {
    let tasks = format!("/proc/{}/task", agent.pid());
    for thread in std::fs::read_dir(tasks).expect("its threads").flatten() {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        if let Some((_, rest)) = stat.split_once(&format!("({name}) ")) {
            // The 19th field of proc(5), of which two are gone.
            let field = rest.split_whitespace().nth(16);
            return field.and_then(|n| n.parse().ok()).expect("a number");
        }
    }
    panic!("no thread {name}")
}

/// What a set of capabilities is good for on a tier.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It ends at its start, and says this.
    Refuses(&'static str),
    /// It starts, and says this of what it misses.
    Misses(&'static str),
    Captures,
}

/// As the table of docs/security.md has it.
fn expected(tier: &str, set: &[&str]) -> Outcome {
    if !set.contains(&"perfmon") {
        return Outcome::Refuses("CAP_PERFMON is missing");
    }
    if tier == "perf" && !set.contains(&"sys_admin") {
        return Outcome::Refuses("CAP_SYS_ADMIN");
    }
    if !set.contains(&"sys_ptrace") {
        return Outcome::Misses("CAP_SYS_PTRACE");
    }
    Outcome::Captures
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// One run: what came of it, and which ends of one request were seen.
fn try_set(tier: &str, set: &[&str]) -> (Outcome, Option<bool>) {
    let work = Work::new();
    open_to_all(work.dir());
    let own = work.folder("own");
    chown(&own, Some(USER), Some(USER)).expect("given away");
    let sink = OtlpSink::start();
    let server = servers::nginx(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&own.join("payloads"))
        .root("live", json!({"socket": own.join("live.sock")}))
        .yaml();
    let launch = Launch::as_user(USER, set, &write_config(&work, &config));
    let agent = match launch.arg("--tier").arg(tier).try_start(&work) {
        Ok(agent) => agent,
        Err(said) => {
            let wanted = expected(tier, set);
            let Outcome::Refuses(text) = wanted else {
                panic!("tier {tier} with {set:?} does not start: {said}")
            };
            assert!(said.contains(text), "no {text} in: {said}");
            return (wanted, None);
        }
    };
    let kept: Vec<&str> = set
        .iter()
        .copied()
        .filter(|name| *name != "sys_nice" && (*name != "sys_admin" || tier == "perf"))
        .collect();
    assert_lowered(&agent, mask(&kept), None);
    if set.contains(&"sys_nice") {
        assert_eq!(nice(&agent, "capture"), -10);
    }
    let call = Call::get(work.url_path("get/privileges"));
    Client::Curl.perform(&work, &server.base(), &[vec![call.clone()]]);
    let both = |sink: &OtlpSink| {
        [SpanKind::Client, SpanKind::Server].map(|kind| {
            sink.spans().iter().any(|span| {
                let path = span.text("url.full").or_else(|| span.text("url.path"));
                span.span.kind == kind as i32 && path.is_some_and(|p| p.ends_with(&call.target))
            })
        })
    };
    let seen = sink.wait_for(|sink| both(sink) == [true; 2], Duration::from_secs(8));
    let outcome = match set.contains(&"sys_ptrace") {
        true => Outcome::Captures,
        false => {
            let log = agent.log();
            assert!(log.contains("CAP_SYS_PTRACE"), "{log}");
            Outcome::Misses("CAP_SYS_PTRACE")
        }
    };
    let log = agent.log();
    agent.stop();
    if outcome == Outcome::Captures {
        assert!(seen, "tier {tier} with {set:?}: not both ends\n{log}");
    }
    (outcome, Some(seen))
}

#[test]
fn four_capabilities_are_enough_for_an_unprivileged_user_and_what_is_missing_is_said() {
    let _turn = turn();
    let document = std::fs::read_to_string(repository("docs/security.md")).expect("a document");
    let mut missing = Vec::new();
    for set in SETS {
        let mut row = format!("| {} |", set.join(", ").to_uppercase());
        for tier in TIERS {
            let (outcome, seen) = try_set(tier, set);
            assert_eq!(outcome, expected(tier, set), "tier {tier} with {set:?}");
            row += match (outcome, seen) {
                (Outcome::Captures, _) => " captures |",
                (Outcome::Misses(_), Some(true)) => " captures, with a warning |",
                (Outcome::Misses(_), _) => " starts, with a warning: not both ends |",
                (Outcome::Refuses(_), _) => " refuses |",
            };
        }
        println!("{row}");
        if !document.contains(&row) {
            missing.push(row);
        }
    }
    assert!(
        missing.is_empty(),
        "docs/security.md does not have: {missing:#?}"
    );
}

#[test]
fn root_s_other_rights_are_given_up_by_every_thread() {
    let _turn = turn();
    let since = Instant::now();
    let scene = Scene::new(servers::nginx);
    println!(
        "ready after {:.2} s, nginx included",
        since.elapsed().as_secs_f64()
    );
    let kept = mask(&[
        "bpf",
        "perfmon",
        "sys_ptrace",
        "dac_read_search",
        "checkpoint_restore",
    ]);
    assert_lowered(&scene.agent, kept, Some(kept));
    assert_eq!(nice(&scene.agent, "capture"), -10);
    assert_eq!(nice(&scene.agent, "sink"), 0);
    let sandbox = scene.agent.status()["sandbox"].clone();
    for measure in [
        "capabilities",
        "dumpable",
        "landlock",
        "no_new_privs",
        "seccomp",
    ] {
        assert_eq!(sandbox[measure]["state"], "on", "{measure}: {sandbox}");
    }
    let shown = crate::harness::agent::plainspan(
        &scene.work,
        &[
            "doctor",
            "--status",
            &scene.agent.status_address().to_string(),
        ],
        &[],
    );
    for measure in ["capabilities: on", "landlock: on", "seccomp: on"] {
        let line = format!("sandbox: {measure}");
        assert!(shown.stdout.contains(&line), "{line}: {}", shown.stdout);
    }
    let call = Call::get(scene.work.url_path("get/lowered"));
    scene.perform(Client::Curl, from_ref(&call));
    scene.wait_for(from_ref(&call), 2);
    // It can still take another configuration, but for folders that it may not write to.
    reload_elsewhere(&scene);
    let (seen, _work) = scene.finish(&call.target);
    seen.pair(&call.target);
}

/// A store in a folder that was not in the configuration at the start is refused; below one that was it is fine.
fn reload_elsewhere(scene: &Scene) {
    let with_store = |path: &Path| {
        let config = Config::new("full")
            .grpc(&scene.sink.grpc_endpoint())
            .disk(path);
        write_config(&scene.work, &config.yaml());
        scene.agent.signal(libc::SIGHUP);
    };
    let reloads = |what: &str| scene.agent.status()["config"]["reloads"][what].as_u64();
    with_store(&scene.work.path("elsewhere"));
    wait_until(
        Duration::from_secs(10),
        "a refused reload",
        || (reloads("refused") == Some(1)).then_some(()),
        || scene.agent.log(),
    );
    let error = scene.agent.status()["config"]["last_error"].to_string();
    assert!(
        error.contains("elsewhere is not among the folders"),
        "{error}"
    );
    with_store(&scene.work.path("payloads/deeper"));
    wait_until(
        Duration::from_secs(10),
        "a reload",
        || (reloads("applied") == Some(1)).then_some(()),
        || scene.agent.log(),
    );
}

#[test]
fn a_folder_that_was_exchanged_is_written_to_by_an_agent_without_a_sandbox_alone() {
    let _turn = turn();
    for sandbox in [true, false] {
        let scene = Scene::with(servers::nginx, |work, sink, server| {
            // What others of the host say must not be stored here.
            let own = json!({"include": [{"port": server.port}]});
            Config::full(work, sink)
                .root("security", json!({"sandbox": sandbox}))
                .tap("filters", own)
        });
        let state = scene.agent.status()["sandbox"]["seccomp"]["state"].clone();
        assert_eq!(state, if sandbox { "on" } else { "off" });
        // Another folder of the same name and mode: to the rules a stranger.
        let path = scene.work.path("payloads");
        let mode = std::fs::metadata(&path).expect("there").permissions();
        std::fs::rename(&path, scene.work.path("before")).expect("moved");
        std::fs::create_dir(&path).expect("made");
        std::fs::set_permissions(&path, mode).expect("its mode");
        let call = Call::get(scene.work.url_path("get/exchanged"));
        scene.perform(Client::Curl, from_ref(&call));
        let ledger = wait_until(
            Duration::from_secs(30),
            "payloads stored or lost",
            || {
                let payloads = scene.agent.status()["ledger"]["payloads"].clone();
                let of = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
                let stored = of(&payloads["stored"]) + of(&payloads["deduplicated"]);
                let done = stored + of(&payloads["lost"]["store_refused"]);
                (done >= 2).then_some(payloads)
            },
            || scene.agent.log(),
        );
        let written = std::fs::read_dir(&path).expect("read").count();
        assert_eq!(written == 0, sandbox, "{ledger}");
        assert_eq!(ledger["stored"].as_u64() == Some(0), sandbox, "{ledger}");
        scene.agent.stop();
    }
}
