//! The suite: what runs inside of a virtual machine.
//!
//! Enters: the kernel's name on the kernel's command line. Leaves: lines on the second serial port. Holds: a thing that
//! goes wrong is said and does not keep the next from being looked at.

use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::config::Config;
use crate::harness::exchange::Exchange;
use crate::harness::plan::{Call, Client, Program};
use crate::harness::process::{Running, run, run_well, wait_for_port};
use crate::harness::seen::{Seen, target};
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{free_port, repository, wait_until};
use crate::otlp_sink::{OtlpSink, SeenLog};
use crate::report::{Done, Line, Outcome};
use crate::table::{self, Rights, Stack};
use crate::verdicts::{AUTOMATIC, END, REFUSAL, SECCOMP};
use serde_json::json;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

/// Requests of a stack: connections, and requests on each.
const CONNECTIONS: usize = 4;
const EACH: usize = 5;

/// Within what an agent is ready: the kernel's check of its programs takes most of it.
const START: Duration = Duration::from_secs(150);
/// Within what it ends.
const END_WITHIN: Duration = Duration::from_secs(60);

/// By how much times of both ends may differ: an emulated processor takes long from a system call to its probe.
const SLACK: Duration = Duration::from_millis(200);

#[test]
#[ignore = "it runs inside of a virtual machine, which the other test starts"]
fn suite() {
    let line = std::fs::read_to_string("/proc/cmdline").expect("the kernel's command line");
    let mut words = line.split_whitespace();
    let name = words.find_map(|word| word.strip_prefix("plainspan.kernel="));
    let kernel = table::kernel(name.expect("not inside of a virtual machine of tests/kernels"));
    let mut results = Results {
        port: File::options()
            .write(true)
            .open("/dev/ttyS1")
            .expect("the second serial port"),
        begun: Instant::now(),
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    results.say(&Line::Began {
        release: release.trim().to_owned(),
        paranoid: paranoid.expect("a level").trim().to_owned(),
    });
    let work = Work::new();
    match kernel.agent {
        table::Agent::Refuses { says } => results.look("", REFUSAL, || refusal(&work, None, says)),
        table::Agent::Captures {
            automatic,
            tiers,
            missing,
            rights,
        } => {
            let mut servers = Servers::start(&work);
            results.tier(&work, &mut servers, None, automatic);
            for tier in tiers {
                results.tier(&work, &mut servers, Some(tier), tier);
            }
            for tier in missing {
                let says = "this kernel does not take it";
                results.look(tier, REFUSAL, || refusal(&work, Some(tier), says));
            }
            for calls in rights {
                for set in table::SETS {
                    let what = table::set_name(set);
                    results.look(calls, &what, || with_rights(&work, &servers, calls, set));
                }
            }
        }
    }
    let seconds = results.begun.elapsed().as_secs_f64();
    results.say(&Line::Over { seconds });
}

/// Where results go.
struct Results {
    port: File,
    begun: Instant,
}

impl Results {
    fn say(&mut self, line: &Line) {
        let line = serde_json::to_string(line).expect("JSON");
        writeln!(self.port, "{line}")
            .and_then(|()| self.port.flush())
            .expect("written");
    }

    /// Does one thing; a panic is its failure.
    fn look(&mut self, tier: &str, what: &str, thing: impl FnOnce() -> String) {
        let begun = Instant::now();
        let outcome = match catch_unwind(AssertUnwindSafe(thing)) {
            Ok(said) => Outcome::Right(said),
            Err(panic) => Outcome::Wrong(message(&*panic)),
        };
        let seconds = begun.elapsed().as_secs_f64();
        self.say(&Line::Done(Done {
            tier: tier.to_owned(),
            what: what.to_owned(),
            seconds,
            outcome,
        }));
    }

    /// An agent with this tier, beside all servers.
    fn tier(&mut self, work: &Work, servers: &mut Servers, asked: Option<&str>, wanted: &str) {
        let name = asked.unwrap_or(AUTOMATIC);
        let mut started = None;
        self.look(name, "start", || {
            let scene = Scene::start(work, asked);
            assert_eq!(scene.agent().status()["tier"], wanted, "another tier");
            started = Some(scene);
            "started".to_owned()
        });
        let Some(mut scene) = started else { return };
        for stack in Stack::ALL {
            self.look(name, stack.name(), || {
                scene.exchange(work, servers, name, stack)
            });
        }
        self.look(name, SECCOMP, || scene.filtered(work, servers, name));
        self.look(name, END, || scene.end());
    }
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    let text = text.unwrap_or_else(|| "a panic without a message".to_owned());
    // The port is slow, and the begin says what it was.
    text.chars().take(6000).collect()
}

/// The agent does not start, says why, and that it is a failure.
fn refusal(work: &Work, tier: Option<&str>, says: &str) -> String {
    let config = write_config(work, &Config::new("headers").stdout().yaml());
    let mut command = Command::new(env!("CARGO_BIN_EXE_plainspan"));
    command
        .args(["run", "--status-listen", "off", "-c"])
        .arg(config);
    if let Some(tier) = tier {
        command.args(["--tier", tier]);
    }
    let output = run(&mut command, work.dir(), "refused", Duration::from_secs(60));
    assert_eq!(output.code, Some(1), "{}\n{}", output.stdout, output.stderr);
    assert!(
        output.stderr.contains(says),
        "it does not say {says:?}: {}",
        output.stderr
    );
    "refused".to_owned()
}

/// An agent of `nobody` with these capabilities and no others captures both ends of a request of root's programs, or
/// does not start and says what it has not got.
fn with_rights(work: &Work, servers: &Servers, calls: &str, set: &[&str]) -> String {
    const USER: u32 = 65534;
    std::fs::set_permissions(work.dir(), Permissions::from_mode(0o755)).expect("its mode");
    let own = work.folder("own");
    chown(&own, Some(USER), Some(USER)).expect("given away");
    let sink = OtlpSink::start();
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&own.join("payloads"))
        .root("live", json!({"socket": own.join("live.sock")}))
        .yaml();
    let started = Launch::as_user(USER, set, &write_config(work, &config))
        .arg("--tier")
        .arg(calls)
        .quiet()
        .ready_within(START)
        .try_start(work);
    let rights = table::rights(calls, set);
    let agent = match (started, rights) {
        (Ok(agent), Rights::Enough | Rights::Warns(_)) => agent,
        (Ok(_), Rights::Refuses(what)) => panic!("it starts without {what}"),
        (Err(said), Rights::Refuses(what)) => {
            assert!(said.contains(what), "it does not say {what:?}: {said}");
            return "refuses".to_owned();
        }
        (Err(said), _) => panic!("it does not start: {said}"),
    };
    let call = Call::get(work.url_path(&format!("rights/{calls}/{}", set.len())));
    Client::Curl.perform(work, &servers.nginx.base(), &[vec![call.clone()]]);
    let both = |sink: &OtlpSink| Seen::of(sink).spans_of(&call.target).len() == 2;
    let there = sink.wait_for(both, Duration::from_secs(30));
    let seen = Seen::of(&sink);
    assert!(
        there,
        "{}\n{}\n{}",
        seen.summary(),
        agent.ledger(),
        agent.log()
    );
    seen.pair(&call.target);
    agent.signal(libc::SIGTERM);
    let log = agent.wait(END_WITHIN).stderr;
    let warns = log.contains(table::WITHOUT_REPORTS);
    match rights {
        Rights::Warns(what) => {
            assert!(log.contains(what), "it does not say {what:?}: {log}");
            "captures, with a warning".to_owned()
        }
        _ => {
            assert!(!warns, "it misses reports: {log}");
            "captures".to_owned()
        }
    }
}

