//! Single values: what a scalar must be to fit its [`Kind`], and what to say where it does not.

use super::near::nearest;
use super::problem::quote;
use super::settings::Value;
use super::table::{Kind, LATER, Words};
use super::text;
use super::tree::{Content, Node, scalar};
use serde_yaml::Value as Yaml;

/// The value, or what is wrong and what to write.
pub(super) fn convert(kind: &Kind, text: &str, value: &Yaml) -> Result<Value, (String, String)> {
    let wrong = || format!("must be {}, not {}", wanted(kind), quote(text));
    match kind {
        Kind::Bool => value
            .as_bool()
            .map(Value::Bool)
            .ok_or_else(|| (wrong(), "write true or false".to_owned())),
        Kind::Number(least, most) => match value.as_u64() {
            Some(n) if (*least..=*most).contains(&n) => Ok(Value::Number(n)),
            _ => Err((wrong(), String::new())),
        },
        Kind::Choice(words) => {
            choose(*words, text).map_err(|hint| match words.later().contains(&text) {
                true => (format!("cannot be {}: it {LATER}", quote(text)), hint),
                false => (format!("cannot be {}", quote(text)), hint),
            })
        }
        Kind::Duration(least, most) => {
            let value = text::duration(text).map_err(|hint| (wrong(), hint))?;
            let ms = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
            let show = |ms: &u64| text::show_duration(std::time::Duration::from_millis(*ms));
            in_range(ms, *least, *most, show)
                .map_err(|hint| (format!("cannot be {}", quote(text)), hint))?;
            Ok(Value::Duration(value))
        }
        Kind::Size(least, most) => {
            let bytes = text::size(text).map_err(|hint| (wrong(), hint))?;
            in_range(bytes, *least, *most, |b| text::show_size(*b))
                .map_err(|hint| (format!("cannot be {}", quote(text)), hint))?;
            Ok(Value::Size(bytes))
        }
        Kind::Checked(check) => check(text)
            .map(|()| Value::Text(text.to_owned()))
            .map_err(|problem| (problem, String::new())),
        _ => Ok(Value::Text(text.to_owned())),
    }
}

fn in_range(
    value: u64,
    least: u64,
    most: u64,
    show: impl Fn(&u64) -> String,
) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("from {} to {}", show(&least), show(&most)))
}

fn choose(words: &dyn Words, text: &str) -> Result<Value, String> {
    let names = words.names();
    if names.contains(&text) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(match nearest(text, names.iter().copied()) {
        Some(name) if !words.later().contains(&text) => format!("did you mean `{name}`?"),
        _ => format!("one of {}", names.join(", ")),
    })
}

/// What a node is, in words.
pub(super) fn what(node: &Node) -> &'static str {
    match &node.content {
        Content::Scalar { text, plain } => match scalar(text, *plain) {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "true or false",
            Yaml::Number(_) => "a number",
            _ => "text",
        },
        Content::List(_) => "a list",
        Content::Map(_) => "a map",
    }
}

/// What a value must be, in words.
pub(super) fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Number(least, most) if least == most => least.to_string(),
        Kind::Number(least, most) => format!("a whole number from {least} to {most}"),
        Kind::Choice(words) => format!("one of {}", words.names().join(", ")),
        Kind::Duration(..) => "a time such as `10s`".to_owned(),
        Kind::Size(..) => "a size such as `16MiB`".to_owned(),
        _ => "text".to_owned(),
    }
}
