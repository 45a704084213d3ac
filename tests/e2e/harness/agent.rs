//! The agent as a child process.

use super::ledger::Ledger;
use super::process::{Output, Running};
use super::work::Work;
use super::{free_port, http, wait_until};
use serde_json::Value;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A running agent. Killed when it goes, if the test did not stop it before.
pub struct Agent {
    running: Running,
    status: SocketAddr,
}

/// How an agent is started; [`Agent::start`] is enough for most tests.
pub struct Launch {
    command: Command,
    status: SocketAddr,
    log_level: &'static str,
    patience: Duration,
}

thread_local! {
    /// `--tier` of each agent that is started; empty: none.
    static TIERS: RefCell<String> =
        RefCell::new(std::env::var("PLAINSPAN_TEST_TIER").unwrap_or_default());
}

/// Runs a test with these tiers forced.
pub fn at_tiers(tiers: &str, test: fn()) {
    TIERS.set(tiers.to_owned());
    test();
}

impl Launch {
    /// `plainspan run -c CONFIG`, status on loopback, debug log, a clean environment of OTLP and AWS variables.
    pub fn new(config: &Path) -> Launch {
        Launch::with_program(
            Command::new(env!("CARGO_BIN_EXE_plainspan")),
            Ipv4Addr::LOCALHOST.into(),
            config,
        )
    }

    /// A copy of the agent, made at `copy`: it shares no memory with an agent beside it, whose PSS stays its own.
    #[allow(dead_code, reason = "the soak tests use it")]
    pub fn of_copy(copy: &Path, config: &Path) -> Launch {
        std::fs::copy(env!("CARGO_BIN_EXE_plainspan"), copy).expect("a copy of the agent");
        Launch::with_program(Command::new(copy), Ipv4Addr::LOCALHOST.into(), config)
    }

    /// The agent inside a network namespace of `ip netns`; status on one of its addresses.
    pub fn in_netns(netns: &str, status: IpAddr, config: &Path) -> Launch {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{netns}"))
            .arg(env!("CARGO_BIN_EXE_plainspan"));
        Launch::with_program(command, status, config)
    }

