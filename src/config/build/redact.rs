//! Rules of redaction, and the key of their hashes.

use super::Builder;
use crate::config::model::{HashKeySource, NameMatch, RedactMode, RedactPlace, RedactRule};
use crate::config::near::nearest;
use crate::config::problem::quote;
use crate::config::schema::{MATCHES, MODES, MatchWord, PLACES};
use crate::config::settings::Fields;
use crate::config::text;
use crate::redact::{DETECTORS, check_pattern};

/// Bytes that a key has at the least: shorter ones can be guessed.
const KEY_MIN: usize = 16;

impl Builder<'_> {
    pub(super) fn redaction(&mut self, fields: &Fields) -> Vec<RedactRule> {
        let has_key = ["hash_key", "hash_key_file"]
            .iter()
            .any(|key| fields.written.contains(key));
        fields
            .sections("rules")
            .filter_map(|rule| {
                let made = self.redact_rule(rule)?;
                if made.mode == RedactMode::Hash && !has_key {
                    self.problems
                        .error(rule.mark("mode"), "mode `hash` has no key");
                    self.problems.hint(
                        "add `hash_key: { type: env, value: NAME }` or `hash_key_file` to redact",
                    );
                }
                Some(made)
            })
            .collect()
    }

    pub(super) fn hash_key(&mut self, fields: &Fields) -> Option<HashKeySource> {
        self.key(fields, "hash_key", "hash_key_file")
    }

    /// A key that is written under `text`, or in a file whose path is under `path`.
    pub(super) fn key(
        &mut self,
        fields: &Fields,
        text: &'static str,
        path: &'static str,
    ) -> Option<HashKeySource> {
        let key = fields.secret(text);
        let file = fields.text(path);
        if key.is_some() && file.is_some() {
            let message = format!("`{text}` and `{path}` are both there");
            self.problems.error(fields.mark(path), message);
            self.problems.hint("remove one");
        }
        if key.is_some_and(|key| key.expose().len() < KEY_MIN) {
            let message = format!("`{text}` has less than {KEY_MIN} bytes, so it can be guessed");
            self.problems.error(fields.mark(text), message);
            self.problems
                .hint("for example the output of `openssl rand -hex 32`");
        }
        let file = file.map(|path| HashKeySource::File(path.into()));
        key.cloned().map(HashKeySource::Text).or(file)
    }

    fn redact_rule(&mut self, rule: &Fields) -> Option<RedactRule> {
        let key = rule.text("key")?;
        let place = rule.choice("in", &PLACES)?;
        let word = rule.choice("match", &MATCHES)?;
        let matcher = match word {
            MatchWord::Exact | MatchWord::Detector => NameMatch::Exact(key.to_owned()),
            MatchWord::Glob => NameMatch::Glob(key.to_owned()),
            MatchWord::Regex => NameMatch::Regex(key.to_owned()),
        };
        let checked = match (word, place) {
            (MatchWord::Detector, RedactPlace::Body) => detector(key),
            (MatchWord::Detector, _) => {
                self.problems.error(
                    rule.mark("match"),
                    "`match: detector` looks into bodies alone",
                );
                self.problems.hint("write `in: body`");
                Ok(())
            }
            (MatchWord::Exact, RedactPlace::Json) => path(key),
            (MatchWord::Exact, _) => Ok(()),
            (MatchWord::Glob, RedactPlace::Body) => Ok(()),
            (MatchWord::Glob, _) => text::glob(key),
            (MatchWord::Regex, RedactPlace::Body) => text::regex(key).and_then(|()| {
                check_pattern(key).map_err(|e| format!("is not a pattern over bytes: {e}"))
            }),
            (MatchWord::Regex, _) => text::regex(key),
        };
        self.checked(rule.mark("key"), "`key`", checked);
        Some(RedactRule {
            name: rule.text("name").unwrap_or(key).to_owned(),
            place: match word {
                MatchWord::Detector => RedactPlace::Detector,
                _ => place,
            },
            matcher,
            mode: rule.choice("mode", &MODES)?,
        })
    }
}

fn detector(name: &str) -> Result<(), String> {
    if name == "*" || DETECTORS.contains(&name) {
        return Ok(());
    }
    let meant = match nearest(name, DETECTORS.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}, *", DETECTORS.join(", ")),
    };
    Err(format!("{} is not a detector: {meant}", quote(name)))
}

/// A path: names with dots between them, perhaps from the root (`$.`), arrays as `[*]` or not at all.
fn path(path: &str) -> Result<(), String> {
    let names = path.replace("[*]", "").replace("[]", "");
    let rest = names.strip_prefix('$').unwrap_or(&names);
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let rest = match names.starts_with('$') {
        true => rest.strip_prefix('.').unwrap_or(rest),
        false => rest,
    };
    if rest.contains('[') {
        return Err(
            "picks elements: paths are for all elements of an array, as in `items[*].id`"
                .to_owned(),
        );
    }
    let anchor = names.starts_with('$') && !names.starts_with("$.");
    if anchor || names.starts_with('.') || rest.split('.').any(str::is_empty) {
        return Err("is not a path: write `mail`, `user.mail` or `$.user.mail`".to_owned());
    }
    Ok(())
}
