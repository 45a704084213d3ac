use super::*;
use std::fs;
use std::os::unix::fs::symlink;

const SECOND: u64 = 1_000_000_000;
/// Clock ticks a second on every Linux that these tests run on.
const TICKS: u64 = 100;

/// A `/proc` and an `/etc` of our own.
struct FakeHost {
    folder: tempfile::TempDir,
}

impl FakeHost {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let host = FakeHost { folder };
        host.write("proc/sys/kernel/hostname", "box\n");
        host.write("proc/stat", "cpu 1 2\nbtime 1700000000\n");
        host.write("etc/machine-id", "0123abcd\n");
        host.write(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:\n",
        );
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make folders");
        fs::write(path, text).expect("write a file");
    }

    /// A process that started `start` ticks after boot.
    fn process(&self, pid: u32, exe: &str, start: u64, environ: &str) {
        let zeros = "0 ".repeat(17);
        self.write(
            &format!("proc/{pid}/stat"),
            &format!("{pid} (comm{pid}) S 7 {zeros}{start} 0 0\n"),
        );
        self.write(
            &format!("proc/{pid}/status"),
            "Name:\tx\nUid:\t0\t33\t33\t33\n",
        );
        let id = "ab".repeat(32);
        self.write(&format!("proc/{pid}/cgroup"), &format!("0::/docker/{id}\n"));
        self.write(&format!("proc/{pid}/environ"), &environ.replace(' ', "\0"));
        let root = self.folder.path().join(format!("proc/{pid}"));
        fs::create_dir_all(root.join("ns")).expect("make folders");
        symlink(exe, root.join("exe")).expect("a link");
        symlink("net:[4026531840]", root.join("ns/net")).expect("a link");
    }

    fn remove(&self, pid: u32) {
        fs::remove_dir_all(self.folder.path().join(format!("proc/{pid}"))).expect("remove");
    }

    fn processes(&self, added: &[(&str, &str)]) -> Processes {
        Processes::new(ProcessOptions {
            proc: self.folder.path().join("proc"),
            etc: self.folder.path().join("etc"),
            agent_pid: 999,
            resource: added
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        })
    }
}

fn at(seconds: u64) -> KernelTime {
    KernelTime(seconds * SECOND)
}

fn exec<'a>(pid: u32, start: u64, comm: &'a str, path: &'a str, seconds: u64) -> Exec<'a> {
    Exec {
        time: at(seconds),
        pid,
        // In the middle of a tick.
        start_boottime_ns: start * (SECOND / TICKS) + 5_000_000,
        comm: comm.as_bytes(),
        path: path.as_bytes(),
    }
}

fn attribute(process: &Process, name: &str) -> Option<ResourceValue> {
    let found = process.resource.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.clone())
}

fn text(process: &Process, name: &str) -> Option<String> {
    match attribute(process, name)? {
        ResourceValue::Str(text) => Some(text),
        ResourceValue::Int(number) => Some(number.to_string()),
    }
}

#[test]
fn a_process_is_what_proc_says_of_it() {
    let host = FakeHost::new();
    host.process(42, "/usr/sbin/nginx (deleted)", 250, "");
    let process = host.processes(&[]).get(42, at(1));
    assert_eq!(process.exe.as_deref(), Some("/usr/sbin/nginx"));
    assert_eq!((process.pid, process.parent_pid), (42, Some(7)));
    assert_eq!(
        (process.uid, process.owner.as_deref()),
        (Some(33), Some("www-data"))
    );
    assert_eq!(
        (process.netns, process.is_agent),
        (Some(4_026_531_840), false)
    );
    for (name, value) in [
        ("service.name", "unknown_service:nginx"),
        ("process.pid", "42"),
        ("process.parent_pid", "7"),
        ("process.executable.name", "nginx"),
        ("process.executable.path", "/usr/sbin/nginx"),
        ("process.owner", "www-data"),
        ("process.creation.time", "2023-11-14T22:13:22.500Z"),
        ("container.id", &"ab".repeat(32)),
        ("host.name", "box"),
        ("host.id", "0123abcd"),
        ("os.type", "linux"),
    ] {
        assert_eq!(text(&process, name).as_deref(), Some(value), "{name}");
    }
    assert!(text(&process, "host.arch").is_some());
    let all: Vec<_> = process.resource.iter().map(|(key, _)| key).collect();
    assert!(!all.iter().any(|key| key.contains("command")), "{all:?}");
}

