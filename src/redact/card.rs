//! Numbers of payment cards in text.

use std::ops::Range;

/// Digits of a number at the least, and at the most (ISO/IEC 7812).
const SHORTEST: usize = 13;
const LONGEST: usize = 19;

/// Calls `found` with each run of digits, perhaps in groups with one space or dash between them, that has the beginning
/// and length of an issuer and the right check digit. Of a cut text the digits at its end count too.
pub(super) fn find(text: &[u8], cut: bool, mut found: impl FnMut(Range<usize>)) {
    let mut at = 0;
    let mut groups: Vec<Range<usize>> = Vec::new();
    while let Some(start) = position(text, at, |b| b.is_ascii_digit()) {
        groups.clear();
        at = start;
        loop {
            let end = position(text, at, |b| !b.is_ascii_digit()).unwrap_or(text.len());
            groups.push(at..end);
            at = end;
            let next = text.get(end + 1).is_some_and(u8::is_ascii_digit);
            if !(next && matches!(text.get(end), Some(b' ' | b'-'))) {
                break;
            }
            at = end + 1;
        }
        let separator = cut && text.len() == at + 1 && matches!(text.last(), Some(b' ' | b'-'));
        if cut && at == text.len() || separator {
            found(start..text.len());
            break;
        }
        windows(text, &groups, &mut found);
    }
}

fn position(text: &[u8], from: usize, is: impl Fn(&u8) -> bool) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.iter().position(is).map(|i| from + i)
}

/// Each number of whole groups.
fn windows(text: &[u8], groups: &[Range<usize>], found: &mut impl FnMut(Range<usize>)) {
    let mut first = 0;
    while let Some(start) = groups.get(first).map(|g| g.start) {
        let mut digits = [0u8; LONGEST];
        let mut len = 0;
        let mut end = None;
        for group in groups.get(first..).unwrap_or_default() {
            let bytes = text.get(group.clone()).unwrap_or_default();
            let Some(place) = digits.get_mut(len..len + bytes.len()) else {
                break;
            };
            place.copy_from_slice(bytes);
            len += bytes.len();
            let number = digits.get(..len).unwrap_or_default();
            if stands_alone(text, &(start..group.end)) && is_issued(number) && luhn(number) {
                end = Some(group.end);
            }
        }
        match end {
            Some(end) => {
                found(start..end);
                while groups.get(first).is_some_and(|g| g.start < end) {
                    first += 1;
                }
            }
            None => first += 1,
        }
    }
}

/// Neither part of a word nor the decimals of a number.
fn stands_alone(text: &[u8], range: &Range<usize>) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let before = range.start.checked_sub(1).and_then(|i| text.get(i));
    let further = range.start.checked_sub(2).and_then(|i| text.get(i));
    let decimals = before == Some(&b'.') && further.is_some_and(u8::is_ascii_digit);
    !before.is_some_and(word) && !decimals && !text.get(range.end).is_some_and(word)
}

/// Beginning and length are those of the large networks.
fn is_issued(digits: &[u8]) -> bool {
    let prefix = |n: usize| {
        let head = digits.get(..n).unwrap_or_default();
        head.iter().fold(0u32, |v, d| v * 10 + u32::from(d - b'0'))
    };
    let len = digits.len();
    match (prefix(1), prefix(2), prefix(4)) {
        _ if len < SHORTEST => false,
        (4, _, _) => matches!(len, 13 | 16 | 19),
        (_, 51..=55, _) | (_, _, 2221..=2720) => len == 16,
        (_, 34 | 37, _) => len == 15,
        (_, 36 | 38 | 39, _) | (_, _, 3000..=3059 | 3095) => (14..=19).contains(&len),
        (_, 35, _) | (_, 60 | 62 | 64 | 65 | 81 | 82, _) => (16..=19).contains(&len),
        (_, 50 | 56..=58 | 63 | 67, _) => (13..=19).contains(&len),
        _ => false,
    }
}

/// The check digit of ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| match (i % 2, u32::from(d - b'0')) {
            (0, d) => d,
            (_, d) if d > 4 => 2 * d - 9,
            (_, d) => 2 * d,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, cut: bool) -> Vec<&str> {
        let mut found = Vec::new();
        find(text.as_bytes(), cut, |r| found.push(&text[r]));
        found
    }

    #[test]
    fn numbers_with_the_right_check_digit_are_found_in_any_grouping() {
        for number in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "5500-0000-0000-0004",
            "378282246310005",
            "3782 822463 10005",
            "6011111111111117",
            "3530111333300000",
            "30569309025904",
            "2223003122003222",
            "4222222222222",
        ] {
            assert_eq!(all(&format!("a {number}, b"), false), [number]);
            assert_eq!(all(&format!("{{\"n\":\"{number}\"}}"), false), [number]);
        }
    }

    #[test]
    fn a_number_is_found_among_other_digits() {
        let text = "12 4111111111111111 99 2024-01-02 5500000000000004";
        assert_eq!(all(text, false), ["4111111111111111", "5500000000000004"]);
    }

    #[test]
    fn other_numbers_stay() {
        for text in [
            "4111111111111112",
            "1735689600000",
            "0.4111111111111111",
            "a4111111111111111f",
            "41111111111111111111111",
            "9999999999999995",
            "",
        ] {
            assert!(all(text, false).is_empty(), "{text}");
        }
    }

    #[test]
    fn digits_at_a_cut_are_found_whatever_the_cut() {
        let text = "n 4111 1111-1111 1111";
        for end in 3..=text.len() {
            assert_eq!(all(&text[..end], true), [&text[2..end]]);
        }
    }
}
