//! What is wrong with a configuration, and how it is shown.
//!
//! Enters: problems with their place, the text they are about, the places of secrets in it. Leaves: readable lines with
//! the source line and a caret.
//! Holds: what is shown has no control bytes and no secret.

use super::tree::Mark;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but not all of it does what it seems to say.
    Warning,
}

/// One thing that is wrong, where it is, and what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// From 1; 0: about no line of the file.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
    /// Characters to underline.
    width: usize,
    excerpt: Option<Excerpt>,
}

/// A source line made fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// Characters before the caret.
    indent: usize,
    width: usize,
}

impl Problem {
    pub(super) fn new(severity: Severity, mark: Mark, message: impl Into<String>) -> Self {
        Problem {
            severity,
            line: mark.line,
            column: mark.column,
            message: message.into(),
            hint: None,
            width: mark.width,
            excerpt: None,
        }
    }

    /// A problem about something outside the file's text: the file itself, or an environment variable.
    pub fn general(
        severity: Severity,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let mut problem = Problem::new(severity, Mark::default(), message);
        problem.hint = Some(hint.into());
        problem
    }
}

/// Collects problems, so that one run finds all of them.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub fn error(&mut self, mark: Mark, message: impl Into<String>) -> &mut Self {
        self.push(Problem::new(Severity::Error, mark, message))
    }

    pub fn warn(&mut self, mark: Mark, message: impl Into<String>) -> &mut Self {
        self.push(Problem::new(Severity::Warning, mark, message))
    }

    /// Adds a hint to the problem that was reported last.
    pub fn hint(&mut self, hint: impl Into<String>) {
        if let Some(last) = self.0.last_mut() {
            last.hint = Some(hint.into());
        }
    }

    pub fn push(&mut self, problem: Problem) -> &mut Self {
        self.0.push(problem);
        self
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|p| p.severity == Severity::Error)
    }

    /// In the order of the file, each once (an alias shows the same place several times), with their source lines.
    pub fn finish(mut self, text: &str, secrets: &[Mark]) -> Vec<Problem> {
        let lines: Vec<&str> = text.lines().collect();
        for problem in &mut self.0 {
            problem.excerpt = excerpt(problem, &lines, secrets);
        }
        self.0.sort_by_key(|p| (p.line, p.column, p.severity));
        let mut seen = Vec::new();
        self.0.retain(|p| {
            let id = (p.line, p.column, p.message.clone());
            let first = !seen.contains(&id);
            if first {
                seen.push(id);
            }
            first
        });
        self.0
    }
}

/// What a secret is shown as.
pub(super) const MASK: &str = "********";
/// Characters of a source line that are shown at most.
const LINE_SHOWN: usize = 120;

fn excerpt(problem: &Problem, lines: &[&str], secrets: &[Mark]) -> Option<Excerpt> {
    let line = lines.get(problem.line.checked_sub(1)?)?;
    let mut chars: Vec<char> = mask_user_info(line).chars().collect();
    let mut indent = problem.column.saturating_sub(1);
    let mut width = problem.width.max(1);
    let mut on_line: Vec<&Mark> = secrets.iter().filter(|s| s.line == problem.line).collect();
    on_line.sort_by_key(|s| std::cmp::Reverse(s.column));
    on_line.dedup();
    for secret in on_line {
        let from = (secret.column - 1).min(chars.len());
        let to = (from + secret.width).min(chars.len());
        chars.splice(from..to, MASK.chars());
        if indent == from {
            width = width.min(MASK.len());
        } else if indent > from {
            indent = (indent + MASK.len()).saturating_sub(to - from).max(from);
        }
    }
    let skip = if chars.len() > LINE_SHOWN {
        indent.saturating_sub(LINE_SHOWN / 2)
    } else {
        0
    };
    let text: String = chars
        .iter()
        .skip(skip)
        .take(LINE_SHOWN)
        .map(|c| flat(*c))
        .collect();
    let indent = indent - skip;
    let width = width
        .min(text.chars().count().saturating_sub(indent))
        .max(1);
    Some(Excerpt {
        text: text.trim_end().to_owned(),
        indent,
        width,
    })
}

/// One character for one, so that the caret stays where it belongs.
fn flat(c: char) -> char {
    match c {
        '\t' => ' ',
        c if unsafe_to_show(c) => '?',
        c => c,
    }
}

