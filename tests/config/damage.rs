//! Any text is either a configuration or a list of problems: never a panic, never a secret on the screen.

use crate::{environment, text_of};
use plainspan::config::{load, render};
use proptest::prelude::*;

/// Files with secrets in them, as bases for damage.
fn bases() -> Vec<String> {
    let fixtures = [
        "broken-04-credentials.yaml",
        "warned-qtap.yaml",
        "broken-09-limits-and-patterns.yaml",
    ];
    let mut bases: Vec<String> = fixtures
        .iter()
        .map(|f| text_of(&format!("tests/fixtures/configs/{f}")))
        .collect();
    bases.push(text_of("otel-config/plainspan.yaml"));
    bases
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_give_problems_with_places_inside_the_file(
        base in 0usize..4,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..30, "[a-z:{}\\[\\]'\"\n #&*|>-]{0,4}"), 1..6),
    ) {
        let mut chars: Vec<char> = bases()[base].chars().collect();
        for (at, length, insert) in cuts {
            let from = at.index(chars.len().max(1)).min(chars.len());
            let to = (from + length).min(chars.len());
            chars.splice(from..to, insert.chars());
        }
        let text: String = chars.into_iter().collect();
        let problems = match load(&text, "damaged.yaml", &environment(&[])) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                problems
            }
        };
        let lines = text.lines().count();
        for problem in &problems {
            prop_assert!(problem.line <= lines + 1, "{problem:?}");
        }
        prop_assert!(render("damaged.yaml", &problems).ends_with('\n'));
    }

    #[test]
    fn any_text_can_be_read(text in "\\PC{0,200}") {
        let shown = match load(&text, "any.yaml", &environment(&[])) {
            Ok(loaded) => render("any.yaml", &loaded.warnings),
            Err(problems) => render("any.yaml", &problems),
        };
        prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
