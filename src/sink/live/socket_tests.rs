use super::*;
use crate::redact::Redacted;
use crate::sink::testing::capture;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::Lines;

struct Stage {
    dir: TempDir,
    feed: Feed,
    server: Server,
}

impl Stage {
    fn new() -> Stage {
        let dir = tempfile::tempdir().expect("a folder");
        let feed = Feed::default();
        let path = dir.path().join("run/live.sock");
        let server = Server::start(&path, &feed, &Handle::current()).expect("a socket");
        Stage { dir, feed, server }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("run/live.sock")
    }

    /// Says `line` to the agent; what it answers, line by line.
    async fn say(&self, line: &str) -> (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf) {
        let stream = UnixStream::connect(self.path()).await.expect("connected");
        let (reader, mut writer) = stream.into_split();
        writer.write_all(line.as_bytes()).await.expect("said");
        (BufReader::new(reader).lines(), writer)
    }
}

const ALL: &str = "{\"version\":1}\n";

async fn line(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> String {
    let next = tokio::time::timeout(Duration::from_secs(10), lines.next_line());
    next.await
        .expect("in time")
        .expect("read")
        .expect("not over")
}

fn shown() -> Arc<Redacted> {
    Arc::new(Redacted::for_test(capture(crate::event::Role::Client)))
}

#[tokio::test]
async fn a_viewer_is_greeted_and_gets_a_line_for_each_transaction() {
    let stage = Stage::new();
    let (mut lines, _writer) = stage.say(ALL).await;
    let hello: Reply = serde_json::from_str(&line(&mut lines).await).expect("a reply");
    assert_eq!(hello, Reply::hello());
    for _ in 0..3 {
        stage.feed.offer(&shown(), None);
        let told = line(&mut lines).await;
        assert!(
            told.starts_with("{\"type\":\"transaction\",\"number\":"),
            "{told}"
        );
    }
    stage.feed.close();
    assert_eq!(lines.next_line().await.expect("read"), None);
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_with_its_reason() {
    let stage = Stage::new();
    for (asked, wanted) in [
        (
            "{\"version\":1,\"filter\":\"http.res.status >\"}\n",
            "column 18",
        ),
        ("{\"version\":9}\n", "version 9"),
        ("GET / HTTP/1.1\r\n", "cannot be read"),
        ("{\"version\":1,\"unredacted\":true}\n", "unknown field"),
    ] {
        let (mut lines, _writer) = stage.say(asked).await;
        let reply = line(&mut lines).await;
        assert!(
            reply.contains("\"type\":\"refused\"") && reply.contains(wanted),
            "{reply}"
        );
        assert_eq!(lines.next_line().await.expect("read"), None);
    }
    assert_eq!(stage.feed.viewers(), 0);
}

#[tokio::test]
async fn a_viewer_that_goes_is_forgotten_though_nothing_comes() {
    let stage = Stage::new();
    let (mut lines, writer) = stage.say(ALL).await;
    line(&mut lines).await;
    assert_eq!(stage.feed.viewers(), 1);
    drop((lines, writer));
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while stage.feed.viewers() > 0 {
        assert!(std::time::Instant::now() < end, "it is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_socket_is_for_its_owner_alone_and_goes_with_the_agent() {
    let stage = Stage::new();
    let path = stage.path();
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    drop(stage.server);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_an_agent_left_is_taken_over_and_what_is_in_use_or_no_socket_is_not() {
    let stage = Stage::new();
    let start = |path: &Path| Server::start(path, &Feed::default(), &Handle::current());
    assert!(matches!(start(&stage.path()), Err(SocketError::Taken(_))));
    // The one before was killed: its socket stays, and nobody listens.
    let stale = stage.dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("bound"));
    let _server = start(&stale).expect("taken over");
    let file = stage.dir.path().join("file");
    std::fs::write(&file, "mine").expect("written");
    assert!(matches!(start(&file), Err(SocketError::NoSocket(_))));
    assert_eq!(std::fs::read_to_string(&file).expect("text"), "mine");
}

#[tokio::test]
async fn an_agent_that_stops_leaves_the_socket_of_the_next_one() {
    let stage = Stage::new();
    let path = stage.path();
    std::fs::remove_file(&path).expect("removed");
    let _next = Server::start(&path, &Feed::default(), &Handle::current()).expect("the next");
    drop(stage.server);
    assert!(path.exists());
}

#[test]
fn root_and_the_agents_own_user_may_watch_and_nobody_else() {
    // SAFETY: geteuid has no arguments, touches no memory and cannot fail.
    let own = unsafe { libc::geteuid() };
    assert!(may_watch(0) && may_watch(own) && !may_watch(own + 12_345));
}
