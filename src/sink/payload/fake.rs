//! A server that speaks as much of S3 as a put needs, for tests: one that can be down.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

const PROBE: &str = "plainspan-write-probe";

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    Well,
    /// 503 SlowDown.
    Unavailable,
    /// 403.
    Refused,
}

#[derive(Clone)]
pub(super) struct FakeS3 {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    answers: Answers,
    /// By path.
    objects: BTreeMap<String, Vec<u8>>,
    puts: u64,
}

impl FakeS3 {
    /// Runs until the process ends.
    pub fn start(answers: Answers) -> FakeS3 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let fake = FakeS3 {
            port: listener.local_addr().expect("an address").port(),
            state: Arc::new(Mutex::new(State {
                answers,
                objects: BTreeMap::new(),
                puts: 0,
            })),
        };
        let served = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        fake
    }

    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn answer(&self, answers: Answers) {
        self.lock().answers = answers;
    }

    /// What is stored, by path.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().objects.clone()
    }

    /// Requests so far.
    pub fn puts(&self) -> u64 {
        self.lock().puts
    }

    fn serve(&self, stream: TcpStream) {
        let mut writer = stream.try_clone().expect("a socket");
        let mut reader = BufReader::new(stream);
        while let Some((path, body)) = request(&mut reader) {
            let status = self.take(path, body);
            let answer = format!("HTTP/1.1 {status}\r\netag: \"x\"\r\ncontent-length: 0\r\n\r\n");
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn take(&self, path: String, body: Vec<u8>) -> &'static str {
        let mut state = self.lock();
        // The write probe is no payload.
        if !path.ends_with(PROBE) {
            state.puts += 1;
        }
        match state.answers {
            Answers::Unavailable => "503 Service Unavailable",
            Answers::Refused => "403 Forbidden",
            Answers::Well if state.objects.contains_key(&path) => "412 Precondition Failed",
            Answers::Well if path.ends_with(PROBE) => "200 OK",
            Answers::Well => {
                state.objects.insert(path, body);
                "200 OK"
            }
        }
    }
}

/// Path and body; None: the connection is over.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}
