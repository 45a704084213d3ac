//! A new user's path, on a machine that never saw the agent: install.sh, three lines, start, one request over HTTPS;
//! then an upgrade, a removal, a purge.

use crate::otlp_sink::{Fault, OtlpSink, SeenSpan};
use crate::root::Root;
use crate::{deb, output, repository, serve, unit};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that speaks HTTPS on a loopback port; killed at the end.
pub struct Server {
    child: Child,
    port: u16,
}

const SERVER: &str = r"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = b'hello from the server\n'
        self.send_response(404 if self.path == '/status/404' else 200)
        self.send_header('content-type', 'text/plain')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
";

impl Server {
    /// Its certificate is `cert.pem` of the folder.
    pub fn start(folder: &Path) -> Server {
        output(
            Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "rsa:2048",
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=localhost",
                ])
                .args([
                    "-addext",
                    "subjectAltName=DNS:localhost,DNS:api.example.com",
                    "-keyout",
                    "key.pem",
                    "-out",
                    "cert.pem",
                ])
                .current_dir(folder),
        );
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SERVER, "cert.pem", "key.pem"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
            .expect("a line");
        let port = line.trim().parse().expect("a port");
        Server { child, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("the server cannot be ended: {error}");
        }
    }
}

/// A release as install.sh finds it, with this version.
pub fn release(folder: &Path, version: &str) {
    let deb = deb(folder, version);
    let name = deb.file_name().expect("a name");
    let sums = output(Command::new("sha256sum").arg(name).current_dir(folder));
    std::fs::write(folder.join("SHA256SUMS"), sums).expect("written");
}

/// Installs what the folder serves; gives what was said.
pub fn install(root: &Root, url: &str) {
    std::fs::copy(
        repository("packaging/install.sh"),
        root.path("/root/install.sh"),
    )
    .expect("copied");
    root.run(&["sh", "/root/install.sh", "--base-url", url]);
    // A system's manager gives the unit's folders to its user; a user's, as here, leaves them as they are.
    for folder in [
        "/run/plainspan",
        "/var/lib/plainspan",
        "/var/cache/plainspan",
    ] {
        let owner = ["-o", "plainspan", "-g", "plainspan", "-m", "0700"];
        root.run(&[&["install", "-d"], &owner[..], &[folder]].concat());
    }
}

fn curl(root: &Root, server: &Server, path: &str) {
    let url = format!("https://localhost:{}{path}", server.port);
    let body = root.run(&[
        "curl",
        "-q",
        "-sS",
        "--cacert",
        "/root/cert.pem",
        "-H",
        "authorization: Bearer SECRET-CANARY",
        &url,
    ]);
    assert_eq!(body, "hello from the server\n");
}

/// The span of curl's request.
fn span(sink: &OtlpSink, path: &str, root: &Root) -> SeenSpan {
    let of = |sink: &OtlpSink| {
        let is = |span: &SeenSpan| {
            span.span.kind == SpanKind::Client as i32
                && span.text("url.full").is_some_and(|url| url.ends_with(path))
        };
        sink.spans().into_iter().find(is)
    };
    let arrived = sink.wait_for(|sink| of(sink).is_some(), Duration::from_secs(20));
    assert!(
        arrived,
        "no span of {path}: {}",
        root.read("/var/log/plainspan.log")
    );
    of(sink).expect("it arrived")
}

/// Replaces a line of the configuration.
fn edit(root: &Root, from: &str, to: &str) {
    let file = root.path("/etc/plainspan/plainspan.yaml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    assert_eq!(text.matches(from).count(), 1, "{from}: {text}");
    std::fs::write(&file, text.replace(from, to)).expect("written");
}

/// Bytes of a folder's files.
fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let size = |entry: std::fs::DirEntry| match entry.metadata().expect("its size") {
        of if of.is_dir() => bytes(&entry.path()),
        of => of.len(),
    };
    entries.flatten().map(size).sum()
}

/// As the root has it: /run is a file system of its own there.
fn mode(root: &Root, path: &str) -> u32 {
    let text = root.run(&["stat", "--format=%a", path]);
    u32::from_str_radix(text.trim(), 8).expect("a mode")
}

