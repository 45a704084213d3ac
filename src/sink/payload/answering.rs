//! A store that answers as a test wants it to.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    /// Lines of the head, each with its end.
    pub headers: String,
    pub body: String,
    /// Waited before it.
    pub after: Duration,
    /// The connection is cut instead, when a part of the body has been read.
    pub torn: bool,
}

impl Reply {
    pub fn of(status: u16, body: &str) -> Reply {
        Reply {
            status,
            body: body.to_owned(),
            ..Reply::default()
        }
    }

    /// An error of S3, and of Azure.
    pub fn error(status: u16, code: &str) -> Reply {
        Reply::of(
            status,
            &format!("<Error><Code>{code}</Code><Message>so {code}</Message></Error>"),
        )
    }

    pub fn with(mut self, header: &str) -> Reply {
        self.headers.push_str(header);
        self.headers.push_str("\r\n");
        self
    }
}

/// A request: its head in lower case, and its body.
pub type Asked = (String, Vec<u8>);

pub struct FakeStore {
    /// Host and port.
    pub endpoint: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeStore {
    /// `answer` gets the head of each request in lower case, and its number from 0.
    pub async fn start(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> FakeStore {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (asked.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, answer) = (seen.clone(), answer.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &seen, &*answer).await {
                        eprintln!("the fake store: {error}");
                    }
                });
            }
        });
        FakeStore { endpoint, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(&str, usize) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().unwrap());
    let number = seen.lock().unwrap().len();
    let reply = answer(&head, number);
    let wanted = if reply.torn { length / 2 } else { length };
    while bytes.len() < end + wanted {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    seen.lock().unwrap().push((head, bytes.split_off(end)));
    tokio::time::sleep(reply.after).await;
    if reply.torn {
        // What was not read makes it a reset.
        return Ok(());
    }
    let Reply {
        status,
        headers,
        body,
        ..
    } = reply;
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\netag: \"e\"\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await
}
