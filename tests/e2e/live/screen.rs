//! `plainspan tail` on a terminal, which is tmux.

use super::{CANARY, SOON, Stage};
use crate::harness::{turn, wait_until};
use std::path::PathBuf;
use std::process::Command;

/// A terminal of 120 columns and 34 lines; ended with the test.
struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    fn start(stage: &Stage) -> Tmux {
        let tmux = Tmux {
            socket: stage.work.path("tmux.sock"),
        };
        let program = env!("CARGO_BIN_EXE_plainspan");
        let run = format!(
            "cd {} && {program} tail --socket {}",
            stage.work.dir().display(),
            stage.socket().display()
        );
        tmux.say(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "120",
            "-y",
            "34",
            &run,
        ]);
        // Where programs may set the clipboard, tmux keeps it as a buffer.
        tmux.say(&["set-option", "-s", "set-clipboard", "on"]);
        tmux
    }

    fn say(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .env("LC_ALL", "C.UTF-8");
        let output = command
            .env("TERM", "xterm-256color")
            .output()
            .expect("tmux: run tests/setup.sh");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {arguments:?}: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.say(&["capture-pane", "-p"])
    }

    fn keys(&self, keys: &[&str]) {
        self.say(&[&["send-keys"], keys].concat());
    }

    fn wait(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        wait_until(
            SOON,
            what,
            || Some(self.screen()).filter(|screen| holds(screen)),
            || self.screen(),
        )
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).arg("kill-server");
        if let Err(error) = command.output() {
            eprintln!("cannot end tmux: {error}");
        }
    }
}

#[test]
fn the_view_lists_filters_searches_pauses_shows_details_copies_and_saves() {
    let _turn = turn();
    let stage = Stage::new("full");
    let tmux = Tmux::start(&stage);
    tmux.wait("empty view", |screen| {
        screen.contains("Nothing yet") || screen.contains(" shown")
    });
    tmux.keys(&["f"]);
    tmux.keys(&["-l", &stage.filter()]);
    tmux.keys(&["Enter"]);
    tmux.wait("filter in force", |screen| {
        screen.contains("│ filter: http.req.path") && screen.contains("0 shown")
    });
    stage.curl(
        &format!("unique/first?token={CANARY}"),
        &["-H", "x-user: anna"],
    );
    stage.curl("status/503", &[]);
    stage.curl("status/404", &[]);
    let list = tmux.wait("three transactions of both ends", |screen| {
        screen.contains("6 shown")
    });
    assert!(list.contains(" 503 ") && list.contains(" 404 "), "{list}");

    tmux.keys(&["p"]);
    tmux.wait("pause", |screen| screen.contains("PAUSED, 0 waiting"));
    stage.curl("get/later", &[]);
    tmux.wait("what waits", |screen| {
        screen.contains("6 shown") && screen.contains("PAUSED, 2 waiting")
    });
    tmux.keys(&["p"]);
    tmux.wait("what came meanwhile", |screen| screen.contains("8 shown"));

    tmux.keys(&["/"]);
    tmux.keys(&["-l", "ANNA"]);
    tmux.keys(&["Enter"]);
    tmux.keys(&["Enter"]);
    let details = tmux.wait("details of the one with the header", |screen| {
        screen.contains("x-user: anna")
    });
    for wanted in [
        "process ",
        "trace ",
        "payload ",
        "file://",
        "level",
        "authorization: REDACTED",
        "took ",
    ] {
        assert!(details.contains(wanted), "no {wanted}:\n{details}");
    }
    show(&stage, &list, &details);

    tmux.keys(&["c"]);
    let copied = tmux.wait("curl line", |screen| screen.contains("curl --http1.1"));
    assert!(
        copied.contains("─ copied ─") || copied.contains(" copied "),
        "{copied}"
    );
    let buffer = wait_until(
        SOON,
        "clipboard",
        || Some(tmux.say(&["list-buffers"])).filter(|b| !b.is_empty()),
        String::new,
    );
    assert!(
        tmux.say(&["show-buffer"]).starts_with("curl --http1.1"),
        "{buffer}"
    );
    tmux.keys(&["x"]);
    tmux.keys(&["S"]);
    tmux.wait("archive", |screen| screen.contains("saved "));
    let mut archives = std::fs::read_dir(stage.work.dir())
        .expect("a folder")
        .flatten();
    let archive = archives
        .find(|entry| entry.file_name().to_string_lossy().ends_with("-all.har"))
        .expect("an archive");
    let text = std::fs::read_to_string(archive.path()).expect("text");
    assert_eq!(text.matches("startedDateTime").count(), 8, "{text}");
    assert!(!text.contains(CANARY), "{text}");
    crate::har::validate(&archive.path());

    tmux.keys(&["Escape"]);
    tmux.keys(&["f"]);
    tmux.keys(&["-l", " and http.res.stats > 1"]);
    tmux.keys(&["Enter"]);
    let refused = tmux.wait("fault of the filter", |screen| {
        screen.contains("this filter cannot be used")
    });
    assert!(
        refused.contains("column ") && refused.contains("http.res.status"),
        "{refused}"
    );
    tmux.keys(&["x"]);
    tmux.keys(&["Escape"]);
    stage.agent.stop();
    tmux.wait("end of the agent", |screen| {
        screen.contains("the agent has stopped")
    });
}

/// The pictures of the guide, where they are wanted.
fn show(stage: &Stage, list: &str, details: &str) {
    if std::env::var_os("PLAINSPAN_TEST_PICTURES").is_none() {
        return;
    }
    let tag = stage.work.url_path("");
    for (name, text) in [("tail-list.txt", list), ("tail-detail.txt", details)] {
        let path = crate::harness::repository("docs/images").join(name);
        // Frames close where they did.
        let shown = |line: &str| match line.strip_suffix('│') {
            Some(inner) if line.contains(&tag) => {
                format!("{}{}│", inner.replace(&tag, "/"), " ".repeat(tag.len() - 1))
            }
            _ => line.replace(&tag, "/"),
        };
        let lines = text
            .trim_end()
            .lines()
            .map(|line| shown(line.trim_end()) + "\n");
        let text: String = lines.collect();
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
