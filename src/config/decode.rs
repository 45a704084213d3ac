//! From a marked tree to settings, by the tables.
//!
//! Enters: a node and the table for it. Leaves: settings, defaults filled in, and every problem there is.
//! Holds: never stops at the first problem; a value that is wrong counts as its default from there on, so that what
//! follows is still looked at.

use super::environment::{Environment, is_name};
use super::leaf::{convert, wanted, what};
use super::model::Secret;
use super::near::nearest;
use super::problem::{Problems, quote};
use super::schema::ROOT;
use super::settings::{Fields, Setting, Value};
use super::table::{Key, Kind, LATER, Section, State, Tagged, Variant, all_sections};
use super::tree::{self, Content, Entry, Mark, Node, scalar};

pub(super) struct Decoder<'a> {
    pub environment: &'a Environment,
    pub problems: &'a mut Problems,
}

/// What a value is called in messages: `level` in http_capture.config.
#[derive(Clone, Copy)]
struct Name<'a> {
    key: &'a str,
    section: &'a str,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` in {}", self.key, self.section)
    }
}

impl Decoder<'_> {
    /// The settings of a section; an absent or empty one has its defaults.
    pub fn section(
        &mut self,
        section: &'static Section,
        node: Option<&Node>,
        owner: Mark,
    ) -> Fields {
        let entries = match node.map(|n| (&n.content, n)) {
            None => &[][..],
            Some((Content::Map(entries), _)) => entries,
            Some((_, node)) if node.is_null() => &[],
            Some((_, node)) => {
                self.problems.error(
                    node.mark,
                    format!("{} must be a map of keys, not {}", section.name, what(node)),
                );
                &[]
            }
        };
        self.unknown_keys(section, entries);
        let mut fields = Fields {
            section: section.name,
            mark: node.map_or(Mark::default(), |_| owner),
            ..Fields::default()
        };
        for key in section.keys {
            let entry = entries.iter().find(|e| e.key == key.name);
            fields.written.extend(entry.map(|_| key.name));
            if let Some(setting) = self.key(section, key, entry, owner) {
                fields.entries.push((key.name, setting));
            }
        }
        fields
    }

    fn unknown_keys(&mut self, section: &'static Section, entries: &[Entry]) {
        let names: Vec<&str> = section.keys.iter().map(|k| k.name).collect();
        for entry in entries
            .iter()
            .filter(|e| section.key(&e.key).is_none() && !e.key.is_empty())
        {
            let message = format!("unknown key {} in {}", quote(&entry.key), section.name);
            let elsewhere = || {
                all_sections(&ROOT)
                    .into_iter()
                    .find(|s| !s.name.is_empty() && s.key(&entry.key).is_some())
            };
            let hint = match nearest(&entry.key, names.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => match elsewhere() {
                    Some(place) => format!("`{}` belongs in {}", entry.key, place.name),
                    None => format!("known keys: {}", names.join(", ")),
                },
            };
            self.problems.error(entry.key_mark, message).hint(hint);
        }
    }

    fn key(
        &mut self,
        section: &Section,
        key: &'static Key,
        entry: Option<&Entry>,
        owner: Mark,
    ) -> Option<Setting> {
        let name = Name {
            key: key.name,
            section: section.name,
        };
        let Some(entry) = entry else {
            if key.required {
                self.problems
                    .error(owner, format!("{} is missing `{}`", section.name, key.name));
            }
            return self.default(key, name);
        };
        let idle = key.idle.is_some_and(|idle| is_idle(&entry.value, idle));
        match key.state {
            State::Refused(why) if !idle => {
                self.problems
                    .error(entry.key_mark, format!("{name} {why}"))
                    .hint("remove it");
                return None;
            }
            State::Ignored(why) if !idle => {
                self.problems
                    .warn(entry.key_mark, format!("{name} is not acted on"))
                    .hint(why);
            }
            State::Acts | State::Ignored(_) | State::Refused(_) => {}
        }
        let value = self.value(&key.kind, &entry.value, entry.key_mark, name);
        match key.state {
            // Looked at for its problems only.
            State::Ignored(_) | State::Refused(_) => None,
            State::Acts => value.or_else(|| self.default(key, name)),
        }
    }

    /// Defaults are written as in a file, and read by the same code.
    fn default(&mut self, key: &'static Key, name: Name) -> Option<Setting> {
        if let (State::Acts, Kind::Section(section)) = (key.state, &key.kind) {
            let fields = self.section(section, None, Mark::default());
            return Some(Setting {
                value: Value::Section(fields),
                mark: Mark::default(),
            });
        }
        let node = tree::read(key.default?, self.problems)?;
        let mut setting = self.value(&key.kind, &node, Mark::default(), name)?;
        forget_place(&mut setting);
        Some(setting)
    }

    /// None when the value is wrong (reported), or nothing (`key:` alone) where that is allowed.
    fn value(&mut self, kind: &Kind, node: &Node, owner: Mark, name: Name) -> Option<Setting> {
        let value = match kind {
            Kind::Section(section) => Value::Section(self.section(section, Some(node), owner)),
            Kind::Tagged(tagged) => Value::Section(self.tagged(tagged, node)?),
            Kind::List(inner) => Value::List(self.list(inner, node, name)?),
            Kind::Map(inner) => Value::Map(self.map(inner, node, name)?),
            Kind::Credential => Value::Secret(self.credential(node, name)?),
            Kind::Any => Value::Unread,
            _ => self.leaf(kind, node, name)?,
        };
        Some(Setting {
            value,
            mark: node.mark,
        })
    }

    fn list(&mut self, inner: &Kind, node: &Node, name: Name) -> Option<Vec<Setting>> {
        match &node.content {
            Content::List(items) => Some(
                items
                    .iter()
                    .filter_map(|item| self.value(inner, item, item.mark, name))
                    .collect(),
            ),
            _ if node.is_null() => None,
            _ => {
                self.problems.error(
                    node.mark,
                    format!("{name} must be a list, not {}", what(node)),
                );
                self.problems
                    .hint("begin each item with `- `, or write `[…]`");
                None
            }
        }
    }

    fn map(&mut self, inner: &Kind, node: &Node, name: Name) -> Option<Vec<(String, Setting)>> {
        let Content::Map(entries) = &node.content else {
            if !node.is_null() {
                self.problems.error(
                    node.mark,
                    format!("{name} must be a map of keys, not {}", what(node)),
                );
            }
            return None;
        };
        let mut values = Vec::new();
        for entry in entries {
            if entry.key.trim().is_empty() {
                self.problems
                    .error(entry.key_mark, format!("an empty key in {name}"));
                continue;
            }
            let inside = Name {
                key: &entry.key,
                section: name.key,
            };
            if let Some(setting) = self.value(inner, &entry.value, entry.key_mark, inside) {
                values.push((entry.key.clone(), setting));
            }
        }
        Some(values)
    }

    fn tagged(&mut self, tagged: &'static Tagged, node: &Node) -> Option<Fields> {
        let what_it_is = tagged.what;
        let Content::Map(_) = &node.content else {
            let message = format!(
                "each {what_it_is} must be a map with a `type`, not {}",
                what(node)
            );
            self.problems.error(node.mark, message);
            return None;
        };
        let Some(entry) = node.entry("type") else {
            let names: Vec<&str> = accepted(tagged).collect();
            self.problems
                .error(node.mark, format!("{what_it_is} without `type`"))
                .hint(format!("one of {}", names.join(", ")));
            return None;
        };
        let word = entry.value.text().unwrap_or_default();
        let Some(variant) = tagged.variant(word) else {
            let hint = match nearest(word, tagged.variants.iter().map(|v| v.name)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("one of {}", accepted(tagged).collect::<Vec<_>>().join(", ")),
            };
            self.problems
                .error(
                    entry.value.mark,
                    format!("unknown type {} of {what_it_is}", quote(word)),
                )
                .hint(hint);
            return None;
        };
        self.variant(tagged, variant, node, entry.value.mark)
    }

    fn variant(
        &mut self,
        tagged: &Tagged,
        variant: &Variant,
        node: &Node,
        mark: Mark,
    ) -> Option<Fields> {
        let called = format!("{} `{}`", tagged.what, variant.name);
        match variant.state {
            State::Refused(LATER) => {
                self.problems.error(mark, format!("{called} {LATER}"));
                return None;
            }
            State::Refused(why) => {
                self.problems
                    .error(mark, format!("{called} is not supported"))
                    .hint(why);
                return None;
            }
            State::Ignored(why) if variant.is == variant.name => {
                self.problems
                    .warn(mark, format!("{called} is not acted on"))
                    .hint(why);
            }
            State::Ignored(why) => self
                .problems
                .warn(mark, format!("{called} has a new name"))
                .hint(why),
            State::Acts => {}
        }
        let mut fields = self.section(variant.section, Some(node), node.mark);
        fields.kind = variant.is;
        let dropped = matches!(variant.state, State::Ignored(_)) && variant.is == variant.name;
        (!dropped).then_some(fields)
    }

    /// The value itself is never in a message: it may be the secret.
    fn credential(&mut self, node: &Node, name: Name) -> Option<Secret> {
        let (kind, value) = (node.entry("type"), node.entry("value"));
        let known = |e: &Entry| e.key == "type" || e.key == "value";
        if let Content::Map(entries) = &node.content
            && let Some(other) = entries.iter().find(|e| !known(e))
        {
            self.problems.error(
                other.key_mark,
                format!("unknown key {} in {name}", quote(&other.key)),
            );
            self.problems.hint("known keys: type, value");
            return None;
        }
        let (Some(kind), Some(value)) = (kind, value) else {
            self.problems
                .error(node.mark, format!("{name} must have `type` and `value`"));
            self.problems
                .hint("write `{ type: env, value: NAME }`, NAME being an environment variable");
            return None;
        };
        match (kind.value.text(), value.value.text()) {
            (Some("env"), Some(variable)) => self.variable(variable, value.value.mark, name),
            (Some("text"), Some(text)) if !text.is_empty() => Some(Secret::new(text)),
            (Some("env" | "text"), _) => {
                self.problems
                    .error(value.value.mark, format!("{name} has no value"));
                None
            }
            _ => {
                self.problems.error(
                    kind.value.mark,
                    format!("type of {name} must be env or text"),
                );
                None
            }
        }
    }

    fn variable(&mut self, variable: &str, mark: Mark, name: Name) -> Option<Secret> {
        match self.environment.get(variable) {
            Some(value) => Some(Secret::new(value)),
            None if !is_name(variable) => {
                let message =
                    format!("value of {name} must be the name of an environment variable");
                self.problems
                    .error(mark, message)
                    .hint("`type: text` takes the value itself");
                None
            }
            None => {
                let message = format!(
                    "environment variable {} for {name} is not set",
                    quote(variable)
                );
                self.problems
                    .error(mark, message)
                    .hint("set it where the agent is started");
                None
            }
        }
    }

    fn leaf(&mut self, kind: &Kind, node: &Node, name: Name) -> Option<Value> {
        let Content::Scalar { text, plain } = &node.content else {
            self.problems.error(
                node.mark,
                format!("{name} must be {}, not {}", wanted(kind), what(node)),
            );
            if matches!(node.content, Content::Map(_))
                && matches!(kind, Kind::Text | Kind::Checked(_))
            {
                self.problems
                    .hint("a value that begins with `{{` needs quotes");
            }
            return None;
        };
        let value = scalar(text, *plain);
        if value.is_null() {
            self.problems
                .error(node.mark, format!("{name} has no value"))
                .hint(format!("must be {}", wanted(kind)));
            return None;
        }
        match convert(kind, text, &value) {
            Ok(value) => Some(value),
            Err((problem, hint)) => {
                self.problems
                    .error(node.mark, format!("{name} {problem}"))
                    .hint(hint);
                None
            }
        }
    }
}

fn accepted(tagged: &Tagged) -> impl Iterator<Item = &'static str> {
    tagged
        .variants
        .iter()
        .filter(|v| matches!(v.state, State::Acts))
        .map(|v| v.name)
}

/// Does the value do nothing, so that not acting on it changes nothing?
fn is_idle(value: &Node, idle: &str) -> bool {
    match &value.content {
        Content::Scalar { text, .. } => text == idle || value.is_null(),
        Content::List(items) => items.is_empty() && idle == "[]",
        Content::Map(entries) => entries.is_empty() && idle == "{}",
    }
}

fn forget_place(setting: &mut Setting) {
    setting.mark = Mark::default();
    if let Value::List(items) = &mut setting.value {
        items.iter_mut().for_each(forget_place);
    }
}
