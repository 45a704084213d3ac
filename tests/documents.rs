//! Man pages and completions are what the definitions of the command line make.
//!
//! They are kept in `packaging/`, so that the program need not be able to make them, and a package is built without
//! compiling anything for them. `PLAINSPAN_TEST_GOLDEN=1` writes them anew.

use clap::CommandFactory;
use plainspan::cli::args::Cli;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn packaging(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(folder)
}

/// All files of a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("an entry");
        let text = std::fs::read_to_string(entry.path()).expect("text");
        (entry.file_name().to_string_lossy().into_owned(), text)
    };
    entries.map(read).collect()
}

/// The folder of the repository holds exactly what was made.
fn same(made: &Path, folder: &str) {
    let kept = packaging(folder);
    if std::env::var_os("PLAINSPAN_TEST_GOLDEN").is_some() {
        std::fs::create_dir_all(&kept).expect("a folder");
        for name in files(&kept).keys() {
            std::fs::remove_file(kept.join(name)).expect("removed");
        }
        for (name, text) in files(made) {
            std::fs::write(kept.join(name), text).expect("written");
        }
    }
    let (made, kept) = (files(made), files(&kept));
    assert_eq!(
        made.keys().collect::<Vec<_>>(),
        kept.keys().collect::<Vec<_>>()
    );
    for (name, text) in &made {
        assert!(
            kept[name] == *text,
            "packaging/{folder}/{name} is old: run with PLAINSPAN_TEST_GOLDEN=1"
        );
    }
}

#[test]
fn man_pages_are_those_of_the_command_line() {
    let made = tempfile::tempdir().expect("a folder");
    clap_mangen::generate_to(Cli::command(), made.path()).expect("pages");
    assert!(files(made.path()).len() >= 15);
    same(made.path(), "man");
}

#[test]
fn completions_are_those_of_the_command_line() {
    use clap_complete::{Shell, generate_to};
    let made = tempfile::tempdir().expect("a folder");
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "plainspan", made.path()).expect("a file");
    }
    same(made.path(), "completions");
}

#[test]
fn groff_finds_nothing_wrong_with_any_man_page() {
    for name in files(&packaging("man")).keys() {
        let output = Command::new("groff")
            .args(["-ww", "-z", "-man", "-Tutf8", "-K", "utf8"])
            .arg(packaging("man").join(name))
            .output()
            .expect("groff: tests/setup.sh installs it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let script = packaging("completions").join("plainspan.bash");
    for (words, wanted) in [
        ("plainspan do", "doctor"),
        ("plainspan run --dry", "--dry-run"),
        ("plainspan payload exp", "export"),
    ] {
        let program = format!(
            "set -u; source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _plainspan plainspan \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &program])
            .output()
            .expect("bash");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            said.trim(),
            wanted,
            "{words}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
