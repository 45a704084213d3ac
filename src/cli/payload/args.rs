//! The command line of `plainspan payload`.

use crate::payload::report::By;
use crate::payload::{Link, Select, SelectError, Status};
use chrono::{DateTime, FixedOffset, Utc};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Subcommand)]
pub enum PayloadCommand {
    Get(GetArgs),
    List(ListArgs),
    Export(ExportArgs),
    Report(ReportArgs),
}

/// Shows what a payload link names
///
/// On a terminal as text, else as JSON. A link file:// is read as it is; any other needs the configuration that the agent
/// runs with: credentials go only to a store of it, and only for links that are this store's own. A link with
/// #bytes=FIRST-LAST is one ranged read; two where the body is one that an earlier document has.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  plainspan payload get file:///var/lib/plainspan/payloads/…ndjson.zst#bytes=0-1893\n  \
    plainspan payload get -c plainspan.yaml https://s3.example.com/traffic/…#bytes=18240-19133 --body response > body\n  \
    plainspan payload get -c plainspan.yaml URL --curl | sh"
)]
pub struct GetArgs {
    /// `plainspan.payload.url` of a span or log record
    #[arg(value_name = "URL")]
    pub url: Link,
    /// Configuration whose object stores the link may belong to
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What the document's SHA-256 must be: `plainspan.payload.digest`. Checked by itself where the link has it
    #[arg(long, value_name = "HEX", value_parser = digest)]
    pub digest: Option<String>,
    #[command(flatten)]
    pub form: GetForm,
}

#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub struct GetForm {
    /// The document, with its bodies in it
    #[arg(long)]
    pub json: bool,
    /// A HAR 1.2 archive with one entry: for browsers' developer tools, Playwright, k6
    #[arg(long)]
    pub har: bool,
    /// A line for a POSIX shell that sends the request again with curl; what is not as it was goes to stderr
    #[arg(long)]
    pub curl: bool,
    /// A body alone, without its content codings, byte for byte
    #[arg(long, value_enum, value_name = "MESSAGE")]
    pub body: Option<Side>,
    /// Start lines and headers alone
    #[arg(long)]
    pub headers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Side {
    Request,
    Response,
}

/// Lists transactions that a store holds
///
/// Of segments only the indices are read. Layout object has no index: there each object is read whole, which is said.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  plainspan payload list -c plainspan.yaml --since 1h --status 5xx\n  \
    plainspan payload list file:///var/lib/plainspan/payloads/ --service shop --path '/users/*'\n  \
    plainspan payload list -c plainspan.yaml --json | jq -r .url"
)]
pub struct ListArgs {
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub which: Which,
    /// A JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Writes many transactions in one archive, as they are read
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  plainspan payload export --har -c plainspan.yaml --since 15m > traffic.har\n  \
    plainspan payload export --har file:///var/lib/plainspan/payloads/ --trace 0af7651916cd43dd8448eb211c80319c\n  \
    plainspan payload export --json -c plainspan.yaml --service shop | jq .request.url"
)]
pub struct ExportArgs {
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub form: ExportForm,
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct ExportForm {
    /// HAR 1.2
    #[arg(long)]
    pub har: bool,
    /// A document a line, with its bodies in it
    #[arg(long)]
    pub json: bool,
}

/// Counts transactions by service, endpoint, or the value of a header
///
/// By a header the documents are read, else as `payload list` does.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  plainspan payload report --by x-user -c plainspan.yaml --since 1d\n  \
    plainspan payload report --by endpoint file:///var/lib/plainspan/payloads/ --top 20\n  \
    plainspan payload report --by response:server -c plainspan.yaml --json"
)]
pub struct ReportArgs {
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub which: Which,
    /// service, endpoint, host, method, status, or the name of a header; response:NAME for a header of the response
    #[arg(long, value_name = "KEY")]
    pub by: By,
    /// Rows at the most, the largest first
    #[arg(long, value_name = "ROWS", default_value_t = 50)]
    pub top: usize,
    /// A JSON object a line, all rows
    #[arg(long)]
    pub json: bool,
}

/// Where to look.
#[derive(Debug, Clone, Args)]
pub struct Places {
    /// Links, objects, segments, folders (`…/`); none: a store of the configuration
    #[arg(value_name = "URL")]
    pub urls: Vec<Link>,
    /// Configuration whose object stores are looked at
    #[arg(short, long, value_name = "FILE", required_unless_present = "urls")]
    pub config: Option<PathBuf>,
    /// The store to look at; the first one otherwise
    #[arg(long, value_name = "ID", requires = "config", conflicts_with = "urls")]
    pub store: Option<String>,
}

/// Which transactions.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Of this service: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Begun at or after this time: RFC 3339, or how long ago (15m, 2h, 1d)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<DateTime<FixedOffset>>,
    /// Begun at or before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<DateTime<FixedOffset>>,
    /// With one of these: 404, 5xx, 400-499, none where no response was seen
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub status: Vec<Status>,
    /// With this method
    #[arg(long)]
    pub method: Option<String>,
    /// A pattern: `*` is anything
    #[arg(long, value_name = "PATTERN")]
    pub host: Option<String>,
    /// A pattern: `*` is anything, `/` too
    #[arg(long, value_name = "PATTERN")]
    pub path: Option<String>,
    /// Seen at this end
    #[arg(long, value_name = "END", value_parser = ["client", "server"])]
    pub role: Option<String>,
    /// Kept at this level
    #[arg(long, value_parser = ["summary", "headers", "full"])]
    pub level: Option<String>,
    /// Of this trace
    #[arg(long, value_name = "TRACE_ID")]
    pub trace: Option<String>,
    /// That took this long or longer (250ms, 2s)
    #[arg(long, value_name = "TIME", value_parser = crate::config::duration)]
    pub min_duration: Option<Duration>,
    /// Transactions at the most
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
}

impl Which {
    /// # Errors
    /// When a pattern is none.
    pub fn select(&self) -> Result<Select, SelectError> {
        Select {
            service: self.service.clone(),
            since: self.since,
            until: self.until,
            status: self.status.clone(),
            method: self.method.clone(),
            role: self.role.clone(),
            level: self.level.clone(),
            trace: self.trace.clone(),
            min_duration: self.min_duration,
            ..Select::default()
        }
        .patterns(self.host.as_deref(), self.path.as_deref())
    }
}

fn digest(text: &str) -> Result<String, String> {
    let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| text.to_ascii_lowercase())
        .ok_or_else(|| "a SHA-256 has 64 hex digits".to_owned())
}

fn time(text: &str) -> Result<DateTime<FixedOffset>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time);
    }
    let ago = crate::config::duration(text)
        .map_err(|_| "write 2026-11-23T10:00:00Z, or how long ago: 15m, 2h, 1d".to_owned())?;
    let ago = chrono::TimeDelta::from_std(ago).map_err(|e| e.to_string())?;
    Utc::now()
        .checked_sub_signed(ago)
        .map(|time| time.fixed_offset())
        .ok_or_else(|| "that is too long ago".to_owned())
}
