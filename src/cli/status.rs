//! Asking a running agent for its status.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A bound for each step of a request to the status endpoint.
const STEP: Duration = Duration::from_secs(2);
/// `/status` names every library; it stays far below this.
const MAX_STATUS: u64 = 64 << 20;

/// `/status` of the agent at this address; `None` where nobody answers so.
pub fn ask(address: SocketAddr) -> Option<Value> {
    let mut stream = TcpStream::connect_timeout(&address, STEP).ok()?;
    stream.set_read_timeout(Some(STEP)).ok()?;
    stream.set_write_timeout(Some(STEP)).ok()?;
    let request = format!("GET /status HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(MAX_STATUS).read_to_end(&mut answer).ok()?;
    let end = memchr::memmem::find(&answer, b"\r\n\r\n")?;
    serde_json::from_slice(answer.get(end + 4..)?).ok()
}
