//! The folder of one test: certificate, files, outputs.

use super::process::run_well;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A folder that goes with the test, with a certificate for `localhost` in it, and a name that is on no other
/// request of the host.
pub struct Work {
    dir: TempDir,
    tag: String,
}

impl Work {
    /// Makes folder and certificate.
    pub fn new() -> Work {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new()
            .prefix("plainspan-test-")
            .tempdir()
            .expect("a temporary folder");
        let tag = format!(
            "run-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let work = Work { dir, tag };
        work.make_certificate();
        work
    }

    fn make_certificate(&self) {
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1,IP:10.203.77.1";
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "req",
                "-x509",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                names,
            ])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .arg("-keyout")
            .arg(self.path("key.pem"))
            .arg("-out")
            .arg(self.path("cert.pem"));
        run_well(&mut openssl, self.dir(), "openssl", Duration::from_secs(20));
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A new folder in it.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// A path that only this test asks for: `/run-PID-N/` and `rest`.
    pub fn url_path(&self, rest: &str) -> String {
        format!("/{}/{rest}", self.tag)
    }
}
