//! The whole command line, defined once: help and errors come from it.

use super::payload::args::PayloadCommand;
use crate::probe::tier::Forced;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Sees HTTPS traffic in the clear through eBPF and turns it into OpenTelemetry spans, log records and linked payloads.
#[derive(Debug, Parser)]
#[command(
    name = "plainspan",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Example:\n  sudo plainspan run\n  plainspan check plainspan.yaml\n\n\
    Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration."
)]
pub struct Cli {
    #[command(flatten)]
    pub log: LogArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// The agent's own log, on stderr.
#[derive(Debug, Clone, Copy, Args)]
pub struct LogArgs {
    /// How much the agent says of itself
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// How it is written
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The word that filters of `tracing` use.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Off => "off",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Doctor(DoctorArgs),
    Reload(ReloadArgs),
    Tail(TailArgs),
    /// Says what the rules of a configuration make of a transaction
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  plainspan rules explain plainspan.yaml transaction.json\n  \
        plainspan rules test plainspan.yaml\n  plainspan rules fields"
    )]
    Rules(RulesCommand),
    /// Reads payloads back: what a link names, lists, reports, archives
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  plainspan payload get file:///var/lib/plainspan/payloads/…#bytes=0-1893\n  \
        plainspan payload list -c plainspan.yaml --since 1h --status 5xx\n  \
        plainspan payload export --har -c plainspan.yaml --service shop > shop.har\n  \
        plainspan payload report --by x-user -c plainspan.yaml"
    )]
    Payload(Box<PayloadCommand>),
}

#[derive(Debug, Clone, Subcommand)]
pub enum RulesCommand {
    Explain(ExplainArgs),
    Test(RulesTestArgs),
    /// Lists the fields that rules can ask for, with type, when each is known, and meaning
    #[command(after_help = "Examples:\n  plainspan rules fields")]
    Fields,
}

/// Says which stack a transaction goes through, which rule decides its level, and which part of it
///
/// The transaction is a payload document as an object store has it, or a JSON object whose keys are fields of rules:
/// {"http.req.method": "GET", "http.res.status": 500, "http.duration": "2s"}.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  plainspan rules explain plainspan.yaml transaction.json\n  \
    echo '{\"http.res.status\": 500}' | plainspan rules explain plainspan.yaml -"
)]
pub struct ExplainArgs {
    /// Configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Description of a transaction; `-` for standard input
    #[arg(value_name = "TRANSACTION.json")]
    pub transaction: PathBuf,
}

/// Checks the outcomes that are expected of a configuration's rules
///
/// They stand beside the configuration: for plainspan.yaml in plainspan.tests.yaml, a list of
/// {name, transaction, stack, level, rule, mode}. `transaction` is an object as in `rules explain`, or the name of a file
/// with one; `stack` is the one that it goes through; `level` and `rule` are expected of http_capture, `mode` of
/// access_logs. Exit code 1 when one is not met.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  plainspan rules test plainspan.yaml")]
pub struct RulesTestArgs {
    /// Configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Captures, until it is told to stop (SIGTERM, SIGINT)
///
/// Without a configuration: all HTTP of this host with its headers, sensitive values redacted, a line for each
/// transaction on stdout; nothing leaves the machine unless OTEL_EXPORTER_OTLP_ENDPOINT is set.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  sudo plainspan run\n  sudo plainspan run -c /etc/plainspan/plainspan.yaml\n  sudo plainspan run -c plainspan.yaml --dry-run=5m\n  \
    sudo OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 plainspan run"
)]
pub struct RunArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Force how TLS calls are probed (session, multi, perf), how sockets are (tracepoints, fexit, kprobes, syscalls) and
    /// how kernel programs loop (bpf_loop, for_each): words with commas between. Otherwise the best that the kernel takes
    #[arg(long, value_name = "TIERS")]
    pub tier: Option<Forced>,
    /// Also write every kernel event to FILE, for replay. It holds traffic in the clear
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Count for TIME (60s unless given as in --dry-run=10s) what would be sent and stored; nothing is. Ends with a table
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = dry_run_time)]
    pub dry_run: Option<Duration>,
    /// Where /healthz, /readyz, /status and /metrics are served; `off` for nowhere
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10001")]
    pub status_listen: StatusListen,
    /// Serve the live page, for browsers on this host; ADDR is a loopback address. The page's address, with the token that
    /// opens it, is printed on stderr
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:10002", value_parser = loopback, conflicts_with = "dry_run")]
    pub ui: Option<SocketAddr>,
}

/// Makes the running agent read its configuration again, as SIGHUP does
///
/// The agent takes the file whole or not at all; what is wrong with it is said here, and exit code is 1. The agent is
/// the one that answers at the status address, else the only process that runs `plainspan run`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  sudo plainspan reload\n  sudo plainspan reload --pid 4711 --status 127.0.0.1:10002"
)]
pub struct ReloadArgs {
    /// Process of the agent
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// Where its status is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10001")]
    pub status: SocketAddr,
}

