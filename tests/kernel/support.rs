//! Programs to observe, and what was captured of them.

use object::{Object, ObjectSegment, ObjectSymbol};
use plainspan::event::{self, ConnEnd, ConnOpen, Data, Dir, Event, Source};
use plainspan::probe::attach::Attachment;
use plainspan::probe::kernel::{Kernel, KernelCounters, KernelOptions};
use plainspan::probe::ring::Rings;
use plainspan::probe::target::{CallResult, Probe, Target, TlsCall};
use plainspan::probe::tier::Forced;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
pub const NODE: &str = "/usr/bin/node";
const PYTHON: &str = "/usr/bin/python3";

thread_local! {
    static TIERS: Cell<Forced> = Cell::new(match std::env::var("PLAINSPAN_TEST_TIER") {
        Ok(tiers) => tiers.parse().expect("PLAINSPAN_TEST_TIER"),
        Err(_) => Forced::default(),
    });
}

/// Runs tests with these tiers forced, one after another.
pub fn at_tiers(tiers: &str, tests: &[fn()]) {
    TIERS.set(tiers.parse().expect("tiers"));
    for test in tests {
        test();
    }
}

/// Probes of two tests at once would count each other's calls.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // SAFETY: no memory is involved.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(root, "these tests load kernel programs: run them as root");
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The loaded kernel programs with everything that came out of them.
pub struct Capture {
    pub kernel: Kernel,
    rings: Rings,
    attached: Vec<Attachment>,
    records: Vec<Vec<u8>>,
}

impl Capture {
    /// Where the test itself forces no tier, [`at_tiers`] and `PLAINSPAN_TEST_TIER` do.
    pub fn start(options: &KernelOptions) -> Capture {
        let mut options = options.clone();
        if options.tier == Forced::default() {
            options.tier = TIERS.get();
        }
        let kernel = Kernel::load(&options).expect("load the kernel programs");
        let rings = kernel.rings().expect("map the rings");
        Capture {
            kernel,
            rings,
            attached: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Probes the exported functions of the system's libssl.
    pub fn with_libssl(self) -> Capture {
        self.with_file(LIBSSL)
    }

    /// Probes the OpenSSL that Node uses: most builds carry their own, Debian's uses libssl.
    pub fn with_node(self) -> Capture {
        let bytes = std::fs::read(NODE).expect("read node");
        let file = object::File::parse(&*bytes).expect("ELF");
        let own = file
            .dynamic_symbols()
            .any(|s| s.name() == Ok("SSL_read") && s.is_definition());
        self.with_file(if own { NODE } else { LIBSSL })
    }

    /// Probes the functions that a file exports under OpenSSL's names.
    pub fn with_file(mut self, path: &str) -> Capture {
        let attacher = self.kernel.attacher();
        let attached = attacher.attach(Path::new(path), &openssl_targets(path));
        self.attached.push(attached.expect("attach"));
        self
    }

    /// Probes the functions inside libssl that its exported SSL_read_ex and SSL_write_ex call.
    pub fn with_libssl_inside(mut self) -> Capture {
        let attacher = self.kernel.attacher();
        let attached = attacher.attach(Path::new(LIBSSL), &internal_targets());
        self.attached.push(attached.expect("attach"));
        self
    }

    pub fn read(&mut self) {
        let Rings { data, control, .. } = &mut self.rings;
        let records = &mut self.records;
        control.consume(|r| records.push(r.to_vec()));
        data.consume(|r| {
            // As the pipeline does for a connection that it does not know yet.
            control.consume(|c| records.push(c.to_vec()));
            records.push(r.to_vec());
        });
    }

    pub fn events(&self) -> Vec<Event<'_>> {
        let decoded = self.records.iter().map(|r| event::decode(r));
        decoded.collect::<Result<_, _>>().expect("events")
    }

    /// Reads until `done` says so; fails after ten seconds.
    pub fn until(&mut self, what: &str, done: impl Fn(&Capture) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            self.rings.wait(Duration::from_millis(10)).expect("wait");
            self.read();
            if done(self) {
                return;
            }
            assert!(
                Instant::now() < end,
                "waited in vain for {what}: {:#?}",
                self.summary()
            );
        }
    }

