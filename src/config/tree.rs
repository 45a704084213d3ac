//! YAML as a tree whose keys and values know where they stand.
//!
//! Enters: text. Leaves: nodes with line, column and width, or problems.
//! Holds: nesting, nodes and text are bounded, aliases included; what YAML readers are known to understand differently
//! (tags, merge keys, duplicate keys, several documents, control characters) is refused by name.
//!
//! The events are saphyr-parser's, for their exact positions. What a scalar *is* (number, boolean, null, text) is for
//! `serde_yaml` to say (see [`scalar`]), and [`agree`](super::agree) lets it read the whole text once more: where the two
//! readers understand a file differently, nobody can know what its author meant.

use super::problem::{Problems, quote};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_yaml::Value;
use std::collections::HashMap;

/// Bytes of a configuration, at most.
pub const MAX_TEXT: usize = 1 << 20;
const MAX_NODES: usize = 50_000;
const MAX_DEPTH: usize = 48;

/// A place in the text. Line and column count from 1, in characters; line 0 is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
    pub width: usize,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub mark: Mark,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// `plain`: written without quotes, so that it may be a number, a boolean or null.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_mark: Mark,
    pub value: Node,
}

impl Node {
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// Text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true } if scalar(text, true).is_null())
    }

    fn size_and_depth(&self) -> (usize, usize) {
        let children: Vec<&Node> = match &self.content {
            Content::Scalar { .. } => return (1, 1),
            Content::List(items) => items.iter().collect(),
            Content::Map(entries) => entries.iter().map(|e| &e.value).collect(),
        };
        children
            .iter()
            .map(|n| n.size_and_depth())
            .fold((1, 1), |(size, depth), (s, d)| (size + s, depth.max(d + 1)))
    }
}

/// What a scalar is: `serde_yaml` decides for plain ones, quoted ones are text.
pub fn scalar(text: &str, plain: bool) -> Value {
    let as_text = || Value::String(text.to_owned());
    if !plain {
        return as_text();
    }
    match serde_yaml::from_str(text) {
        Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value,
        // Plain text may hold characters that mean something at the start of a document.
        Ok(_) | Err(_) => as_text(),
    }
}

/// Reads one document; None when there is nothing that could be looked at further.
pub(super) fn read(text: &str, problems: &mut Problems) -> Option<Node> {
    if text.len() > MAX_TEXT {
        problems.error(
            Mark::default(),
            format!("the file has {} bytes, more than {MAX_TEXT}", text.len()),
        );
        return None;
    }
    if let Some(mark) = first_control_character(text) {
        problems.error(mark, "control character: YAML does not allow it");
        return None;
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.take(event, span, problems),
            Err(error) => {
                let mark = Mark {
                    line: error.marker().line(),
                    column: error.marker().col() + 1,
                    width: 1,
                };
                problems.error(mark, format!("not YAML: {}", error.info()));
                brace_hint(text, mark.line, problems);
                Err(Stop)
            }
        };
        if step.is_err() {
            return None;
        }
    }
    let root = builder.root.filter(|n| !n.is_null());
    if root.is_none() {
        problems
            .error(Mark::default(), "the file is empty")
            .hint("see otel-config/plainspan.yaml for what can be in it");
    }
    root
}

fn brace_hint(text: &str, line: usize, problems: &mut Problems) {
    let near = text.lines().skip(line.saturating_sub(2)).take(2);
    if near.into_iter().any(|l| l.contains(": {{")) {
        problems.hint("a value that begins with `{{` needs quotes");
    }
}

fn first_control_character(text: &str) -> Option<Mark> {
    text.split('\n').enumerate().find_map(|(i, line)| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let column = line.chars().position(|c| c.is_control() && c != '\t')?;
        Some(Mark {
            line: i + 1,
            column: column + 1,
            width: 1,
        })
    })
}

/// Reading cannot go on; the reason has been reported.
struct Stop;

