//! What is the same for all processes of a host.

use std::path::Path;

/// The host, read once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub name: Option<String>,
    /// Content of `/etc/machine-id`.
    pub id: Option<String>,
}

impl Host {
    pub fn read(proc: &Path, etc: &Path) -> Host {
        let line = |path: &Path| {
            let text = std::fs::read_to_string(path).ok()?;
            let line = text.lines().next()?.trim();
            (!line.is_empty()).then(|| line.to_owned())
        };
        Host {
            name: line(&proc.join("sys/kernel/hostname")),
            id: line(&etc.join("machine-id")),
        }
    }

    /// `host.arch` of the semantic conventions.
    pub fn arch() -> &'static str {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }
}

/// Name of a user in `/etc/passwd` of the host.
pub(super) fn user(etc: &Path, uid: u32) -> Option<String> {
    let text = std::fs::read_to_string(etc.join("passwd")).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let etc = tempfile::tempdir().expect("a folder");
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbroken\nwww-data:x:33:33::/var/www:/bin/false\n";
        std::fs::write(etc.path().join("passwd"), passwd).expect("written");
        assert_eq!(user(etc.path(), 33).as_deref(), Some("www-data"));
        assert_eq!(user(etc.path(), 1), None);
    }
}
