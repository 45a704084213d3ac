//! `plainspan tail` into a pipe.

use super::{CANARY, SOON, Stage};
use crate::harness::agent::plainspan;
use crate::harness::{turn, wait_until};
use serde_json::Value;
use std::time::Duration;

#[test]
fn tail_writes_a_line_for_each_transaction_that_fits_its_filter_and_no_other() {
    let _turn = turn();
    let stage = Stage::new("full");
    let (filter, failed) = (
        stage.filter(),
        format!("{} and http.res.status >= 500", stage.filter()),
    );
    let all = stage.tail("tail", &[&filter]);
    let few = stage.tail("tail-failed", &["--json", &failed]);
    for index in 0..20 {
        let rest = match index % 4 {
            0 => format!("status/503?n={index}&token={CANARY}"),
            _ => format!("unique/{index}?token={CANARY}"),
        };
        stage.curl(&rest, &[]);
    }
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    wait_until(
        SOON,
        "line of each end of each request",
        || (lines(all.stdout()).len() >= 40 && lines(few.stdout()).len() >= 10).then_some(()),
        || format!("{}\n{}", all.outputs(), few.outputs()),
    );
    // Nothing more comes.
    std::thread::sleep(Duration::from_millis(500));
    let (all_lines, few_lines) = (lines(all.stdout()), lines(few.stdout()));
    assert_eq!(
        (all_lines.len(), few_lines.len()),
        (40, 10),
        "{}",
        all.outputs()
    );
    for line in &all_lines {
        assert!(
            line.contains(&stage.work.url_path("")) && line.contains("token=REDACTED"),
            "{line}"
        );
    }
    let ends = |arrow| all_lines.iter().filter(|line| line.contains(arrow)).count();
    assert_eq!((ends(" → GET "), ends(" ← GET ")), (20, 20));
    for line in &few_lines {
        let told: Value = serde_json::from_str(line).expect("JSON");
        let document = &told["document"];
        assert_eq!(document["response"]["status"], 503, "{line}");
        assert_eq!(document["level"], "full");
        assert!(
            told["payload"]["url"]
                .as_str()
                .is_some_and(|url| url.starts_with("file://")),
            "{line}"
        );
        assert!(
            document["trace_id"].is_string() && document["request"]["header_list"].is_array(),
            "{line}"
        );
    }
    for output in [all.outputs(), few.outputs()] {
        assert!(!output.contains(CANARY), "{output}");
    }
    // It misses nothing of a quick viewer, and takes no part in what becomes of transactions.
    assert!(!all.stderr().contains("too fast"), "{}", all.stderr());
    stage.agent.ledger().assert_nothing_lost();
    let mut all = all;
    stage.agent.stop();
    assert_eq!(all.wait(SOON).code(), Some(1));
    assert!(
        all.stderr().contains("the agent ended the connection"),
        "{}",
        all.stderr()
    );
}

#[test]
fn tail_says_what_to_do_without_an_agent_and_where_a_filter_is_wrong() {
    let _turn = turn();
    let stage = Stage::new("headers");
    let socket = stage.socket();
    let socket = socket.to_str().expect("UTF-8");
    let wrong = plainspan(
        &stage.work,
        &["tail", "--socket", socket, "http.res.stats >= 500"],
        &[],
    );
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(
        wrong.stderr.contains("column 1") && wrong.stderr.contains("http.res.status"),
        "{}",
        wrong.stderr
    );
    let nobody = plainspan(
        &stage.work,
        &["tail", "--socket", "/nowhere/live.sock"],
        &[],
    );
    assert_eq!(nobody.code, Some(1), "{}", nobody.stderr);
    assert!(
        nobody.stderr.contains("no agent is there") && nobody.stderr.contains("plainspan run"),
        "{}",
        nobody.stderr
    );
    // A number of them, and it ends by itself.
    let mut some = stage.tail("tail-some", &["-n", "3", &stage.filter()]);
    for index in 0..3 {
        stage.curl(&format!("get/{index}"), &[]);
    }
    assert_eq!(some.wait(SOON).code(), Some(0), "{}", some.outputs());
    assert_eq!(some.stdout().lines().count(), 3);
}
