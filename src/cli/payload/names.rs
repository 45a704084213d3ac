//! What names of objects, and entries of indices, say by themselves.

use crate::payload::digest_of;
use crate::sink::payload::segment::SUFFIX;
use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeDelta, Utc};

/// A segment is open for an hour at the most, and a queue and clocks take some minutes more.
const OPEN: TimeDelta = TimeDelta::minutes(75);
/// Clocks of store and agent differ by no more, or S3 would refuse the put.
const SKEW: TimeDelta = TimeDelta::minutes(15);

/// It is a payload object, and may hold something of `since` or later.
pub fn wanted(since: Option<DateTime<FixedOffset>>, name: &str, modified: DateTime<Utc>) -> bool {
    if !name.ends_with(SUFFIX) && digest_of(name).is_none() {
        return false;
    }
    let (time, slack) = match opened(name) {
        Some(time) => (time, OPEN),
        None => (modified, SKEW),
    };
    let last = time.checked_add_signed(slack);
    since.is_none_or(|since| last.is_none_or(|last| last >= since))
}

/// When a segment of this name was opened.
fn opened(key: &str) -> Option<DateTime<Utc>> {
    let name = key.rsplit('/').next()?.strip_suffix(SUFFIX)?;
    let (time, _) = name.split_once('-')?;
    let (second, millis) = time.strip_suffix('Z')?.split_at_checked(15)?;
    millis.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    let time = NaiveDateTime::parse_from_str(second, "%Y%m%dT%H%M%S").ok()?;
    Some(time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_name_says_when_it_was_opened() {
        let time = |name: &str| opened(name).map(|time| time.to_rfc3339());
        assert_eq!(
            time("p/20261123T034512123Z-9f3c52d1a07be446.ndjson.zst").as_deref(),
            Some("2026-11-23T03:45:12+00:00")
        );
        for other in [
            "x.ndjson.zst",
            "20261123T034512.ndjson.zst",
            "20261123T0345é2123Z-a.ndjson.zst",
        ] {
            assert_eq!(time(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_surely_older_is_not_wanted() {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time");
        let segment = "p/20261123T034512123Z-9f3c52d1a07be446.ndjson.zst";
        let object = "ab".repeat(32);
        let modified = time("2026-11-23T03:45:12Z").to_utc();
        for (since, segment_wanted, object_wanted) in [
            ("2026-11-23T03:45:12Z", true, true),
            ("2026-11-23T04:15:00Z", true, false),
            ("2026-11-23T05:30:00Z", false, false),
        ] {
            let since = Some(time(since));
            // A copy may be younger than its name.
            assert_eq!(
                wanted(since, segment, DateTime::<Utc>::MAX_UTC),
                segment_wanted
            );
            assert_eq!(wanted(since, &object, modified), object_wanted);
        }
        assert!(wanted(None, segment, modified) && wanted(None, &object, modified));
        assert!(!wanted(None, "notes.txt", modified));
    }
}
