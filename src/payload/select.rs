//! Which transactions are asked for.

use super::document::Document;
use crate::sink::payload::segment::Entry;
use chrono::{DateTime, FixedOffset};
use globset::{GlobBuilder, GlobMatcher};
use std::time::Duration;

/// What is known of a transaction without its headers and bodies, from either layout.
pub type Summary = Entry;

impl From<&Document> for Summary {
    /// What the index of a segment would say, but for the service's namespace, which documents do not have; the bytes are
    /// the object's.
    fn from(document: &Document) -> Summary {
        let request = document.request.as_ref();
        let text = |part: fn(&super::Message) -> &String| request.map(part).cloned();
        Summary {
            bytes: String::new(),
            transaction_id: document.transaction_id.clone(),
            trace_id: document.trace_id.clone().unwrap_or_default(),
            span_id: document.span_id.clone().unwrap_or_default(),
            transaction_time: document.transaction_time.clone(),
            duration_ns: document.duration_ns(),
            role: document.connection.role.clone(),
            service_namespace: String::new(),
            service_name: document.metadata.service_name.clone(),
            method: text(|r| &r.method).unwrap_or_default(),
            authority: text(|r| &r.authority).unwrap_or_default(),
            path: text(|r| &r.path).unwrap_or_default(),
            status: document.response.as_ref().map(|r| r.status),
            level: document.level.clone(),
        }
    }
}

/// Conditions, all of which hold of what is asked for.
#[derive(Debug, Default)]
pub struct Select {
    /// `name` or `namespace/name`.
    pub service: Option<String>,
    /// Of the transaction's start, both included.
    pub since: Option<DateTime<FixedOffset>>,
    pub until: Option<DateTime<FixedOffset>>,
    /// One of these; empty: any.
    pub status: Vec<Status>,
    pub method: Option<String>,
    pub host: Option<GlobMatcher>,
    pub path: Option<GlobMatcher>,
    pub role: Option<String>,
    pub level: Option<String>,
    pub trace: Option<String>,
    pub min_duration: Option<Duration>,
}

/// A pattern that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is no pattern: {source}")]
pub struct SelectError {
    pattern: String,
    source: globset::Error,
}

impl Select {
    /// Patterns of host and path: `*` is anything, also none and `/`.
    ///
    /// # Errors
    /// When one is no pattern.
    pub fn patterns(mut self, host: Option<&str>, path: Option<&str>) -> Result<Self, SelectError> {
        self.host = host.map(pattern).transpose()?;
        self.path = path.map(pattern).transpose()?;
        Ok(self)
    }

    pub fn takes(&self, summary: &Summary) -> bool {
        let same = |want: &Option<String>, is: &str| {
            want.as_ref()
                .is_none_or(|want| want.eq_ignore_ascii_case(is))
        };
        let fits = |want: &Option<GlobMatcher>, is: &str| {
            want.as_ref().is_none_or(|pattern| pattern.is_match(is))
        };
        let slow = |least: Duration| u128::from(summary.duration_ns) >= least.as_nanos();
        let status = self.status.is_empty() || self.status.iter().any(|s| s.takes(summary.status));
        status
            && self
                .service
                .as_ref()
                .is_none_or(|want| *want == summary.service_name || *want == service(summary))
            && same(&self.method, &summary.method)
            && same(&self.role, &summary.role)
            && same(&self.level, &summary.level)
            && same(&self.trace, &summary.trace_id)
            && fits(&self.host, &summary.authority)
            && fits(&self.path, &summary.path)
            && self.min_duration.is_none_or(slow)
            && self.in_time(summary)
    }

