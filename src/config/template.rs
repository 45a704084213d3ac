//! `{{NAME}}` in values.

/// Names of the variables in a template, in order.
///
/// # Errors
/// What is wrong, where braces do not close or a name is empty.
pub(super) fn variables(template: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = template;
    while let Some((_, after)) = rest.split_once("{{") {
        let (name, tail) = after.split_once("}}").ok_or("has `{{` without `}}`")?;
        let name = name.trim();
        if name.is_empty() || name.contains(['{', '}']) {
            return Err("has braces without a name".to_owned());
        }
        names.push(name);
        rest = tail;
    }
    Ok(names)
}

/// The text with each variable replaced.
///
/// # Errors
/// As [`variables`], or the name of a variable that has no value.
pub(super) fn expand<'a>(
    template: &str,
    value: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, String> {
    variables(template)?;
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, tail) = after.split_once("}}").ok_or("has `{{` without `}}`")?;
        let name = name.trim();
        out.push_str(before);
        out.push_str(
            value(name)
                .ok_or_else(|| format!("needs environment variable `{name}`, which is not set"))?,
        );
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_once() {
        let value = |name: &str| (name == "IP").then_some("{{IP}}");
        assert_eq!(
            expand("http://{{IP}}:1/{{ IP }}", value).as_deref(),
            Ok("http://{{IP}}:1/{{IP}}")
        );
        assert!(expand("{{NO}}", value).is_err_and(|e| e.contains("`NO`")));
    }

    #[test]
    fn broken_braces_are_refused() {
        assert!(variables("a{{b").is_err() && variables("{{}}").is_err());
        assert_eq!(variables("{{A}}/{{B}}"), Ok(vec!["A", "B"]));
    }
}
