//! The table that a dry run ends with.

use crate::rules::Level;
use crate::telemetry::ledger::Snapshot;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

const DAY: f64 = 86_400.0;
const COLUMNS: [&str; 8] = [
    "stack",
    "level",
    "transactions",
    "spans",
    "log records",
    "lines",
    "payloads",
    "a day",
];
/// Columns of words; the others are of numbers.
const WORDS: usize = 2;

/// A number of things and their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub count: u64,
    pub bytes: u64,
}

impl Sum {
    pub fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u64;
    }
}

/// What leaves of one stack at one level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub transactions: u64,
    pub spans: Sum,
    pub logs: Sum,
    pub lines: Sum,
    pub payloads: Sum,
}

pub(super) type Table = BTreeMap<(String, Level), Row>;

/// The whole text, with what the ledger counted in `time`.
pub(super) fn render(table: &Table, time: Duration, ledger: &Snapshot) -> String {
    let seconds = time.as_secs_f64().max(0.001);
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for ((stack, level), row) in table {
        rows.push(cells(stack, level.name(), row, seconds));
    }
    // One that has a span and a line is in two rows.
    let transactions = ledger.transactions.exported;
    rows.push(cells("all", "", &total(table, transactions), seconds));
    let mut out = format!("In {seconds:.1} s nothing was sent or stored. It would have been:\n\n");
    lay_out(&rows, &mut out);
    let t = &ledger.transactions;
    // Writing to a `String` cannot fail, here and below.
    let _always = write!(out, "\nTransactions seen: {}", t.seen);
    for (reason, count) in [
        ("left out by level none", t.left_out.level_none),
        ("by filters", t.left_out.filtered),
        ("by the ratio", t.left_out.sampled_out),
        ("by a rate", t.left_out.rate_limited),
        ("not measured in time", t.lost.queue_full),
    ] {
        if count > 0 {
            let _always = write!(out, "; {reason}: {count}");
        }
    }
    out.push_str(".\nSizes are before compression and without shared resources, but for segments, which are as stored; a day goes on as these seconds went.\n");
    out
}

fn total(table: &Table, transactions: u64) -> Row {
    let mut all = Row {
        transactions,
        ..Row::default()
    };
    for row in table.values() {
        for (sum, one) in [
            (&mut all.spans, row.spans),
            (&mut all.logs, row.logs),
            (&mut all.lines, row.lines),
            (&mut all.payloads, row.payloads),
        ] {
            sum.count += one.count;
            sum.bytes += one.bytes;
        }
    }
    all
}

fn lay_out(rows: &[[String; COLUMNS.len()]], out: &mut String) {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _always = match column < WORDS {
                true => write!(out, "{cell:<width$}  "),
                false => write!(out, "{cell:>width$}  "),
            };
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
}

fn cells(stack: &str, level: &str, row: &Row, seconds: f64) -> [String; COLUMNS.len()] {
    let sums = [row.spans, row.logs, row.lines, row.payloads];
    let a_day = sums.iter().map(|sum| sum.bytes).sum::<u64>() as f64 / seconds * DAY;
    let sum = |sum: Sum| match sum.count {
        0 => "-".to_owned(),
        count => format!("{count} ({})", bytes(sum.bytes as f64)),
    };
    [
        stack.to_owned(),
        level.to_owned(),
        row.transactions.to_string(),
        sum(row.spans),
        sum(row.logs),
        sum(row.lines),
        sum(row.payloads),
        bytes(a_day),
    ]
}

fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_stack_and_level_and_one_for_all() {
        let row = |transactions, bytes| Row {
            transactions,
            spans: Sum {
                count: transactions,
                bytes,
            },
            ..Row::default()
        };
        let table = Table::from([
            (("shop".into(), Level::Full), row(2, 4096)),
            (("shop".into(), Level::Summary), row(10, 1024)),
        ]);
        let mut ledger = Snapshot::default();
        ledger.transactions.seen = 15;
        ledger.transactions.exported = 12;
        ledger.transactions.left_out.level_none = 3;
        let text = render(&table, Duration::from_secs(60), &ledger);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .filter(|cell| !cell.is_empty())
                    .map(str::trim)
                    .collect()
            })
            .collect();
        assert_eq!(
            lines[3],
            [
                "shop",
                "summary",
                "10",
                "10 (1.0 KiB)",
                "-",
                "-",
                "-",
                "1.4 MiB"
            ]
        );
        assert_eq!(
            lines[4],
            ["shop", "full", "2", "2 (4.0 KiB)", "-", "-", "-", "5.6 MiB"]
        );
        assert_eq!(
            lines[5],
            ["all", "12", "12 (5.0 KiB)", "-", "-", "-", "7.0 MiB"]
        );
        assert!(
            text.contains("Transactions seen: 15; left out by level none: 3.\n"),
            "{text}"
        );
    }

    #[test]
    fn a_transaction_of_two_rows_is_one_transaction() {
        let of = |spans, lines| Row {
            transactions: 10,
            spans,
            lines,
            ..Row::default()
        };
        let ten = Sum {
            count: 10,
            bytes: 2048,
        };
        let none = Sum::default();
        let table = Table::from([
            (("shop".into(), Level::Summary), of(ten, none)),
            (("shop (access_logs)".into(), Level::Summary), of(none, ten)),
        ]);
        let mut ledger = Snapshot::default();
        ledger.transactions.seen = 10;
        ledger.transactions.exported = 10;
        let text = render(&table, Duration::from_secs(60), &ledger);
        let all = text.lines().find(|line| line.starts_with("all"));
        let words: Vec<&str> = all.unwrap_or(&text).split_whitespace().collect();
        assert_eq!(words[..4], ["all", "10", "10", "(2.0"], "{text}");
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (count, want) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.5 KiB"),
            (5e18, "4440.9 PiB"),
        ] {
            assert_eq!(bytes(count), want);
        }
    }
}
