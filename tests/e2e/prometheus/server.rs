//! A real Prometheus that scrapes the agent, and its API.

use crate::harness::agent::Agent;
use crate::harness::process::{Running, wait_for_port};
use crate::harness::work::Work;
use crate::harness::{free_port, http, repository, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(15);

/// Prometheus with the alert rules that are shipped.
pub struct Prometheus {
    running: Running,
    address: SocketAddr,
}

impl Prometheus {
    pub fn scraping(work: &Work, agent: &Agent) -> Prometheus {
        let port = free_port();
        let config = json!({
            // A second: a test has no time for more. The expressions of the rules are those for everybody.
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [repository("grafana/alerts/*.rules.yaml")],
            "scrape_configs": [{
                "job_name": "plainspan",
                "static_configs": [{"targets": [agent.status_address().to_string()]}],
            }],
        });
        let path = work.path("prometheus.yaml");
        std::fs::write(&path, config.to_string()).expect("write Prometheus' configuration");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                work.folder("prometheus").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--enable-feature=exemplar-storage", "--log.level=warn"]);
        let running = Running::start(&mut command, work.dir(), "prometheus");
        wait_for_port(&running, "127.0.0.1", port);
        Prometheus {
            running,
            address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
        }
    }

    /// `data` of an answer of its API.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut target = format!("/api/v1/{path}?");
        for (name, value) in parameters {
            write!(target, "{name}={}&", encoded(value)).expect("a String takes any text");
        }
        let (status, body) = http::get(self.address, &target).map_err(|e| e.to_string())?;
        let answer: Value =
            serde_json::from_str(&body).map_err(|e| format!("{status}: {e}: {body}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(format!("{status}: {}", answer["error"])),
        }
    }

    /// The series of an instant query at this time: labels and value.
    pub fn query(&self, expr: &str, time: Option<f64>) -> Result<Vec<(Value, f64)>, String> {
        let time = time.map(|time| format!("{time:.3}"));
        let mut parameters = vec![("query", expr)];
        parameters.extend(time.as_deref().map(|time| ("time", time)));
        let data = self.api("query", &parameters)?;
        let series = data["result"].as_array().cloned().unwrap_or_default();
        let point = |series: &Value| {
            let value = series["value"][1]
                .as_str()
                .and_then(|text| text.parse().ok());
            (series["metric"].clone(), value.expect("a value"))
        };
        Ok(series.iter().map(point).collect())
    }

    fn one(&self, expr: &str) -> Option<f64> {
        let found = self.query(expr, None).expect("a query");
        found.first().map(|(_, value)| *value)
    }

    /// When Prometheus scraped last, once it has scraped again: seconds since 1970.
    pub fn next_scrape(&self) -> f64 {
        let last = || self.one("max(timestamp(plainspan_uptime_seconds))");
        let before = last().unwrap_or(0.0);
        let scraped = || last().filter(|time| *time > before);
        wait_until(LIMIT, "another scrape", scraped, || self.running.outputs())
    }

    /// What it wrote, for messages.
    pub fn outputs(&self) -> String {
        self.running.outputs()
    }

    /// Alerts that are pending or firing, as `STATE NAME`.
    pub fn alerts(&self) -> BTreeSet<String> {
        let data = self.api("alerts", &[]).expect("alerts");
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        alerts
            .iter()
            .map(|alert| {
                let name = &alert["labels"]["alertname"];
                format!("{} {}", text(&alert["state"]), text(name))
            })
            .collect()
    }
}

/// Percent-encoding of all that is not certain.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").expect("a String takes any text"),
        }
        out
    })
}
