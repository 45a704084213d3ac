//! A small HTTP server, and S3 as far as payloads need it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    pub version: String,
    /// Names as sent.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }
}

#[derive(Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A server on loopback. It goes with the process.
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (asked.clone(), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, reply) = (log.clone(), reply.clone());
                std::thread::spawn(move || serve(stream.expect("a client"), &log, &*reply));
            }
        });
        Server { address, asked }
    }

    /// All requests so far, in the order of their ends.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Those that read. What stored the payloads may still have tried whether it can write.
    pub fn reads(&self) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.method != "PUT");
        asked
    }

    pub fn forget(&self) {
        self.asked.lock().expect("no panic").clear();
    }
}

/// One request a connection.
fn serve(stream: TcpStream, log: &Mutex<Vec<Asked>>, reply: &dyn Fn(&Asked) -> Reply) {
    let mut stream = BufReader::new(stream);
    // A client that connects and says nothing more has ended.
    let Some(asked) = read(&mut stream) else {
        return;
    };
    let answer = reply(&asked);
    let head_only = asked.method == "HEAD";
    log.lock().expect("no panic").push(asked);
    let length = answer.body.len();
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    if !answer
        .headers
        .iter()
        .any(|(name, _)| name == "Content-Length")
    {
        _ = write!(head, "Content-Length: {length}\r\n");
    }
    for (name, value) in &answer.headers {
        _ = write!(head, "{name}: {value}\r\n");
    }
    let body = if head_only { &[] } else { &answer.body[..] };
    let bytes = [head.as_bytes(), b"\r\n", body].concat();
    // A client that wants no more than the head has closed by now.
    if let Err(error) = stream.get_mut().write_all(&bytes) {
        eprintln!("a client left: {error}");
    }
}

fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let line = |stream: &mut dyn BufRead| {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).ok()?;
        let end = line.strip_suffix(b"\r\n")?.len();
        line.truncate(end);
        Some(line)
    };
    let start = String::from_utf8(line(stream)?).ok()?;
    let mut parts = start.split(' ').map(str::to_owned);
    let mut asked = Asked {
        method: parts.next()?,
        target: parts.next()?,
        version: parts.next()?,
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let field = line(stream)?;
        if field.is_empty() {
            break;
        }
        let colon = field.iter().position(|b| *b == b':')?;
        let name = String::from_utf8(field[..colon].to_vec()).ok()?;
        asked
            .headers
            .push((name, field[colon + 1..].trim_ascii().to_vec()));
    }
    let length = asked.header("content-length").unwrap_or(b"0");
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A store with one bucket, `traffic`, for one key.
pub struct S3 {
    pub server: Server,
    objects: Objects,
}

impl S3 {
    pub fn start() -> S3 {
        let objects = Objects::default();
        let held = objects.clone();
        let server = Server::start(move |asked| answer(asked, &held));
        S3 { server, objects }
    }

    /// Its keys of a configuration.
    pub fn settings(&self) -> String {
        format!(
            "type: s3, endpoint: '{}', bucket: traffic, insecure: true, \
             access_key: {{type: text, value: reader}}, secret_key: {{type: text, value: SECRET-OF-TESTS}}",
            self.server.address
        )
    }

    pub fn put(&self, key: &str, bytes: Vec<u8>) {
        self.objects
            .lock()
            .expect("no panic")
            .insert(key.to_owned(), bytes);
    }

    pub fn object(&self, key: &str) -> Vec<u8> {
        self.objects.lock().expect("no panic")[key].clone()
    }

    pub fn keys(&self) -> Vec<String> {
        self.objects
            .lock()
            .expect("no panic")
            .keys()
            .cloned()
            .collect()
    }
}

fn answer(asked: &Asked, objects: &Objects) -> Reply {
    let status = |status| Reply {
        status,
        ..Reply::default()
    };
    let signed = asked.header("authorization").unwrap_or_default();
    if !String::from_utf8_lossy(signed).contains("Credential=reader/") {
        return status(403);
    }
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let mut objects = objects.lock().expect("no panic");
    let Some(key) = path.strip_prefix("/traffic/") else {
        return listing(query, &objects);
    };
    let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy();
    if asked.method == "PUT" {
        objects.insert(key.into_owned(), asked.body.clone());
        return Reply {
            headers: vec![("ETag".into(), "\"e\"".into())],
            ..status(200)
        };
    }
    let Some(object) = objects.get(&*key) else {
        return status(404);
    };
    let mut reply = Reply {
        headers: vec![
            ("ETag".into(), "\"e\"".into()),
            (
                "Last-Modified".into(),
                "Mon, 23 Nov 2026 00:00:00 GMT".into(),
            ),
        ],
        body: object.clone(),
        ..status(200)
    };
    if asked.method == "HEAD" {
        reply
            .headers
            .push(("Content-Length".into(), object.len().to_string()));
    }
    if let Some(range) = asked.header("range") {
        let range = String::from_utf8_lossy(range);
        let (first, last) = range["bytes=".len()..].split_once('-').expect("a range");
        let (first, last): (usize, usize) =
            (first.parse().expect("from"), last.parse().expect("to"));
        if first >= object.len() {
            return status(416);
        }
        let last = last.min(object.len() - 1);
        reply.status = 206;
        reply.body = object[first..=last].to_vec();
        let range = format!("bytes {first}-{last}/{}", object.len());
        reply.headers.push(("Content-Range".into(), range));
    }
    reply
}

/// ListObjectsV2, in one page.
fn listing(query: &str, objects: &BTreeMap<String, Vec<u8>>) -> Reply {
    let pairs: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let prefix = pairs
        .get("prefix")
        .map(|p| p.to_string())
        .unwrap_or_default();
    let mut xml = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
    for (key, bytes) in objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        _ = write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>2026-11-23T00:00:00.000Z</LastModified><ETag>\"e\"</ETag>\
             <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            bytes.len()
        );
    }
    xml.push_str("</ListBucketResult>");
    Reply {
        status: 200,
        headers: vec![("Content-Type".into(), "application/xml".into())],
        body: xml.into_bytes(),
    }
}
