//! Golden tests: what is shown for a broken file, to the letter. `PLAINSPAN_BLESS=1` writes what is shown now.

use crate::{environment, path, text_of};
use plainspan::cli::args::CheckArgs;
use plainspan::cli::check::report;
use plainspan::config::file::Reader;
use plainspan::config::{load, render};

fn names(prefix: &str) -> Vec<String> {
    let folder = path("tests/fixtures/configs");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder of fixtures")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| name.starts_with(prefix) && name.ends_with(".yaml"))
        .collect();
    names.sort();
    names
}

/// What `check` shows, and whether the file can be used.
fn shown(name: &str) -> (bool, String) {
    let text = text_of(&format!("tests/fixtures/configs/{name}"));
    match load(&text, name, &environment(&[])) {
        Ok(loaded) => (true, render(name, &loaded.warnings)),
        Err(problems) => (false, render(name, &problems)),
    }
}

fn compare(name: &str, shown: &str) {
    let golden = path("tests/fixtures/configs").join(name.replace(".yaml", ".txt"));
    if std::env::var_os("PLAINSPAN_BLESS").is_some() {
        std::fs::write(&golden, shown).expect("golden file written");
    }
    let expected =
        std::fs::read_to_string(&golden).unwrap_or_else(|e| panic!("{}: {e}", golden.display()));
    assert_eq!(shown, expected, "{name}");
}

#[test]
fn each_broken_file_shows_all_its_problems_with_place_and_hint() {
    let names = names("broken-");
    assert!(names.len() >= 10);
    for name in names {
        let (usable, shown) = shown(&name);
        assert!(!usable, "{name} loads");
        compare(&name, &shown);
    }
}

#[test]
fn what_is_not_acted_on_is_said_and_the_file_runs() {
    for name in names("warned-") {
        let (usable, shown) = shown(&name);
        assert!(usable, "{shown}");
        compare(&name, &shown);
    }
}

#[test]
fn secrets_are_never_shown() {
    let mut with_secret = 0;
    for name in names("") {
        with_secret += usize::from(
            text_of(&format!("tests/fixtures/configs/{name}")).contains("hunter2-canary"),
        );
        let (_, shown) = shown(&name);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(with_secret >= 3, "the fixtures have secrets to leak");
}

#[test]
fn check_says_on_stderr_whether_a_file_can_be_used_and_prints_to_stdout() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.yaml");
    let check = |text: &str, print: bool| {
        std::fs::write(&file, text).expect("written");
        let reader = Reader {
            uid: 1,
            sudo_uid: None,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = CheckArgs {
            file: file.clone(),
            print,
        };
        let usable = report(&args, &environment(&[]), reader, &mut out, &mut err)
            .expect("written to memory");
        (
            usable,
            String::from_utf8(out).expect("text"),
            String::from_utf8(err).expect("text"),
        )
    };
    let good = text_of("src/config/default.yaml");
    let (usable, out, err) = check(&good, false);
    assert!(
        usable && out.is_empty() && err.ends_with("a.yaml: fine\n"),
        "{err}"
    );
    let (usable, out, _) = check(&good, true);
    assert!(usable && out.contains("tap.direction: all"), "{out}");
    let (usable, out, err) = check("version: 3\n", true);
    assert!(
        !usable && out.is_empty() && err.contains("must be 2"),
        "{err}"
    );
    let (usable, _, err) = check(
        "version: 2\nservices: {event_stores: [{type: otel, endpoint: 'https://c:1', tls: {ca_file: /no/such}}]}\n",
        true,
    );
    assert!(usable && err.contains("/no/such"), "{err}");
}
