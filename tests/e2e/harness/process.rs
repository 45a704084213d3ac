//! Child processes that end with the test.

use super::wait_until;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running program with its output in files. Its process group is killed when this goes.
pub struct Running {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command` with its output in files of `dir`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(command: &mut Command, dir: &Path, name: &str) -> Running {
        let stdout = dir.join(format!("{name}.stdout"));
        let stderr = dir.join(format!("{name}.stderr"));
        let file =
            |path: &Path| File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        command
            .stdin(Stdio::null())
            .stdout(file(&stdout))
            .stderr(file(&stderr))
            .process_group(0);
        // SAFETY: prctl with PR_SET_PDEATHSIG is async-signal-safe and touches nothing of the parent.
        unsafe {
            command.pre_exec(
                || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                },
            );
        }
        let child = command.spawn().unwrap_or_else(|e| {
            panic!("cannot start {name} ({command:?}): {e}; run tests/setup.sh")
        });
        Running {
            child,
            name: name.into(),
            stdout,
            stderr,
            ended: None,
        }
    }

    /// What it wrote so far; bytes that are not UTF-8 are replaced.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Both outputs, for messages.
    pub fn outputs(&self) -> String {
        format!(
            "--- {} stdout\n{}\n--- {} stderr\n{}",
            self.name,
            tail(&self.stdout()),
            self.name,
            tail(&self.stderr())
        )
    }

    /// Waits for `text` on its stdout.
    pub fn wait_for_output(&mut self, text: &str, limit: Duration) {
        let what = format!("{text:?} from {}", self.name);
        let end = Instant::now() + limit;
        while !self.stdout().contains(text) {
            let gone = self.exited();
            assert!(
                gone.is_none() && Instant::now() < end,
                "no {what} within {limit:?} (exit: {gone:?})\n{}",
                self.outputs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("wait for an own child");
        }
        self.ended
    }

    pub fn is_running(&mut self) -> bool {
        self.exited().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process alone, not to its group.
    pub fn signal(&self, signal: i32) {
        send_signal(self.child.id() as i32, signal)
            .unwrap_or_else(|e| panic!("signal {signal} to {}: {e}", self.name));
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(
                Instant::now() < end,
                "{name} still runs after {limit:?}\n{}",
                self.outputs()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it by SIGTERM, by SIGKILL after 3 s.
    pub fn end(&mut self) {
        if self.exited().is_some() {
            return;
        }
        self.signal(libc::SIGTERM);
        let end = Instant::now() + Duration::from_secs(3);
        while self.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        // The group may still hold workers of a server that has ended.
        let group = -(self.child.id() as i32);
        if let Err(e) = send_signal(group, libc::SIGKILL)
            && e.raw_os_error() != Some(libc::ESRCH)
        {
            eprintln!("cannot end {}: {e}", self.name);
        }
        if self.ended.is_none()
            && let Err(e) = self.child.wait()
        {
            eprintln!("cannot wait for {}: {e}", self.name);
        }
    }
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program to its end.
///
/// # Panics
/// When it cannot be started or takes longer than `limit`.
pub fn run(command: &mut Command, dir: &Path, name: &str, limit: Duration) -> Output {
    let mut running = Running::start(command, dir, name);
    let status = running.wait(limit);
    Output {
        code: status.code(),
        stdout: running.stdout(),
        stderr: running.stderr(),
    }
}

/// Runs a program to its end, and wants exit code 0.
pub fn run_well(command: &mut Command, dir: &Path, name: &str, limit: Duration) -> Output {
    let output = run(command, dir, name, limit);
    assert_eq!(
        output.code,
        Some(0),
        "{name} failed: {command:?}\n{}\n{}",
        output.stdout,
        output.stderr
    );
    output
}

/// Waits until something listens on a port of `address`, before any agent looks on.
pub fn wait_for_port(running: &Running, address: &str, port: u16) {
    wait_until(
        Duration::from_secs(15),
        &format!("listener on {address}:{port}"),
        || std::net::TcpStream::connect((address, port)).ok(),
        || running.outputs(),
    );
}

fn send_signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes two integers; the process, or its group, is a child of ours.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last 6000 characters or so.
fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(6000);
    let start = (start..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    &text[start..]
}
