//! Transactions counted by a key: a service, an endpoint, the value of a header.

use super::document::Document;
use super::escape::escaped;
use super::select::{Summary, service};
use serde::Serialize;
use std::collections::HashMap;

/// Values of a key that are counted each for itself; what comes beyond is counted as one.
const MAX_ROWS: usize = 100_000;
/// Longer values are cut, in bytes.
const MAX_VALUE: usize = 1024;

/// What transactions are counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    Service,
    /// Method, host and path.
    Endpoint,
    Host,
    Method,
    Status,
    /// The first value of a header of the request.
    RequestHeader(String),
    /// The first value of a header of the response.
    ResponseHeader(String),
}

impl std::str::FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let header = |name: &str| {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            let fits = !name.is_empty() && name.bytes().all(token);
            fits.then(|| name.to_ascii_lowercase()).ok_or_else(|| {
                "write service, endpoint, host, method, status, or the name of a header; response:NAME for one of the response"
                    .to_owned()
            })
        };
        Ok(match text {
            "service" => By::Service,
            "endpoint" => By::Endpoint,
            "host" => By::Host,
            "method" => By::Method,
            "status" => By::Status,
            _ => match text.split_once(':') {
                Some(("response", name)) => By::ResponseHeader(header(name)?),
                Some(("request", name)) => By::RequestHeader(header(name)?),
                _ => By::RequestHeader(header(text)?),
            },
        })
    }
}

impl By {
    /// Documents have to be read: the index does not say it.
    pub fn needs_document(&self) -> bool {
        matches!(self, By::RequestHeader(_) | By::ResponseHeader(_))
    }

    /// The value of a transaction, in bytes of UTF-8 or any others. None: it has none.
    fn value(&self, summary: &Summary, document: Option<&Document>) -> Option<Vec<u8>> {
        let text = |text: String| (!text.is_empty()).then(|| text.into_bytes());
        let request = document.and_then(|d| d.request.as_ref());
        let response = document.and_then(|d| d.response.as_ref());
        match self {
            By::Service => text(service(summary)),
            By::Endpoint => text(format!(
                "{} {}{}",
                summary.method, summary.authority, summary.path
            )),
            By::Host => text(summary.authority.clone()),
            By::Method => text(summary.method.clone()),
            By::Status => summary.status.map(|status| status.to_string().into_bytes()),
            By::RequestHeader(name) => request?.values(name).next().map(<[u8]>::to_vec),
            By::ResponseHeader(name) => response?.values(name).next().map(<[u8]>::to_vec),
        }
    }
}

/// Numbers of one value.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// None: these transactions have no value.
    pub value: Option<String>,
    pub transactions: u64,
    /// With a status of 400 to 499.
    pub client_errors: u64,
    /// With a status from 500 on.
    pub server_errors: u64,
    /// Without a response.
    pub unanswered: u64,
    /// Milliseconds.
    pub mean_ms: f64,
    pub max_ms: f64,
    /// Start of the first and of the last one.
    pub first: String,
    pub last: String,
    #[serde(skip)]
    total_ns: u128,
}

impl Row {
    fn count(&mut self, summary: &Summary) {
        self.transactions += 1;
        match summary.status {
            Some(400..500) => self.client_errors += 1,
            Some(500..) => self.server_errors += 1,
            Some(_) => {}
            None => self.unanswered += 1,
        }
        self.total_ns += u128::from(summary.duration_ns);
        self.max_ms = self.max_ms.max(summary.duration_ns as f64 / 1e6);
        let time = &summary.transaction_time;
        if self.first.is_empty() || *time < self.first {
            self.first.clone_from(time);
        }
        if *time > self.last {
            self.last.clone_from(time);
        }
    }

    fn finish(mut self) -> Row {
        self.mean_ms = self.total_ns as f64 / 1e6 / self.transactions.max(1) as f64;
        self
    }
}

/// A report that is being made. Memory: a row for each of [`MAX_ROWS`] values at the most.
pub struct Report {
    by: By,
    rows: HashMap<Option<Vec<u8>>, Row>,
    /// Of all values that there was no room for.
    others: Row,
}

impl Report {
    pub fn new(by: By) -> Report {
        Report {
            by,
            rows: HashMap::new(),
            others: Row::default(),
        }
    }

