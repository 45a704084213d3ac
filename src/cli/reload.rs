//! `plainspan reload`: tells the running agent to read its configuration again, and says what became of it.

use super::args::ReloadArgs;
use super::status;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a reload may take: new stores are started, and the capture thread answers.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why nothing was reloaded, or it cannot be said.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("no agent is running: no process runs `plainspan run`, and nothing answers at {0}")]
    None(SocketAddr),
    #[error("several agents are running ({0}); name one with --pid")]
    Several(String),
    #[error("process {0} is no running agent")]
    NoAgent(i32),
    #[error("cannot signal process {pid}: {source}; the agent's own user or root may")]
    Signal { pid: i32, source: std::io::Error },
    #[error("{0}")]
    Refused(String),
    #[error(
        "the agent was told, and did not say within {PATIENCE:?} what became of it; see its log"
    )]
    Silent,
}

/// 0: reloaded, or told where no status says more; 1: not reloaded, and why.
pub fn reload(args: &ReloadArgs) -> ExitCode {
    match try_reload(args) {
        Ok(said) => {
            eprintln!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", error.to_string().trim_end());
            ExitCode::FAILURE
        }
    }
}

fn try_reload(args: &ReloadArgs) -> Result<String, ReloadError> {
    let before = said(args.status).filter(|status| is_agent(status.pid));
    let pid = match (args.pid, &before) {
        (Some(pid), _) if !is_agent(pid) => return Err(ReloadError::NoAgent(pid)),
        (Some(pid), _) => pid,
        (None, Some(status)) => status.pid,
        (None, None) => only_agent(args.status)?,
    };
    // SAFETY: kill takes two numbers and touches no memory of ours.
    if unsafe { libc::kill(pid, libc::SIGHUP) } != 0 {
        let source = std::io::Error::last_os_error();
        return Err(ReloadError::Signal { pid, source });
    }
    let Some(before) = before.filter(|status| status.pid == pid) else {
        return Ok(format!(
            "told process {pid}; it has no status at {}: its log says what became of it",
            args.status
        ));
    };
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        match said(args.status) {
            Some(now) if now.refused > before.refused => {
                return Err(ReloadError::Refused(now.last_error.unwrap_or_default()));
            }
            Some(now) if now.applied > before.applied => {
                return Ok(format!(
                    "process {pid} runs {} ({})",
                    now.source, now.digest
                ));
            }
            _ => {}
        }
    }
    Err(ReloadError::Silent)
}

/// What `/status` says of the configuration.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    pid: i32,
    source: String,
    digest: String,
    applied: u64,
    refused: u64,
    last_error: Option<String>,
}

fn said(address: SocketAddr) -> Option<Said> {
    read(&status::ask(address)?)
}

fn read(status: &Value) -> Option<Said> {
    let config = status.get("config")?;
    let text = |key: &str| config.get(key)?.as_str().map(str::to_owned);
    let count = |key: &str| config.get("reloads")?.get(key)?.as_u64();
    Some(Said {
        pid: i32::try_from(status.get("pid")?.as_i64()?).ok()?,
        source: text("source")?,
        digest: text("digest")?,
        applied: count("applied")?,
        refused: count("refused")?,
        last_error: text("last_error"),
    })
}

/// Whether the process runs `plainspan run`: a status endpoint of another program must not choose whom we signal.
fn is_agent(pid: i32) -> bool {
    pid > 0 && runs_agent(&Path::new("/proc").join(pid.to_string()))
}

fn runs_agent(process: &Path) -> bool {
    let Ok(line) = std::fs::read(process.join("cmdline")) else {
        return false;
    };
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    let name = program.rsplit(|byte| *byte == b'/').next();
    name == Some(b"plainspan") && words.any(|word| word == b"run")
}

fn only_agent(address: SocketAddr) -> Result<i32, ReloadError> {
    let processes = std::fs::read_dir("/proc").map_err(|_| ReloadError::None(address))?;
    let mut found: Vec<i32> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_agent(*pid))
        .collect();
    found.sort_unstable();
    match found.as_slice() {
        [] => Err(ReloadError::None(address)),
        [pid] => Ok(*pid),
        several => {
            let list: Vec<String> = several.iter().map(i32::to_string).collect();
            Err(ReloadError::Several(list.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_whom_to_signal_and_how_reloads_ended() {
        let json = r#"{"pid": 7, "config": {"source": "a.yaml", "digest": "ab",
            "reloads": {"applied": 1, "refused": 2}, "last_error": "why"}}"#;
        let parsed = |text| serde_json::from_str(text).expect("JSON");
        let said = read(&parsed(json)).expect("a status");
        assert_eq!((said.pid, said.applied, said.refused), (7, 1, 2));
        assert_eq!(said.last_error.as_deref(), Some("why"));
        assert_eq!(read(&parsed(r#"{"pid": 7}"#)), None);
        assert_eq!(read(&parsed("[]")), None);
    }

    #[test]
    fn only_a_process_that_runs_the_agent_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        for (line, is) in [
            (&b"/usr/bin/plainspan\0run\0-c\0a.yaml\0"[..], true),
            (b"plainspan\0--log-level\0debug\0run\0", true),
            (b"plainspan\0check\0a.yaml\0", false),
            (b"/usr/bin/other\0run\0", false),
            (b"", false),
        ] {
            std::fs::write(folder.path().join("cmdline"), line).expect("written");
            assert_eq!(runs_agent(folder.path()), is);
        }
        assert!(!is_agent(0) && !is_agent(-1));
    }
}
