//! Functions of the language.

use super::program::Predicate;

/// A domain without port and final dot.
fn domain(text: &[u8]) -> &[u8] {
    let text = match text.iter().rposition(|b| *b == b':') {
        // An address of IPv6 in brackets, or bare, is no domain; its colons stay.
        Some(colon)
            if text
                .get(colon + 1..)
                .is_some_and(|port| port.iter().all(u8::is_ascii_digit)) =>
        {
            let host = text.get(..colon).unwrap_or_default();
            if host.contains(&b':') && !host.ends_with(b"]") {
                text
            } else {
                host
            }
        }
        _ => text,
    };
    text.strip_suffix(b".").unwrap_or(text)
}

/// The registrable domain, by the public suffix list; None: it is a suffix itself, or no name.
pub(super) fn zone(text: &[u8]) -> Option<&[u8]> {
    let domain = domain(text);
    if super::literal::address(domain).is_some() {
        return None;
    }
    psl::domain(domain).map(|zone| zone.as_bytes())
}

impl Predicate {
    pub(super) fn holds(self, text: &[u8], other: &[u8]) -> bool {
        match self {
            Predicate::StartsWith => text.starts_with(other),
            Predicate::EndsWith => text.ends_with(other),
            Predicate::InZone => in_zone(text, other),
        }
    }
}

fn in_zone(text: &[u8], zone: &[u8]) -> bool {
    let (name, zone) = (domain(text), domain(zone));
    let zone = zone.strip_prefix(b".").unwrap_or(zone);
    let Some(at) = name
        .len()
        .checked_sub(zone.len())
        .filter(|_| !zone.is_empty())
    else {
        return false;
    };
    let (head, tail) = name.split_at(at);
    tail.eq_ignore_ascii_case(zone) && (head.is_empty() || head.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_holds_itself_and_what_is_below_it() {
        for (name, zone, expected) in [
            ("example.com", "example.com", true),
            ("api.example.com", "example.com", true),
            ("API.Example.com:8443", "example.com", true),
            ("api.example.com.", "example.com", true),
            ("api.example.com", ".example.com", true),
            ("badexample.com", "example.com", false),
            ("example.com", "api.example.com", false),
            ("example.com", "", false),
        ] {
            assert_eq!(
                in_zone(name.as_bytes(), zone.as_bytes()),
                expected,
                "{name} in {zone}"
            );
        }
    }

    #[test]
    fn the_registrable_domain_follows_the_public_suffix_list() {
        for (name, expected) in [
            ("a.b.example.com", Some("example.com")),
            ("shop.example.co.uk:443", Some("example.co.uk")),
            ("co.uk", None),
            ("10.0.0.1", None),
            ("[::1]:80", None),
            ("", None),
        ] {
            assert_eq!(zone(name.as_bytes()), expected.map(str::as_bytes), "{name}");
        }
    }
}
