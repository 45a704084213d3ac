//! What is known of a process beside its program: groups, container, pod, chosen variables, tags, strategy.

use super::strategy::Strategy;
use crate::config::{PrivateRanges, TagRule, TagSource};
use crate::enrich::identity::{Cgroups, Container, Pod};
use std::fmt;
use std::sync::Arc;

/// Label of a pod that names its stack (QTap).
const STACK_LABEL: &str = "tap.qpoint.io/stack";
/// Tags of one process, and bytes of a tag's value, at the most.
const TAGS_MAX: usize = 64;
const TAG_MAX: usize = 256;

/// How a process is identified beyond `/proc`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    pub cgroups: Cgroups,
    pub lookup: Lookup,
    /// What its SDK publishes of it is being read for the first time.
    pub reading: bool,
    /// Present where a runtime knows it.
    pub container: Option<Arc<Container>>,
    /// Variables of its environment that the configuration asks for.
    pub env: Variables,
    /// Sorted, each once.
    pub tags: Vec<Tag>,
    /// What the process's environment asks for (`QPOINT_STRATEGY`).
    pub strategy: Strategy,
    /// Peers that are internal to it.
    pub private: PrivateRanges,
}

/// How far the look-up of a process's container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lookup {
    /// It is in no container, or nobody can be asked.
    #[default]
    None,
    /// Asked, not answered yet.
    Pending,
    Known,
    /// Runtimes were asked, and none has it.
    NotFound,
    /// No runtime answered in time.
    Unavailable,
}

/// `key:value`, as rules see it; spans carry it as `plainspan.tag.KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    text: String,
    /// Bytes of the key.
    split: usize,
}

/// Variables of an environment. They may be secrets: `Debug` shows names alone.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Variables(pub(super) Vec<(String, String)>);