/// The servers of all stacks, which run before any agent.
struct Servers {
    nginx: Server,
    nginx_http2: Server,
    nginx_plain: Server,
    go: Server,
    rustls: Server,
    /// Under a filter.
    filtered: Running,
    filtered_port: u16,
}

impl Servers {
    fn start(work: &Work) -> Servers {
        let filtered_port = free_port();
        Servers {
            nginx: servers::nginx(work),
            nginx_http2: servers::nginx_http2(work, "https"),
            nginx_plain: servers::nginx_plain(work),
            go: servers::go(work, "new", None),
            rustls: rustls_server(work),
            filtered: filtered_server(work, filtered_port),
            filtered_port,
        }
    }

    /// Who makes the requests of a stack, to whom, and what that calls itself.
    fn ends(&self, stack: Stack) -> (Client, &Server, &'static str) {
        match stack {
            Stack::OpensslHttp1 => (Client::Curl, &self.nginx, "nginx"),
            Stack::OpensslHttp2 => (Client::CurlHttp2, &self.nginx_http2, "nginx"),
            Stack::Go => (Client::Go("new", "2"), &self.go, "go"),
            Stack::Rustls => (Client::Program(RUSTLS), &self.rustls, "rustls"),
            Stack::Plain => (Client::Curl, &self.nginx_plain, "nginx"),
        }
    }
}