    /// Reads for a while, to see that something does not happen.
    pub fn settle(&mut self) {
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            self.rings.wait(Duration::from_millis(10)).expect("wait");
            self.read();
        }
    }

    pub fn counters(&self) -> KernelCounters {
        self.kernel.counters().expect("counters")
    }

    pub fn opens(&self, pid: u32) -> Vec<ConnOpen> {
        let mut found = Vec::new();
        for event in self.events() {
            if let Event::ConnOpen(open) = event
                && open.pid == pid
            {
                found.push(open);
            }
        }
        found
    }

    /// Connections of which either end has this port.
    pub fn opens_at(&self, port: u16) -> Vec<ConnOpen> {
        let mut found = Vec::new();
        for event in self.events() {
            if let Event::ConnOpen(open) = event
                && (open.local.port() == port || open.remote.port() == port)
            {
                found.push(open);
            }
        }
        found
    }

    pub fn close(&self, conn: event::ConnId) -> Option<ConnEnd> {
        self.events().into_iter().find_map(|event| match event {
            Event::ConnClose(end) if end.conn == conn => Some(end),
            _ => None,
        })
    }

    pub fn data(&self, pid: u32, source: Source) -> Vec<Data<'_>> {
        let mut found = Vec::new();
        for event in self.events() {
            if let Event::Data(data) = event
                && data.pid == pid
                && data.source == source
            {
                found.push(data);
            }
        }
        found
    }

    /// The bytes of one direction, put together by their offsets. Fails at a gap.
    pub fn stream(data: &[Data<'_>], dir: Dir) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event in data.iter().filter(|d| d.dir == dir) {
            assert_eq!(event.offset, bytes.len() as u64, "gap at {event:?}");
            bytes.extend_from_slice(event.bytes);
        }
        bytes
    }

    /// Short lines for a failed wait.
    fn summary(&self) -> Vec<String> {
        let lines = self.events().into_iter().map(|event| match event {
            Event::Data(d) => format!(
                "data pid {} conn {:?} tls {:?} {:?} {:?} off {} op {}+{} cap {} turn {} flags {} {:?}",
                d.pid,
                d.conn,
                d.tls,
                d.dir,
                d.source,
                d.offset,
                d.op_offset,
                d.op_len,
                d.bytes.len(),
                d.turn,
                d.flags,
                String::from_utf8_lossy(&d.bytes[..d.bytes.len().min(40)])
            ),
            other => format!("{other:?}"),
        });
        lines.collect()
    }
}

/// OpenSSL's functions by their exported names, as the ELF scanner would list them at the simplest.
fn openssl_targets(path: &str) -> Vec<Target> {
    let ex = CallResult::Ex { out_arg: 3 };
    let calls = [
        ("SSL_read", TlsCall::Read, CallResult::Int),
        ("SSL_write", TlsCall::Write, CallResult::Int),
        ("SSL_read_ex", TlsCall::Read, ex),
        ("SSL_write_ex", TlsCall::Write, ex),
        ("SSL_peek", TlsCall::Peek, CallResult::Int),
        ("SSL_do_handshake", TlsCall::Handshake, CallResult::None),
        ("SSL_shutdown", TlsCall::Handshake, CallResult::None),
        ("SSL_free", TlsCall::Free, CallResult::None),
    ];
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{path} is not installed: {e}"));
    let file = object::File::parse(&*bytes).expect("parse");
    let target = |(name, call, result): (&str, _, _)| {
        Target::call(file_offset(&file, name), call, result, name.to_owned())
    };
    calls.into_iter().map(target).collect()
}

fn internal_targets() -> Vec<Target> {
    let bytes = std::fs::read(LIBSSL).expect("read libssl");
    let exported = openssl_targets(LIBSSL).into_iter();
    let ex = |t: &Target| {
        matches!(
            t.probe,
            Probe::Call {
                result: CallResult::Ex { .. },
                ..
            }
        )
    };
    let callers = exported.filter(ex);
    let inside = callers.map(|target| {
        let at = target.file_offset;
        let code = &bytes[at as usize..][..64];
        let mut decoder = iced_x86::Decoder::with_ip(64, code, at, iced_x86::DecoderOptions::NONE);
        let call = decoder.iter().find(|i| i.is_call_near()).expect("a call");
        Target {
            // Debian's libssl has its code at the same offsets in the file as in memory.
            file_offset: call.near_branch_target(),
            symbol: format!("called by {}", target.symbol),
            ..target
        }
    });
    inside.collect()
}

