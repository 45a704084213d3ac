//! Without any header the client's and the server's span of one request meet in one trace, and no others do.

use crate::harness::agent::{Agent, Launch};
use crate::harness::config::Config;
use crate::harness::process::{Running, run_well};
use crate::harness::seen::{Seen, header, parent};
use crate::harness::servers::{self, Server, program};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Requests of each load: `PLAINSPAN_JOIN_REQUESTS`, else 2,000.
fn requests() -> usize {
    match std::env::var("PLAINSPAN_JOIN_REQUESTS") {
        Ok(text) => text.parse().expect("PLAINSPAN_JOIN_REQUESTS is a number"),
        Err(_) => 2_000,
    }
}

fn config(sink: &OtlpSink, work: &Work, trace: Value) -> Config {
    let mut settings = json!({"state_file": work.path("connections")});
    for (key, value) in trace.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    Config::new("headers")
        .grpc_traces(&sink.grpc_endpoint())
        .tap("trace", settings)
        // A burst of many thousands waits in the queue of an agent that was not optimised.
        .limit("memory", "1GiB")
}

/// How h2load talks.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// 200 connections that are kept.
    Http1,
    /// 10 connections with 20 streams at a time.
    Http2,
}

fn h2load(command: &mut Command, load: Load, count: usize, url: &str, work: &Work) {
    command.args(["-n", &count.to_string(), "-t", "1"]);
    match load {
        Load::Http1 => command.args(["--h1", "-c", "200", "-m", "1"]),
        Load::Http2 => command.args(["-c", "10", "-m", "20"]),
    };
    command.arg(url);
    let output = run_well(command, work.dir(), "h2load", LIMIT).stdout;
    assert!(output.contains(&format!("{count} succeeded")), "{output}");
}

/// Waits until so many transactions were exported, and nothing is on its way.
fn wait_exported(agent: &Agent, count: usize) {
    agent.wait_ledger("all exported", LIMIT, |ledger| {
        ledger.get(&["transactions", "exported"]) >= count as u64 && ledger.in_flight() == 0
    });
}

/// Every client's span has its server's span as the child, in a trace of their own.
fn assert_pairs(spans: &[&SeenSpan], count: usize) {
    let mut traces: BTreeMap<String, Vec<&SeenSpan>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for span in spans {
        assert!(
            ids.insert(span.span_id()),
            "span id {} twice",
            span.span_id()
        );
        traces.entry(span.trace_id()).or_default().push(span);
    }
    let (mut apart, mut orphans) = (0, 0);
    for (trace, spans) in &traces {
        let of = |kind| spans.iter().find(|s| s.span.kind() == kind);
        let (Some(client), Some(server)) = (of(SpanKind::Client), of(SpanKind::Server)) else {
            apart += 1;
            continue;
        };
        assert_eq!(spans.len(), 2, "trace {trace} has other requests too");
        assert_same_request(client, server);
        assert_eq!((parent(client), client.span.flags), (None, 0x103));
        match parent(server) {
            None => orphans += 1,
            Some(id) => {
                assert_eq!(id, client.span_id());
                assert_eq!(server.span.flags, 0x303);
            }
        }
    }
    assert_eq!(
        (traces.len(), apart, orphans),
        (count, 0, 0),
        "traces, those with one side alone, those whose server has no parent"
    );
}

fn assert_same_request(client: &SeenSpan, server: &SeenSpan) {
    let id = |span: &SeenSpan| header(span.attr("http.response.header.x-request-id"));
    assert_eq!(id(client).len(), 1, "{client:#?}");
    assert_eq!(id(client), id(server), "two requests in one trace");
}

fn many_in_flight(server: impl FnOnce(&Work) -> Server, load: Load) {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = server(&work);
    let yaml = config(&sink, &work, json!({})).yaml();
    let agent = Agent::start(&work, &yaml);
    let target = work.url_path("unique/one");
    let url = format!("{}{target}", server.base());
    h2load(&mut Command::new("h2load"), load, requests(), &url, &work);
    wait_exported(&agent, 2 * requests());
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    assert_pairs(&seen.spans_of(&target), requests());
}

