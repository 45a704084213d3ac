use super::*;
use std::collections::BTreeSet;

#[test]
fn a_forgotten_ticket_is_a_counted_loss() {
    let ledger = Ledger::new();
    drop(ledger.transaction_seen());
    let s = ledger.snapshot();
    assert_eq!((s.transactions.lost.shutdown, s.imbalance()), (1, 0));
}

#[test]
fn exported_when_all_signals_took_it_lost_when_one_did_not() {
    let ledger = Ledger::new();
    let a = ledger.transaction_seen().shared();
    let b = a.clone();
    a.taken();
    assert_eq!(ledger.snapshot().transactions.in_flight, 1);
    b.taken();
    let c = ledger.transaction_seen().shared();
    let d = c.clone();
    c.lost(Lost::QueueFull);
    d.taken();
    let t = ledger.snapshot().transactions;
    assert_eq!((t.seen, t.exported, t.lost.queue_full), (2, 1, 1));
    assert_eq!(ledger.snapshot().imbalance(), 0);
}

#[test]
fn a_forgotten_share_is_a_counted_loss() {
    let ledger = Ledger::new();
    let a = ledger.transaction_seen().shared();
    drop(a.clone());
    a.taken();
    assert_eq!(ledger.snapshot().transactions.lost.shutdown, 1);
}

#[test]
fn reports_of_transactions_have_books_of_their_own() {
    let ledger = Ledger::new();
    ledger.transaction_seen().exported();
    ledger.progress_seen().shared().lost(Lost::QueueFull);
    drop(ledger.progress_seen());
    let s = ledger.snapshot();
    assert_eq!((s.transactions.seen, s.transactions.exported), (1, 1));
    let lost = &s.progress.lost;
    assert_eq!((s.progress.seen, lost.queue_full, lost.shutdown), (2, 1, 1));
    assert_eq!((s.imbalance(), s.progress.imbalance()), (0, 0));
}

#[test]
fn a_signal_balances() {
    let ledger = Ledger::new();
    ledger.signal_offered("c/traces", 3);
    ledger.signal_exported("c/traces", 1);
    ledger.signal_lost("c/traces", Lost::Rejected, 2);
    let s = &ledger.snapshot().signals["c/traces"];
    assert_eq!((s.offered, s.exported, s.in_flight), (3, 1, 0));
    assert_eq!(s.lost.rejected, 2);
}

/// Paths of all numbers and texts of a JSON object; `*` for names that are free.
fn paths(value: &serde_json::Value, at: &str, out: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(fields) => {
            for (name, value) in fields {
                let name = match at {
                    "signals" | "spools" | "redacted" => "*",
                    _ => name,
                };
                let dot = if at.is_empty() { "" } else { "." };
                paths(value, &format!("{at}{dot}{name}"), out);
            }
        }
        None => {
            out.insert(at.to_owned());
        }
    }
}

#[test]
fn the_page_lists_every_count_and_where_it_is_made() {
    let ledger = Ledger::new();
    ledger.signal_offered("c/traces", 1);
    ledger.set_spool("c/traces", Spool::default());
    ledger.redacted("matcher", 1);
    let mut counts = BTreeSet::new();
    let json = serde_json::to_value(ledger.snapshot()).expect("JSON");
    paths(&json, "", &mut counts);

    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/ledger.md")).expect("docs/ledger.md");
    let (_, table) = page
        .split_once("| count | counted in | by |\n|---|---|---|\n")
        .expect("the table");
    let mut listed = BTreeSet::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(|c| c.trim().trim_matches('`')).collect();
        let [_, count, place, by, _] = cells[..] else {
            panic!("{row}");
        };
        assert!(listed.insert(count.to_owned()), "{count} twice");
        if place == "–" {
            continue;
        }
        let source = std::fs::read_to_string(root.join(place));
        let source = source.unwrap_or_else(|error| panic!("{count}: {place}: {error}"));
        assert!(source.contains(by), "{count}: {place} has no {by}");
    }
    assert_eq!(listed, counts);
}
