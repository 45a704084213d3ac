use super::super::sample::{policy, redact, transaction};
use crate::event::KernelTime;
use crate::rules::Level;
use crate::transaction::websocket::{WebSocket, WebSocketMessage};
use flate2::{Compress, Compression, FlushCompress};

const SECRET: &str = "Bearer SECRET-CANARY-and-more";

fn message(bytes: &[u8], compressed: bool, follows: bool) -> WebSocketMessage {
    WebSocketMessage {
        text: true,
        compressed,
        whole: true,
        follows,
        time: KernelTime(1_000_000_000),
        size: bytes.len() as u64,
        bytes: bytes.to_vec(),
    }
}

/// Messages compressed one after another with one window, without the last four bytes.
fn deflated(texts: &[&str]) -> Vec<Vec<u8>> {
    let mut state = Compress::new(Compression::default(), false);
    texts
        .iter()
        .map(|text| {
            let mut out = Vec::with_capacity(10_000);
            state
                .compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync)
                .unwrap();
            assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
            out.truncate(out.len() - 4);
            out
        })
        .collect()
}

fn shown(messages: Vec<WebSocketMessage>) -> Vec<(String, bool, Option<&'static str>)> {
    let mut t = transaction("/", &[], &[]);
    let mut websocket = WebSocket::default();
    websocket.from_server.kept = messages;
    t.websocket = Some(websocket);
    let (capture, _) = redact(&policy(), t, Level::Full);
    let [_, server] = capture.websocket_messages();
    server
        .iter()
        .map(|m| {
            let text = String::from_utf8_lossy(&m.bytes).into_owned();
            (text, m.compressed, m.dropped.map(|d| d.name()))
        })
        .collect()
}

#[test]
fn plain_messages_are_masked_and_others_stay() {
    let all = shown(vec![
        message(b"hello", false, true),
        message(SECRET.as_bytes(), false, true),
    ]);
    let want = |text: &str| (text.to_owned(), false, None);
    assert_eq!(all, [want("hello"), want("Bearer REDACTED")]);
}

#[test]
fn compressed_messages_are_inflated_with_one_window() {
    let parts = deflated(&["hello hello", SECRET, SECRET, "bye"]);
    let all = shown(parts.iter().map(|p| message(p, true, true)).collect());
    let want = |text: &str| (text.to_owned(), false, None);
    let masked = want("Bearer REDACTED");
    assert_eq!(
        all,
        [want("hello hello"), masked.clone(), masked, want("bye")]
    );
}

#[test]
fn behind_a_message_that_is_missing_compressed_ones_are_left_out() {
    let parts = deflated(&["one", SECRET, SECRET]);
    let all = shown(vec![
        message(&parts[0], true, true),
        message(&parts[2], true, false),
        message(b"plain", false, false),
    ]);
    let coded = (String::new(), true, Some("coded"));
    let want = |text: &str| (text.to_owned(), false, None);
    assert_eq!(all, [want("one"), coded, want("plain")]);
}

#[test]
fn a_cut_message_shows_nothing_of_a_secret_at_any_byte() {
    let part = deflated(&[SECRET]).remove(0);
    for (bytes, compressed) in [(part.as_slice(), true), (SECRET.as_bytes(), false)] {
        for end in 0..bytes.len() {
            let mut cut = message(&bytes[..end], compressed, true);
            cut.size = bytes.len() as u64;
            for (text, ..) in shown(vec![cut]) {
                assert!(!text.contains("SEC"), "cut at {end}: {text}");
            }
        }
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let bomb = deflated(&[&"x".repeat(9000)]).remove(0);
    let mut t = transaction("/", &[], &[]);
    let mut websocket = WebSocket::default();
    websocket.from_client.kept = vec![message(&bomb, true, true), message(&bomb, true, true)];
    t.websocket = Some(websocket);
    let mut policy = policy();
    policy.body_max_bytes = 1000;
    let (capture, _) = redact(&policy, t, Level::Full);
    let [client, _] = capture.websocket_messages();
    let told: Vec<_> = client
        .iter()
        .map(|m| (m.bytes.len(), m.dropped.is_some()))
        .collect();
    assert_eq!(told, [(1000, false), (0, true)]);
}
