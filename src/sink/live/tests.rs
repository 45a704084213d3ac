use super::hub::Limits;
use super::*;
use crate::redact::sample::{policy, redact, transaction};
use crate::rules::Level;
use crate::sink::testing::{body, capture};
use crate::sink::{Fanout, PayloadStatus};
use crate::telemetry::Ledger;
use serde_json::Value;
use std::time::Duration;

const LIMITS: Limits = Limits {
    intake: (4, 1 << 20),
    viewer: (3, 1 << 20),
    recent: (3, 1 << 20),
    viewers: 2,
    linger: Duration::ZERO,
};

fn shown(change: impl FnOnce(&mut crate::redact::Capture)) -> Arc<Redacted> {
    let mut capture = capture(crate::event::Role::Client);
    change(&mut capture);
    Arc::new(Redacted::for_test(capture))
}

fn with_status(status: u16) -> Arc<Redacted> {
    shown(|c| c.transaction.response.as_mut().expect("a response").status = status)
}

fn watch(filter: &str, recent: bool) -> Watch {
    Watch {
        version: VERSION,
        filter: filter.to_owned(),
        recent,
    }
}

async fn next(subscription: &mut Subscription) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(10), subscription.next());
    next.await.expect("in time").expect("not over")
}

async fn json(subscription: &mut Subscription) -> Value {
    match next(subscription).await {
        Message::Transaction(json) => serde_json::from_slice(&json).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

async fn status(subscription: &mut Subscription) -> u64 {
    let json = json(subscription).await;
    json["document"]["response"]["status"]
        .as_u64()
        .expect("a status")
}

/// Waits until the feed's thread has taken all that there is.
fn settled(feed: &Feed) {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while feed.hub.waiting() > 0 {
        assert!(std::time::Instant::now() < end, "the feed's thread hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn a_viewer_gets_the_document_and_what_stands_beside_it() {
    let feed = Feed::with(LIMITS);
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    let link = PayloadLink {
        url: Some("file:///p/1".into()),
        digest: Some("ff".into()),
        size: Some(7),
        status: PayloadStatus::Pending,
    };
    feed.offer(&with_status(503), Some(&link));
    let json = json(&mut viewer).await;
    assert_eq!(json["type"], "transaction");
    assert_eq!(json["number"], 1);
    assert_eq!(json["process"], "curl");
    assert_eq!(json["error"], "503");
    assert_eq!(json["payload"]["status"], "pending");
    assert_eq!(json["payload"]["url"], "file:///p/1");
    let document = &json["document"];
    assert_eq!(document["request"]["url"], "https://example.com/a/b?c=d");
    assert_eq!(document["trace_id"], "ab".repeat(16));
    let read = crate::payload::Document::read(document.to_string().as_bytes()).expect("a document");
    assert_eq!(read.response.expect("a response").status, 503);
}

#[test]
fn while_nobody_watches_nothing_is_kept_and_there_is_no_thread() {
    let feed = Feed::with(LIMITS);
    let capture = with_status(200);
    for _ in 0..100 {
        feed.offer(&capture, None);
    }
    assert_eq!(Arc::strong_count(&capture), 1, "somebody holds it");
    assert_eq!((feed.hub.waiting(), feed.hub.is_running()), (0, false));
}

#[tokio::test]
async fn after_the_last_viewer_the_thread_ends_and_lets_all_go() {
    let feed = Feed::with(LIMITS);
    let capture = with_status(200);
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    feed.offer(&capture, None);
    json(&mut viewer).await;
    assert!(feed.hub.is_running() && feed.viewers() == 1);
    drop(viewer);
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while feed.hub.is_running() || Arc::strong_count(&capture) > 1 {
        assert!(std::time::Instant::now() < end, "the feed goes on");
        std::thread::sleep(Duration::from_millis(1));
    }
    feed.offer(&capture, None);
    assert_eq!((Arc::strong_count(&capture), feed.viewers()), (1, 0));
    // And it begins again.
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    feed.offer(&capture, None);
    json(&mut viewer).await;
}

#[tokio::test]
async fn a_slow_viewer_is_told_how_many_it_missed_and_a_quick_one_misses_none() {
    let feed = Feed::with(LIMITS);
    let mut slow = feed.watch(&watch("", false)).expect("a viewer");
    let mut quick = feed.watch(&watch("", false)).expect("a viewer");
    for status in 200..210 {
        feed.offer(&with_status(status), None);
        assert_eq!(super::tests::status(&mut quick).await, u64::from(status));
    }
    for status in 200..203 {
        assert_eq!(super::tests::status(&mut slow).await, status);
    }
    assert_eq!(next(&mut slow).await, Message::Missed(7));
    feed.offer(&with_status(299), None);
    assert_eq!(status(&mut slow).await, 299);
}

#[tokio::test]
async fn what_waits_for_a_viewer_is_bounded_by_bytes_and_one_alone_always_fits() {
    let limits = Limits {
        viewer: (100, 64 << 10),
        ..LIMITS
    };
    let feed = Feed::with(limits);
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    let large = || {
        shown(|c| {
            c.decision.level = Level::Full;
            c.transaction.response.as_mut().expect("a response").body = body(&[b'x'; 100 << 10]);
        })
    };
    for _ in 0..3 {
        feed.offer(&large(), None);
        settled(&feed);
    }
    let first = json(&mut viewer).await;
    assert!(first["document"]["response"]["body"].is_string());
    assert_eq!(next(&mut viewer).await, Message::Missed(2));
}

#[tokio::test]
async fn what_comes_faster_than_it_is_encoded_is_missed_by_all_and_blocks_nobody() {
    let feed = Feed::with(LIMITS);
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    let items = (200..210).map(|status| Item::new(&with_status(status), None));
    feed.hub.offer_at_once(items);
    // At most four found room, and as many as the viewer had room for are shown, before what was missed.
    let (mut told, mut missed) = (200, 0);
    while told + missed < 210 {
        match next(&mut viewer).await {
            Message::Missed(count) => missed += count,
            Message::Transaction(json) => {
                let json: Value = serde_json::from_slice(&json).expect("JSON");
                assert_eq!(
                    (&json["document"]["response"]["status"], missed),
                    (&told.into(), 0)
                );
                told += 1;
            }
        }
    }
    assert!((203..=204).contains(&told), "{told}");
}

#[tokio::test]
async fn a_filter_shows_what_it_holds_of_and_nothing_else() {
    let feed = Feed::with(LIMITS);
    let mut viewer = feed
        .watch(&watch("http.res.status >= 500", false))
        .expect("a viewer");
    for status in [200, 500, 404, 503] {
        feed.offer(&with_status(status), None);
        settled(&feed);
    }
    assert_eq!(status(&mut viewer).await, 500);
    assert_eq!(status(&mut viewer).await, 503);
    assert_eq!(
        feed.watch(&watch("http.res.status >", false))
            .map(|_| ())
            .expect_err("a fault")
            .column,
        Some(18)
    );
}

#[tokio::test]
async fn who_comes_later_is_shown_the_recent_ones_that_fit_its_filter_first() {
    let feed = Feed::with(LIMITS);
    let mut first = feed.watch(&watch("", false)).expect("a viewer");
    for status in [500, 501, 200, 502] {
        feed.offer(&with_status(status), None);
        super::tests::status(&mut first).await;
    }
    let mut later = feed
        .watch(&watch("http.res.status >= 500", true))
        .expect("a viewer");
    // The oldest had to make room for the others.
    assert_eq!(status(&mut later).await, 501);
    let last = json(&mut later).await;
    assert_eq!(
        (&last["document"]["response"]["status"], &last["number"]),
        (&502.into(), &4.into())
    );
    feed.offer(&with_status(503), None);
    assert_eq!(status(&mut later).await, 503);
}

#[tokio::test]
async fn viewers_are_bounded_and_make_room_when_they_leave() {
    let feed = Feed::with(LIMITS);
    let one = feed.watch(&watch("", false)).expect("a viewer");
    let _two = feed.watch(&watch("", false)).expect("a viewer");
    let refused = feed
        .watch(&watch("", false))
        .map(|_| ())
        .expect_err("too many");
    assert!(refused.reason.contains("2 viewers"), "{}", refused.reason);
    drop(one);
    feed.watch(&watch("", false)).map(|_| ()).expect("room");
}

#[tokio::test]
async fn a_viewer_of_another_version_is_refused() {
    let feed = Feed::with(LIMITS);
    let other = Watch {
        version: VERSION + 1,
        ..Watch::default()
    };
    let refused = feed.watch(&other).map(|_| ()).expect_err("another version");
    assert!(refused.reason.contains("version 2"), "{}", refused.reason);
}

#[tokio::test]
async fn when_the_agent_stops_a_viewer_gets_what_there_is_and_then_the_end() {
    let feed = Feed::with(LIMITS);
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    feed.offer(&with_status(200), None);
    feed.close();
    assert_eq!(status(&mut viewer).await, 200);
    assert_eq!(viewer.next().await, None);
    feed.watch(&watch("", false))
        .map(|_| ())
        .expect_err("it is stopping");
}

const CANARY: &str = "SECRET-CANARY";

/// A transaction with the canary wherever redaction looks for secrets, as it comes out of it.
fn secretive(level: Level) -> Arc<Redacted> {
    let target = format!("/a?token={CANARY}&b=1");
    let bearer = format!("Bearer {CANARY}");
    let cookie = format!("sid={CANARY}");
    let request = [
        ("Host", "shop.example"),
        ("Authorization", &*bearer),
        ("Cookie", &*cookie),
    ];
    let mut raw = transaction(
        &target,
        &request,
        &[("Set-Cookie", &*cookie), ("Content-Type", "text/plain")],
    );
    let said = format!("authorization: Bearer {CANARY}-0123456789abcdef");
    raw.response.as_mut().expect("a response").body = body(said.as_bytes());
    Arc::new(redact(&policy(), raw, level).0)
}

#[tokio::test]
async fn the_feed_holds_no_secret_at_any_level_and_no_filter_can_ask_for_one() {
    use base64::Engine;
    let feed = Feed::with(LIMITS);
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    let oracle = [
        "headers.authorization",
        "headers.cookie",
        "cookies.sid",
        "query",
        "query.token",
        "url",
    ]
    .map(|field| format!("http.req.{field} contains \"{CANARY}\""))
    .join(" or ");
    let mut asking = feed.watch(&watch(&oracle, false)).expect("a viewer");
    for level in [Level::Summary, Level::Headers, Level::Full] {
        feed.offer(&secretive(level), None);
        let Message::Transaction(bytes) = next(&mut viewer).await else {
            panic!("missed")
        };
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        assert!(!text.contains(CANARY), "{text}");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["document"]["level"], level.name());
        let body = &json["document"]["response"]["body"];
        assert_eq!(body.is_string(), level == Level::Full, "{text}");
        if let Some(body) = body.as_str() {
            let body = base64::engine::general_purpose::STANDARD
                .decode(body)
                .expect("base64");
            assert!(!String::from_utf8_lossy(&body).contains(CANARY));
        }
    }
    feed.close();
    assert_eq!(
        asking.next().await,
        None,
        "a filter found what was redacted"
    );
}

#[tokio::test]
async fn viewers_take_no_part_in_what_becomes_of_a_transaction() {
    let (feed, ledger) = (Feed::with(LIMITS), Ledger::new());
    let fanout = Fanout::default().watched(&feed);
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    for _ in 0..10 {
        fanout.deliver(with_status(200), None, ledger.transaction_seen().shared());
    }
    settled(&feed);
    let counts = ledger.snapshot().transactions;
    assert_eq!(
        (counts.seen, counts.exported, counts.in_flight),
        (10, 10, 0)
    );
    assert_eq!(status(&mut viewer).await, 200);
}

#[tokio::test]
async fn what_lines_alone_get_is_shown_once_and_without_other_sinks_too() {
    let (feed, ledger) = (Feed::with(LIMITS), Ledger::new());
    let lines = Fanout::default().watched_alone(&feed);
    let mut viewer = feed.watch(&watch("", false)).expect("a viewer");
    lines.deliver(with_status(200), None, ledger.transaction_seen().shared());
    lines.show_alone(&with_status(201));
    // One that telemetry takes too is shown there.
    Fanout::default()
        .watched(&feed)
        .show_alone(&with_status(202));
    feed.close();
    assert_eq!(status(&mut viewer).await, 201);
    assert_eq!(viewer.next().await, None);
}