fn filtered_server(work: &Work, port: u16) -> Running {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", "-quiet", "-port", &port.to_string()]);
    command.arg("-cert").arg(work.path("cert.pem"));
    command.arg("-key").arg(work.path("key.pem"));
    under_filter(&mut command);
    let server = Running::start(&mut command, work.dir(), "filtered-server");
    wait_for_port(&server, "127.0.0.1", port);
    server
}

const RUSTLS: Program = Program {
    name: "rustls",
    command: || {
        let mut command = Command::new(repository("target/rustls/peer"));
        command.args(["client", "ring,1.3,1.1"]);
        command
    },
    at_once: 1,
    http: "1.1",
};

fn rustls_server(work: &Work) -> Server {
    let port = free_port();
    let mut command = Command::new(repository("target/rustls/peer"));
    command.args(["server", "ring,1.3,1.1", "127.0.0.1", &port.to_string()]);
    command.arg(work.path("cert.pem")).arg(work.path("key.pem"));
    let mut running = Running::start(&mut command, work.dir(), "rustls-server");
    running.wait_for_output("ready", Duration::from_secs(20));
    Server::https(running, port)
}

/// An agent, where its spans go, and how many have to be there.
struct Scene {
    agent: Option<Agent>,
    sink: OtlpSink,
    spans: usize,
}

impl Scene {
    fn start(work: &Work, tier: Option<&str>) -> Scene {
        let sink = OtlpSink::start();
        let state = json!({"state_file": work.path("connections")});
        let config = Config::full(work, &sink).tap("trace", state).yaml();
        let mut launch = Launch::new(&write_config(work, &config))
            .quiet()
            .ready_within(START);
        if let Some(tier) = tier {
            launch = launch.arg("--tier").arg(tier);
        }
        Scene {
            agent: Some(launch.start(work)),
            sink,
            spans: 0,
        }
    }
}

