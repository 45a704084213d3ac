//! Filters and identities: who is looked at, through which stack, and as whom.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::process::run_well;
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// A shell command, as a user and with variables of its own.
fn shell(work: &Work, script: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new("sh");
    command.args(["-e", "-c", script]).env("no_proxy", "*");
    command.envs(variables.iter().copied());
    run_well(&mut command, work.dir(), "sh", LIMIT);
}

fn kinds(seen: &Seen, target: &str) -> Vec<SpanKind> {
    let mut kinds: Vec<SpanKind> = seen
        .spans_of(target)
        .iter()
        .map(|span| span.span.kind())
        .collect();
    kinds.sort();
    kinds
}

/// Waits until as many spans of `target` are there; more would come in the same moment.
fn wait_for(agent: &Agent, sink: &OtlpSink, target: &str, count: usize) {
    let enough = sink.wait_for(|sink| Seen::of(sink).spans_of(target).len() >= count, LIMIT);
    assert!(
        enough,
        "not {count} spans of {target}\n{}\n{}",
        Seen::of(sink).summary(),
        agent.log()
    );
}

fn resource(span: &SeenSpan, name: &str) -> Option<Value> {
    span.resource.get(name).cloned()
}

#[test]
fn executables_and_users_that_are_not_wanted_are_left_out() {
    let _turn = turn();
    for (filters, by_root, by_nobody) in [
        (
            json!({"custom": [{"exe": "/usr/bin/curl", "strategy": "exact"}]}),
            &[SpanKind::Server][..],
            &[SpanKind::Server][..],
        ),
        (
            json!({"custom": [{"exe": "sr/bin/cu", "strategy": "contains"}]}),
            &[SpanKind::Server],
            &[SpanKind::Server],
        ),
        (
            json!({"include": [{"uid": 65534, "exe": "curl", "strategy": "suffix"}]}),
            &[],
            &[SpanKind::Client],
        ),
    ] {
        let work = Work::new();
        let sink = OtlpSink::start();
        let nginx = servers::nginx_plain(&work);
        let config = Config::new("headers")
            .grpc(&sink.grpc_endpoint())
            .tap("filters", filters.clone());
        let agent = Agent::start(&work, &config.yaml());
        let base = nginx.base();
        let (root, nobody) = (work.url_path("answer?root"), work.url_path("answer?nobody"));
        shell(&work, &format!("curl -sSf '{base}{root}'"), &[]);
        let as_nobody = "setpriv --reuid=65534 --clear-groups";
        shell(
            &work,
            &format!("{as_nobody} curl -sSf '{base}{nobody}'"),
            &[],
        );
        wait_for(&agent, &sink, &nobody, by_nobody.len());
        agent.wait_ledger("nothing in flight", LIMIT, |l| l.in_flight() == 0);
        agent.stop();
        let seen = Seen::of(&sink);
        assert_eq!(kinds(&seen, &root), by_root, "{filters}");
        assert_eq!(kinds(&seen, &nobody), by_nobody, "{filters}");
    }
}

/// A control group of this test, gone with it.
struct Group(PathBuf);

impl Group {
    /// Below the root of version 2 where it is mounted, else of a hierarchy of version 1.
    fn new(path: &str) -> Group {
        let roots = [
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/pids",
        ];
        let root = roots
            .into_iter()
            .find(|root| Path::new(root).join("cgroup.procs").exists())
            .expect("a hierarchy of control groups");
        let dir = Path::new(root).join(path);
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        Group(dir)
    }

    /// What a shell does to enter it.
    fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.0.display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended may be on its way out.
        for _ in 0..50 {
            match std::fs::remove_dir(&self.0) {
                Ok(()) => return,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        eprintln!("cannot remove {}", self.0.display());
    }
}

#[test]
fn a_control_group_and_those_below_it_can_be_looked_at_alone() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let name = format!("plainspan-test-{}", std::process::id());
    let outer = Group::new(&name);
    let inner = Group::new(&format!("{name}/inner"));
    let config = Config::new("headers").grpc(&sink.grpc_endpoint()).tap(
        "filters",
        json!({"include": [{"cgroup": format!("/{name}")}]}),
    );
    let agent = Agent::start(&work, &config.yaml());
    let base = nginx.base();
    let (inside, below, outside) = (
        work.url_path("answer?inside"),
        work.url_path("answer?below"),
        work.url_path("answer?outside"),
    );
    shell(&work, &format!("curl -sSf '{base}{outside}'"), &[]);
    for (group, target) in [(&outer, &inside), (&inner, &below)] {
        shell(
            &work,
            &format!("{}\nexec curl -sSf '{base}{target}'", group.enter()),
            &[],
        );
    }
    wait_for(&agent, &sink, &inside, 1);
    wait_for(&agent, &sink, &below, 1);
    agent.stop();
    drop(inner);
    let seen = Seen::of(&sink);
    assert_eq!(kinds(&seen, &inside), [SpanKind::Client]);
    assert_eq!(kinds(&seen, &below), [SpanKind::Client]);
    assert_eq!(kinds(&seen, &outside), []);
}