struct Frame {
    node: Node,
    anchor: usize,
    /// Key whose value comes next.
    key: Option<(String, Mark)>,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event, span: Span, problems: &mut Problems) -> Result<(), Stop> {
        let mark = mark_of(span);
        match event {
            Event::DocumentStart(_) => self.document(mark, problems)?,
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), mark, problems);
                let plain = style == ScalarStyle::Plain;
                let node = Node {
                    mark,
                    content: Content::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                };
                self.count(1, mark, problems)?;
                self.place(node, anchor, problems);
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.is_some(), mark, problems);
                self.open(Content::List(Vec::new()), mark, anchor, problems)?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.is_some(), mark, problems);
                self.open(Content::Map(Vec::new()), mark, anchor, problems)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(frame) = self.stack.pop() {
                    self.place(frame.node, frame.anchor, problems);
                }
            }
            Event::Alias(id) => self.alias(id, mark, problems)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn document(&mut self, mark: Mark, problems: &mut Problems) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents > 1 {
            problems
                .error(mark, "a second YAML document")
                .hint("a configuration is one document");
            return Err(Stop);
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, mark: Mark, problems: &mut Problems) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            problems.error(mark, "an alias inside the value that it names");
            return Err(Stop);
        };
        let (size, depth) = node.size_and_depth();
        self.count(size, mark, problems)?;
        self.depth(depth, mark, problems)?;
        self.place(node, 0, problems);
        Ok(())
    }

    fn open(
        &mut self,
        content: Content,
        mark: Mark,
        anchor: usize,
        problems: &mut Problems,
    ) -> Result<(), Stop> {
        self.count(1, mark, problems)?;
        self.depth(1, mark, problems)?;
        self.stack.push(Frame {
            node: Node { mark, content },
            anchor,
            key: None,
        });
        Ok(())
    }

    fn count(&mut self, nodes: usize, mark: Mark, problems: &mut Problems) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            problems.error(
                mark,
                format!("more than {MAX_NODES} values, aliases followed"),
            );
            return Err(Stop);
        }
        Ok(())
    }

    fn depth(&self, more: usize, mark: Mark, problems: &mut Problems) -> Result<(), Stop> {
        if self.stack.len() + more > MAX_DEPTH {
            problems.error(mark, format!("nested more than {MAX_DEPTH} deep"));
            return Err(Stop);
        }
        Ok(())
    }

    /// Puts a finished node where it belongs: the root, the next of a list, the next key or value of a map.
    fn place(&mut self, node: Node, anchor: usize, problems: &mut Problems) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut frame.node.content, frame.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(_), None) => frame.key = Some(key_of(node, problems)),
            (Content::Map(entries), Some((key, key_mark))) => add_entry(
                entries,
                Entry {
                    key,
                    key_mark,
                    value: node,
                },
                problems,
            ),
            // A frame is a list or a map.
            (Content::Scalar { .. }, _) => {}
        }
    }
}

fn refuse_tag(tagged: bool, mark: Mark, problems: &mut Problems) {
    if tagged {
        problems
            .error(mark, "YAML tags are not understood here")
            .hint("leave out the `!…`; quotes make a text");
    }
}

fn key_of(node: Node, problems: &mut Problems) -> (String, Mark) {
    match node.content {
        Content::Scalar { text, .. } => (text, node.mark),
        Content::List(_) | Content::Map(_) => {
            problems
                .error(node.mark, "a key must be text")
                .hint("a value that begins with `{` or `[` needs quotes");
            (String::new(), node.mark)
        }
    }
}

fn add_entry(entries: &mut Vec<Entry>, entry: Entry, problems: &mut Problems) {
    if let Some(first) = entries.iter().find(|e| e.key == entry.key) {
        let message = format!(
            "duplicate key {}, first on line {}",
            quote(&entry.key),
            first.key_mark.line
        );
        problems.error(entry.key_mark, message);
    } else if entry.key == "<<" {
        problems
            .error(entry.key_mark, "merge keys (`<<`) are not understood here")
            .hint("write the keys out");
    } else {
        entries.push(entry);
    }
}