impl Scene {
    fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("an agent that runs")
    }

    /// All requests of a stack; each is there once on each side, whole and right.
    fn exchange(&mut self, work: &Work, servers: &Servers, tier: &str, stack: Stack) -> String {
        let (client, server, header) = servers.ends(stack);
        let calls = calls(work, tier, stack);
        let number = calls.iter().flatten().count();
        self.spans += 2 * number;
        let ends = (client, server);
        let exchange = Exchange::perform(work, self.agent(), &self.sink, ends, &calls, header);
        let exchange = exchange.with_slack(SLACK);
        // Records of other stacks are there before.
        let wanted = self.spans;
        let records = |sink: &OtlpSink| {
            let records = sink.logs().into_iter();
            let of_requests = |log: &SeenLog| log.record.event_name == "plainspan.http.transaction";
            records.filter(of_requests).count() >= wanted
        };
        assert!(
            self.sink.wait_for(records, Duration::from_secs(20)),
            "not all log records came"
        );
        let seen = Seen::of(&self.sink);
        exchange.verify(&seen);
        exchange.verify_joined(&seen);
        self.agent().ledger().assert_nothing_lost();
        "captured".to_owned()
    }

    /// A server and a client whose filters end them at a system call that they do not know. The client begins with
    /// probes in its library already. Both live.
    fn filtered(&mut self, work: &Work, servers: &mut Servers, tier: &str) -> String {
        let port = servers.filtered_port;
        for number in 0..3 {
            let target = work.url_path(&format!("filtered/{tier}/{number}"));
            let mut command = Command::new("curl");
            command.args(["-q", "-s", "-S", "--http1.1", "-o", "/dev/null", "--cacert"]);
            command.arg(work.path("cert.pem"));
            command.arg(format!("https://localhost:{port}{target}"));
            under_filter(&mut command);
            run_well(
                &mut command,
                work.dir(),
                "filtered-client",
                Duration::from_secs(30),
            );
            let server = &mut servers.filtered;
            assert!(
                server.is_running(),
                "the server was ended: {:?}\n{}",
                server.exited(),
                server.outputs()
            );
            self.spans += 2;
            let both = |sink: &OtlpSink| Seen::of(sink).spans_of(&target).len() == 2;
            let there = self.sink.wait_for(both, Duration::from_secs(20));
            assert!(
                there,
                "{target}:\n{}\n{}",
                Seen::of(&self.sink).summary(),
                self.agent().ledger()
            );
            Seen::of(&self.sink).pair(&target);
        }
        let state = self.verdict(servers.filtered.pid());
        assert_eq!(state["state"], "captured", "{state}");
        "captured".to_owned()
    }

    /// What the agent says of a process.
    fn verdict(&self, pid: u32) -> serde_json::Value {
        wait_until(
            Duration::from_secs(15),
            "verdict of the process",
            || {
                let status = self.agent().status();
                let all = status["verdicts"]["processes"].as_array()?;
                let found = all.iter().find(|process| process["pid"] == pid)?;
                (found["state"] != "waiting").then(|| found.clone())
            },
            || format!("{:#}", self.agent().status()["verdicts"]["processes"]),
        )
    }

    /// It ends well, and there is nothing but what was asked for.
    fn end(&mut self) -> String {
        let agent = self.agent.take().expect("an agent that runs");
        agent.ledger().assert_nothing_lost();
        agent.signal(libc::SIGTERM);
        agent.wait(END_WITHIN);
        let seen = Seen::of(&self.sink);
        // The agent's own spans are about no request.
        let spans = seen
            .spans()
            .iter()
            .filter(|span| target(span).is_some())
            .count();
        assert_eq!(spans, self.spans, "{}", seen.summary());
        format!("{} spans", self.spans)
    }
}

/// Requests that no other stack or tier makes, every other one with a body.
fn calls(work: &Work, tier: &str, stack: Stack) -> Vec<Vec<Call>> {
    let of = format!("{tier}-{}", stack.name().replace([' ', '/', '.'], "-"));
    // What the server makes of a body: nginx reads it, Go's gives it back.
    let to = if stack == Stack::Go { "echo" } else { "upload" };
    let call = |number: usize| {
        let call = match number % 2 {
            0 => Call::get(work.url_path(&format!("get/{of}/{number}?number={number}"))),
            _ => {
                let body = (0..1000 + number * 3000).map(|at| (at * 7 + at / 251 + number) as u8);
                Call::post(
                    work.url_path(&format!("{to}/{of}/{number}")),
                    body.collect(),
                )
            }
        };
        call.header("x-call", &number.to_string())
    };
    let connection = |c: usize| (0..EACH).map(|n| call(c * EACH + n)).collect();
    (0..CONNECTIONS).map(connection).collect()
}

/// The program gets a filter that ends it at the system call by which return probes come back on kernels from 6.11 on:
/// as any filter does that names what it allows.
fn under_filter(command: &mut Command) {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const URETPROBE: u32 = 335;
    let step = |code, k, jt| libc::sock_filter { code, jt, jf: 0, k };
    let filter = [
        step(LOAD, 0, 0),
        step(JUMP_IF_EQUAL, URETPROBE, 1),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0),
    ];
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: system calls alone; the program and its filter outlive the call that copies them.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ) == 0
        };
        if done {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: the closure makes system calls alone.
    unsafe { command.pre_exec(install) };
}
