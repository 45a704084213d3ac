//! Numbers: whole ones exactly, others as floating point.

use std::cmp::Ordering;

/// A number of an expression or a transaction.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    Int(i128),
    /// Always finite.
    Float(f64),
}

impl Number {
    /// Reads `-5`, `404`, `0.5`, `.5`; None where `text` is not wholly a number.
    pub fn parse(text: &[u8]) -> Option<Number> {
        let digits = text
            .strip_prefix(b"-")
            .or(text.strip_prefix(b"+"))
            .unwrap_or(text);
        let dot = digits.iter().position(|b| *b == b'.');
        let (whole, fraction) = match dot {
            Some(at) => (digits.get(..at)?, Some(digits.get(at + 1..)?)),
            None => (digits, None),
        };
        let all = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        if !all(whole)
            || !all(fraction.unwrap_or_default())
            || whole.is_empty() && fraction.is_none_or(<[u8]>::is_empty)
        {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        if fraction.is_none()
            && let Ok(int) = text.parse()
        {
            return Some(Number::Int(int));
        }
        text.parse()
            .ok()
            .filter(|f: &f64| f.is_finite())
            .map(Number::Float)
    }

    pub fn is_zero(self) -> bool {
        self == Number::Int(0)
    }

    fn float(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
}

/// As it would be written in an expression.
impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Int(int) => write!(f, "{int}"),
            // Always with a point, so that it reads back as what it was.
            Number::Float(float) if float.fract() == 0.0 => write!(f, "{float:.1}"),
            Number::Float(float) => write!(f, "{float}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wholly_a_number_is_one() {
        for (text, number) in [
            ("404", Some(Number::Int(404))),
            ("-5", Some(Number::Int(-5))),
            ("+7", Some(Number::Int(7))),
            ("0.5", Some(Number::Float(0.5))),
            (".5", Some(Number::Float(0.5))),
            ("2.0", Some(Number::Int(2))),
            (
                "18446744073709551615",
                Some(Number::Int(18_446_744_073_709_551_615)),
            ),
            ("", None),
            ("-", None),
            (".", None),
            ("1e3", None),
            ("1 ", None),
            ("0x10", None),
            ("NaN", None),
            ("1.2.3", None),
        ] {
            assert_eq!(Number::parse(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn large_whole_numbers_compare_exactly() {
        assert_ne!(
            Number::Int(9_007_199_254_740_993),
            Number::Int(9_007_199_254_740_992)
        );
        assert!(Number::Int(1) < Number::Float(1.5));
    }
}
