//! Image layers that several overlay mounts show.

use crate::support::*;
use plainspan::probe::finder::{Attach, AttachError, State};
use plainspan::probe::target::Target;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Puts real probes without a program into the file, as any tracer's would be.
#[derive(Clone, Default)]
struct Breakpoints {
    attached: Arc<Mutex<Vec<PathBuf>>>,
}

impl Attach for Breakpoints {
    type Link = Vec<OwnedFd>;

    fn attach(&self, path: &Path, targets: &[Target]) -> Result<Self::Link, AttachError> {
        let real = std::fs::read_link(path).expect("a link to the file");
        self.attached.lock().expect("not poisoned").push(real);
        Ok(targets
            .iter()
            .map(|t| breakpoint(path, t.file_offset))
            .collect())
    }
}

/// A perf uprobe for all processes (`perf_event_attr` of 72 bytes: path in config1, offset in config2).
fn breakpoint(path: &Path, offset: u64) -> OwnedFd {
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type");
    let kind: u32 = kind.expect("uprobes").trim().parse().expect("a number");
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let mut attr = [0u64; 9];
    attr[0] = u64::from(kind) | 72 << 32;
    attr[7] = path.as_ptr() as u64;
    attr[8] = offset;
    // SAFETY: `attr` has the 72 bytes that it says, and the path that it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, 0, -1, 8) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call has just made this descriptor.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) }
}

/// An overlay mount of a directory; unmounted when dropped.
struct Mount {
    merged: PathBuf,
    _dirs: tempfile::TempDir,
}

impl Mount {
    fn of(lower: &Path) -> Self {
        let dirs = tempfile::tempdir().expect("a temporary directory");
        let sub = |name: &str| dirs.path().join(name);
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            sub("backing/upper").display(),
            sub("backing/work").display()
        );
        // The upper directory must not lie on an overlay itself.
        for (kind, options, at) in [
            ("tmpfs", "mode=755", sub("backing")),
            ("overlay", options.as_str(), sub("merged")),
        ] {
            std::fs::create_dir_all(&at).expect("made");
            if kind == "overlay" {
                std::fs::create_dir(sub("backing/upper")).expect("made");
                std::fs::create_dir(sub("backing/work")).expect("made");
            }
            let mut mount = Command::new("mount");
            mount.args(["-t", kind, "-o", options, "none"]).arg(at);
            assert!(mount.status().expect("mount runs").success());
        }
        Mount {
            merged: sub("merged"),
            _dirs: dirs,
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        for at in [self.merged.clone(), self.merged.with_file_name("backing")] {
            let status = Command::new("umount").arg("-l").arg(at).status();
            assert!(status.expect("umount runs").success());
        }
    }
}

#[test]
fn one_layer_under_two_overlay_mounts_is_attached_once() {
    let private = Private::new();
    let (one, two) = (Mount::of(private.dir.path()), Mount::of(private.dir.path()));
    let breakpoints = Breakpoints::default();
    let finder = started(breakpoints.clone(), options());
    let library = |m: &Mount| m.merged.join("libssl.so.3");
    let states = |m: &Mount| state(&finder.verdicts().snapshot(), &library(m));
    let (_first, _) = Python::loaded(&library(&one));
    let (state, _) = until("the first is attached", || states(&one));
    assert_eq!(state, State::Attached);
    let (_second, _) = Python::loaded(&library(&two));
    let (state, _) = until("the second has a verdict", || states(&two));
    let through = library(&one).display().to_string();
    assert_eq!(state, State::AttachedThrough { through });
    // The same file in another file system has no probe in it: it gets its own.
    let attached = breakpoints.attached.lock().expect("not poisoned").clone();
    let ours = |p: &&PathBuf| p.ends_with("libssl.so.3") && p.starts_with(&one.merged);
    assert_eq!(attached.iter().filter(ours).count(), 1, "{attached:?}");
    assert!(File::open(library(&two)).is_ok());
}
