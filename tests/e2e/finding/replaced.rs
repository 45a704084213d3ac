//! A library that is upgraded while programs run.

use super::{Asker, Stage, own_library};
use crate::harness::turn;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

#[test]
fn programs_with_the_old_library_and_programs_with_the_new_one_are_captured() {
    let _turn = turn();
    let stage = Stage::new();
    let library = own_library(&stage.work.folder("lib"));
    let inode = || std::fs::metadata(&library).expect("there").ino();
    let old = inode();
    let mut calls = Vec::new();
    let mut ask = |asker: &mut Asker, name: &str| {
        let these = stage.calls(name, 20);
        asker.ask(&these);
        calls.extend(these);
    };
    let mut before = Asker::start(&stage, "before", &library);
    stage.wait_captured(&library);
    ask(&mut before, "before");

    // As a package manager does it: written beside, and renamed over the old one, which then has no name.
    let fresh = own_library(&stage.work.folder("fresh"));
    std::fs::rename(fresh, &library).expect("renamed");
    assert_ne!(inode(), old);
    ask(&mut before, "between");
    let mut after = Asker::start(&stage, "after", &library);
    let new = inode();
    crate::harness::wait_until(
        Duration::from_secs(10),
        "capture of the new library",
        || {
            let status = stage.agent.status();
            let libraries = status["verdicts"]["libraries"].as_array()?;
            let is = |l: &&serde_json::Value| l["inode"] == new && l["state"] == "attached";
            libraries.iter().find(is).map(|_| ())
        },
        || format!("{:#}", stage.agent.status()["verdicts"]),
    );
    for round in 0..2 {
        ask(&mut after, &format!("after-{round}"));
        ask(&mut before, &format!("still-{round}"));
    }
    before.end();
    ask(&mut after, "alone");
    after.end();
    stage.finish(&calls);
}
