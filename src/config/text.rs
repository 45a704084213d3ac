//! Values that are written as text: durations, sizes, names, patterns.

use super::model::{Rate, Ratio};
use super::problem::quote;
use std::time::Duration;

/// Reads `250ms`, `10s`, `5m`, `2h`, `7d`. The error says what is wrong and what to write.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text, "a time", "`10s`, `250ms`, `5m`")?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("a unit is missing: `{number}s` or `{number}ms`")),
        _ => return Err("units are ms, s, m, h, d".to_owned()),
    };
    number
        .checked_mul(factor)
        .map(Duration::from_millis)
        .ok_or_else(|| "too long".to_owned())
}

/// Reads `512B`, `64KiB`, `16MiB`, `1GiB`, `1MB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text, "a size", "`16MiB`, `64KiB`, `1GiB`")?;
    let factor: u64 = match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "" => return Err(format!("a unit is missing: `{number}B`")),
        _ => return Err("units are B, KiB, MiB, GiB, TiB, kB, MB, GB".to_owned()),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| "too large".to_owned())
}

fn split<'a>(text: &'a str, what: &str, such_as: &str) -> Result<(u64, &'a str), String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = digits
        .parse()
        .map_err(|_| format!("write {what} such as {such_as}"))?;
    Ok((number, unit.trim_start()))
}

/// Reads a share: a number from 0 to 1.
pub(super) fn share(text: &str) -> Result<Ratio, String> {
    text.parse()
        .ok()
        .and_then(Ratio::new)
        .ok_or_else(|| format!("must be a number from 0 to 1, not {}", quote(text)))
}

/// Reads a number of cores, in thousandths; `off` is no bound.
pub(super) fn cores(text: &str) -> Result<Option<u32>, String> {
    if text == "off" {
        return Ok(None);
    }
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|cores| (0.01..=1024.0).contains(cores))
        .map(|cores| Some((cores * 1000.0).round() as u32))
        .ok_or_else(|| {
            format!(
                "must be a number of cores from 0.01 to 1024 such as `0.5`, or `off`, not {}",
                quote(text)
            )
        })
}

pub(super) fn is_cores(text: &str) -> Result<(), String> {
    cores(text).map(|_| ())
}

/// Reads `100/s`, `600/m`, `10/h`; `0` is no bound.
pub(super) fn rate(text: &str) -> Result<Option<Rate>, String> {
    if text == "0" {
        return Ok(None);
    }
    let wrong = || {
        format!(
            "must be a number for each second, minute or hour such as `100/s`, `600/m`, `10/h`, or 0 for no bound, not {}",
            quote(text)
        )
    };
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    match count.trim().parse() {
        Ok(count @ 1..) => Ok(Some(Rate {
            count,
            period: Duration::from_secs(seconds),
        })),
        _ => Err(wrong()),
    }
}

pub(super) fn is_share(text: &str) -> Result<(), String> {
    share(text).map(drop)
}

pub(super) fn is_rate(text: &str) -> Result<(), String> {
    rate(text).map(drop)
}

/// The shortest exact way to write a duration.
pub(super) fn show_duration(value: Duration) -> String {
    let ms = value.as_millis();
    [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ]
    .iter()
    .find(|(factor, _)| ms > 0 && ms.is_multiple_of(*factor))
    .map_or_else(
        || format!("{ms}ms"),
        |(factor, unit)| format!("{}{unit}", ms / factor),
    )
}

/// The shortest exact way to write a size.
pub(super) fn show_size(bytes: u64) -> String {
    [
        (1u64 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ]
    .iter()
    .find(|(factor, _)| bytes > 0 && bytes.is_multiple_of(*factor))
    .map_or_else(
        || format!("{bytes}B"),
        |(factor, unit)| format!("{}{unit}", bytes / factor),
    )
}

pub(super) fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(())
    }
}

/// A path from the root.
pub(super) fn absolute(text: &str) -> Result<(), String> {
    match text.starts_with('/') {
        true => Ok(()),
        false => Err("must begin with `/`".to_owned()),
    }
}

/// A path from the root, or the word that stands for no file.
pub(super) fn absolute_or_off(text: &str) -> Result<(), String> {
    match text {
        "off" => Ok(()),
        path => absolute(path).map_err(|_| "must begin with `/`, or be `off`".to_owned()),
    }
}