/// The agent has the unit's capabilities, and no others.
fn assert_sandboxed(root: &Root) {
    let pid = root.systemctl(&["show", "--value", "--property=MainPID", "plainspan"]);
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("its status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {status}"))
            .trim()
            .to_owned()
    };
    let set = u64::from_str_radix(&field("CapEff:"), 16).expect("a set");
    // That for the capture thread's priority is given up.
    assert_eq!(
        set.count_ones() as usize,
        unit::values("CapabilityBoundingSet").len() - 1
    );
    let user = root.run(&["id", "--user", "plainspan"]);
    assert_ne!(user.trim(), "0");
    let users: Vec<_> = field("Uid:")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(users, [user.trim(); 4]);
    assert_eq!(
        (field("NoNewPrivs:"), field("Seccomp:")),
        ("1".to_owned(), "2".to_owned())
    );
}

#[test]
fn a_new_user_sees_span_log_record_and_payload_and_an_upgrade_keeps_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    release(folder.path(), "0.1.0-1");
    let url = serve::folder(folder.path());
    let server = Server::start(folder.path());
    let sink = OtlpSink::start();
    let mut root = Root::new();
    std::fs::copy(folder.path().join("cert.pem"), root.path("/root/cert.pem")).expect("copied");
    root.start_systemd();

    let mut times = Vec::new();
    let mut since = Instant::now();
    let mut took = |what: &'static str| {
        times.push((what, since.elapsed()));
        since = Instant::now();
    };
    install(&root, &url);
    took("install");
    assert_eq!(mode(&root, "/etc/plainspan/plainspan.env"), 0o600);
    root.systemctl(&["daemon-reload"]);
    assert!(
        root.systemctl(&["show", "--value", "--property=ActiveState", "plainspan"])
            .starts_with("inactive")
    );

    edit_three_lines(&root, &sink);
    root.run(&["plainspan", "check", "/etc/plainspan/plainspan.yaml"]);
    took("edit and check");
    start(&root);
    took("start, until READY=1");
    assert_sandboxed(&root);
    took("look at its sandbox");
    curl(&root, &server, "/first");
    let span = span(&sink, "/first", &root);
    took("request, until its span arrived");
    let url_of_payload = span.text("plainspan.payload.url").expect("a payload");
    let log = sink
        .logs()
        .into_iter()
        .any(|log| log.record.trace_id == span.span.trace_id);
    assert!(
        log || sink.wait_for(
            |sink| sink
                .logs()
                .iter()
                .any(|log| log.record.trace_id == span.span.trace_id),
            Duration::from_secs(5)
        )
    );
    let body = root.run(&[
        "plainspan",
        "payload",
        "get",
        "--body",
        "response",
        &url_of_payload,
    ]);
    assert_eq!(body, "hello from the server\n");
    let head = root.run(&["plainspan", "payload", "get", &url_of_payload]);
    assert!(!head.contains("SECRET-CANARY"), "{head}");
    took("log record and payload");
    for (what, time) in &times {
        println!("{what}: {:.2} s", time.as_secs_f64());
    }
    println!(
        "all: {:.2} s",
        times
            .iter()
            .map(|(_, time)| time.as_secs_f64())
            .sum::<f64>()
    );

    reload(&root);
    upgrade(&root, folder.path(), &url, &server, &sink);
    remove(&root);
    from_the_tarball(&root, folder.path(), &url);
}

/// The three lines.
fn edit_three_lines(root: &Root, sink: &OtlpSink) {
    edit(
        root,
        "endpoint: http://localhost:4317",
        &format!("endpoint: {}\n      protocol: grpc", sink.grpc_endpoint()),
    );
    edit(root, "level: headers\n", "level: full\n");
    edit(root, "disabled: true", "disabled: false");
}

fn start(root: &Root) {
    let done = root.try_run(&["systemctl", "--user", "start", "plainspan"]);
    assert!(
        done.status.success(),
        "{}\n{}\n{}",
        String::from_utf8_lossy(&done.stderr),
        root.read("/var/log/plainspan.log"),
        root.read("/var/log/systemd.log")
    );
}

