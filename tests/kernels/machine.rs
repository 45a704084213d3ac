//! A virtual machine: one kernel, booted in software emulation, and what its suite said.
//!
//! Enters: a kernel and the image. Leaves: [`Ran`]. Holds: the emulator ends with the test, whatever happens, by its own
//! process id; a machine that says nothing for too long is a failure with the end of its console.

use crate::harness::process::Running;
use crate::harness::repository;
use crate::image::Image;
use crate::report::{Done, Line};
use crate::table::Kernel;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Within what a kernel has to get to the suite, and the suite to its next result: many times what it takes.
const PATIENCE: Duration = Duration::from_secs(180);
/// Without cmpxchg16b, whose emulation in QEMU 7.2 breaks the flags now and then: the kernel does without. One processor,
/// for two machines run at a time; memory in MiB: programs stand in it too; no device but serial ports.
const MACHINE: [&str; 11] = [
    "-accel",
    "tcg",
    "-cpu",
    "max,la57=off,cx16=off",
    "-m",
    "1536",
    "-smp",
    "1",
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
];

/// The kernel's command line. A panic, and the end, turn the machine off. Timers are not tried: where the emulator gets no
/// processor for a moment, a kernel takes them for broken.
fn words(kernel: &Kernel) -> String {
    let name = kernel.name;
    format!(
        "console=ttyS0 quiet panic=-1 reboot=t random.trust_cpu=on no_timer_check nowatchdog plainspan.kernel={name}"
    )
}

/// What became of a kernel.
pub struct Ran {
    pub kernel: &'static Kernel,
    /// The package that it came from.
    pub package: String,
    /// As the kernel names itself; empty where it did not get so far.
    pub release: String,
    /// `kernel.perf_event_paranoid`, as it was found.
    pub paranoid: String,
    /// From power on to the suite.
    pub boot: Duration,
    /// From there to the end.
    pub suite: Duration,
    pub done: Vec<Done>,
    /// Why it did not come to its end.
    pub failure: Option<String>,
}

/// Where kernels are.
fn kernels() -> PathBuf {
    std::env::var_os("PLAINSPAN_TEST_KERNELS")
        .map_or_else(|| repository("target/test-kernels"), PathBuf::from)
}

/// Boots it and waits until it goes off.
///
/// # Panics
/// Where there is no kernel or no emulator.
pub fn run(kernel: &'static Kernel, image: &Image) -> Ran {
    let folder = kernels().join(kernel.name);
    let vmlinuz = folder.join("vmlinuz");
    assert!(
        vmlinuz.exists(),
        "{} is missing: run tests/setup.sh",
        vmlinuz.display()
    );
    let work = tempfile::tempdir().expect("a folder");
    let (console, results) = (work.path().join("console"), work.path().join("results"));
    let port = |path: &Path| format!("file:{}", path.display());
    let begun = Instant::now();
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(MACHINE)
        .args(["-display", "none", "-kernel"])
        .arg(&vmlinuz)
        .arg("-initrd")
        .arg(image.path())
        .args(["-append", &words(kernel)])
        .args(["-serial", &port(&console), "-serial", &port(&results)]);
    let mut ran = Ran {
        kernel,
        package: fs::read_to_string(folder.join("package"))
            .unwrap_or_default()
            .trim()
            .to_owned(),
        release: String::new(),
        paranoid: String::new(),
        boot: Duration::ZERO,
        suite: Duration::ZERO,
        done: Vec::new(),
        failure: None,
    };
    let mut emulator = Running::start(&mut command, work.path(), "qemu");
    let mut heard = (0, Instant::now());
    let mut over = false;
    loop {
        let gone = emulator.exited();
        let text = fs::read_to_string(&results).unwrap_or_default();
        // A line that is still being written is read next time.
        let whole: Vec<&str> = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .collect();
        for line in &whole[heard.0..] {
            heard = (heard.0 + 1, Instant::now());
            match serde_json::from_str(line.trim()) {
                Ok(Line::Began { release, paranoid }) => {
                    (ran.release, ran.paranoid) = (release, paranoid);
                    ran.boot = begun.elapsed();
                }
                Ok(Line::Done(done)) => ran.done.push(done),
                Ok(Line::Over { .. }) => {
                    over = true;
                    ran.suite = begun.elapsed() - ran.boot;
                }
                Err(error) => ran.failure = Some(format!("the results hold {line:?}: {error}")),
            }
        }
        let silent = heard.1.elapsed() > PATIENCE;
        if gone.is_some() || silent {
            if !over && ran.failure.is_none() {
                let how = match gone {
                    Some(status) => {
                        format!("the machine went off before the end of its suite ({status})")
                    }
                    None => format!("nothing came from the machine for {PATIENCE:?}"),
                };
                let said = fs::read(&console).unwrap_or_default();
                let end = said.len().saturating_sub(8000);
                let said = String::from_utf8_lossy(&said[end..]);
                ran.failure = Some(format!(
                    "{how}\n{}\n--- console\n{said}",
                    emulator.outputs()
                ));
            }
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if let Some(folder) = std::env::var_os("PLAINSPAN_KEEP_KERNELS") {
        keep(Path::new(&folder), kernel, image, &vmlinuz, work.path());
    }
    ran
}

/// Keeps what a machine had and said, and how to start it again with a shell.
fn keep(folder: &Path, kernel: &Kernel, image: &Image, vmlinuz: &Path, work: &Path) {
    let to = folder.join(kernel.name);
    fs::create_dir_all(&to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    let copy = |from: &Path, name: &str| {
        fs::copy(from, to.join(name)).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    };
    copy(&image.path(), "initramfs");
    copy(&work.join("console"), "console");
    copy(&work.join("results"), "results");
    let line = format!(
        "#!/bin/sh\nexec qemu-system-x86_64 {} -nographic -serial mon:stdio -serial file:results -kernel {} -initrd {} \\\n    -append '{} plainspan.shell'\n",
        MACHINE.join(" "),
        vmlinuz.display(),
        to.join("initramfs").display(),
        words(kernel)
    );
    fs::write(to.join("shell.sh"), line).expect("written");
}