    /// A transaction whose time cannot be read is at no time that is asked for.
    fn in_time(&self, summary: &Summary) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Ok(time) = DateTime::parse_from_rfc3339(&summary.transaction_time) else {
            return false;
        };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

/// `namespace/name`, or the name alone where there is no namespace.
pub(super) fn service(summary: &Summary) -> String {
    match summary.service_namespace.as_str() {
        "" => summary.service_name.clone(),
        namespace => format!("{namespace}/{}", summary.service_name),
    }
}

fn pattern(text: &str) -> Result<GlobMatcher, SelectError> {
    let glob = GlobBuilder::new(text).case_insensitive(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|source| SelectError {
            pattern: text.to_owned(),
            source,
        })
}

/// Status codes that are asked for: `404`, `5xx`, `400-499`, or `none`, where no response was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(Option<(u16, u16)>);

impl Status {
    fn takes(self, status: Option<u16>) -> bool {
        match (self.0, status) {
            (Some((first, last)), Some(status)) => (first..=last).contains(&status),
            (None, None) => true,
            _ => false,
        }
    }
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Status(None));
        }
        let code = |text: &str| text.parse::<u16>().ok().filter(|c| (100..1000).contains(c));
        let class = text
            .strip_suffix("xx")
            .and_then(|class| Some((code(&format!("{class}00"))?, code(&format!("{class}99"))?)));
        let range = || {
            let (first, last) = text.split_once('-')?;
            Some((code(first)?, code(last)?)).filter(|(first, last)| first <= last)
        };
        class
            .or_else(|| code(text).map(|code| (code, code)))
            .or_else(range)
            .map(|range| Status(Some(range)))
            .ok_or_else(|| "write 404, 5xx, 400-499, or none where no response was seen".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            transaction_time: "2026-11-23T10:00:00.5Z".into(),
            duration_ns: 2_000_000,
            role: "server".into(),
            service_namespace: "prod".into(),
            service_name: "shop".into(),
            method: "GET".into(),
            authority: "shop.example:8080".into(),
            path: "/users/7/orders".into(),
            status: Some(503),
            level: "full".into(),
            trace_id: "ab".into(),
            ..Summary::default()
        }
    }

    fn takes(select: Select) -> bool {
        select.takes(&summary())
    }

    fn time(text: &str) -> Option<DateTime<FixedOffset>> {
        Some(DateTime::parse_from_rfc3339(text).expect("a time"))
    }

    #[test]
    fn each_condition_alone_takes_or_leaves() {
        assert!(takes(Select::default()));
        let service = |name: &str| {
            takes(Select {
                service: Some(name.into()),
                ..Select::default()
            })
        };
        assert!(service("shop") && service("prod/shop") && !service("prod"));
        let status = |text: &str| {
            takes(Select {
                status: vec![text.parse().expect("a status")],
                ..Select::default()
            })
        };
        assert!(status("503") && status("5xx") && status("500-599"));
        assert!(!status("404") && !status("none") && !status("4xx"));
        let since = |text| {
            takes(Select {
                since: time(text),
                ..Select::default()
            })
        };
        assert!(since("2026-11-23T10:00:00Z") && !since("2026-11-23T10:00:01Z"));
        let until = |text| {
            takes(Select {
                until: time(text),
                ..Select::default()
            })
        };
        assert!(!until("2026-11-23T10:00:00Z") && until("2026-11-23T11:00:01+01:00"));
        let path = |text| {
            takes(
                Select::default()
                    .patterns(None, Some(text))
                    .expect("a pattern"),
            )
        };
        assert!(path("/users/*") && path("*/orders") && !path("/users") && !path("/items/*"));
        let host = |text| {
            takes(
                Select::default()
                    .patterns(Some(text), None)
                    .expect("a pattern"),
            )
        };
        assert!(host("SHOP.example:*") && !host("shop.example"));
        let least = |ns| {
            takes(Select {
                min_duration: Some(Duration::from_nanos(ns)),
                ..Select::default()
            })
        };
        assert!(least(2_000_000) && !least(2_000_001));
        assert!(takes(Select {
            method: Some("get".into()),
            role: Some("server".into()),
            level: Some("full".into()),
            trace: Some("AB".into()),
            ..Select::default()
        }));
        assert!(!takes(Select {
            role: Some("client".into()),
            ..Select::default()
        }));
        Select::default()
            .patterns(Some("["), None)
            .expect_err("no pattern");
    }

    #[test]
    fn what_is_no_status_is_an_error_and_no_response_has_a_word() {
        for text in [
            "", "xx", "99", "1000", "-1", "5xxx", "499-400", "abc", "0xx",
        ] {
            text.parse::<Status>().expect_err(text);
        }
        let none: Status = "none".parse().expect("a status");
        assert!(none.takes(None) && !none.takes(Some(200)));
    }
}