/// A file that cannot be used is an error of `systemctl reload`, and the agent goes on.
fn reload(root: &Root) {
    root.systemctl(&["reload", "plainspan"]);
    edit(root, "level: full\n", "level: fulll\n");
    let refused = root.try_run(&["systemctl", "--user", "reload", "plainspan"]);
    assert!(!refused.status.success());
    edit(root, "level: fulll\n", "level: full\n");
    assert_eq!(root.systemctl(&["is-active", "plainspan"]), "active\n");
}

/// What waits for a collector that is away, what is cached, the payloads and the edited configuration outlast it.
fn upgrade(root: &Root, folder: &Path, url: &str, server: &Server, sink: &OtlpSink) {
    sink.fail_always(Fault::Unavailable);
    curl(root, server, "/spooled");
    let spool = root.path("/var/lib/plainspan/spool");
    let until = Instant::now() + Duration::from_secs(20);
    let (configuration, payloads) = (
        root.read("/etc/plainspan/plainspan.yaml"),
        bytes(&root.path("/var/lib/plainspan/payloads")),
    );
    root.systemctl(&["stop", "plainspan"]);
    while bytes(&spool) == 0 {
        assert!(
            Instant::now() < until,
            "nothing was spooled: {}",
            root.read("/var/log/plainspan.log")
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let spooled = bytes(&spool);
    for folder in [
        "/var/lib/plainspan",
        "/var/cache/plainspan",
        "/run/plainspan",
    ] {
        assert_eq!(mode(root, folder), 0o700, "{folder}");
    }

    std::fs::remove_file(folder.join("plainspan_0.1.0-1_amd64.deb")).expect("removed");
    release(folder, "0.1.1-1");
    install(root, url);
    assert!(
        root.run(&["dpkg-query", "-W", "plainspan"])
            .contains("0.1.1-1")
    );
    assert_eq!(root.read("/etc/plainspan/plainspan.yaml"), configuration);
    assert_eq!(bytes(&spool), spooled);
    assert!(bytes(&root.path("/var/lib/plainspan/payloads")) >= payloads && payloads > 0);
    root.path("/var/cache/plainspan")
        .metadata()
        .expect("the cache");

    sink.heal();
    start(root);
    span(sink, "/spooled", root);
}

fn remove(root: &Root) {
    root.systemctl(&["stop", "plainspan"]);
    root.run(&["dpkg", "--remove", "plainspan"]);
    for (path, there) in [
        ("/usr/bin/plainspan", false),
        ("/etc/plainspan/plainspan.yaml", true),
        ("/var/lib/plainspan/payloads", true),
    ] {
        assert_eq!(root.path(path).exists(), there, "{path} after the removal");
    }
    root.run(&["dpkg", "--purge", "plainspan"]);
    for path in [
        "/etc/plainspan",
        "/var/lib/plainspan",
        "/var/cache/plainspan",
    ] {
        assert!(!root.path(path).exists(), "{path} after the purge");
    }
}

/// Without a package manager: below a prefix, with the unit, and what somebody changed stays.
fn from_the_tarball(root: &Root, folder: &Path, url: &str) {
    crate::contents::tarball(folder);
    let name = format!(
        "plainspan-{}-x86_64-linux.tar.gz",
        env!("CARGO_PKG_VERSION")
    );
    let sums = output(Command::new("sha256sum").arg(name).current_dir(folder));
    std::fs::write(folder.join("SHA256SUMS"), sums).expect("written");
    let install = [
        "sh",
        "/root/install.sh",
        "--base-url",
        url,
        "--kind",
        "tar",
        "--prefix",
        "/opt/plainspan",
    ];
    root.run(&install);
    assert!(
        root.run(&["/opt/plainspan/bin/plainspan", "--version"])
            .starts_with("plainspan ")
    );
    let unit = root.read("/etc/systemd/system/plainspan.service");
    assert!(
        unit.contains("ExecStart=/opt/plainspan/bin/plainspan run"),
        "{unit}"
    );
    assert_eq!(mode(root, "/etc/plainspan/plainspan.env"), 0o600);
    edit(root, "level: headers\n", "level: summary\n");
    root.run(&install);
    assert!(
        root.read("/etc/plainspan/plainspan.yaml")
            .contains("level: summary")
    );
    assert!(
        root.read("/etc/plainspan/plainspan.yaml.new")
            .contains("level: headers")
    );
}
