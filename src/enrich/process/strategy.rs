//! `QPOINT_STRATEGY` of a process's environment, as QTap's users set it.

use regex::RegexBuilder;

/// Bytes of the variable at the most; what is longer is not read.
const TEXT_MAX: usize = 4 << 10;
/// Memory of a compiled expression: it comes from a process that is observed.
const REGEX_MAX: usize = 256 << 10;

/// What the process asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// As the configuration says. `forward` and `proxy` too: nothing is diverted here.
    #[default]
    Observe,
    /// Nothing of it is looked at.
    Ignore,
    /// At level summary at the most: no headers, no bodies.
    Audit,
}

impl Strategy {
    /// The word of the variable.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Observe => "observe",
            Strategy::Ignore => "ignore",
            Strategy::Audit => "audit",
        }
    }

    /// Reads `STRATEGY[,exe.MATCH:VALUE…]`; with conditions it holds for executables that meet one of them.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str, exe: &str) -> Result<Strategy, String> {
        if text.len() > TEXT_MAX {
            return Err(format!("longer than {TEXT_MAX} bytes"));
        }
        let mut parts = text.split(',').map(str::trim);
        let strategy = match parts.next().unwrap_or_default() {
            "observe" | "forward" | "proxy" => Strategy::Observe,
            "ignore" => Strategy::Ignore,
            "audit" => Strategy::Audit,
            other => return Err(format!("there is no strategy `{other}`")),
        };
        let mut conditions = 0;
        let mut met = false;
        for condition in parts.filter(|part| !part.is_empty()) {
            conditions += 1;
            met |= meets(condition, exe)?;
        }
        Ok(match conditions == 0 || met {
            true => strategy,
            false => Strategy::Observe,
        })
    }
}

fn meets(condition: &str, exe: &str) -> Result<bool, String> {
    let wrong = || format!("`{condition}` is not of the form `exe.MATCH:VALUE`");
    let rest = condition.strip_prefix("exe.").ok_or_else(wrong)?;
    let (how, value) = rest.split_once(':').ok_or_else(wrong)?;
    Ok(match how {
        "exact" => exe == value,
        "prefix" => exe.starts_with(value),
        "suffix" => exe.ends_with(value),
        "contains" => exe.contains(value),
        "regex" => RegexBuilder::new(value)
            .size_limit(REGEX_MAX)
            .build()
            .map_err(|error| format!("`{value}` is not a regular expression: {error}"))?
            .is_match(exe),
        _ => return Err(wrong()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_read_with_and_without_conditions() {
        use Strategy::*;
        for (text, wanted) in [
            ("observe", Observe),
            ("ignore", Ignore),
            (" audit ", Audit),
            ("forward", Observe),
            ("proxy", Observe),
            ("ignore,exe.exact:/usr/bin/curl", Ignore),
            ("ignore,exe.exact:/usr/bin/wget", Observe),
            ("ignore,exe.prefix:/usr/", Ignore),
            ("ignore,exe.suffix:curl", Ignore),
            ("ignore,exe.contains:bin", Ignore),
            ("ignore,exe.regex:cu.l$", Ignore),
            ("ignore,exe.regex:^cu.l$", Observe),
            ("ignore,exe.suffix:wget,exe.suffix:curl", Ignore),
        ] {
            assert_eq!(Strategy::parse(text, "/usr/bin/curl"), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_strategy_is_said() {
        for (text, says) in [
            ("ignroe", "there is no strategy `ignroe`"),
            ("", "there is no strategy ``"),
            ("ignore,curl", "`curl` is not of the form"),
            ("ignore,exe.like:x", "`exe.like:x` is not of the form"),
            ("ignore,exe.regex:(", "is not a regular expression"),
            (
                "ignore,exe.regex:(a{1000}){1000}",
                "is not a regular expression",
            ),
            (&"x".repeat(5000), "longer than"),
        ] {
            let error = Strategy::parse(text, "/x").expect_err(text);
            assert!(error.contains(says), "{error}");
        }
    }
}
