//! The configuration of QTap's guide runs unchanged.
//!
//! It leaves loopback out, so that the traffic here goes between this host's namespace and one that the test makes.
//! The agent runs in that namespace, which has no way out: its S3 is unreachable, whatever the host is connected to.

use crate::harness::agent::{Launch, plainspan};
use crate::harness::process::run_well;
use crate::harness::work::Work;
use crate::harness::{repository, servers, turn, wait_until};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const HOST: &str = "10.203.77.1";
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 203, 77, 2);

/// A network namespace joined to the host's by one pair of interfaces; removed at the end.
struct Netns {
    name: String,
}

impl Netns {
    fn new(work: &Work) -> Netns {
        let netns = Netns {
            name: format!("pst{}", std::process::id()),
        };
        let name = netns.name.as_str();
        let (outer, inner) = (format!("{name}a"), format!("{name}b"));
        let inside = format!("{INSIDE}/30");
        let steps: &[&[&str]] = &[
            &["netns", "add", name],
            &[
                "link", "add", &outer, "type", "veth", "peer", "name", &inner,
            ],
            &["link", "set", &inner, "netns", name],
            &["address", "add", "10.203.77.1/30", "dev", &outer],
            &["link", "set", &outer, "up"],
            &["-n", name, "address", "add", &inside, "dev", &inner],
            &["-n", name, "link", "set", &inner, "up"],
            &["-n", name, "link", "set", "lo", "up"],
        ];
        for step in steps {
            run_well(
                Command::new("ip").args(*step),
                work.dir(),
                "ip",
                Duration::from_secs(10),
            );
        }
        netns
    }

    /// A command inside.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg(program);
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Its interface goes with it, and the peer of that.
        match Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status()
        {
            Ok(status) if status.success() => {}
            other => eprintln!("cannot delete namespace {}: {other:?}", self.name),
        }
    }
}

fn guide() -> std::path::PathBuf {
    repository("tests/fixtures/qtap-guide.yaml")
}

fn curl(netns: &Netns, work: &Work, url: &str) {
    let mut command = netns.command("curl");
    command
        .args(["-q", "-s", "-S", "--http1.1", "-o", "/dev/null", "--cacert"])
        .arg(work.path("cert.pem"));
    command.args(["-H", "authorization: Bearer SECRET-CANARY", url]);
    run_well(&mut command, work.dir(), "curl", Duration::from_secs(20));
}

#[test]
fn the_guides_file_runs_and_writes_lines_on_stdout_though_s3_is_unreachable() {
    let _turn = turn();
    let work = Work::new();
    let netns = Netns::new(&work);
    let nginx = servers::nginx_at(&work, HOST);
    let agent = Launch::in_netns(&netns.name, IpAddr::V4(INSIDE), &guide())
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "not-a-key-of-anyone")
        .start(&work);
    let path = work.url_path("get/guide");
    curl(&netns, &work, &format!("{}{path}", nginx.base()));

    // Loopback is left out by this file.
    let local = servers::python(&work);
    let ignored = work.url_path("get/ignored");
    crate::harness::plan::Client::Curl.perform(
        &work,
        &local.base(),
        &[vec![crate::harness::plan::Call::get(&ignored)]],
    );

    let lines = wait_until(
        Duration::from_secs(20),
        "two lines on stdout",
        || {
            Some(agent.stdout())
                .filter(|out| out.lines().filter(|line| line.contains(&path)).count() >= 2)
        },
        || format!("{}\n{}", agent.stdout(), agent.log()),
    );
    for line in lines.lines().filter(|line| line.contains(&path)) {
        let record: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(record["http.request.method"], "GET", "{line}");
        assert_eq!(record["http.response.status_code"], 200, "{line}");
    }
    let ledger = agent.ledger();
    assert_eq!(ledger.lost(), 0, "{ledger}");
    let outputs = agent.stop();
    assert!(
        !outputs.stdout.contains(&ignored),
        "loopback was not left out: {}",
        outputs.stdout
    );
    for text in [&outputs.stdout, &outputs.stderr] {
        assert!(
            !text.contains("SECRET-CANARY") && !text.contains("not-a-key-of-anyone"),
            "{text}"
        );
    }
}

#[test]
fn without_its_two_variables_the_guides_file_ends_with_2_and_both_names() {
    let work = Work::new();
    let file = guide();
    let file = file.to_str().expect("a path in UTF-8");
    for arguments in [&["check", file][..], &["run", "-c", file]] {
        let output = plainspan(&work, arguments, &[]);
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.stderr);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert!(
                output.stderr.contains(name),
                "{arguments:?} does not name {name}: {}",
                output.stderr
            );
        }
    }
    assert!(Path::new(file).exists());
}

#[test]
fn with_its_two_variables_the_guides_file_is_valid() {
    let work = Work::new();
    let file = guide();
    let environment = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let output = plainspan(
        &work,
        &["check", file.to_str().expect("UTF-8")],
        &environment,
    );
    assert_eq!(output.code, Some(0), "{}", output.stderr);
}
