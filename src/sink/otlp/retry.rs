//! What a destination's answer means, and when to ask again (OTLP specification, "Failures").

use super::client::chain;
use std::time::{Duration, SystemTime};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Taken, apart from `rejected` items. `message` says why, or warns.
    Accepted { rejected: u64, message: String },
    /// May work later; not before `after`, where given.
    Later {
        error: String,
        after: Option<Duration>,
    },
    /// Refused for good. `too_large`: in parts it may be taken.
    Refused { error: String, too_large: bool },
}

impl Reply {
    /// Refused for good, whatever its size.
    pub fn refused(error: String) -> Reply {
        let too_large = false;
        Reply::Refused { error, too_large }
    }
}

/// Waits between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Wait after the first failure; doubles each time.
    pub first: Duration,
    pub longest: Duration,
    /// From the first attempt; then the batch is lost, unless a spool has it: there its age decides.
    pub budget: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            budget: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// The wait after failure number `failures` (from 1), `jitter` from 0 to 1 moving it by a fifth either way.
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let wait = self.first.saturating_mul(1 << doublings).min(self.longest);
        wait.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }
}

/// A gRPC status that is not OK.
pub fn of_status(status: &Status) -> Reply {
    let error = format!("gRPC {:?}: {}", status.code(), status.message());
    let after = || {
        let info = status.get_details_retry_info()?;
        Some(info.retry_delay.unwrap_or_default())
    };
    if let Some(cause) = std::error::Error::source(status) {
        // Made on this side, from an error of the connection: the server said nothing.
        return Reply::Later {
            error: format!("no reply: {}", chain(cause)),
            after: None,
        };
    }
    if is_too_large(status) {
        let too_large = true;
        return Reply::Refused { error, too_large };
    }
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Reply::Later {
            error,
            after: after(),
        },
        // Without a hint the server says that it will never fit.
        Code::ResourceExhausted => match after() {
            Some(after) => Reply::Later {
                error,
                after: Some(after),
            },
            None => Reply::refused(error),
        },
        _ => Reply::refused(error),
    }
}

/// What servers say of a message beyond their limit, by their library: Go and C++ and Python and Node; Java; .NET; tonic,
/// whose code would otherwise have it sent again and again.
const TOO_LARGE: [(Code, &str); 4] = [
    (Code::ResourceExhausted, "larger than max"),
    (Code::ResourceExhausted, "exceeds maximum size"),
    (Code::ResourceExhausted, "exceeds the maximum"),
    (Code::OutOfRange, "message length too large"),
];

fn is_too_large(status: &Status) -> bool {
    TOO_LARGE
        .iter()
        .any(|(code, text)| status.code() == *code && status.message().contains(text))
}

/// An HTTP status that is not 2xx, with its `Retry-After`.
pub fn of_http(status: u16, retry_after: Option<&str>, text: &str, now: SystemTime) -> Reply {
    let text = text.trim();
    let colon = if text.is_empty() { "" } else { ": " };
    let error = format!("HTTP {status}{colon}{text}");
    match status {
        429 | 502 | 503 | 504 => Reply::Later {
            error,
            after: retry_after.and_then(|v| delay(v, now)),
        },
        413 => Reply::Refused {
            error,
            too_large: true,
        },
        // The receiver of the collector, by its own limit.
        400 => Reply::Refused {
            too_large: error.contains("request body too large"),
            error,
        },
        _ => Reply::refused(error),
    }
}

/// `Retry-After`: seconds or a date (RFC 9110 §10.2.3).
fn delay(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date that is past: now.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_with_a_fifth_of_jitter() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..=8).map(|n| policy.wait(n, 0.5).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(policy.wait(1, 0.0), Duration::from_millis(400));
        assert_eq!(policy.wait(u32::MAX, 1.0), Duration::from_secs(36));
    }

    #[test]
    fn grpc_codes_are_retried_by_the_table() {
        for code in 1..=16 {
            let later = matches!(
                of_status(&Status::new(code.into(), "")),
                Reply::Later { .. }
            );
            assert_eq!(later, [1, 4, 10, 11, 14, 15].contains(&code), "code {code}");
        }
    }

    #[test]
    fn http_statuses_are_retried_by_the_table() {
        for status in 300..600 {
            let reply = of_http(status, None, "", SystemTime::UNIX_EPOCH);
            let later = matches!(reply, Reply::Later { .. });
            assert_eq!(later, [429, 502, 503, 504].contains(&status), "{status}");
        }
    }

    #[test]
    fn a_message_beyond_the_limit_of_a_server_is_known_by_what_servers_say() {
        for (code, text, wanted) in [
            (
                8,
                "grpc: received message larger than max (5243140 vs. 4194304)",
                true,
            ),
            (
                8,
                "gRPC message exceeds maximum size 4194304: 5243140",
                true,
            ),
            (
                8,
                "Received message exceeds the maximum configured message size.",
                true,
            ),
            (8, "too many requests", false),
            (
                11,
                "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
                true,
            ),
            (13, "larger than max", false),
        ] {
            let reply = of_status(&Status::new(code.into(), text));
            let too_large = matches!(
                reply,
                Reply::Refused {
                    too_large: true,
                    ..
                }
            );
            assert_eq!(too_large, wanted, "{code} {text}");
        }
        for (status, text, wanted) in [
            (413, "", true),
            (400, "http: request body too large", true),
            (400, "bad", false),
        ] {
            let reply = of_http(status, None, text, SystemTime::UNIX_EPOCH);
            let too_large = matches!(
                reply,
                Reply::Refused {
                    too_large: true,
                    ..
                }
            );
            assert_eq!(too_large, wanted, "{status} {text}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let seconds = |text| delay(text, now).map(|d| d.as_secs());
        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(seconds("Sat, 06 Nov 1993 08:49:37 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-1"), None);
    }
}