fn mark_of(span: Span) -> Mark {
    // A span over several lines underlines its first character alone.
    let width = if span.start.line() == span.end.line() {
        span.len().max(1)
    } else {
        1
    };
    Mark {
        line: span.start.line(),
        column: span.start.col() + 1,
        width,
    }
}

#[cfg(test)]
mod tests {
    use super::super::agree::disagreement;
    use super::super::problem::render;
    use super::*;

    fn problems_of(text: &str) -> String {
        let mut problems = Problems::default();
        if let Some(root) = read(text, &mut problems)
            && let Some((mark, message)) = disagreement(text, &root)
            && !problems.has_errors()
        {
            problems.error(mark, message);
        }
        render("f", &problems.finish(text, &[]))
    }

    #[test]
    fn keys_and_values_know_where_they_stand() {
        let mut problems = Problems::default();
        let root = read("a:\n  - b: 'x y'\n    ü: 3\n", &mut problems).expect("a tree");
        let Content::List(items) = &root.entry("a").expect("a").value.content else {
            panic!("no list")
        };
        let entry = items[0].entry("b").expect("b");
        assert_eq!(
            entry.key_mark,
            Mark {
                line: 2,
                column: 5,
                width: 1
            }
        );
        assert_eq!(
            entry.value.mark,
            Mark {
                line: 2,
                column: 8,
                width: 5
            }
        );
        assert_eq!(
            items[0].entry("ü").expect("ü").value.mark,
            Mark {
                line: 3,
                column: 8,
                width: 1
            }
        );
    }

    #[test]
    fn what_readers_disagree_on_is_refused_by_name() {
        for (text, expected) in [
            ("a: 1\na: 2", "duplicate key `a`, first on line 1"),
            ("a: &x {b: 1}\nc:\n  <<: *x", "merge keys"),
            ("a: !!str 1", "YAML tags"),
            ("a: 1\n---\nb: 2", "second YAML document"),
            ("a: 'x", "not YAML"),
            ("a: {{X}}:1", "needs quotes"),
            ("? [1]\n: 2", "a key must be text"),
            ("a: \u{0}b", "control character"),
            ("", "the file is empty"),
            ("a: &x [*x]", "alias"),
        ] {
            assert!(
                problems_of(text).contains(expected),
                "{text:?} gave {}",
                problems_of(text)
            );
        }
    }

    #[test]
    fn an_alias_stands_for_the_value_it_names() {
        let mut problems = Problems::default();
        let root = read("a: &x {b: 1}\nc: *x\n", &mut problems).expect("a tree");
        assert!(!problems.has_errors());
        assert_eq!(
            root.entry("c")
                .and_then(|c| c.value.entry("b"))
                .and_then(|b| b.value.text()),
            Some("1")
        );
        assert_eq!(problems_of("a: &x {b: 1}\nc: *x\n"), "f: fine\n");
    }

    #[test]
    fn alias_bombs_and_deep_nesting_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..9 {
            let of = format!("*a{}", i - 1);
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![of; 10].join(",")));
        }
        assert!(problems_of(&bomb).contains("more than 50000 values"));
        assert!(problems_of(&"[".repeat(5000)).contains("error"));
        let deep: String = (0..60).map(|i| format!("{}k:\n", "  ".repeat(i))).collect();
        assert!(problems_of(&deep).contains("nested more than 48 deep"));
    }

    #[test]
    fn plain_scalars_are_what_serde_yaml_says() {
        assert_eq!(scalar("true", true), Value::Bool(true));
        assert_eq!(scalar("true", false), Value::String("true".into()));
        assert_eq!(scalar("yes", true), Value::String("yes".into()));
        assert!(scalar("~", true).is_null());
        assert_eq!(scalar("0x10", true), Value::Number(16.into()));
    }
}
