//! What systemd is told: `READY=1` when the agent captures, a sign of life for the watchdog, `STOPPING=1`.
//!
//! Enters: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` of the environment (sd_notify(3)). Leaves: datagrams.
//! Holds: without the socket nothing is said; a sign of life says that the capture thread went round since the last one.

use crate::capture::Shared;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Who started the agent, where that wants to be told.
pub(super) struct Notify {
    socket: Option<Arc<UnixDatagram>>,
}

impl Notify {
    /// Reads the environment.
    ///
    /// # Errors
    /// When there is a socket, and it cannot be connected.
    pub fn from_environment() -> io::Result<Notify> {
        let socket = match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Some(Arc::new(connect(name.as_bytes())?)),
            _ => None,
        };
        Ok(Notify { socket })
    }

    /// The agent captures. From now on it gives signs of life, where a watchdog waits for them.
    pub fn ready(&self, shared: &Arc<Shared>, runtime: &Handle) {
        let Some(socket) = &self.socket else { return };
        // What is no number asks for no watchdog (sd_watchdog_enabled(3)).
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        if let Some(time) = watchdog(
            number("WATCHDOG_USEC"),
            number("WATCHDOG_PID"),
            u64::from(std::process::id()),
        ) {
            runtime.spawn(signs_of_life(socket.clone(), shared.clone(), time / 2));
        }
        tell(socket, "READY=1");
    }

    /// The agent drains, and ends.
    pub fn stopping(&self) {
        if let Some(socket) = &self.socket {
            tell(socket, "STOPPING=1");
        }
    }
}

/// `@` begins the name of an abstract socket.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::path::Path::new(std::ffi::OsStr::from_bytes(name)))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // Who started the agent and does not read must not hold it.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn tell(socket: &UnixDatagram, state: &str) {
    if let Err(error) = socket.send(state.as_bytes()) {
        tracing::warn!(%error, state, "the service manager cannot be told");
    }
}

/// How long the watchdog waits for a sign of this process. None: there is none, or it is another one's.
fn watchdog(microseconds: Option<u64>, of: Option<u64>, own: u64) -> Option<Duration> {
    let time = Duration::from_micros(microseconds.filter(|time| *time > 0)?);
    of.is_none_or(|pid| pid == own).then_some(time)
}

/// A sign each `every`, as long as the capture thread goes round.
async fn signs_of_life(socket: Arc<UnixDatagram>, shared: Arc<Shared>, every: Duration) {
    let mut rounds = None;
    let mut since = Instant::now();
    loop {
        let now = shared.ticks.load(Ordering::Relaxed);
        if rounds != Some(now) {
            rounds = Some(now);
            since = Instant::now();
            tell(&socket, "WATCHDOG=1");
        } else {
            let quiet = since.elapsed();
            tracing::warn!(?quiet, "the capture thread stands still");
        }
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_of_this_process_alone_counts() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some(1_000_000), None, 7), second);
        assert_eq!(watchdog(Some(1_000_000), Some(7), 7), second);
        assert_eq!(watchdog(Some(1_000_000), Some(8), 7), None);
        assert_eq!(watchdog(Some(0), Some(7), 7), None);
        assert_eq!(watchdog(None, Some(7), 7), None);
    }

    #[test]
    fn both_kinds_of_socket_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("bound");
        let socket = connect(path.as_os_str().as_bytes()).expect("connected");
        tell(&socket, "READY=1");
        let mut text = [0; 32];
        let length = listener.recv(&mut text).expect("received");
        assert_eq!(&text[..length], b"READY=1");

        let name = format!("plainspan-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("bound");
        let socket = connect(format!("@{name}").as_bytes()).expect("connected");
        tell(&socket, "STOPPING=1");
        let length = listener.recv(&mut text).expect("received");
        assert_eq!(&text[..length], b"STOPPING=1");
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_sign_of_life_while_the_capture_thread_stands_still() {
        let (here, there) = UnixDatagram::pair().expect("a pair");
        there.set_nonblocking(true).expect("set");
        let shared = Arc::new(Shared::default());
        let second = Duration::from_secs(1);
        let task = tokio::spawn(signs_of_life(Arc::new(here), shared.clone(), second));
        let signs = || {
            let mut text = [0; 32];
            std::iter::from_fn(|| there.recv(&mut text).ok()).count()
        };
        tokio::time::sleep(second / 2).await;
        assert_eq!(signs(), 1);
        for _ in 0..3 {
            shared.ticks.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(second).await;
        }
        assert_eq!(signs(), 3);
        tokio::time::sleep(5 * second).await;
        assert_eq!(signs(), 0);
        task.abort();
    }
}
