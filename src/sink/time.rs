//! Wall-clock times as RFC 3339 text.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time in UTC with nanoseconds: `2026-01-01T00:00:00.000000000Z`. Before 1970 it is 1970.
pub(super) struct Rfc3339(pub SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = seconds(f, self.0)?;
        write!(f, ".{:09}Z", since.subsec_nanos())
    }
}

/// A time in UTC with milliseconds, cut: `2026-01-01T00:00:00.000Z`. Before 1970 it is 1970.
pub(super) struct Rfc3339Millis(pub SystemTime);

impl fmt::Display for Rfc3339Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = seconds(f, self.0)?;
        write!(f, ".{:03}Z", since.subsec_millis())
    }
}

/// Writes the time up to its seconds. Leaves: what it is since 1970.
fn seconds(f: &mut fmt::Formatter<'_>, time: SystemTime) -> Result<Duration, fmt::Error> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    write!(
        f,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    )?;
    Ok(since)
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// Years begin in March, so that the leap day is the last of its year, and 400 years have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, 1, "2000-02-28T23:59:59.000000001Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_199, 999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (1_735_689_600, 0, "2025-01-01T00:00:00.000000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::new(seconds, nanos);
            assert_eq!(Rfc3339(time).to_string(), text);
            let millis = format!("{}Z", &text[..23]);
            assert_eq!(Rfc3339Millis(time).to_string(), millis);
        }
    }

    #[test]
    fn days_follow_each_other_for_500_years() {
        let mut before = civil(0);
        for day in 1..182_621 {
            let now = civil(day);
            assert!(now > before, "{before:?} then {now:?}");
            assert!(now.2 == before.2 + 1 || now.2 == 1);
            before = now;
        }
    }
}
