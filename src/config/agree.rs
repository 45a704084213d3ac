//! Do two YAML readers understand a text alike?

use super::tree::{Content, Mark, Node, scalar};
use serde_yaml::Value;

/// Where `serde_yaml` reads something else than `root` says; None where both agree.
pub(super) fn disagreement(text: &str, root: &Node) -> Option<(Mark, String)> {
    match serde_yaml::from_str::<Value>(text) {
        Ok(value) => differing(root, &value).map(|mark| {
            (
                mark,
                "two YAML readers understand this differently".to_owned(),
            )
        }),
        Err(error) => {
            let at = error.location();
            let line = at.as_ref().map_or(root.mark.line, |l| l.line());
            let column = at.as_ref().map_or(root.mark.column, |l| l.column());
            Some((
                Mark {
                    line,
                    column,
                    width: 1,
                },
                format!("two YAML readers understand this differently: {error}"),
            ))
        }
    }
}

fn differing(node: &Node, value: &Value) -> Option<Mark> {
    match (&node.content, value) {
        (Content::List(items), Value::Sequence(values)) if items.len() == values.len() => {
            items.iter().zip(values).find_map(|(n, v)| differing(n, v))
        }
        (Content::Map(entries), Value::Mapping(map)) if entries.len() == map.len() => {
            entries.iter().zip(map).find_map(|(e, (k, v))| {
                // A key that looks like a number is a number to serde_yaml.
                let same = *k == Value::String(e.key.clone()) || *k == scalar(&e.key, true);
                if same {
                    differing(&e.value, v)
                } else {
                    Some(e.key_mark)
                }
            })
        }
        (Content::Scalar { text, plain }, value) if scalar(text, *plain) == *value => None,
        _ => Some(node.mark),
    }
}