#[test]
fn many_requests_in_flight_over_http_1_with_tls_are_joined_one_by_one() {
    many_in_flight(servers::nginx, Load::Http1);
}

#[test]
fn many_requests_in_flight_over_plain_http_1_are_joined_one_by_one() {
    many_in_flight(servers::nginx_plain, Load::Http1);
}

#[test]
fn many_requests_in_flight_over_http_2_with_tls_are_joined_one_by_one() {
    many_in_flight(|work| servers::nginx_http2(work, "https"), Load::Http2);
}

#[test]
fn many_requests_in_flight_over_plain_http_2_are_joined_one_by_one() {
    many_in_flight(|work| servers::nginx_http2(work, "http"), Load::Http2);
}

/// nginx that passes bytes on, and looks at none.
fn relay(work: &Work, port: u16, to: u16) -> Running {
    let dir = work.folder("relay");
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
         daemon off; user root; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log info;
         events {{ worker_connections 512; }}
         stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{to}; }} }}",
        dir = dir.display()
    );
    let path = dir.join("nginx.conf");
    std::fs::write(&path, text).expect("write the relay's configuration");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(&path);
    let relay = Running::start(&mut command, work.dir(), "relay");
    crate::harness::process::wait_for_port(&relay, "127.0.0.1", port);
    relay
}

#[test]
fn a_relay_between_client_and_server_stays_silent_and_they_meet_through_it() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = servers::nginx_http2(&work, "https");
    let port = crate::harness::free_port();
    let _relay = relay(&work, port, server.port);
    let agent = Agent::start(&work, &config(&sink, &work, json!({})).yaml());
    let target = work.url_path("unique/relayed");
    for load in [Load::Http1, Load::Http2] {
        let url = format!("https://127.0.0.1:{port}{target}");
        h2load(&mut Command::new("h2load"), load, 400, &url, &work);
    }
    wait_exported(&agent, 1600);
    agent.ledger().assert_nothing_lost();
    agent.stop();
    assert_pairs(&Seen::of(&sink).spans_of(&target), 800);
}

/// Two network namespaces with a router between them that hides the client's address and port.
struct Net {
    names: [String; 3],
}

const CLIENT: &str = "10.203.81.2";
const OUTSIDE: &str = "10.203.82.1";
const SERVER: &str = "10.203.82.2";

impl Net {
    fn new(work: &Work) -> Net {
        let id = std::process::id();
        let net = Net {
            names: [format!("psc{id}"), format!("psr{id}"), format!("pss{id}")],
        };
        let [client, router, server] = &net.names;
        let script = format!(
            "for n in {client} {router} {server}; do ip netns add $n; ip -n $n link set lo up; done
             ip -n {router} link add c type veth peer name e netns {client}
             ip -n {router} link add s type veth peer name e netns {server}
             ip -n {client} address add {CLIENT}/30 dev e; ip -n {client} link set e up
             ip -n {server} address add {SERVER}/30 dev e; ip -n {server} link set e up
             ip -n {router} address add 10.203.81.1/30 dev c; ip -n {router} link set c up
             ip -n {router} address add {OUTSIDE}/30 dev s; ip -n {router} link set s up
             ip -n {client} route add default via 10.203.81.1
             ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1
             ip netns exec {router} nft add table ip nat
             ip netns exec {router} nft 'add chain ip nat out {{ type nat hook postrouting priority 100 ; }}'
             ip netns exec {router} nft 'add rule ip nat out oif s masquerade random'"
        );
        let mut command = Command::new("sh");
        command.args(["-e", "-c", &script]);
        run_well(&mut command, work.dir(), "net", Duration::from_secs(20));
        net
    }