#[test]
fn the_instance_is_a_version_5_uuid_that_is_stable_and_differs_by_start() {
    let host = FakeHost::new();
    host.process(42, "/bin/a", 250, "");
    let id = |p: &Process| text(p, "service.instance.id").expect("an id");
    let first = id(&host.processes(&[]).get(42, at(1)));
    assert_eq!(id(&host.processes(&[]).get(42, at(9))), first);
    let parsed = uuid::Uuid::parse_str(&first).expect("a UUID");
    assert_eq!(parsed.get_version_num(), 5);
    host.remove(42);
    host.process(42, "/bin/a", 251, "");
    assert_ne!(id(&host.processes(&[]).get(42, at(1))), first);
}

#[test]
fn service_name_is_the_variables_then_the_attributes_then_the_executables() {
    for (environ, name) in [
        (
            "OTEL_SERVICE_NAME=a OTEL_RESOURCE_ATTRIBUTES=service.name=b",
            "a",
        ),
        ("OTEL_RESOURCE_ATTRIBUTES=service.name=b,x=y", "b"),
        ("OTEL_RESOURCE_ATTRIBUTES=broken", "unknown_service:app"),
        ("", "unknown_service:app"),
    ] {
        let host = FakeHost::new();
        host.process(1, "/bin/app", 1, environ);
        let process = host.processes(&[]).get(1, at(1));
        assert_eq!(text(&process, "service.name").as_deref(), Some(name));
    }
}

#[test]
fn neither_process_nor_configuration_overrides_what_was_observed() {
    let host = FakeHost::new();
    let own = "process.pid=1,container.id=x,k8s.pod.name=x,host.name=x,team=a,service.version=1";
    host.process(5, "/bin/app", 1, &format!("OTEL_RESOURCE_ATTRIBUTES={own}"));
    let added = [
        ("team", "b"),
        ("host.id", "x"),
        ("k8s.namespace.name", "x"),
        ("deployment.environment.name", "test"),
    ];
    let process = host.processes(&added).get(5, at(1));
    for (name, value) in [
        ("process.pid", Some("5")),
        ("container.id", Some(&*"ab".repeat(32))),
        ("k8s.pod.name", None),
        ("k8s.namespace.name", None),
        ("host.name", Some("box")),
        ("host.id", Some("0123abcd")),
        ("service.version", Some("1")),
        // The configuration wins over the process.
        ("team", Some("b")),
        ("deployment.environment.name", Some("test")),
    ] {
        assert_eq!(text(&process, name).as_deref(), value, "{name}");
    }
}

#[test]
fn a_short_lived_process_keeps_what_was_read_at_exec_for_a_minute() {
    let host = FakeHost::new();
    let mut processes = host.processes(&[]);
    host.process(42, "/usr/bin/curl", 250, "OTEL_SERVICE_NAME=job");
    processes.exec(&exec(42, 250, "curl", "/usr/bin/curl", 10));
    host.remove(42);
    processes.exit(42, at(10));
    for seconds in [10, 30, 70] {
        let process = processes.get(42, at(seconds));
        assert_eq!(text(&process, "service.name").as_deref(), Some("job"));
    }
    processes.exit(1, at(71));
    assert!(processes.is_empty());
}

