//! One image layer under two overlay mounts.

use super::{Asker, Stage, own_library};
use crate::harness::process::run_well;
use crate::harness::turn;
use crate::harness::work::Work;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// An overlay mount; gone with this.
struct Overlay(PathBuf);

impl Overlay {
    fn of(work: &Work, lower: &Path, name: &str) -> Overlay {
        let at = work.folder(name);
        // What is written goes to a file system of its own: an overlay cannot lie on another.
        let script = "mount -t tmpfs none \"$2\" && mkdir \"$2\"/upper \"$2\"/work \"$2\"/merged && \
            mount -t overlay -o \"lowerdir=$1,upperdir=$2/upper,workdir=$2/work\" none \"$2\"/merged";
        let mut mount = Command::new("sh");
        mount.args(["-c", script, "sh"]).arg(lower).arg(&at);
        run_well(&mut mount, work.dir(), "mount", Duration::from_secs(10));
        Overlay(at)
    }

    fn merged(&self) -> PathBuf {
        self.0.join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        for at in [self.merged(), self.0.clone()] {
            let status = Command::new("umount").arg("-l").arg(&at).status();
            if !status.as_ref().is_ok_and(|s| s.success()) {
                eprintln!("{} stays mounted: {status:?}", at.display());
            }
        }
    }
}

#[test]
fn a_library_under_two_overlay_mounts_and_beside_them_is_seen_once_in_each() {
    let _turn = turn();
    let stage = Stage::new();
    let lower = own_library(&stage.work.folder("layer"));
    let layer = lower.parent().expect("a folder");
    let mounts = ["one", "two"].map(|name| Overlay::of(&stage.work, layer, name));
    let places: Vec<PathBuf> = mounts
        .iter()
        .map(|mount| mount.merged().join("libssl.so.3"))
        .collect();

    let mut calls = Vec::new();
    let mut askers = Vec::new();
    let mut states = Vec::new();
    for (name, library) in ["first", "second", "layer"]
        .into_iter()
        .zip(places.iter().chain([&lower]))
    {
        let asker = Asker::start(&stage, name, library);
        states.push(stage.wait_captured(library));
        askers.push((name, asker));
    }
    assert_eq!(
        states,
        ["attached", "attached_through", "attached_through"],
        "one file, one place to attach it"
    );
    for round in 0..2 {
        for (name, asker) in &mut askers {
            let these = stage.calls(&format!("{name}-{round}"), 20);
            asker.ask(&these);
            calls.extend(these);
        }
    }
    // The mount through which it was attached may go: the others go on.
    let (_, first) = askers.remove(0);
    first.end();
    for (name, asker) in &mut askers {
        let these = stage.calls(&format!("{name}-alone"), 20);
        asker.ask(&these);
        calls.extend(these);
    }
    for (_, asker) in askers {
        asker.end();
    }
    stage.finish(&calls);
}