    pub fn by(&self) -> &By {
        &self.by
    }

    /// Counts a transaction; its document is there where [`By::needs_document`] wants it.
    pub fn count(&mut self, summary: &Summary, document: Option<&Document>) {
        let mut value = self.by.value(summary, document);
        if let Some(value) = &mut value {
            value.truncate(MAX_VALUE);
        }
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&value) {
            return self.others.count(summary);
        }
        let row = self.rows.entry(value).or_insert_with_key(|value| Row {
            value: value.as_deref().map(escaped),
            ..Row::default()
        });
        row.count(summary);
    }

    /// Rows, the largest first; and transactions with values beyond those that are counted each for itself.
    pub fn finish(self) -> (Vec<Row>, u64) {
        let mut rows: Vec<Row> = self.rows.into_values().map(Row::finish).collect();
        rows.sort_by(|a, b| {
            let count = b.transactions.cmp(&a.transactions);
            count.then_with(|| a.value.cmp(&b.value))
        });
        (rows, self.others.transactions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(service: &str, status: Option<u16>, ms: u64) -> Summary {
        Summary {
            service_name: service.into(),
            method: "GET".into(),
            authority: "a".into(),
            path: "/x".into(),
            status,
            duration_ns: ms * 1_000_000,
            transaction_time: format!("2026-11-23T10:00:0{}Z", ms % 10),
            ..Summary::default()
        }
    }

    #[test]
    fn rows_have_their_numbers_and_the_largest_is_first() {
        let mut report = Report::new(By::Service);
        for (service, status, ms) in [
            ("b", Some(200), 4),
            ("a", Some(404), 1),
            ("b", Some(503), 2),
            ("b", None, 3),
            ("", Some(200), 1),
        ] {
            report.count(&summary(service, status, ms), None);
        }
        let (rows, others) = report.finish();
        let names: Vec<_> = rows.iter().map(|row| row.value.as_deref()).collect();
        assert_eq!((names, others), (vec![Some("b"), None, Some("a")], 0));
        let row = &rows[0];
        assert_eq!(
            (
                row.transactions,
                row.client_errors,
                row.server_errors,
                row.unanswered
            ),
            (3, 0, 1, 1)
        );
        assert_eq!((row.mean_ms, row.max_ms), (3.0, 4.0));
        assert_eq!(
            (&*row.first, &*row.last),
            ("2026-11-23T10:00:02Z", "2026-11-23T10:00:04Z")
        );
        assert_eq!(rows[2].client_errors, 1);
    }

    #[test]
    fn headers_are_counted_by_their_first_value_and_shown_without_control_bytes() {
        let document = Document::read(
            br#"{"request": {"header_list": [["X-User", "eve\u001b[0m"], ["x-user", "bob"]]},
                 "response": {"header_list": [["Server", "nginx"]]}}"#,
        )
        .expect("a document");
        for (by, want) in [
            ("x-user", Some("eve\\u{1b}[0m")),
            ("request:x-user", Some("eve\\u{1b}[0m")),
            ("response:server", Some("nginx")),
            ("x-other", None),
        ] {
            let by: By = by.parse().expect("a key");
            assert!(by.needs_document());
            let mut report = Report::new(by);
            report.count(&summary("a", None, 1), Some(&document));
            assert_eq!(report.finish().0[0].value.as_deref(), want);
        }
    }

    #[test]
    fn values_without_end_take_no_memory_without_end() {
        let mut report = Report::new(By::Endpoint);
        for n in 0..MAX_ROWS + 10 {
            let mut summary = summary("a", None, 1);
            summary.path = format!("/{n}");
            report.count(&summary, None);
        }
        let mut known = summary("a", None, 1);
        known.path = "/0".into();
        report.count(&known, None);
        let (rows, others) = report.finish();
        assert_eq!(
            (rows.len(), others, rows[0].transactions),
            (MAX_ROWS, 10, 2)
        );
    }

    #[test]
    fn what_is_no_key_is_an_error() {
        for text in ["", "x user", "response:", "a:b"] {
            text.parse::<By>().expect_err(text);
        }
        assert_eq!("X-User".parse(), Ok(By::RequestHeader("x-user".into())));
        assert!(!By::Endpoint.needs_document());
    }
}