impl Variables {
    pub fn new(pairs: Vec<(String, String)>) -> Variables {
        Variables(pairs)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Identity {
    /// More will be known in a moment.
    pub fn is_pending(&self) -> bool {
        self.reading || self.lookup == Lookup::Pending
    }

    pub fn pod(&self) -> Option<&Pod> {
        self.container.as_ref()?.pod.as_ref()
    }

    /// The stack that the pod asks for by its label.
    pub fn stack(&self) -> Option<&str> {
        Some(self.pod()?.labels.get(STACK_LABEL)?.trim())
    }

    /// Takes what a runtime said, and the tags that follow from it.
    pub(super) fn set(
        &mut self,
        lookup: Lookup,
        container: Option<Arc<Container>>,
        tags: &[TagRule],
    ) {
        self.lookup = lookup;
        self.container = container;
        self.tags = self.collect(tags);
    }

    fn collect(&self, rules: &[TagRule]) -> Vec<Tag> {
        let own = self.env.get(super::TAGS_VARIABLE).unwrap_or_default();
        let own = own.split(',').filter_map(|pair| pair.split_once(':'));
        let ruled = rules
            .iter()
            .filter_map(|rule| Some((&*rule.key, self.value(rule)?)));
        let mut tags: Vec<Tag> = ruled
            .chain(own)
            .filter_map(|(key, value)| Tag::new(key, value))
            .take(TAGS_MAX)
            .collect();
        tags.sort();
        tags.dedup();
        tags
    }

    /// What a rule for tags names.
    pub(super) fn value(&self, rule: &TagRule) -> Option<&str> {
        let location = &*rule.location;
        match rule.source {
            TagSource::Env => self.env.get(location),
            TagSource::PodLabel => self.pod()?.labels.get(location).map(String::as_str),
            TagSource::PodAnnotation => self.pod()?.annotations.get(location).map(String::as_str),
            TagSource::ContainerLabel => {
                let labels = &self.container.as_ref()?.labels;
                labels.get(location).map(String::as_str)
            }
        }
    }
}

impl Tag {
    /// Values are lower-case, without space around, with hyphens for spaces within, as QTap's. None: nothing is left.
    pub(crate) fn new(key: &str, value: &str) -> Option<Tag> {
        let clean = |text: &str| {
            let words = text.trim().to_lowercase().replace(' ', "-");
            let end = words.floor_char_boundary(TAG_MAX);
            words[..end].to_owned()
        };
        let key = clean(key);
        let value = clean(value);
        (!key.is_empty() && !value.is_empty()).then(|| Tag {
            split: key.len(),
            text: format!("{key}:{value}"),
        })
    }

    /// Reads `key:value`.
    pub fn parse(text: &str) -> Option<Tag> {
        let (key, value) = text.split_once(':')?;
        Tag::new(key, value)
    }

    /// `key:value`
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn key(&self) -> &str {
        &self.text[..self.split]
    }

    pub fn value(&self) -> &str {
        &self.text[self.split + 1..]
    }
}

impl Lookup {
    /// Why the container's names are not known; None: they are, or there is no container.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Lookup::None | Lookup::Known => None,
            Lookup::Pending => Some("pending"),
            Lookup::NotFound => Some("not_found"),
            Lookup::Unavailable => Some("unavailable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(key: &str, source: TagSource, location: &str) -> TagRule {
        TagRule {
            key: key.into(),
            source,
            location: location.into(),
        }
    }

    fn shown(identity: &Identity) -> Vec<String> {
        let text = |tag: &Tag| {
            assert_eq!(tag.text(), format!("{}:{}", tag.key(), tag.value()));
            tag.text().to_owned()
        };
        identity.tags.iter().map(text).collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> crate::enrich::identity::Labels {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn tags_come_from_variables_labels_and_annotations() {
        let container = Container {
            labels: labels(&[("tier", "Front End")]),
            pod: Some(Pod {
                labels: labels(&[("team", " Checkout "), (STACK_LABEL, "other")]),
                annotations: labels(&[("note", "x")]),
                ..Pod::default()
            }),
            ..Container::default()
        };
        let rules = [
            rule("env", TagSource::Env, "STAGE"),
            rule("team", TagSource::PodLabel, "team"),
            rule("note", TagSource::PodAnnotation, "note"),
            rule("tier", TagSource::ContainerLabel, "tier"),
            rule("none", TagSource::PodLabel, "missing"),
        ];
        let mut identity = Identity {
            env: Variables(vec![
                ("STAGE".into(), "PROD".into()),
                (
                    super::super::TAGS_VARIABLE.into(),
                    "a:b,team:two,bad,c: ".into(),
                ),
            ]),
            ..Identity::default()
        };
        identity.set(Lookup::Unavailable, None, &rules);
        assert_eq!(shown(&identity), ["a:b", "env:prod", "team:two"]);
        assert_eq!(identity.stack(), None);
        identity.set(Lookup::Known, Some(Arc::new(container)), &rules);
        assert_eq!(
            shown(&identity),
            [
                "a:b",
                "env:prod",
                "note:x",
                "team:checkout",
                "team:two",
                "tier:front-end"
            ]
        );
        assert_eq!(identity.stack(), Some("other"));
    }

    #[test]
    fn a_process_cannot_make_tags_without_end() {
        let many: Vec<String> = (0..1000)
            .map(|i| format!("k{i}:{}", "é".repeat(1000)))
            .collect();
        let mut identity = Identity {
            env: Variables(vec![(super::super::TAGS_VARIABLE.into(), many.join(","))]),
            ..Identity::default()
        };
        identity.set(Lookup::None, None, &[]);
        assert_eq!(identity.tags.len(), TAGS_MAX);
        assert!(identity.tags.iter().all(|tag| tag.value().len() <= TAG_MAX));
    }

    #[test]
    fn values_of_variables_are_not_shown() {
        let env = Variables(vec![("NAME".into(), "secret".into())]);
        assert_eq!(format!("{env:?}"), "[\"NAME\"]");
    }
}
