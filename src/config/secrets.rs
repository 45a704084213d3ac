//! Where secrets stand in a file, so that a problem beside one can be shown without it.
//!
//! Found by shape and not by the tables: a misspelt key still has a secret behind it. To mask too much only makes an
//! excerpt harder to read.

use super::environment::is_name;
use super::tree::{Content, Entry, Mark, Node};

/// Marks of all values that may be secrets.
pub(super) fn marks(root: &Node) -> Vec<Mark> {
    let mut found = Vec::new();
    visit(root, false, &mut found);
    found
}

fn visit(node: &Node, secret: bool, found: &mut Vec<Mark>) {
    match &node.content {
        // A value over several lines: only its first is ever shown.
        Content::Scalar { .. } if secret => {
            let width = if node.mark.width > 1 {
                node.mark.width
            } else {
                usize::MAX / 2
            };
            found.push(Mark { width, ..node.mark })
        }
        Content::Scalar { .. } => {}
        Content::List(items) => items.iter().for_each(|item| visit(item, secret, found)),
        Content::Map(entries) => {
            let is_type = |word| {
                node.entry("type")
                    .is_some_and(|e| e.value.text() == Some(word))
            };
            let (names_variable, is_text) = (is_type("env"), is_type("text"));
            for entry in entries {
                let here = match entry.key.as_str() {
                    "value" => !(names_variable && entry.value.text().is_some_and(is_name)),
                    "type" => false,
                    _ => secret || is_text || secret_key(entry),
                };
                visit(&entry.value, here, found);
            }
        }
    }
}

/// Keys whose plain value is a secret: someone wrote it where `{type, value}` belongs.
fn secret_key(entry: &Entry) -> bool {
    let name = entry.key.to_ascii_lowercase();
    [
        "secret",
        "token",
        "password",
        "passwd",
        "authorization",
        "cookie",
        "api-key",
        "apikey",
    ]
    .iter()
    .any(|w| name.contains(w))
        || name.ends_with("_key")
}

/// For text that is no YAML, so that there is no tree: what follows the first `: ` of a line that may hold a secret.
pub(super) fn marks_of_lines(text: &str) -> Vec<Mark> {
    let words = [
        "value",
        "key",
        "secret",
        "token",
        "passw",
        "authorization",
        "cookie",
    ];
    let suspicious = |line: &str| words.iter().any(|w| line.to_ascii_lowercase().contains(w));
    text.lines()
        .enumerate()
        .filter(|(_, line)| suspicious(line))
        .filter_map(|(i, line)| {
            let after = line.find(':')? + 1;
            let column = line[..after].chars().count() + 2;
            let width = line.chars().count().saturating_sub(column - 1);
            (width > 0).then_some(Mark {
                line: i + 1,
                column,
                width,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::problem::Problems;
    use super::*;

    fn masked(text: &str) -> Vec<(usize, usize)> {
        let root = super::super::tree::read(text, &mut Problems::default()).expect("a tree");
        marks(&root).iter().map(|m| (m.line, m.column)).collect()
    }

    #[test]
    fn a_text_credential_is_a_secret_even_under_a_misspelt_key() {
        assert_eq!(masked("acess: {type: text, value: hunter2}"), [(1, 28)]);
        assert_eq!(masked("access_key: AKIA"), [(1, 13)]);
        assert_eq!(masked("a: {type: text, vale: hunter2}"), [(1, 23)]);
        assert_eq!(
            masked("access_key: {typ: txt, vale: x}"),
            [(1, 19), (1, 30)]
        );
    }

    #[test]
    fn the_name_of_a_variable_is_not() {
        assert_eq!(masked("access_key: {type: env, value: NAME}"), []);
        assert_eq!(
            masked("access_key: {type: env, value: hunter-2}"),
            [(1, 32)]
        );
        assert_eq!(masked("redact: {rules: [{key: x-user}]}"), []);
    }

    #[test]
    fn without_a_tree_whole_lines_are_hidden() {
        assert_eq!(
            marks_of_lines("a: 1\n  value: 'hunter2"),
            [Mark {
                line: 2,
                column: 10,
                width: 8
            }]
        );
    }
}
