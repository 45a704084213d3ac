//! What a container is: mount, process and network namespaces of its own, and a root file system of its own.

use super::Stage;
use crate::harness::process::Running;
use crate::harness::turn;
use crate::harness::wait_until;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Copies programs with all libraries that they need, under the paths that they have here.
fn root_file_system(root: &Path, programs: &[&str]) {
    let mut files: BTreeSet<PathBuf> = programs.iter().map(PathBuf::from).collect();
    for program in programs {
        let listed = Command::new("ldd").arg(program).output().expect("ldd runs");
        let listed = String::from_utf8(listed.stdout).expect("UTF-8");
        let words = listed.split_whitespace().filter(|w| w.starts_with('/'));
        files.extend(words.map(PathBuf::from));
    }
    for file in files {
        let to = root.join(file.strip_prefix("/").expect("an absolute path"));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(&file, &to).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
    for dir in [
        "proc",
        "dev",
        "etc",
        "tmp",
        "old",
        "var/log/nginx",
        "var/lib/nginx",
    ] {
        std::fs::create_dir_all(root.join(dir)).expect("made");
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("written");
    std::fs::write(root.join("etc/group"), "root:x:0:\n").expect("written");
    std::fs::write(root.join("dev/null"), "").expect("written");
}

/// Goes into the root file system for good, then serves and asks over the namespace's own loopback.
const INSIDE: &str = "set -e\n\
    mount --make-rprivate /\n\
    mount --bind \"$1\" \"$1\"\n\
    mount -t proc proc \"$1/proc\"\n\
    ip link set lo up\n\
    cd \"$1\"\n\
    pivot_root . old\n\
    exec /bin/sh /inside.sh\n";

#[test]
fn a_container_with_its_own_copy_of_everything_is_captured() {
    let _turn = turn();
    let stage = Stage::new();
    let root = stage.work.folder("root");
    root_file_system(
        &root,
        &[
            "/bin/sh",
            "/bin/umount",
            "/bin/sleep",
            "/usr/bin/curl",
            "/usr/sbin/nginx",
        ],
    );
    for name in ["cert.pem", "key.pem"] {
        std::fs::copy(stage.work.path(name), root.join(name)).expect("copied");
    }
    let conf = "daemon off; user root; worker_processes 2; pid /tmp/pid; error_log /tmp/error info;\n\
        events {}\n\
        http { access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;\n\
        uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;\n\
        server { listen 127.0.0.1:8443 ssl; ssl_certificate /cert.pem; ssl_certificate_key /key.pem;\n\
        location / { return 200 inside; } } }\n";
    std::fs::write(root.join("nginx.conf"), conf).expect("written");
    let calls = stage.calls("inside", 50);
    let mut script = String::from(
        "set -e\numount -l /old\n/usr/sbin/nginx -c /nginx.conf &\n\
         while [ ! -e /go ]; do sleep 0.1; done\n",
    );
    for call in &calls {
        writeln!(
            script,
            "curl -q -s -S -f --cacert /cert.pem -o /dev/null https://localhost:8443{}",
            call.target
        )
        .expect("written");
    }
    script.push_str("echo done\nwait\n");
    std::fs::write(root.join("inside.sh"), script).expect("written");
    std::fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").expect("written");

    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--net",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        INSIDE,
        "sh",
    ]);
    let mut container = Running::start(command.arg(&root), stage.work.dir(), "container");
    // The path is that of the container; here another file has it, which the agent knows too.
    let library = Path::new("/lib/x86_64-linux-gnu/libssl.so.3");
    wait_until(
        Duration::from_secs(20),
        "capture of the container's own library",
        || {
            let found = stage.verdict(library)?;
            let process = found["found"]["process"].as_u64()?;
            (found["state"] == "attached" && process > 0).then_some(())
        },
        || {
            format!(
                "{}\n{:#}",
                container.outputs(),
                stage.agent.status()["verdicts"]
            )
        },
    );
    std::fs::write(root.join("go"), "").expect("written");
    container.wait_for_output("done", Duration::from_secs(60));
    stage.finish(&calls);
}