/// Docker's socket, which knows one container, and takes its time.
fn fake_docker(socket: &Path, id: &str) {
    let listener = UnixListener::bind(socket).expect("a socket");
    let wanted = format!("GET /containers/{id}/json ");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            while !request.ends_with("\r\n\r\n") {
                if reader.read_line(&mut request).expect("a request") == 0 {
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(150));
            let labels = r#"{"team":"Check Out","io.kubernetes.pod.name":"web-1","io.kubernetes.pod.namespace":"prod","io.kubernetes.container.name":"web"}"#;
            let (status, body) = match request.starts_with(&wanted) {
                true => (
                    "200 OK",
                    format!(
                        r#"{{"Name":"/shop-web","Config":{{"Image":"shop/web:2.1","Labels":{labels}}}}}"#
                    ),
                ),
                false => ("404 Not Found", "{}".to_owned()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
}

#[test]
fn a_container_s_first_request_has_its_names_labels_and_pod() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let id = format!("{:064x}", u64::from(std::process::id()) + (1 << 40));
    let socket = work.path("docker.sock");
    fake_docker(&socket, &id);
    let group = Group::new(&format!("docker-{id}.scope"));
    let config = Config::new("none")
        .rule(
            "shop",
            "src.pod.namespace == \"prod\" and tags contains \"team:check-out\"",
            "headers",
        )
        .grpc(&sink.grpc_endpoint())
        .tap(
            "filters",
            json!({"include": [{"container": "shop-*", "pod": "web-*"}]}),
        )
        .tap(
            "identity",
            json!({"docker": [socket], "containerd": [], "cri": []}),
        )
        .root(
            "tags",
            json!([{"key": "team", "source": "container.label", "location": "team"}]),
        );
    let agent = Agent::start(&work, &config.yaml());
    let base = nginx.base();
    let target = work.url_path("answer?inside");
    shell(
        &work,
        &format!("{}\nexec curl -sSf '{base}{target}'", group.enter()),
        &[],
    );
    wait_for(&agent, &sink, &target, 1);
    agent.stop();
    let seen = Seen::of(&sink);
    assert_eq!(kinds(&seen, &target), [SpanKind::Client]);
    let span = seen.one(&target, SpanKind::Client);
    for (name, wanted) in [
        ("container.id", json!(id)),
        ("container.name", json!("shop-web")),
        ("container.image.name", json!("shop/web")),
        ("container.image.tags", json!(["2.1"])),
        ("k8s.pod.name", json!("web-1")),
        ("k8s.namespace.name", json!("prod")),
        ("k8s.container.name", json!("web")),
        ("service.name", json!("web-1")),
        ("service.instance.id", json!("prod.web-1.web")),
    ] {
        assert_eq!(resource(span, name), Some(wanted), "{name}");
    }
    assert_eq!(resource(span, "plainspan.container.lookup"), None);
    assert_eq!(span.attr("plainspan.tag.team"), Some(json!("check-out")));
    let log = seen.log_of(span);
    assert_eq!(log.attr("plainspan.tag.team"), Some(json!("check-out")));
}

#[test]
fn a_process_s_environment_says_how_it_is_looked_at_and_tags_it() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("headers").grpc(&sink.grpc_endpoint());
    let agent = Agent::start(&work, &config.yaml());
    let base = nginx.base();
    let targets = ["plain", "ignored", "audited", "other", "tagged"]
        .map(|name| (name, work.url_path(&format!("answer?{name}"))));
    for (name, target) in &targets {
        let variables: &[(&str, &str)] = match *name {
            "ignored" => &[("QPOINT_STRATEGY", "ignore,exe.suffix:/curl")],
            "audited" => &[("QPOINT_STRATEGY", "audit")],
            "other" => &[("QPOINT_STRATEGY", "ignore,exe.exact:/usr/bin/wget")],
            "tagged" => &[("QPOINT_TAGS", "team:Shop,team:web,stage:test")],
            _ => &[],
        };
        shell(&work, &format!("curl -sSf '{base}{target}'"), variables);
    }
    for (name, target) in &targets {
        wait_for(
            &agent,
            &sink,
            target,
            if *name == "ignored" { 1 } else { 2 },
        );
    }
    agent.stop();
    let seen = Seen::of(&sink);
    let client = |index: usize| seen.one(&targets[index].1, SpanKind::Client);
    assert_eq!(kinds(&seen, &targets[1].1), [SpanKind::Server]);
    let level = |index: usize| client(index).attr("plainspan.capture.level");
    assert_eq!(level(0), Some(json!("headers")));
    assert_eq!(level(2), Some(json!("summary")));
    assert_eq!(level(3), Some(json!("headers")));
    assert_eq!(client(2).attr("http.request.header.accept"), None);
    let tag = |name: &str| client(4).attr(name);
    assert_eq!(tag("plainspan.tag.team"), Some(json!(["shop", "web"])));
    assert_eq!(tag("plainspan.tag.stage"), Some(json!("test")));
}

#[test]
fn each_domain_goes_through_its_own_stack() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("headers")
        .stack("quiet", "summary")
        .grpc(&sink.grpc_endpoint())
        .tap(
            "endpoints",
            json!([
                {"domain": "*.bank.example", "http": {"stack": "none"}},
                {"domain": "www.bank.example", "http": {"stack": "quiet"}},
                {"domain": "api.example", "http": {"stack": "quiet"}},
            ]),
        );
    let agent = Agent::start(&work, &config.yaml());
    let base = nginx.base();
    let cases = [
        ("api.example", Some("summary")),
        ("API.Example:80", Some("summary")),
        ("www.bank.example", Some("summary")),
        ("secret.bank.example", None),
        ("bank.example", Some("headers")),
        ("other.example", Some("headers")),
    ];
    let targets: Vec<String> = (0..cases.len())
        .map(|index| work.url_path(&format!("answer?{index}")))
        .collect();
    for ((host, _), target) in cases.iter().zip(&targets) {
        shell(
            &work,
            &format!("curl -sSf -H 'Host: {host}' '{base}{target}'"),
            &[],
        );
    }
    for ((_, level), target) in cases.iter().zip(&targets) {
        wait_for(&agent, &sink, target, if level.is_some() { 2 } else { 0 });
    }
    let ledger = agent.wait_ledger("two at level none", LIMIT, |ledger| {
        ledger.get(&["transactions", "left_out", "level_none"]) >= 2
    });
    ledger.assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    for ((host, level), target) in cases.iter().zip(&targets) {
        let found: Vec<_> = seen
            .spans_of(target)
            .iter()
            .map(|span| span.text("plainspan.capture.level"))
            .collect();
        let wanted = vec![level.map(str::to_owned); if level.is_some() { 2 } else { 0 }];
        assert_eq!(found, wanted, "{host}");
    }
}

