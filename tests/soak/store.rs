//! An object store that takes everything, fails, is slow or is gone, by command.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Well = 0,
    /// 503.
    Failing = 1,
    /// A second later.
    Slow = 2,
    /// Connections end without an answer.
    Gone = 3,
}

/// The store; its threads end with the test.
pub struct Store {
    port: u16,
    mode: Arc<AtomicU8>,
}

impl Store {
    pub fn start() -> Store {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("own address").port();
        let mode = Arc::new(AtomicU8::new(Mode::Well as u8));
        let of_all = mode.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mode = of_all.clone();
                std::thread::spawn(move || serve(stream, &mode));
            }
        });
        Store { port, mode }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// As the configuration has it.
    pub fn config(&self, spool: &Path) -> Value {
        json!({
            "id": "payloads",
            "type": "s3",
            "endpoint": format!("127.0.0.1:{}", self.port),
            "bucket": "chaos",
            "region": "us-east-1",
            "insecure": true,
            "access_key": {"type": "text", "value": "key"},
            "secret_key": {"type": "text", "value": "secret"},
            "layout": "segment",
            "spool": {"dir": spool, "max_bytes": "64MiB"},
        })
    }
}

/// Answers requests until the client goes, or the store is gone.
fn serve(stream: TcpStream, mode: &AtomicU8) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let field = line.trim_end().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
        let status = match mode.load(Ordering::Relaxed) {
            1 => "503 Service Unavailable",
            3 => return None,
            slow => {
                if slow == 2 {
                    std::thread::sleep(Duration::from_secs(1));
                }
                "200 OK"
            }
        };
        let answer = format!("HTTP/1.1 {status}\r\netag: \"x\"\r\ncontent-length: 0\r\n\r\n");
        writer.write_all(answer.as_bytes()).ok()?;
    }
}