/// Names of stores stand in ledger and metrics, as in `collector/traces`.
pub(super) fn identifier(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
        return Err("must be 1 to 64 letters, digits, `-`, `_`, `.`".to_owned());
    }
    Ok(())
}

/// An address, or a network as `address/bits`.
pub(super) fn network(text: &str) -> Result<(), String> {
    match crate::rules::expr::Net::parse(text) {
        Some(_) => Ok(()),
        None => Err("must be a network, as `100.64.0.0/10` or `2001:db8::/32`".to_owned()),
    }
}

/// A host name or an address; `*.` in front means every name below.
pub(super) fn domain(text: &str) -> Result<(), String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(plain);
    let address = name.parse::<std::net::IpAddr>().is_ok();
    if address || (name.len() <= 253 && name.split('.').all(label)) {
        return Ok(());
    }
    Err("must be a host name, as `api.example.com` or `*.example.com`".to_owned())
}

/// A field name (RFC 9110 §5.1).
pub(super) fn header_name(text: &str) -> Result<(), String> {
    match token(text) {
        true => Ok(()),
        false => Err("must be the name of a header, as `x-tenant`".to_owned()),
    }
}

/// A method (RFC 9110 §9.1).
pub(super) fn method_name(text: &str) -> Result<(), String> {
    match token(text) {
        true => Ok(()),
        false => Err("must be a method, as `PROPFIND`".to_owned()),
    }
}

/// RFC 9110 §5.6.2, 128 bytes at the most.
fn token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= 128 && text.bytes().all(fits)
}

/// What the conventions, or those who read metrics, have names for.
const TAKEN: [&str; 10] = [
    "error.", "http.", "job", "le", "network.", "otel.", "quantile", "server.", "service.", "url.",
];

/// A name of an attribute that is nobody's yet, with dots or as Prometheus has it.
pub(super) fn metric_attribute(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins || text.len() > 64 || !text.chars().all(fits) {
        return Err("must be a letter, and letters, digits, `.`, `_`, `-`, 64 at the most".into());
    }
    let shown = text.to_ascii_lowercase().replace(['.', '-'], "_");
    let taken = TAKEN.iter().find(|taken| match taken.strip_suffix('.') {
        Some(space) => shown == space || shown.starts_with(&format!("{space}_")),
        None => shown == **taken,
    });
    match taken {
        Some(_) => Err("is a name that metrics have already; take one of your own".to_owned()),
        None => Ok(()),
    }
}

pub(super) fn glob(text: &str) -> Result<(), String> {
    not_empty(text)?;
    globset::Glob::new(text)
        .map(|_| ())
        .map_err(|e| format!("is not a pattern: {}", e.kind()))
}

pub(super) fn regex(text: &str) -> Result<(), String> {
    not_empty(text)?;
    match regex::Regex::new(text) {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(limit)) => {
            Err(format!("is a regular expression over {limit} bytes"))
        }
        Err(error) => {
            let shown = error.to_string();
            let last = shown
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            Err(format!("is not a regular expression: {last}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert!(duration("10").is_err_and(|e| e.contains("`10s`")));
        assert!(duration("fast").is_err() && duration("-1s").is_err() && duration("1.5s").is_err());
        assert_eq!(
            duration("18446744073709551615d"),
            Err("too long".to_owned())
        );
    }

    #[test]
    fn sizes_have_units_of_1000_or_1024() {
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert_eq!(size("64 KiB"), Ok(65536));
        assert!(size("16").is_err_and(|e| e.contains("`16B`")));
        assert_eq!(size("18446744073709551615GiB"), Err("too large".to_owned()));
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for ms in [1, 250, 1000, 1500, 60_000, 3_600_000, 86_400_000] {
            assert_eq!(
                duration(&show_duration(Duration::from_millis(ms))),
                Ok(Duration::from_millis(ms))
            );
        }
        for bytes in [0, 1, 1000, 1024, 1 << 20, (1 << 20) + 1, 1 << 40] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn patterns_are_tried_before_they_are_used() {
        assert!(glob("x-*").is_ok() && glob("[a").is_err());
        assert!(regex("^/usr/.*$").is_ok());
        assert!(
            regex("(").is_err_and(|e| e.contains("unclosed group")),
            "{:?}",
            regex("(")
        );
        assert!(
            identifier("s3-main_1.x").is_ok()
                && identifier("a/b").is_err()
                && identifier("").is_err()
        );
    }
}