fn unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Text with control characters, and those that change the direction of writing, written as escapes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if unsafe_to_show(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A value from outside as it is named in a message: in backquotes, cut when long.
pub(super) fn quote(value: &str) -> String {
    let value = mask_user_info(value);
    if value.chars().count() <= 60 {
        format!("`{value}`")
    } else {
        format!("`{}…`", value.chars().take(59).collect::<String>())
    }
}

/// Hides `user:password@` of URLs.
pub(super) fn mask_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail
            .find(['/', ' ', '"', '\'', '?', '#', ','])
            .unwrap_or(tail.len());
        let (authority, after) = tail.split_at(end);
        match authority.rfind('@') {
            Some(i) => {
                out.push_str(MASK);
                out.push_str(&authority[i..]);
            }
            None => out.push_str(authority),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// All problems as a person reads them, and a last line with their number. `file` is the name to show.
pub fn render(file: &str, problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        render_one(&mut out, file, problem);
    }
    let count = |severity| problems.iter().filter(|p| p.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let parts: Vec<String> = [(errors, "error"), (warnings, "warning")]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}{}", if *n == 1 { "" } else { "s" }))
        .collect();
    let verdict = match (errors, parts.is_empty()) {
        (0, true) => "fine".to_owned(),
        (0, false) => format!("fine, {}", parts.join(", ")),
        _ => parts.join(", "),
    };
    out.push_str(&format!("{}: {verdict}\n", escape(file)));
    out
}

fn render_one(out: &mut String, file: &str, problem: &Problem) {
    let word = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    out.push_str(&escape(file));
    if problem.line > 0 {
        out.push_str(&format!(":{}:{}", problem.line, problem.column));
    }
    out.push_str(&format!(": {word}: {}\n", escape(&problem.message)));
    let hint = problem.hint.as_deref().map(escape).unwrap_or_default();
    match &problem.excerpt {
        Some(excerpt) => {
            out.push_str(&format!("{:>5} | {}\n", problem.line, excerpt.text));
            let caret = format!(
                "{}{} {hint}",
                " ".repeat(excerpt.indent),
                "^".repeat(excerpt.width)
            );
            out.push_str(&format!("      | {}\n", caret.trim_end()));
        }
        None if !hint.is_empty() => out.push_str(&format!("      = {hint}\n")),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(text: &str, mark: Mark, secrets: &[Mark]) -> String {
        let mut problems = Problems::default();
        problems.error(mark, "wrong").hint("right");
        render("a.yaml", &problems.finish(text, secrets))
    }

    #[test]
    fn a_problem_shows_its_line_with_a_caret_under_it() {
        let shown = finish(
            "a: 1\nlevle: x\n",
            Mark {
                line: 2,
                column: 1,
                width: 5,
            },
            &[],
        );
        assert_eq!(
            shown,
            "a.yaml:2:1: error: wrong\n    2 | levle: x\n      | ^^^^^ right\na.yaml: 1 error\n"
        );
    }

    #[test]
    fn a_secret_before_the_caret_is_masked_and_the_caret_moves_along() {
        let text = "k: {value: hunter2, bad: 1}";
        let secret = Mark {
            line: 1,
            column: 12,
            width: 7,
        };
        let shown = finish(
            text,
            Mark {
                line: 1,
                column: 21,
                width: 3,
            },
            &[secret],
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "    1 | k: {value: ********, bad: 1}");
        assert_eq!(lines[1].find("bad"), lines[2].find("^^^"), "{shown}");
    }

    #[test]
    fn control_bytes_never_reach_the_terminal() {
        let shown = finish(
            "a\u{1b}[31m: 1",
            Mark {
                line: 1,
                column: 1,
                width: 2,
            },
            &[],
        );
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        assert_eq!(escape("a\u{1b}\u{202e}b"), "a\\u{1b}\\u{202e}b");
    }

    #[test]
    fn user_info_of_urls_is_masked() {
        assert_eq!(
            mask_user_info("see https://me:pw@host/x, http://b"),
            "see https://********@host/x, http://b"
        );
    }

    #[test]
    fn the_same_problem_is_reported_once() {
        let mut problems = Problems::default();
        let mark = Mark {
            line: 1,
            column: 1,
            width: 1,
        };
        problems.error(mark, "x");
        problems.error(mark, "x");
        assert_eq!(problems.finish("a", &[]).len(), 1);
    }
}
