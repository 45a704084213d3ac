//! `plainspan payload list`, `export`, `report`: what stores hold.

use super::args::{ExportArgs, ListArgs, ReportArgs};
use super::documents::Documents;
use super::error::PayloadError;
use super::fetch::Fetch;
use super::open::Opener;
use super::out::Out;
use super::places::Stores;
use super::walk::{Found, Walk};
use crate::payload::har::{self, Entry};
use crate::payload::report::{Report, Row};
use crate::payload::{Document, Summary, escaped};
use serde::Serialize;
use std::io;

/// A line of `list --json`: what the index says, and the link.
#[derive(Serialize)]
struct Listed<'a> {
    url: Option<&'a str>,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// True: all could be read.
///
/// # Errors
/// When a place cannot be looked at at all, or nothing can be written.
pub fn list(args: &ListArgs, out: &mut Out) -> Result<bool, PayloadError> {
    let stores = Stores::load(args.places.config.as_deref())?;
    let fetch = Fetch::new()?;
    let mut walk = Walk::new(&fetch, &args.which)?;
    walk.over(&stores, &args.places, &mut |found| {
        if args.json {
            let listed = Listed {
                url: found.url.as_deref(),
                summary: &found.summary,
            };
            out.json(&json(&listed)?)?;
            out.raw(b"\n")?;
        } else {
            out.line(&line(&found))?;
        }
        Ok(true)
    })?;
    out.flush()?;
    walk.tell();
    Ok(walk.tally.failed == 0)
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

/// Start, status, method, milliseconds, service, what was asked for, and the link.
fn line(found: &Found) -> String {
    let s = &found.summary;
    let status = s.status.map_or("-".to_owned(), |status| status.to_string());
    let text = |text: &str| match text {
        "" => "-".to_owned(),
        _ => escaped(text.as_bytes()),
    };
    format!(
        "{:30} {status:3} {:7} {:>10.3} {:6} {:20} {} {}",
        text(&s.transaction_time),
        text(&s.method),
        s.duration_ns as f64 / 1e6,
        text(&s.role),
        text(&s.service_name),
        text(&format!("{}{}", s.authority, s.path)),
        text(found.url.as_deref().unwrap_or_default()),
    )
}

/// True: all could be read.
///
/// # Errors
/// As [`list`].
pub fn export(args: &ExportArgs, out: &mut Out) -> Result<bool, PayloadError> {
    let stores = Stores::load(args.places.config.as_deref())?;
    let fetch = Fetch::new()?;
    let mut walk = Walk::new(&fetch, &args.which)?;
    let mut documents = Documents::new(Opener::new(&fetch));
    if args.form.har {
        out.json(har::head().as_bytes())?;
    }
    let mut separator: &[u8] = b"\n";
    let mut write = |_: &Found, document: &Document, text: &[u8]| {
        if args.form.har {
            out.raw(separator)?;
            separator = b",\n";
            out.json(&json(&Entry::of(document))?)?;
        } else {
            out.json(text)?;
            out.raw(b"\n")?;
        }
        Ok(true)
    };
    let walked = walk.over(&stores, &args.places, &mut |found| {
        documents.push(found, &mut write)
    });
    let walked = walked.and_then(|()| documents.flush(&mut write).map(|_| ()));
    // What was written before an error is an archive all the same.
    if args.form.har && !matches!(walked, Err(PayloadError::Write(_))) {
        out.raw(format!("\n{}\n", har::TAIL).as_bytes())?;
    }
    out.flush()?;
    walked?;
    walk.tally.failed += documents.failed;
    walk.tell();
    Ok(walk.tally.failed == 0)
}

/// True: all could be read.
///
/// # Errors
/// As [`list`].
pub fn report(args: &ReportArgs, out: &mut Out) -> Result<bool, PayloadError> {
    let stores = Stores::load(args.places.config.as_deref())?;
    let fetch = Fetch::new()?;
    let mut walk = Walk::new(&fetch, &args.which)?;
    let mut report = Report::new(args.by.clone());
    let mut documents = Documents::new(Opener::new(&fetch));
    let needs_document = report.by().needs_document();
    let mut count = |found: &Found, document: &Document, _: &[u8]| {
        report.count(&found.summary, Some(document));
        Ok(true)
    };
    if needs_document {
        walk.over(&stores, &args.places, &mut |found| {
            documents.push(found, &mut count)
        })?;
        documents.flush(&mut count)?;
    } else {
        walk.over(&stores, &args.places, &mut |found| {
            report.count(&found.summary, None);
            Ok(true)
        })?;
    }
    walk.tally.failed += documents.failed;
    let (rows, others) = report.finish();
    match args.json {
        true => rows.iter().try_for_each(|row| {
            out.json(&json(row)?)?;
            out.raw(b"\n")
        })?,
        false => table(&rows, args.top, out)?,
    }
    out.flush()?;
    if others > 0 {
        eprintln!("warning: {others} transactions have other values than are counted here");
    }
    walk.tell();
    Ok(walk.tally.failed == 0)
}

fn table(rows: &[Row], top: usize, out: &mut Out) -> io::Result<()> {
    out.line(&format!(
        "{:>12} {:>8} {:>8} {:>8} {:>12} {:>12}  {:30} {:30} value",
        "transactions", "4xx", "5xx", "no resp.", "mean ms", "max ms", "first", "last"
    ))?;
    for row in rows.iter().take(top) {
        out.line(&format!(
            "{:>12} {:>8} {:>8} {:>8} {:>12.3} {:>12.3}  {:30} {:30} {}",
            row.transactions,
            row.client_errors,
            row.server_errors,
            row.unanswered,
            row.mean_ms,
            row.max_ms,
            escaped(row.first.as_bytes()),
            escaped(row.last.as_bytes()),
            row.value.as_deref().unwrap_or("-"),
        ))?;
    }
    if rows.len() > top {
        out.line(&format!("and {} rows more", rows.len() - top))?;
    }
    Ok(())
}
