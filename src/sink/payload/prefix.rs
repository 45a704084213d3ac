//! The prefix of keys, with variables in it.
//!
//! Enters: its text, a time, a service. Leaves: the beginning of a key, empty or ending with `/`. Pure.

use crate::enrich::rfc3339_millis;
use object_store::path::Path as Key;
use std::time::SystemTime;

/// Names of services are cut there, in characters.
const MAX_SERVICE: usize = 100;

/// A variable of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    /// `2026-11-23`, UTC.
    Date,
    /// `00` to `23`, UTC.
    Hour,
    /// `service.name`, with `_` for what is no letter, no digit and none of `-_.`.
    Service,
}

const VARIABLES: [(&str, Variable); 3] = [
    ("date", Variable::Date),
    ("hour", Variable::Hour),
    ("service", Variable::Service),
];

/// A prefix, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prefix {
    /// What stands before each variable, and the variable.
    parts: Vec<(String, Variable)>,
    end: String,
}

impl Prefix {
    /// Reads a prefix. Slashes in front are left out, one at the end is put there.
    ///
    /// # Errors
    /// What is wrong: braces, an unknown variable, or what cannot begin a key.
    pub fn parse(text: &str) -> Result<Prefix, String> {
        let mut rest = text.trim_start_matches('/');
        let mut parts = Vec::new();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').ok_or("has `{` without `}`")?;
            let known = VARIABLES.iter().find(|(known, _)| *known == name);
            let (_, variable) = known.ok_or_else(|| {
                format!("has an unknown variable `{{{name}}}`: there are `{{date}}`, `{{hour}}` and `{{service}}`")
            })?;
            parts.push((before.to_owned(), *variable));
            rest = tail;
        }
        let mut end = rest.to_owned();
        if !(end.ends_with('/') || end.is_empty() && parts.is_empty()) {
            end.push('/');
        }
        let prefix = Prefix { parts, end };
        let all = prefix.parts.iter().map(|(before, _)| before);
        if all.chain([&prefix.end]).any(|text| text.contains('}')) {
            return Err("has `}` without `{`".to_owned());
        }
        Key::parse(prefix.fill(SystemTime::UNIX_EPOCH, "s") + "0")
            .map_err(|error| format!("cannot begin a key: {error}"))?;
        Ok(prefix)
    }

    /// Each service has keys of its own.
    pub fn by_service(&self) -> bool {
        self.parts.iter().any(|(_, v)| *v == Variable::Service)
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.end.is_empty()
    }

    /// The beginning of a key.
    pub fn fill(&self, time: SystemTime, service: &str) -> String {
        let time = rfc3339_millis(time);
        let mut out = String::new();
        for (before, variable) in &self.parts {
            out.push_str(before);
            match variable {
                Variable::Date => out.push_str(time.get(..10).unwrap_or_default()),
                Variable::Hour => out.push_str(time.get(11..13).unwrap_or_default()),
                Variable::Service => out.push_str(&plain(service)),
            }
        }
        out.push_str(&self.end);
        out
    }

    /// Folders between the fixed part and the names.
    pub fn depth(&self) -> usize {
        let folders = |text: &str| text.matches('/').count();
        let all = folders(&self.fill(SystemTime::UNIX_EPOCH, ""));
        all.saturating_sub(folders(self.fixed()))
    }

    /// What all keys begin with, up to the last `/` before the first variable.
    pub fn fixed(&self) -> &str {
        match self.parts.first() {
            None => &self.end,
            Some((before, _)) => {
                let end = before.rfind('/').map_or(0, |slash| slash + 1);
                before.get(..end).unwrap_or_default()
            }
        }
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (before, variable) in &self.parts {
            let name = VARIABLES.iter().find(|(_, known)| known == variable);
            write!(f, "{before}{{{}}}", name.map_or("", |(name, _)| name))?;
        }
        f.write_str(&self.end)
    }
}

/// Whether a text is a prefix.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &str) -> Result<(), String> {
    Prefix::parse(text).map(drop)
}

/// A service's name as one part of a key.
fn plain(service: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = service
        .chars()
        .take(MAX_SERVICE)
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    match name.as_str() {
        "" | "." | ".." => "_".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn filled(prefix: &str, service: &str) -> String {
        // 2026-11-23T04:05:06Z
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_406_706);
        Prefix::parse(prefix).unwrap().fill(time, service)
    }

    #[test]
    fn variables_are_the_time_in_utc_and_the_service() {
        assert_eq!(filled("", "s"), "");
        assert_eq!(filled("/team a", "s"), "team a/");
        assert_eq!(
            filled("t/{service}/{date}/{hour}", "shop"),
            "t/shop/2026-11-23/04/"
        );
        assert_eq!(filled("dt={date}/h{hour}/", "s"), "dt=2026-11-23/h04/");
    }

    #[test]
    fn a_service_is_always_one_part_of_the_key() {
        for (service, part) in [
            ("", "_/"),
            ("..", "_/"),
            ("a/../b", "a_.._b/"),
            ("é #", "___/"),
            (&"x".repeat(500), &("x".repeat(100) + "/")),
        ] {
            assert_eq!(filled("{service}", service), part);
        }
    }

    #[test]
    fn what_cannot_be_a_prefix_is_said() {
        for (prefix, said) in [
            ("{dat}/", "`{dat}`"),
            ("{date", "`{` without `}`"),
            ("date}", "`}` without `{`"),
            ("a//b", "cannot begin a key"),
            ("../b", "cannot begin a key"),
        ] {
            let error = check(prefix).unwrap_err();
            assert!(error.contains(said), "{prefix}: {error}");
        }
    }

    #[test]
    fn the_fixed_part_ends_before_the_first_variable() {
        for (prefix, fixed, depth) in [
            ("", "", 0),
            ("a/b", "a/b/", 0),
            ("a/b-{date}/c", "a/", 2),
            ("{hour}", "", 1),
        ] {
            let prefix = Prefix::parse(prefix).unwrap();
            assert_eq!((prefix.fixed(), prefix.depth()), (fixed, depth));
        }
    }

    #[test]
    fn a_prefix_is_shown_as_it_is_written() {
        for prefix in ["", "a/", "a/{service}/{date}/x/"] {
            assert_eq!(Prefix::parse(prefix).unwrap().to_string(), prefix);
        }
    }
}
