//! Stores of other makers on loopback: moto's S3 from PyPI, Azurite from npm.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Until a server takes connections. Python takes its time on a busy host.
const START: Duration = Duration::from_secs(90);

/// A running server. Dropped, it is gone with all it stored.
pub struct Emulator {
    server: Child,
    port: u16,
    dir: TempDir,
}

impl Emulator {
    /// An S3 that keeps tags and encryption, and looks at no key.
    pub fn moto() -> Emulator {
        Emulator::start(|port, _| {
            let mut command = Command::new(installed(
                "PLAINSPAN_TEST_VENV",
                "test-venv",
                "bin/moto_server",
            ));
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            command
        })
    }

    /// Azure's blobs, of account `devstoreaccount1`.
    pub fn azure() -> Emulator {
        Emulator::start(|port, dir| {
            let program = "node_modules/azurite/dist/src/blob/main.js";
            let mut command = Command::new("node");
            command.arg(installed("PLAINSPAN_TEST_NODE", "test-node", program));
            command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
            command.args(["--disableTelemetry", "--skipApiVersionCheck", "--location"]);
            command.arg(dir);
            command
        })
    }

    fn start(command: impl FnOnce(u16, &Path) -> Command) -> Emulator {
        let dir = tempfile::tempdir().expect("a folder for the server");
        let port = free_port();
        let log = File::create(dir.path().join("log")).expect("make the log");
        let server = command(port, dir.path())
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start the server: run tests/setup.sh, which installs it");
        let mut this = Emulator { server, port, dir };
        this.wait();
        this
    }

    /// Host and port.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn wait(&mut self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.server.try_wait().expect("ask for the server");
            let late = began.elapsed() > START;
            assert!(ended.is_none() && !late, "{ended:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).expect("read the log")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Err(error) = self.server.kill().and_then(|()| self.server.wait()) {
            eprintln!("the server could not be ended: {error}");
        }
    }
}

/// A file of what `tests/setup.sh` installs, in the folder that the variable names, else below `target`.
pub fn installed(variable: &str, folder: &str, file: &str) -> PathBuf {
    let default = || {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target")
            .join(folder)
    };
    let path = std::env::var_os(variable).map_or_else(default, PathBuf::from);
    let path = path.join(file);
    assert!(
        path.exists(),
        "{} is missing: run tests/setup.sh",
        path.display()
    );
    path
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}
