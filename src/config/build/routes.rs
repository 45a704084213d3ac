//! Routes of paths, each fault shown where it stands in the pattern.

use super::Builder;
use crate::config::inside::locate;
use crate::config::problem::quote;
use crate::config::settings::Fields;
use crate::routes::{MAX_PATTERNS, Overlap, Pattern, Table};
use crate::rules::expr::Span;

impl Builder<'_> {
    pub(super) fn routes(&mut self, tap: &Fields) -> Vec<Pattern> {
        let mut patterns: Vec<Pattern> = Vec::new();
        for setting in tap.list("routes") {
            let Some(text) = setting.value.text() else {
                continue;
            };
            let pattern = match Pattern::parse(text) {
                Ok(pattern) => pattern,
                Err(fault) => {
                    let span = Span::new(fault.place.start, fault.place.end);
                    let mark = locate(self.text, setting.mark, text, span);
                    self.problems.error(mark, fault.message).hint(fault.hint);
                    continue;
                }
            };
            let same = |known: &&Pattern| known.segments == pattern.segments;
            if let Some(known) = patterns.iter().find(same) {
                let message = format!("this is the same route as {}", quote(&known.text));
                self.problems
                    .error(setting.mark, message)
                    .hint("leave one of them out");
                continue;
            }
            patterns.push(pattern);
        }
        let mark = tap.mark("routes");
        if patterns.len() > MAX_PATTERNS {
            self.problems
                .error(mark, format!("there are more than {MAX_PATTERNS} routes"))
                .hint("leave out those that nobody looks at");
        } else if let Err(Overlap) = Table::new(&patterns) {
            self.problems
                .error(mark, "the routes overlap in too many ways")
                .hint("begin those with many parameters with a literal of their own");
        }
        patterns
    }
}
