//! The member `ot` of `tracestate`: threshold and randomness of consistent probability sampling (OpenTelemetry
//! specification, "Tracestate: probability sampling").

use crate::transaction::TRACESTATE_MEMBERS;
use std::fmt::Write;

/// Thresholds and random values have 56 bits.
pub const BITS: u32 = 56;
const DIGITS: usize = BITS as usize / 4;

/// What `ot` says of sampling. What is not valid is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ot {
    /// `th`: random values below it were left out; below 2^56.
    pub threshold: Option<u64>,
    /// `rv`: takes the place of the trace id's randomness; below 2^56.
    pub random: Option<u64>,
}

/// Reads the first member `ot`.
pub fn read(tracestate: &str) -> Ot {
    let mut found = Ot::default();
    for (key, value) in entries(member(tracestate).unwrap_or_default()) {
        match key {
            "th" => found.threshold = threshold(value),
            "rv" if value.len() == DIGITS => found.random = hex(value),
            _ => {}
        }
    }
    found
}

/// The trace state with this threshold, or with none; all else stays. A member that changes comes first.
pub fn with_threshold(tracestate: &str, threshold: Option<u64>) -> String {
    let digits = threshold.map(show);
    let mut ot = String::new();
    let others = entries(member(tracestate).unwrap_or_default()).filter(|(key, _)| *key != "th");
    let own = digits.as_deref().map(|digits| ("th", digits));
    for (key, value) in own.into_iter().chain(others) {
        let separator = if ot.is_empty() { "ot=" } else { ";" };
        write!(ot, "{separator}{key}:{value}").expect("a String takes any text");
    }
    let rest = members(tracestate).filter(|member| !member.starts_with("ot="));
    let all = Some(ot.as_str()).filter(|ot| !ot.is_empty());
    all.into_iter()
        .chain(rest)
        .take(TRACESTATE_MEMBERS)
        .collect::<Vec<_>>()
        .join(",")
}

/// Nothing but the threshold: what may be said of a trace state that has to be masked.
pub fn threshold_alone(tracestate: &str) -> String {
    with_threshold("", read(tracestate).threshold)
}

fn members(tracestate: &str) -> impl Iterator<Item = &str> {
    tracestate
        .split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty())
}

fn member(tracestate: &str) -> Option<&str> {
    members(tracestate).find_map(|member| member.strip_prefix("ot="))
}

fn entries(ot: &str) -> impl Iterator<Item = (&str, &str)> {
    ot.split(';').filter_map(|entry| entry.split_once(':'))
}

/// 1 to 14 digits; those that are not written are zeros.
fn threshold(digits: &str) -> Option<u64> {
    if digits.len() > DIGITS {
        return None;
    }
    Some(hex(digits)? << (4 * (DIGITS - digits.len())))
}

fn hex(digits: &str) -> Option<u64> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.is_empty() || !digits.bytes().all(lower) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn show(threshold: u64) -> String {
    let digits = format!("{threshold:014x}");
    match digits.trim_end_matches('0') {
        "" => "0".to_owned(),
        short => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_padded_on_the_right_and_random_values_are_whole() {
        for (text, threshold, random) in [
            ("ot=th:c", Some(0xc0_0000_0000_0000), None),
            ("ot=th:0", Some(0), None),
            (
                "a=1, ot=rv:00000000000001;th:8 ,b=2",
                Some(0x80_0000_0000_0000),
                Some(1),
            ),
            ("ot=th:fffffffffffff1", Some(0xff_ffff_ffff_fff1), None),
            ("ot=th:fffffffffffff12;rv:1", None, None),
            ("ot=th:C", None, None),
            ("ot=th:", None, None),
            ("ot=", None, None),
            ("xot=th:c", None, None),
            ("", None, None),
        ] {
            assert_eq!(read(text), Ot { threshold, random }, "{text}");
        }
    }

    #[test]
    fn a_new_threshold_comes_first_and_all_else_stays() {
        let c = Some(0xc0_0000_0000_0000);
        for (text, threshold, want) in [
            ("", c, "ot=th:c"),
            ("a=1,b=2", c, "ot=th:c,a=1,b=2"),
            (
                "a=1,ot=th:8;rv:00000000000001;x:y",
                c,
                "ot=th:c;rv:00000000000001;x:y,a=1",
            ),
            ("a=1,ot=th:8", None, "a=1"),
            ("ot=th:8;x:y", None, "ot=x:y"),
            ("", Some(0), "ot=th:0"),
            ("", Some(0xe6_6666_6666_6666), "ot=th:e6666666666666"),
        ] {
            assert_eq!(with_threshold(text, threshold), want, "{text}");
        }
        let full: Vec<String> = (0..32).map(|n| format!("k{n}=v")).collect();
        let with = with_threshold(&full.join(","), c);
        assert_eq!(with.split(',').count(), 32);
        assert!(with.starts_with("ot=th:c,k0=v,"), "{with}");
    }

    #[test]
    fn of_a_masked_state_the_threshold_alone_is_said() {
        assert_eq!(
            threshold_alone("who=me,ot=th:8;rv:00000000000001"),
            "ot=th:8"
        );
        assert_eq!(threshold_alone("who=me"), "");
    }
}
