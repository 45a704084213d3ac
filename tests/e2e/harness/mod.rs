//! What the tests share: the agent as a child process, real servers and clients, and views of what came out.
//!
//! Every child is ended by its own process group when its guard goes, also on a panic.

pub mod agent;
pub mod config;
pub mod exchange;
pub mod http;
pub mod ledger;
pub mod plan;
pub mod process;
pub mod scene;
pub mod seen;
pub mod servers;
pub mod work;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Held for the whole of a test: the tests take turns.
pub struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

/// Waits for this test's turn, and checks that the host can run it at all.
///
/// # Panics
/// Without root, or where the kernel has no BTF.
pub fn turn() -> Turn {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: geteuid has no arguments and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(
        root,
        "end-to-end tests load kernel programs: run them as root, with `make test-e2e`"
    );
    assert!(
        Path::new("/sys/kernel/btf/vmlinux").exists(),
        "this kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)"
    );
    Turn(guard)
}

/// Calls `look` until it gives something.
///
/// # Panics
/// When it gives nothing for `limit`; the message holds `what` and what `why` says then.
pub fn wait_until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
    why: impl FnOnce() -> String,
) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < end,
            "no {what} within {limit:?}\n{}",
            why()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A TCP port of loopback that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port of loopback");
    listener.local_addr().expect("own address").port()
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program of the tests' Python environment.
///
/// # Panics
/// When it is not installed.
pub fn venv(path: &str) -> PathBuf {
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV")
        .map_or_else(|| repository("target/test-venv"), PathBuf::from);
    let found = venv.join(path);
    assert!(
        found.exists(),
        "{} is missing: run tests/setup.sh",
        found.display()
    );
    found
}

/// The bytes 0..255 over and over, as `tests/programs/server.py` makes its bodies.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..=255).cycle().take(size).collect()
}

/// Hex SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    use std::fmt::Write;
    sha2::Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes all");
            hex
        })
}