    /// The agent as another user, with these capabilities alone (names as `setpriv` has them).
    pub fn as_user(uid: u32, capabilities: &[&str], config: &Path) -> Launch {
        let set = |capabilities: &[&str]| {
            let more = capabilities.iter().map(|name| format!(",+{name}"));
            format!("-all{}", more.collect::<String>())
        };
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &uid.to_string(), "--regid", &uid.to_string()])
            .arg("--clear-groups")
            .args(["--inh-caps", &set(capabilities)])
            .args(["--ambient-caps", &set(capabilities)])
            .args(["--bounding-set", &set(capabilities)])
            .arg(env!("CARGO_BIN_EXE_plainspan"));
        Launch::with_program(command, Ipv4Addr::LOCALHOST.into(), config)
    }

    fn with_program(mut command: Command, status: IpAddr, config: &Path) -> Launch {
        let status = SocketAddr::new(status, free_port());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["OTEL_", "AWS_", "PLAINSPAN_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command.args(["run", "-c"]).arg(config);
        command.args(["--status-listen", &status.to_string()]);
        TIERS.with_borrow(|tiers| {
            if !tiers.is_empty() {
                command.args(["--tier", tiers]);
            }
        });
        Launch {
            command,
            status,
            log_level: "debug",
            patience: Duration::from_secs(30),
        }
    }

    /// The log level that users have: for tests that look at the agent's speed.
    pub fn quiet(mut self) -> Launch {
        self.log_level = "info";
        self
    }

    /// How long it may take to be ready: on a slow machine the kernel's check of its programs takes most of it.
    #[allow(dead_code, reason = "the tests in virtual machines ask for it")]
    pub fn ready_within(mut self, patience: Duration) -> Launch {
        self.patience = patience;
        self
    }

    /// More of the command line.
    pub fn arg(mut self, argument: &str) -> Launch {
        self.command.arg(argument);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Launch {
        self.command.env(name, value);
        self
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it is not ready in 30 s, or what was said; the message holds its output.
    pub fn start(self, work: &Work) -> Agent {
        self.try_start(work)
            .unwrap_or_else(|said| panic!("the agent ended while starting: {said}"))
    }

    /// As [`Launch::start`], for an agent that may end at once; gives what it said then.
    ///
    /// # Errors
    /// How it ended, and its output.
    ///
    /// # Panics
    /// When it is not ready in 30 s, or what was said; the message holds its output.
    pub fn try_start(mut self, work: &Work) -> Result<Agent, String> {
        self.command.args(["--log-level", self.log_level]);
        let mut agent = Agent {
            running: Running::start(&mut self.command, work.dir(), "agent"),
            status: self.status,
        };
        agent.wait_ready(self.patience)?;
        Ok(agent)
    }
}

impl Agent {
    /// Starts an agent with this configuration text and waits until it is ready.
    pub fn start(work: &Work, config: &str) -> Agent {
        Launch::new(&write_config(work, config)).start(work)
    }

    fn wait_ready(&mut self, patience: Duration) -> Result<(), String> {
        let end = std::time::Instant::now() + patience;
        loop {
            if let Some(status) = self.running.exited() {
                return Err(format!("{status}\n{}", self.running.outputs()));
            }
            if let Ok((200, _)) = http::get(self.status, "/readyz") {
                return Ok(());
            }
            assert!(
                std::time::Instant::now() < end,
                "not ready in {patience:?}\n{}",
                self.running.outputs()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[allow(dead_code, reason = "the soak tests ask for it")]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub fn status_address(&self) -> SocketAddr {
        self.status
    }

    /// An endpoint's text, status 200 wanted.
    pub fn page(&self, path: &str) -> String {
        match http::get(self.status, path) {
            Ok((200, body)) => body,
            other => panic!("{path}: {other:?}\n{}", self.running.outputs()),
        }
    }

    /// `/status`.
    pub fn status(&self) -> Value {
        let page = self.page("/status");
        serde_json::from_str(&page).unwrap_or_else(|e| panic!("/status is no JSON: {e}\n{page}"))
    }

    /// The ledger; its books balance, or this panics.
    pub fn ledger(&self) -> Ledger {
        Ledger::new(&self.status()["ledger"])
    }

    /// Waits until the ledger satisfies `enough`.
    pub fn wait_ledger(
        &self,
        what: &str,
        limit: Duration,
        enough: impl Fn(&Ledger) -> bool,
    ) -> Ledger {
        wait_until(
            limit,
            what,
            || Some(self.ledger()).filter(|ledger| enough(ledger)),
            || format!("{}\n{}", self.ledger(), self.running.outputs()),
        )
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.running.stderr()
    }

    pub fn stdout(&self) -> String {
        self.running.stdout()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        self.running.signal(signal);
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it takes longer than `limit` or does not exit with 0.
    pub fn wait(mut self, limit: Duration) -> Output {
        let status = self.running.wait(limit);
        assert_eq!(
            status.code(),
            Some(0),
            "{status}\n{}",
            self.running.outputs()
        );
        Output {
            code: status.code(),
            stdout: self.running.stdout(),
            stderr: self.running.stderr(),
        }
    }

    /// Stops it by SIGTERM.
    ///
    /// # Panics
    /// When it takes longer than 10 s or does not exit with 0.
    pub fn stop(mut self) -> Output {
        self.running.signal(libc::SIGTERM);
        let status = self.running.wait(Duration::from_secs(10));
        assert_eq!(
            status.code(),
            Some(0),
            "the agent stopped badly: {status}\n{}",
            self.running.outputs()
        );
        Output {
            code: status.code(),
            stdout: self.running.stdout(),
            stderr: self.running.stderr(),
        }
    }

    /// Kills it by SIGKILL: it can clean nothing up.
    pub fn kill(mut self) {
        self.running.signal(libc::SIGKILL);
        self.running.wait(Duration::from_secs(5));
    }
}

/// Writes a configuration that others cannot write.
pub fn write_config(work: &Work, text: &str) -> std::path::PathBuf {
    let path = work.path("plainspan.yaml");
    std::fs::write(&path, text).expect("write the configuration");
    path
}

/// Runs a command of the agent to its end.
pub fn plainspan(work: &Work, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plainspan"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied());
    super::process::run(
        &mut command,
        work.dir(),
        "plainspan",
        Duration::from_secs(20),
    )
}