    fn command(&self, name: usize, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.names[name]))
            .arg(program);
        command
    }

    fn inode(&self, name: usize) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let path = Path::new("/run/netns").join(&self.names[name]);
        std::fs::metadata(path).expect("a namespace").ino()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            match Command::new("ip").args(["netns", "delete", name]).status() {
                Ok(status) if status.success() => {}
                other => eprintln!("cannot delete namespace {name}: {other:?}"),
            }
        }
    }
}

/// nginx in the server's namespace: TLS on 443, plain on 80.
fn nginx_inside(net: &Net, work: &Work) -> Running {
    let dir = work.folder("inside");
    let text = format!(
        "daemon off; user root; worker_processes 2; pid {dir}/pid; error_log {dir}/error.log info;
         events {{ worker_connections 512; }}
         http {{
           access_log off; keepalive_requests 1000000;
           server {{
             listen {SERVER}:443 ssl http2; listen {SERVER}:80;
             ssl_certificate {cert}; ssl_certificate_key {key};
             location / {{ add_header x-request-id $request_id; return 200 inside; }}
           }}
         }}",
        dir = dir.display(),
        cert = work.path("cert.pem").display(),
        key = work.path("key.pem").display(),
    );
    let path = dir.join("nginx.conf");
    std::fs::write(&path, text).expect("write nginx.conf");
    let mut command = net.command(2, "/usr/sbin/nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(&path);
    let nginx = Running::start(&mut command, work.dir(), "inside");
    let ready = || {
        let mut probe = net.command(0, "curl");
        let probe = probe.args(["-s", "-o", "/dev/null", &format!("http://{SERVER}/ready")]);
        probe.status().is_ok_and(|s| s.success()).then_some(())
    };
    crate::harness::wait_until(Duration::from_secs(10), "answer", ready, || nginx.outputs());
    nginx
}

/// An agent of one namespace, with a folder of its own.
fn agent_of(net: &Net, name: usize, sink: &OtlpSink, trace: Value) -> (Agent, Work) {
    let work = Work::new();
    let config =
        config(sink, &work, trace).tap("filters", json!({"include": [{"netns": net.inode(name)}]}));
    let agent = Agent::start(&work, &config.yaml());
    (agent, work)
}

#[test]
fn two_hosts_behind_nat_with_an_agent_each_meet_and_the_parent_is_there_where_the_network_is_listed()
 {
    let _turn = turn();
    let work = Work::new();
    let net = Net::new(&work);
    let _nginx = nginx_inside(&net, &work);
    for listed in [true, false] {
        let sink = OtlpSink::start();
        let networks = if listed {
            json!(["10.203.82.0/30"])
        } else {
            json!([])
        };
        let (at_client, _work) = agent_of(&net, 0, &sink, json!({}));
        let (at_server, _work) = agent_of(&net, 2, &sink, json!({"joined_networks": networks}));
        let mut count = 0;
        let target = work.url_path("nat");
        for (load, scheme) in [
            (Load::Http1, "https"),
            (Load::Http2, "https"),
            (Load::Http1, "http"),
        ] {
            let url = format!("{scheme}://{SERVER}{target}");
            let each = requests() / 4;
            h2load(&mut net.command(0, "h2load"), load, each, &url, &work);
            count += each;
        }
        for agent in [at_client, at_server] {
            wait_exported(&agent, count);
            agent.ledger().assert_nothing_lost();
            agent.stop();
        }
        let seen = Seen::of(&sink);
        let spans = seen.spans_of(&target);
        if listed {
            assert_pairs(&spans, count);
            continue;
        }
        let mut traces: BTreeMap<String, Vec<&SeenSpan>> = BTreeMap::new();
        for span in &spans {
            assert_eq!(parent(span), None, "the client's end is not of this agent");
            traces.entry(span.trace_id()).or_default().push(span);
        }
        assert_eq!((spans.len(), traces.len()), (2 * count, count));
        for pair in traces.values() {
            assert_same_request(pair[0], pair[1]);
        }
    }
}

#[test]
fn agents_with_different_site_keys_do_not_meet() {
    let _turn = turn();
    let work = Work::new();
    let net = Net::new(&work);
    let _nginx = nginx_inside(&net, &work);
    let sink = OtlpSink::start();
    let key = |text: &str| json!({"site_key": {"type": "text", "value": text}});
    let (at_client, _work) = agent_of(&net, 0, &sink, key("0123456789abcdef"));
    let (at_server, _work) = agent_of(&net, 2, &sink, key("0123456789abcdeF"));
    let target = work.url_path("site");
    let url = format!("https://{SERVER}{target}");
    h2load(&mut net.command(0, "h2load"), Load::Http2, 100, &url, &work);
    for agent in [at_client, at_server] {
        wait_exported(&agent, 100);
        for secret in ["0123456789abcdef", "0123456789abcdeF"] {
            assert!(!agent.log().contains(secret), "the key is in the log");
        }
        agent.stop();
    }
    let seen = Seen::of(&sink);
    let traces: BTreeSet<String> = seen
        .spans_of(&target)
        .iter()
        .map(|s| s.trace_id())
        .collect();
    assert_eq!(traces.len(), 200);
}

fn restarted(end: impl FnOnce(Agent), before: Duration) {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = servers::late_http2_tls(&work);
    let yaml = config(&sink, &work, json!({})).yaml();
    let first = Agent::start(&work, &yaml);
    let seconds = before.as_secs() + 9;
    let mut command = Command::new("node");
    command
        .arg(program("late_http2_client.js"))
        .arg(server.base())
        .arg(work.url_path(""))
        .arg(seconds.to_string())
        .arg(work.path("cert.pem"));
    let mut client = Running::start(&mut command, work.dir(), "client");
    std::thread::sleep(before);
    end(first);
    let second = Launch::new(&work.path("plainspan.yaml")).start(&work);
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos() as u64;
    assert!(client.is_running(), "{}", client.outputs());
    assert!(client.wait(LIMIT).success(), "{}", client.outputs());
    std::thread::sleep(Duration::from_millis(1500));
    second.stop();
    let seen = Seen::of(&sink);
    let port = i64::from(server.port);
    let after = |span: &&SeenSpan| {
        let ports = ["network.peer.port", "network.local.port"];
        ports.iter().any(|name| span.int(name) == Some(port))
            && span.span.start_time_unix_nano > since
            && span
                .text("url.path")
                .is_some_and(|p| !p.contains("/stream/"))
            || span
                .text("url.full")
                .is_some_and(|u| u.contains(&format!(":{port}/")))
                && span.span.start_time_unix_nano > since
    };
    let spans: Vec<&SeenSpan> = seen.spans().iter().filter(after).collect();
    let mut traces: BTreeMap<String, Vec<&SeenSpan>> = BTreeMap::new();
    for span in &spans {
        traces.entry(span.trace_id()).or_default().push(span);
    }
    let pairs = traces.values().filter(|spans| {
        spans.len() == 2
            && spans
                .iter()
                .any(|s| spans.iter().any(|p| parent(s) == Some(p.span_id())))
    });
    let (pairs, all) = (pairs.count(), traces.len());
    assert!(all >= 100, "only {all} requests after the restart");
    // The first and the last may be seen by one side alone.
    assert!(
        pairs + 3 >= all,
        "{pairs} of {all} requests after the restart are joined"
    );
}

#[test]
fn an_http_2_connection_that_outlives_the_agent_is_joined_by_the_next_one() {
    restarted(
        |agent| {
            agent.stop();
        },
        Duration::from_secs(3),
    );
}

#[test]
fn an_http_2_connection_that_outlives_an_agent_that_was_killed_is_joined_by_the_next_one() {
    restarted(Agent::kill, Duration::from_secs(13));
}
