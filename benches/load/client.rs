//! The programs that put load on a server.

use crate::cost;
use crate::server::Scene;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub enum Client {
    /// HTTP/1.1 for as long as a load lasts.
    Wrk {
        connections: u32,
        /// A connection a request.
        each_its_own: bool,
    },
    /// HTTP/2 for as long as a load lasts.
    H2load { connections: u32, streams: u32 },
    /// So many large responses, one after another on two connections.
    Download { http2: bool, times: u32 },
}

/// What a client saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// That were answered.
    pub requests: u64,
    pub seconds: f64,
    /// Of the time to an answer.
    pub p50: Duration,
    pub p99: Duration,
    /// CPU time that it used.
    pub cpu: Duration,
}

impl Client {
    /// Header fields that each request has beyond the client's own.
    ///
    /// # Panics
    /// When the client fails, or one of its requests does.
    pub fn run(self, scene: &Scene, seconds: u64, fields: u32) -> Seen {
        let log = scene.work.path("h2load.log");
        let mut command = self.command(scene, seconds, &log);
        for n in 0..fields {
            command.args(["-H", &format!("x-asked-{n}: value-{n}")]);
        }
        let before = cost::cpu_of_ended_children();
        let start = Instant::now();
        let output = command
            .output()
            .unwrap_or_else(|e| panic!("{command:?}: {e}; run tests/setup.sh"));
        let took = start.elapsed();
        let cpu = cost::cpu_of_ended_children() - before;
        let text = said(&output);
        assert!(output.status.success(), "{command:?}: {text}");
        match self {
            Client::Wrk { .. } => wrk(&text, cpu),
            Client::H2load { .. } => h2load(&text, &log, Duration::from_secs(seconds), cpu),
            Client::Download { .. } => h2load(&text, &log, took, cpu),
        }
    }

    fn command(self, scene: &Scene, seconds: u64, log: &Path) -> Command {
        let url = scene.url();
        let argument = |name: &str, n: u32| format!("{name}{n}");
        match self {
            Client::Wrk {
                connections,
                each_its_own,
            } => {
                let mut command = Command::new("wrk");
                command.args(["-t2", &argument("-c", connections), "--latency"]);
                command.args([&format!("-d{seconds}s"), &url]);
                if each_its_own {
                    command.args(["-H", "Connection: close"]);
                }
                command
            }
            Client::H2load {
                connections,
                streams,
            } => {
                let mut command = Command::new("h2load");
                command.args([argument("-c", connections), argument("-m", streams)]);
                command.args(["-D", &seconds.to_string(), "--warm-up-time=0"]);
                command.arg(format!("--log-file={}", log.display()));
                command.arg(url);
                command
            }
            Client::Download { http2, times } => {
                let mut command = Command::new("h2load");
                command.args(["-c2", "-m1", "-w30", "-W30", &argument("-n", times)]);
                if !http2 {
                    command.arg("--h1");
                }
                command.arg(format!("--log-file={}", log.display()));
                command.arg(url);
                command
            }
        }
    }
}

fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

fn wrk(text: &str, cpu: Duration) -> Seen {
    let failed = text.contains("Non-2xx") || text.contains("Socket errors");
    assert!(!failed, "wrk had failures: {text}");
    // "  123456 requests in 5.01s, 150.00MB read"
    let line = text
        .lines()
        .find(|line| line.contains(" requests in "))
        .unwrap_or_else(|| panic!("wrk: {text}"));
    let mut words = line.split_whitespace();
    let requests = words.next().and_then(|n| n.parse().ok());
    let took = words.nth(2).and_then(|t| time(t.trim_end_matches(',')));
    let share = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
        found.and_then(|t| time(t.trim()))
    };
    let all = (requests, took, share("50%"), share("99%"));
    let (Some(requests), Some(took), Some(p50), Some(p99)) = all else {
        panic!("wrk: {text}");
    };
    Seen {
        requests,
        seconds: took.as_secs_f64(),
        p50,
        p99,
        cpu,
    }
}

/// A time as wrk writes it: `12.00us`, `1.20ms`, `5.01s`, `1.02m`.
fn time(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * scale))
}

fn h2load(text: &str, log: &Path, took: Duration, cpu: Duration) -> Seen {
    // "requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout"
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("requests: "))
        .unwrap_or_else(|| panic!("h2load: {text}"));
    let number = |name: &str| -> u64 {
        let part = line.split(", ").find_map(|part| part.strip_suffix(name));
        let number = part.and_then(|n| n.trim().parse().ok());
        number.unwrap_or_else(|| panic!("h2load has no {name}: {line}"))
    };
    assert_eq!(number("failed"), 0, "h2load: {line}");
    // A line a request: when it began, its status, microseconds.
    let lines = std::fs::read_to_string(log).expect("h2load's log");
    std::fs::remove_file(log).expect("remove h2load's log");
    let mut times: Vec<u64> = lines
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
        .collect();
    times.sort_unstable();
    assert!(!times.is_empty(), "h2load logged no request: {text}");
    let share = |percent: usize| Duration::from_micros(times[(times.len() - 1) * percent / 100]);
    Seen {
        requests: number("succeeded"),
        seconds: took.as_secs_f64(),
        p50: share(50),
        p99: share(99),
        cpu,
    }
}