#[test]
fn direction_tells_internal_from_external_peers() {
    let _turn = turn();
    for (direction, ranges, wanted_external, wanted_internal) in [
        (
            "egress-external",
            json!([]),
            &[SpanKind::Client][..],
            &[][..],
        ),
        ("egress-internal", json!([]), &[], &[SpanKind::Client]),
        (
            "egress-internal",
            json!(["203.0.113.0/24"]),
            &[SpanKind::Client],
            &[SpanKind::Client],
        ),
        (
            "ingress",
            json!([]),
            &[SpanKind::Server],
            &[SpanKind::Server],
        ),
    ] {
        let work = Work::new();
        let sink = OtlpSink::start();
        let config = Config::new("headers")
            .grpc(&sink.grpc_endpoint())
            .tap("direction", json!(direction))
            .tap("ignore_loopback", json!(true))
            .tap("private_ranges", ranges.clone());
        let agent = Agent::start(&work, &config.yaml());
        let (external, internal) = (work.url_path("external"), work.url_path("internal"));
        // Both addresses are those of a network namespace that ends with the shell.
        let script = format!(
            "ip link set lo up
             ip address add 203.0.113.77/32 dev lo
             ip address add 10.203.78.1/32 dev lo
             /usr/bin/python3 -m http.server 8099 --bind 0.0.0.0 &
             server=$!
             curl -sS --retry 50 --retry-delay 1 --retry-connrefused -o /dev/null 'http://203.0.113.77:8099{external}'
             curl -sS -o /dev/null 'http://10.203.78.1:8099{internal}'
             kill $server"
        );
        let mut command = Command::new("unshare");
        command
            .args(["--net", "sh", "-e", "-c", &script])
            .env("no_proxy", "*");
        run_well(&mut command, work.dir(), "unshare", LIMIT);
        wait_for(&agent, &sink, &external, wanted_external.len());
        wait_for(&agent, &sink, &internal, wanted_internal.len());
        agent.wait_ledger("nothing in flight", LIMIT, |l| l.in_flight() == 0);
        agent.stop();
        let seen = Seen::of(&sink);
        assert_eq!(
            kinds(&seen, &external),
            wanted_external,
            "{direction} {ranges}"
        );
        assert_eq!(
            kinds(&seen, &internal),
            wanted_internal,
            "{direction} {ranges}"
        );
    }
}
