//! Names of systemd's services, as control groups have them (systemd.unit(5)).

/// A systemd service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The whole name, unescaped: `nginx.service`, `worker@3.service`.
    pub name: String,
    /// What all instances of the service are called: `nginx`, `worker`. None: the name is made anew with each run.
    pub service: Option<String>,
}

impl Unit {
    /// Reads an element of a control group's path. None: no service, or the manager of a user, which is everything
    /// that the user runs.
    pub(super) fn parse(element: &str) -> Option<Unit> {
        // systemd puts `_` before names that the kernel could take for a file of its own.
        let element = element.strip_prefix('_').unwrap_or(element);
        let stem = element.strip_suffix(".service")?;
        let template = stem.split_once('@');
        let prefix = template.map_or(stem, |(prefix, _)| prefix);
        if prefix.is_empty() || (prefix == "user" && template.is_some()) {
            return None;
        }
        Some(Unit {
            name: unescape(element)?,
            service: unescape(prefix).filter(|_| !is_transient(stem)),
        })
    }
}

/// `systemd-run` names what it starts `run-u12`, `run-p12-i13` or `run-r` with 32 digits.
fn is_transient(stem: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(rest) = stem.strip_prefix("run-") else {
        return false;
    };
    match (rest.get(..1), rest.get(1..)) {
        (Some("u"), Some(rest)) => number(rest),
        (Some("p"), Some(rest)) => rest
            .split_once("-i")
            .is_some_and(|(pid, id)| number(pid) && number(id)),
        (Some("r"), Some(rest)) => {
            rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        _ => false,
    }
}

/// Undoes `\xNN` (systemd-escape(1)). None: it is no text then.
fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let Some(byte) = after
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
        else {
            bytes.extend_from_slice(b"\\x");
            rest = after;
            continue;
        };
        bytes.push(byte);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    let text = String::from_utf8(bytes).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}