#[test]
fn a_process_that_was_gone_before_it_was_looked_at_has_what_the_event_said() {
    let host = FakeHost::new();
    let mut processes = host.processes(&[]);
    // The shell was known before it ran the program.
    host.process(42, "/bin/sh", 250, "");
    processes.get(42, at(9));
    host.remove(42);
    processes.exec(&exec(42, 250, "curl", "/usr/bin/curl", 10));
    let process = processes.get(42, at(10));
    assert_eq!(
        (&*process.name, process.exe.as_deref()),
        ("curl", Some("/usr/bin/curl"))
    );
    assert_eq!((process.parent_pid, process.uid), (Some(7), Some(33)));
    assert!(process.container_id.is_some());
    // Without one before, and with a path that says nothing.
    processes.exec(&exec(43, 260, "tool", "", 10));
    let process = processes.get(43, at(10));
    assert_eq!(
        (&*process.name, &process.exe, process.uid),
        ("tool", &None, None)
    );
    processes.exec(&exec(44, 260, "tool", "bin/other", 10));
    let process = processes.get(44, at(10));
    assert_eq!((&*process.name, &process.exe), ("other", &None));
}

#[test]
fn exec_of_another_program_makes_another_process_of_the_same_pid() {
    let host = FakeHost::new();
    let mut processes = host.processes(&[]);
    host.process(42, "/bin/sh", 250, "");
    let before = processes.get(42, at(9));
    host.remove(42);
    host.process(42, "/usr/bin/curl", 250, "");
    processes.exec(&exec(42, 250, "curl", "/usr/bin/curl", 10));
    let after = processes.get(42, at(10));
    assert_eq!((&*before.name, &*after.name), ("sh", "curl"));
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let host = FakeHost::new();
    let mut processes = host.processes(&[]);
    host.process(42, "/bin/old", 250, "");
    assert_eq!(processes.get(42, at(10)).name, "old");
    host.remove(42);
    host.process(42, "/bin/new", 900, "");
    // Its end was missed: found out when it must be confirmed.
    assert_eq!(processes.get(42, at(12)).name, "new");
    host.remove(42);
    host.process(42, "/bin/newer", 901, "");
    // Its end was seen: found out at once.
    processes.exit(42, at(12));
    assert_eq!(processes.get(42, at(12)).name, "newer");
}

#[test]
fn one_process_is_shared_and_an_unknown_one_has_a_pid() {
    let host = FakeHost::new();
    let mut processes = host.processes(&[]);
    host.process(42, "/bin/a", 1, "");
    let (a, b) = (processes.get(42, at(1)), processes.get(42, at(5)));
    assert!(Arc::ptr_eq(&a, &b));
    let unknown = processes.get(77, at(1));
    assert_eq!(
        (unknown.pid, &*unknown.name, unknown.started),
        (77, "", None)
    );
    assert_eq!(
        text(&unknown, "service.name").as_deref(),
        Some("unknown_service")
    );
    assert!(processes.get(999, at(1)).is_agent);
}

#[test]
fn the_number_of_processes_is_bounded() {
    let host = FakeHost::new();
    let mut processes = host.processes(&[]);
    for n in 0..u32::try_from(MAX).expect("a small number") + 100 {
        processes.exec(&exec(n + 1, 1, "x", "/x", 10 + u64::from(n) / 1000));
    }
    assert!(processes.len() <= MAX, "{}", processes.len());
    assert!(processes.len() > MAX / 2);
}

#[test]
fn the_test_itself_is_a_process_of_this_host() {
    let mut processes = Processes::new(ProcessOptions::of_host(BTreeMap::new()));
    let me = processes.get(std::process::id(), at(1));
    let exe = std::env::current_exe().expect("our own path");
    assert_eq!(me.exe.as_deref().map(Path::new), Some(&*exe));
    assert!(me.is_agent && me.netns.is_some() && me.uid.is_some());
    let age = me
        .started
        .and_then(|s| s.elapsed().ok())
        .expect("a start in the past");
    assert!(age.as_secs() < 600, "{age:?}");
}