/// Shows transactions as they come: a live view on a terminal, else a line for each
///
/// It attaches to the running agent, and shows what the agent lets leave, redacted as it leaves. Keys of the view: `?`.
/// What came too fast to be shown is counted, on stderr where lines are written.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  sudo plainspan tail\n  sudo plainspan tail 'http.res.status >= 500 or http.duration > 1s'\n  \
    sudo plainspan tail --json | jq .document.request.url"
)]
pub struct TailArgs {
    /// Shows only what this expression of the rule language holds of; `plainspan rules fields` lists its fields
    #[arg(value_name = "FILTER", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// The agent's socket: `live.socket` of its configuration
    #[arg(long, value_name = "PATH", default_value = "/run/plainspan/live.sock")]
    pub socket: PathBuf,
    /// Lines, on a terminal too
    #[arg(long)]
    pub lines: bool,
    /// A JSON object for each transaction: its payload document, and what the list shows
    #[arg(long)]
    pub json: bool,
    /// Ends after so many transactions; lines and JSON only
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// Says whether this host can run the agent, and which processes are captured and how, or why not
///
/// With an agent that runs: what it does. Without one: what it would do; nothing is attached to any program for that.
/// Exit code 1 when this host cannot run the agent.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  sudo plainspan doctor\n  sudo plainspan doctor --all\n  sudo plainspan doctor --json | jq .verdicts.processes"
)]
pub struct DoctorArgs {
    /// Where the status of the agent is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10001")]
    pub status: SocketAddr,
    /// Also processes without TLS
    #[arg(long)]
    pub all: bool,
    /// Everything as JSON
    #[arg(long)]
    pub json: bool,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let wrong = "write a loopback address with its port, such as 127.0.0.1:10002";
    let address: SocketAddr = text.parse().map_err(|_| wrong.to_owned())?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(format!(
            "what was captured is shown on this host alone: {wrong}; from elsewhere, go there through `ssh -L`"
        )),
    }
}

fn dry_run_time(text: &str) -> Result<Duration, String> {
    let time = crate::config::duration(text)?;
    match time < Duration::from_millis(100) {
        true => Err("from 100ms".to_owned()),
        false => Ok(time),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusListen {
    Off,
    At(SocketAddr),
}

impl std::str::FromStr for StatusListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(StatusListen::Off),
            _ => text
                .parse()
                .map(StatusListen::At)
                .map_err(|_| "write ADDRESS:PORT such as 127.0.0.1:10001, or off".to_owned()),
        }
    }
}

/// Reads a configuration and says everything that is wrong with it
///
/// Each problem with file, line, column and what was probably meant, on stderr. Exit code 2 when it cannot be used.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  plainspan check plainspan.yaml\n  plainspan check --print plainspan.yaml\n  \
    plainspan check - < plainspan.yaml"
)]
pub struct CheckArgs {
    /// Configuration file; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print every value in force and where it comes from; secrets are masked
    #[arg(long)]
    pub print: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        let mut cli = Cli::command();
        for command in cli.get_subcommands_mut() {
            let within = command.clone();
            for command in within.get_subcommands().chain([&*command]) {
                let help = command.clone().render_long_help().to_string();
                assert!(
                    help.contains("Examples:") && command.get_about().is_some(),
                    "{help}"
                );
            }
        }
    }

    #[test]
    fn run_has_its_defaults_and_takes_all_options() {
        let Command::Run(run) = parse("plainspan run").expect("parsed").command else {
            panic!("run")
        };
        assert_eq!(run.config, None);
        assert_eq!(run.tier, None);
        assert_eq!(
            run.status_listen,
            StatusListen::At(SocketAddr::from(([127, 0, 0, 1], 10001)))
        );
        let line = "plainspan run -c a.yaml --tier perf,syscalls --record r --status-listen off --log-level debug --log-format json";
        let cli = parse(line).expect("parsed");
        assert_eq!(
            (cli.log.log_level, cli.log.log_format),
            (LogLevel::Debug, LogFormat::Json)
        );
        let Command::Run(run) = cli.command else {
            panic!("run")
        };
        assert_eq!(run.config, Some(PathBuf::from("a.yaml")));
        assert_eq!(
            (run.tier, run.status_listen),
            (
                Some("syscalls,perf".parse().expect("tiers")),
                StatusListen::Off
            )
        );
        assert_eq!(run.record, Some(PathBuf::from("r")));
    }

    #[test]
    fn the_live_page_is_on_loopback_alone_and_not_of_a_dry_run() {
        for (line, address) in [
            ("plainspan run", None),
            ("plainspan run --ui", Some("127.0.0.1:10002")),
            ("plainspan run --ui=[::1]:80 -c a", Some("[::1]:80")),
        ] {
            let Command::Run(run) = parse(line).expect("parsed").command else {
                panic!("run")
            };
            let wanted = address.map(|address| address.parse().expect("an address"));
            assert_eq!(run.ui, wanted, "{line}");
        }
        for line in [
            "plainspan run --ui=0.0.0.0:10002",
            "plainspan run --ui=10.0.0.1:10002",
            "plainspan run --ui=10002",
            "plainspan run --ui --dry-run",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_dry_run_lasts_a_minute_or_the_time_given() {
        for (line, time) in [
            ("plainspan run", None),
            ("plainspan run --dry-run -c a.yaml", Some(60)),
            ("plainspan run --dry-run=5m", Some(300)),
        ] {
            let Command::Run(run) = parse(line).expect("parsed").command else {
                panic!("run")
            };
            assert_eq!(run.dry_run, time.map(Duration::from_secs), "{line}");
        }
        parse("plainspan run --dry-run=5").expect_err("no unit");
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for line in [
            "plainspan chek",
            "plainspan run --tier fast",
            "plainspan run --status-listen 10001",
            "plainspan check",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        assert_eq!(
            parse("plainspan --version")
                .expect_err("prints")
                .exit_code(),
            0
        );
    }
}
