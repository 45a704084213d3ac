//! A Debian of its own: a root made by mmdebstrap, entered with the host's processes and network in sight.
//!
//! systemd runs inside as a user's manager of root, because it is not the first process of the machine. It gives the unit
//! the same sandbox, folders and notifications; the folders are told by `XDG_*`.

use crate::{outcome, output, repository};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a package manager and systemd need to have of the host.
const ENTER: &str = r#"
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir -p run/systemd/system
mkdir -p old
pivot_root . old
umount -l /old
echo ready
exec sleep infinity
"#;

/// The groups that systemd puts its services into; where it is this, both are the same.
const GROUPS: [&str; 3] = [
    "/sys/fs/cgroup/systemd",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup",
];

pub struct Root {
    folder: tempfile::TempDir,
    holder: Child,
    systemd: Option<Child>,
    groups: Vec<PathBuf>,
}

impl Root {
    /// Unpacks and enters it.
    pub fn new() -> Root {
        let archive = std::env::var_os("PLAINSPAN_TEST_ROOT")
            .map_or_else(|| repository("target/test-root.tar"), PathBuf::from);
        let folder = tempfile::tempdir().expect("a folder");
        output(
            Command::new("tar")
                .arg("-xpf")
                .arg(&archive)
                .arg("-C")
                .arg(folder.path()),
        );
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", ENTER, "sh"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut ready = String::new();
        let stdout = holder.stdout.take().expect("its output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready)
            .expect("a line");
        assert_eq!(ready, "ready\n", "the root cannot be entered");
        Root {
            folder,
            holder,
            systemd: None,
            groups: Vec::new(),
        }
    }

    /// A path of the root, seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .envs([
                ("HOME", "/root"),
                ("LANG", "C.UTF-8"),
                ("DEBIAN_FRONTEND", "noninteractive"),
            ])
            .envs([
                ("XDG_RUNTIME_DIR", "/run"),
                ("XDG_CONFIG_HOME", "/var/lib"),
                ("XDG_CACHE_HOME", "/var/cache"),
            ])
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .args(words);
        command
    }

    pub fn try_run(&self, words: &[&str]) -> Output {
        outcome(&mut self.command(words))
    }

    /// What it wrote on stdout.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, words: &[&str]) -> String {
        output(&mut self.command(words))
    }

    /// `systemctl` of the manager inside.
    pub fn systemctl(&self, words: &[&str]) -> String {
        let command: Vec<_> = ["systemctl", "--user", "--no-pager"]
            .iter()
            .chain(words)
            .copied()
            .collect();
        self.run(&command)
    }

    /// Starts systemd. Its log, and the agent's, come to /var/log.
    pub fn start_systemd(&mut self) {
        let units = self.path("/var/lib/systemd/user");
        std::fs::create_dir_all(units.join("plainspan.service.d")).expect("a folder");
        std::os::unix::fs::symlink(
            "/lib/systemd/system/plainspan.service",
            units.join("plainspan.service"),
        )
        .expect("a link");
        // There is no journal.
        std::fs::write(
            units.join("plainspan.service.d/log.conf"),
            "[Service]\nStandardOutput=append:/var/log/plainspan.out\nStandardError=append:/var/log/plainspan.log\n",
        )
        .expect("written");
        let mut enter = String::new();
        for group in GROUPS {
            let own = Path::new(group).join(format!("plainspan-test-{}", std::process::id()));
            if Path::new(group).join("cgroup.procs").exists() && std::fs::create_dir(&own).is_ok() {
                enter += &format!("echo $$ >{}/cgroup.procs; ", own.display());
                self.groups.push(own);
            }
        }
        // As the first process of a machine has it: its notification socket is for all users.
        enter +=
            "umask 0; exec /lib/systemd/systemd --user --unit=basic.target --log-target=console";
        let log = std::fs::File::create(self.path("/var/log/systemd.log")).expect("a file");
        let mut command = self.command(&["sh", "-c", &enter]);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log);
        self.systemd = Some(command.spawn().expect("systemd"));
        let until = Instant::now() + Duration::from_secs(20);
        while !self
            .try_run(&["systemctl", "--user", "is-active", "basic.target"])
            .status
            .success()
        {
            assert!(
                Instant::now() < until,
                "systemd does not come up: {}",
                self.read("/var/log/systemd.log")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a file says; nothing where there is none.
    pub fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.path(inside)).unwrap_or_default()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Some(systemd) = &mut self.systemd {
            // It stops its services at SIGTERM.
            // SAFETY: our own child, which was not waited for.
            unsafe { libc::kill(systemd.id() as i32, libc::SIGTERM) };
            let until = Instant::now() + Duration::from_secs(25);
            while matches!(systemd.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
            kill(systemd);
        }
        kill(&mut self.holder);
        for group in &self.groups {
            remove_group(group);
        }
    }
}

fn kill(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        eprintln!("cannot end process {}: {error}", child.id());
    }
}

/// Removes a group with those below it. A kernel's group is a folder without files of ours.
fn remove_group(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    if let Err(error) = std::fs::remove_dir(group) {
        eprintln!("cannot remove {}: {error}", group.display());
    }
}
