//! Literals that are words: numbers with and without units, bytes, addresses and networks.

use super::number::Number;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, or a network of them: `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Net {
    /// As written; an IPv4-mapped one is what it maps.
    address: IpAddr,
    /// Bits that count; None: written without.
    prefix: Option<u8>,
}

impl Net {
    pub fn parse(text: &str) -> Option<Net> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, bits)) => {
                let plain =
                    !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
                (address, Some(bits.parse::<u8>().ok().filter(|_| plain)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix.is_some_and(|bits| bits > most) {
            return None;
        }
        let canonical = address.to_canonical();
        let net = match prefix {
            // `::ffff:10.0.0.0/104` is `10.0.0.0/8`; a shorter prefix is one of IPv6 that no canonical address is in.
            Some(bits) if canonical != address => match bits.checked_sub(96) {
                Some(bits) => (canonical, Some(bits)),
                None => (address, prefix),
            },
            _ => (canonical, prefix),
        };
        Some(Net {
            address: net.0,
            prefix: net.1,
        })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => same_head(
                net.to_bits().into(),
                address.to_bits().into(),
                self.prefix.unwrap_or(32),
                32,
            ),
            (IpAddr::V6(net), IpAddr::V6(address)) => same_head(
                net.to_bits(),
                address.to_bits(),
                self.prefix.unwrap_or(128),
                128,
            ),
            _ => false,
        }
    }

    /// The address alone, where it is no network.
    pub fn single(&self) -> Option<IpAddr> {
        self.prefix.is_none().then_some(self.address)
    }

    /// Every address of `other` is one of this.
    pub fn covers(&self, other: &Net) -> bool {
        let bits = |net: &Net| {
            net.prefix
                .unwrap_or(if net.address.is_ipv4() { 32 } else { 128 })
        };
        self.contains(other.address) && bits(self) <= bits(other)
    }
}

fn same_head(a: u128, b: u128, bits: u8, width: u8) -> bool {
    let rest = width.saturating_sub(bits);
    a.checked_shr(rest.into()).unwrap_or(0) == b.checked_shr(rest.into()).unwrap_or(0)
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.address.to_string();
        match self.address {
            // Eight pairs of digits would read as bytes.
            IpAddr::V6(v6) if bytes(&shown).is_some() => {
                let [first, rest @ ..] = v6.segments();
                write!(f, "{first:04x}")?;
                rest.iter().try_for_each(|part| write!(f, ":{part:x}"))?;
            }
            _ => f.write_str(&shown)?,
        }
        match self.prefix {
            Some(bits) => write!(f, "/{bits}"),
            None => Ok(()),
        }
    }
}

/// An address in text from outside: with or without brackets and port, as `X-Forwarded-For` and `Host` have it.
pub fn address(text: &[u8]) -> Option<IpAddr> {
    // Longer text is none; what a name begins with is looked at first, so that names cost nothing.
    if text.len() > 64
        || !text
            .first()
            .is_some_and(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'['))
    {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let text = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    if text.contains(':') {
        text.parse::<Ipv6Addr>()
            .ok()
            .map(|v6| IpAddr::V6(v6).to_canonical())
    } else {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }
}

/// Pairs of hex digits joined by `:`; at least two.
pub fn bytes(word: &str) -> Option<Vec<u8>> {
    if word.len() < 5 {
        return None;
    }
    word.split(':')
        .map(|pair| {
            let hex = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
            u8::from_str_radix(pair, 16).ok().filter(|_| hex)
        })
        .collect()
}

/// A number with a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Nanoseconds.
    Duration(i128),
    /// Bytes.
    Size(i128),
}

const UNITS: [(&str, Measure); 17] = [
    ("ns", Measure::Duration(1)),
    ("us", Measure::Duration(1_000)),
    ("ms", Measure::Duration(1_000_000)),
    ("s", Measure::Duration(1_000_000_000)),
    ("m", Measure::Duration(60_000_000_000)),
    ("h", Measure::Duration(3_600_000_000_000)),
    ("d", Measure::Duration(86_400_000_000_000)),
    ("B", Measure::Size(1)),
    ("kB", Measure::Size(1_000)),
    ("KB", Measure::Size(1_000)),
    ("MB", Measure::Size(1_000_000)),
    ("GB", Measure::Size(1_000_000_000)),
    ("TB", Measure::Size(1_000_000_000_000)),
    ("KiB", Measure::Size(1 << 10)),
    ("MiB", Measure::Size(1 << 20)),
    ("GiB", Measure::Size(1 << 30)),
    ("TiB", Measure::Size(1 << 40)),
];

/// Reads `250ms`, `1.5s`, `64KiB`. None: no number in front. Err: the unit that is none.
pub fn measure(word: &str) -> Option<Result<Measure, &str>> {
    let at = word.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = word.split_at(at);
    let number = Number::parse(number.as_bytes())?;
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Some(Err(unit));
    };
    let times = |factor: i128| match number {
        Number::Int(int) => int.saturating_mul(factor),
        Number::Float(float) => (float * factor as f64).round() as i128,
    };
    Some(Ok(match factor {
        Measure::Duration(factor) => Measure::Duration(times(*factor)),
        Measure::Size(factor) => Measure::Size(times(*factor)),
    }))
}

impl std::fmt::Display for Measure {
    /// The largest unit that is exact.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = match self {
            Measure::Duration(value) | Measure::Size(value) => *value,
        };
        let of_kind = |unit: &&(&str, Measure)| {
            std::mem::discriminant(&unit.1) == std::mem::discriminant(self)
        };
        let mut best = (
            value,
            if matches!(self, Measure::Size(_)) {
                "B"
            } else {
                "ns"
            },
        );
        for (name, unit) in UNITS.iter().filter(of_kind) {
            let (Measure::Duration(factor) | Measure::Size(factor)) = unit;
            if value != 0
                && value % factor == 0
                && (value / factor).unsigned_abs() < best.0.unsigned_abs()
            {
                best = (value / factor, name);
            }
        }
        write!(f, "{}{}", best.0, best.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(net: &str, address: &str) -> bool {
        let net = Net::parse(net).unwrap_or_else(|| panic!("{net}"));
        net.contains(address.parse().unwrap_or_else(|_| panic!("{address}")))
    }

    #[test]
    fn networks_of_both_families_hold_their_addresses() {
        for (net, address, expected) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1/128", "::1", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/120", "2001:db8::ff", true),
            ("2001:db8::/120", "2001:db8::1ff", false),
        ] {
            assert_eq!(inside(net, address), expected, "{address} in {net}");
        }
        for wrong in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "a/8",
            "10.0.0.0/+8",
        ] {
            assert_eq!(Net::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn measures_read_back_as_what_is_shown() {
        for word in [
            "250ms", "2s", "90s", "64KiB", "1MB", "0B", "1500us", "7d", "1TiB",
        ] {
            let Some(Ok(value)) = measure(word) else {
                panic!("{word}")
            };
            assert_eq!(measure(&value.to_string()), Some(Ok(value)), "{word}");
        }
        assert_eq!(measure("1.5s"), Some(Ok(Measure::Duration(1_500_000_000))));
        assert_eq!(measure("5parsec"), Some(Err("parsec")));
    }

    #[test]
    fn bytes_are_pairs_of_hex_digits() {
        assert_eq!(bytes("47:45:54").as_deref(), Some(&b"GET"[..]));
        assert_eq!(bytes("47"), None);
        assert_eq!(bytes("4:45"), None);
        assert_eq!(bytes("+7:45"), None);
    }
}