fn file_offset(file: &object::File<'_>, name: &str) -> u64 {
    let address = file
        .dynamic_symbols()
        .find(|s| s.name() == Ok(name) && s.is_definition())
        .unwrap_or_else(|| panic!("no {name} is exported"))
        .address();
    let segment = file
        .segments()
        .find(|s| (s.address()..s.address() + s.size()).contains(&address))
        .expect("a segment");
    address - segment.address() + segment.file_range().0
}

/// A process of a test, killed when it is dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().expect("kill a server");
        self.child.wait().expect("reap a server");
    }
}

/// A certificate for localhost and its key.
pub struct Certificate {
    dir: tempfile::TempDir,
}

impl Certificate {
    pub fn new() -> Certificate {
        let dir = tempfile::tempdir().expect("temporary directory");
        let made = Command::new("openssl")
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
            .args([
                "-subj",
                "/CN=localhost",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
            ])
            .current_dir(dir.path())
            .output()
            .expect("run openssl");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Certificate { dir }
    }

    pub fn cert(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }
}

/// Starts `server.py`.
pub fn python_server(kind: &str, certificate: Option<&Certificate>) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/server.py");
    let mut command = Command::new(PYTHON);
    command.arg(script).arg(kind);
    if let Some(certificate) = certificate {
        command.arg(certificate.cert()).arg(certificate.key());
    }
    let mut child = command.stdout(Stdio::piped()).spawn().expect("run python3");
    let out = child.stdout.take().expect("piped");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).expect("its port");
    let port = line
        .trim()
        .parse()
        .unwrap_or_else(|e| panic!("port {line:?}: {e}"));
    Process { child, port }
}

/// Runs curl to its end. Returns its process id and what it printed.
pub fn curl(arguments: &[&str]) -> (u32, Vec<u8>) {
    let mut child = Command::new("curl")
        .args(["-sS", "-k", "--http1.1", "--max-time", "20"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("run curl");
    let pid = child.id();
    let mut body = Vec::new();
    let out = child.stdout.as_mut().expect("piped");
    out.read_to_end(&mut body).expect("read curl's output");
    let status = child.wait().expect("wait for curl");
    assert!(status.success(), "curl {arguments:?}: {status}");
    (pid, body)
}

/// A Python program run to its end; returns its process id and output.
pub fn python(program: &str, arguments: &[&str]) -> (u32, String) {
    run(PYTHON, &[&["-c", program], arguments].concat())
}

/// A program run to its end; returns its process id and output.
pub fn run(program: &str, arguments: &[&str]) -> (u32, String) {
    let child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} is not installed: {e}"));
    let pid = child.id();
    let done = child.wait_with_output().expect("wait");
    assert!(done.status.success(), "{program}: {}", done.status);
    (pid, String::from_utf8(done.stdout).expect("text"))
}

/// A Python client of a server, halfway through: it waits until it is told to go on.
pub struct Paused {
    child: Child,
}

impl Paused {
    /// Runs `before`, waits, runs `after`. Both may use `connect()`, and `get(connection, path)`.
    pub fn start(server: &Process, tls: bool, before: &str, after: &str) -> Paused {
        let class = if tls {
            "HTTPSConnection(*a,context=x)"
        } else {
            "HTTPConnection(*a)"
        };
        let program = format!(
            "import http.client,ssl,sys
x=ssl.create_default_context();x.check_hostname=False;x.verify_mode=ssl.CERT_NONE
def connect():
    a=('127.0.0.1',int(sys.argv[1]))
    return http.client.{class}
def get(c,path):
    c.request('GET',path);c.getresponse().read()
{before}
print('ready',flush=True);sys.stdin.readline()
{after}
"
        );
        let mut child = Command::new(PYTHON)
            .args(["-c", &program, &server.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3");
        let mut ready = [0; 6];
        let out = child.stdout.as_mut().expect("piped");
        out.read_exact(&mut ready).expect("ready");
        Paused { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go on to its end.
    pub fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").expect("go on");
        assert!(self.child.wait().expect("wait").success());
    }
}

/// What `server.py` answers to /big/N.
pub fn big(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

pub fn distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> usize {
    items.into_iter().collect::<BTreeSet<T>>().len()
}
