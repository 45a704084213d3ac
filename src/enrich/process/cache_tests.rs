//! Processes of a `/proc` that the tests make.

use super::super::identity::Lookup;
use super::super::procfs::Facts;
use super::*;
use crate::config::{PrivateRanges, TagRule, TagSource};
use crate::enrich::ResourceValue;
use crate::enrich::identity::Container;
use crate::enrich::published::{Answer, Asked, Found, Published};

const SECOND: u64 = 1_000_000_000;

fn put(proc: &Path, pid: u32, exe: &str, start_ticks: u64) {
    let dir = proc.join(pid.to_string());
    std::fs::create_dir_all(&dir).expect("a folder");
    let stat = format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start_ticks} 0 0");
    std::fs::write(dir.join("stat"), stat).expect("written");
    if !dir.join("exe").exists() {
        std::os::unix::fs::symlink(exe, dir.join("exe")).expect("linked");
    }
}

fn at(proc: &Path) -> Processes {
    Processes::at_root(proc, Wanted::default(), None)
}

fn exec(pid: u32, path: &'static [u8]) -> Exec<'static> {
    Exec {
        time: KernelTime(SECOND),
        pid,
        start_boottime_ns: 5,
        comm: b"curl",
        path,
        environ: [&[]; 4],
    }
}

#[test]
fn a_process_that_is_gone_before_it_can_be_read_has_the_name_of_its_exec() {
    let proc = tempfile::tempdir().expect("a folder");
    let mut processes = at(proc.path());
    processes.exec(&exec(7, b"/usr/bin/curl"));
    let process = processes.get(7, KernelTime(2 * SECOND));
    assert_eq!(process.exe.as_deref(), Some("/usr/bin/curl"));
    assert_eq!(process.name, "curl");
    processes.exec(&exec(8, b"./relative"));
    let process = processes.get(8, KernelTime(2 * SECOND));
    assert_eq!(
        (process.exe.as_deref(), process.name.as_str()),
        (None, "curl")
    );
}

#[test]
fn identity_outlives_the_process_and_a_reused_number_is_another() {
    let proc = tempfile::tempdir().expect("a folder");
    put(proc.path(), 9, "/bin/first", 100);
    let mut processes = at(proc.path());
    assert_eq!(processes.get(9, KernelTime(SECOND)).name, "first");
    processes.exit(9, KernelTime(2 * SECOND));
    std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
    assert_eq!(processes.get(9, KernelTime(3 * SECOND)).name, "first");
    put(proc.path(), 9, "/bin/second", 300);
    // A transaction of before the exit still belongs to the first.
    assert_eq!(processes.get(9, KernelTime(SECOND)).name, "first");
    assert_eq!(processes.get(9, KernelTime(4 * SECOND)).name, "second");
}

#[test]
fn what_is_gone_for_a_minute_is_forgotten() {
    let proc = tempfile::tempdir().expect("a folder");
    let mut processes = at(proc.path());
    processes.exec(&exec(1, b"/a"));
    processes.exit(1, KernelTime(2 * SECOND));
    let mut later = exec(2, b"/b");
    later.time = KernelTime(100 * SECOND);
    processes.exec(&later);
    assert_eq!(processes.known.len(), 1);
}

#[test]
fn what_had_no_transaction_is_forgotten_sooner() {
    let proc = tempfile::tempdir().expect("a folder");
    let mut processes = at(proc.path());
    for pid in [1, 2] {
        processes.exec(&exec(pid, b"/a"));
        processes.look(pid, KernelTime(SECOND));
        processes.exit(pid, KernelTime(2 * SECOND));
    }
    processes.get(1, KernelTime(SECOND));
    let mut later = exec(3, b"/b");
    later.time = KernelTime(30 * SECOND);
    processes.exec(&later);
    let known = |pid| processes.known.contains_key(&pid);
    assert_eq!((known(1), known(2), known(3)), (true, false, true));
}

#[test]
fn a_number_used_again_is_found_out_when_the_exit_was_lost() {
    let proc = tempfile::tempdir().expect("a folder");
    put(proc.path(), 9, "/bin/first", 100);
    let mut processes = at(proc.path());
    assert_eq!(processes.get(9, KernelTime(SECOND)).name, "first");
    std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
    put(proc.path(), 9, "/bin/second", 300);
    assert_eq!(processes.get(9, KernelTime(3 * SECOND)).name, "second");
}

#[test]
fn a_process_that_is_gone_at_its_exec_keeps_what_a_new_program_does_not_change() {
    let proc = tempfile::tempdir().expect("a folder");
    put(proc.path(), 9, "/bin/sh", 100);
    let mut processes = at(proc.path());
    processes.get(9, KernelTime(SECOND / 2));
    std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
    let mut gone = exec(9, b"/usr/bin/curl");
    // In the middle of the tick that `/proc` told.
    gone.start_boottime_ns = SECOND + 5_000_000;
    processes.exec(&gone);
    let process = processes.get(9, KernelTime(SECOND));
    assert_eq!((&*process.name, process.parent_pid), ("curl", Some(1)));
    // Another process of the number: nothing is taken over.
    gone.start_boottime_ns = 2 * SECOND;
    processes.exec(&gone);
    assert_eq!(processes.get(9, KernelTime(SECOND)).parent_pid, None);
}

#[test]
fn the_number_of_live_processes_is_bounded_too() {
    let proc = tempfile::tempdir().expect("a folder");
    let mut processes = at(proc.path());
    for pid in 0..MAX as u32 {
        let facts = Facts::default();
        processes.insert(pid, facts, KernelTime(pid.into()));
    }
    processes.make_room();
    assert!(processes.known.len() < MAX);
    // The oldest went.
    assert!(!processes.known.contains_key(&0));
    assert!(processes.known.contains_key(&(MAX as u32 - 1)));
}

/// Process 9 in a container, with a variable.
fn put_in_container(proc: &Path) -> String {
    let id = "0123456789abcdef".repeat(4);
    put(proc, 9, "/bin/web", 100);
    let dir = proc.join("9");
    std::fs::write(dir.join("cgroup"), format!("0::/docker/{id}\n")).expect("written");
    std::fs::write(dir.join("environ"), "STAGE=prod\0").expect("written");
    id
}

fn stage_tag() -> Wanted {
    Wanted {
        resource: [("team".to_owned(), "shop".to_owned())].into(),
        tags: vec![TagRule {
            key: "stage".into(),
            source: TagSource::Env,
            location: "STAGE".into(),
        }],
        private: PrivateRanges::new(crate::rules::expr::Net::parse("100.64.0.0/10")),
        variables: Vec::new(),
    }
}

#[test]
fn what_is_wanted_of_processes_can_change() {
    let proc = tempfile::tempdir().expect("a folder");
    put_in_container(proc.path());
    let mut processes = at(proc.path());
    let before = processes.get(9, KernelTime(1));
    processes.set_wanted(Wanted::default());
    assert!(Arc::ptr_eq(&before, &processes.get(9, KernelTime(2))));
    assert!(before.identity.tags.is_empty());

    processes.set_wanted(stage_tag());
    let after = processes.get(9, KernelTime(3));
    assert!(processes.lives(&after) && !processes.lives(&before));
    let tags: Vec<&str> = after.identity.tags.iter().map(|tag| tag.text()).collect();
    assert_eq!(tags, ["stage:prod"]);
    let shared = "100.64.0.1".parse().expect("an address");
    assert!(after.identity.private.contain(shared));
    assert!(!before.identity.private.contain(shared));
    assert!(after.resource.iter().any(|(name, _)| name == "team"));
    assert!(Arc::ptr_eq(&after, &processes.get(9, KernelTime(4))));
}

#[test]
fn a_process_that_is_gone_is_made_anew_of_what_was_read_of_it() {
    let proc = tempfile::tempdir().expect("a folder");
    put_in_container(proc.path());
    let mut processes = at(proc.path());
    processes.get(9, KernelTime(1));
    processes.exit(9, KernelTime(5));
    std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
    processes.set_wanted(stage_tag());
    let process = processes.get(9, KernelTime(2));
    assert_eq!((&*process.name, process.parent_pid), ("web", Some(1)));
    assert!(process.resource.iter().any(|(name, _)| name == "team"));
}

#[test]
fn others_are_asked_for_containers_anew_and_of_a_question_to_nobody_nothing_is_pending() {
    let proc = tempfile::tempdir().expect("a folder");
    let id = put_in_container(proc.path());
    let root = proc.path();
    let (first, mut asked_first) = Lookups::pair();
    let mut processes = Processes::at_root(root, Wanted::default(), Some(first));
    let lookup = |processes: &mut Processes, at| processes.get(9, KernelTime(at)).identity.lookup;
    assert_eq!(lookup(&mut processes, 1), Lookup::Pending);
    assert!(asked_first.questions.try_recv().is_ok());

    let (second, mut asked) = Lookups::pair();
    drop(processes.set_lookups(Some(second)));
    assert_eq!(lookup(&mut processes, 2), Lookup::Pending);
    assert_eq!(
        asked
            .questions
            .try_recv()
            .map(|asked| asked.container)
            .as_ref(),
        Ok(&id)
    );
    let named = Container {
        name: Some("web".into()),
        ..Container::default()
    };
    let answer = crate::enrich::identity::Answer::Known(Arc::new(named));
    asked.answers.send((id, answer)).expect("sent");
    assert_eq!(processes.news().len(), 1);
    assert_eq!(lookup(&mut processes, 3), Lookup::Known);

    // Gone, and nobody to ask.
    processes.exit(9, KernelTime(5));
    std::fs::remove_dir_all(root.join("9")).expect("removed");
    drop(processes.set_lookups(None));
    assert_eq!(lookup(&mut processes, 4), Lookup::None);
}

#[test]
fn news_of_a_container_come_with_the_variables_that_are_wanted_now() {
    let proc = tempfile::tempdir().expect("a folder");
    let id = put_in_container(proc.path());
    let (lookups, asked) = Lookups::pair();
    let mut processes = Processes::at_root(proc.path(), Wanted::default(), Some(lookups));
    processes.get(9, KernelTime(1));
    processes.set_wanted(Wanted {
        variables: vec!["STAGE".into()],
        ..Wanted::default()
    });
    let answer = crate::enrich::identity::Answer::NotFound;
    asked.answers.send((id, answer)).expect("sent");
    let changed = processes.news();
    let stage = |process: &Arc<Process>| process.identity.env.get("STAGE").map(str::to_owned);
    let stages: Vec<_> = changed.iter().map(stage).collect();
    assert_eq!(stages, [Some("prod".to_owned())]);
}

#[test]
fn an_unknown_process_is_unknown_and_no_error() {
    let proc = tempfile::tempdir().expect("a folder");
    assert_eq!(at(proc.path()).get(3, KernelTime(1)).name, "unknown");
}

/// Processes whose publications the test makes.
fn publishing(proc: &Path) -> (Processes, Asked) {
    let (reader, asked) = Reader::pair();
    let maker = Maker::new(proc.to_owned(), proc.to_owned(), Wanted::default());
    (Processes::made_by(maker, None, Some(reader)), asked)
}

fn named(name: &str) -> Found {
    Found::New(Arc::new(Published {
        attributes: vec![("service.name".into(), ResourceValue::Str(name.into()))],
        address: 1,
        published_at: 1,
    }))
}

fn service(process: &Process) -> &str {
    let found = process
        .resource
        .iter()
        .find(|(key, _)| key == "service.name");
    match found {
        Some((_, ResourceValue::Str(name))) => name,
        other => panic!("{other:?}"),
    }
}

fn answer(asked: &Asked, found: Found) -> u32 {
    let ask = asked.questions.try_recv().expect("a question");
    let (number, pid) = (ask.number, ask.pid);
    let answer = Answer { number, pid, found };
    asked.answers.send(answer).expect("sent");
    pid
}

#[test]
fn who_has_a_transaction_waits_for_what_its_sdk_publishes_and_nobody_else_is_asked() {
    let proc = tempfile::tempdir().expect("a folder");
    put(proc.path(), 9, "/bin/web", 100);
    put(proc.path(), 10, "/bin/other", 100);
    let (mut processes, asked) = publishing(proc.path());
    let at = KernelTime(SECOND);
    assert!(!processes.look(10, at).identity.is_pending());
    let before = processes.get(9, at);
    assert!(before.identity.is_pending() && processes.lives(&before));
    assert!(processes.get(9, at).identity.is_pending());
    assert!(processes.news().is_empty());
    assert_eq!(answer(&asked, named("orders")), 9);
    assert!(asked.questions.try_recv().is_err());
    let changed = processes.news();
    assert_eq!(changed.len(), 1);
    let after = processes.get(9, at);
    assert!(Arc::ptr_eq(&after, &changed[0]) && !after.identity.is_pending());
    assert_eq!(
        (service(&before), service(&after)),
        ("unknown_service:web", "orders")
    );
    // It is known after its end, and to another configuration.
    processes.exit(9, KernelTime(2 * SECOND));
    std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
    processes.set_wanted(stage_tag());
    assert_eq!(service(&processes.get(9, at)), "orders");
}

#[test]
fn what_changes_later_is_another_process_and_nobody_waits_for_it() {
    let proc = tempfile::tempdir().expect("a folder");
    put(proc.path(), 9, "/bin/web", 100);
    let (mut processes, asked) = publishing(proc.path());
    processes.get(9, KernelTime(SECOND));
    answer(&asked, Found::Nothing);
    assert_eq!(processes.news().len(), 1);
    assert!(
        !processes
            .get(9, KernelTime(4 * SECOND))
            .identity
            .is_pending()
    );
    answer(&asked, named("orders"));
    assert_eq!(processes.news().len(), 1);
    let later = processes.get(9, KernelTime(40 * SECOND));
    assert_eq!(service(&later), "orders");
    answer(&asked, Found::Same);
    assert!(processes.news().is_empty());
    assert!(Arc::ptr_eq(
        &later,
        &processes.get(9, KernelTime(41 * SECOND))
    ));
}

#[test]
fn what_is_not_read_in_time_is_given_up_and_a_late_answer_is_of_no_other_program() {
    let proc = tempfile::tempdir().expect("a folder");
    put(proc.path(), 9, "/bin/web", 100);
    let (mut processes, asked) = publishing(proc.path());
    processes.get(9, KernelTime(SECOND));
    assert!(processes.give_up(KernelTime(SECOND + 1)).is_empty());
    let given_up = processes.give_up(KernelTime(2 * SECOND));
    assert_eq!(given_up.len(), 1);
    assert!(!given_up[0].identity.is_pending());
    assert!(processes.give_up(KernelTime(3 * SECOND)).is_empty());
    // The question is still on its way when another program begins.
    processes.exec(&exec(9, b"/bin/other"));
    assert!(
        processes
            .get(9, KernelTime(4 * SECOND))
            .identity
            .is_pending()
    );
    answer(&asked, named("before"));
    assert!(processes.news().is_empty());
    answer(&asked, named("after"));
    assert_eq!(service(&processes.news()[0]), "after");
}

#[test]
fn where_nobody_can_read_nobody_waits() {
    let proc = tempfile::tempdir().expect("a folder");
    put(proc.path(), 9, "/bin/web", 100);
    let (mut processes, asked) = publishing(proc.path());
    drop(asked);
    assert!(!processes.get(9, KernelTime(SECOND)).identity.is_pending());
}

#[test]
fn a_process_that_is_gone_before_it_can_be_read_has_the_names_of_its_environment() {
    let proc = tempfile::tempdir().expect("a folder");
    let mut processes = at(proc.path());
    let mut gone = exec(7, b"/usr/bin/curl");
    gone.environ = [
        b"OTEL_SERVICE_NAME=orders",
        b"OTEL_RESOURCE_ATTRIBUTES=team=shop",
        b"QPOINT_STRATEGY=audit",
        b"QPOINT_TAGS=stage:prod",
    ];
    processes.exec(&gone);
    let process = processes.get(7, KernelTime(2 * SECOND));
    assert_eq!(service(&process), "orders");
    assert!(process.resource.iter().any(|(key, _)| key == "team"));
    assert_eq!(process.identity.strategy.name(), "audit");
    assert_eq!(process.identity.tags[0].text(), "stage:prod");
}

#[test]
fn of_a_process_on_its_way_out_the_event_says_what_proc_says_no_more() {
    let proc = tempfile::tempdir().expect("a folder");
    put(proc.path(), 9, "/bin/web", 100);
    // What is left of a process that nobody has waited for.
    std::fs::remove_file(proc.path().join("9/exe")).expect("removed");
    std::fs::write(proc.path().join("9/environ"), "").expect("written");
    let mut processes = at(proc.path());
    let mut going = exec(9, b"/usr/bin/curl");
    going.environ[0] = b"OTEL_SERVICE_NAME=orders";
    processes.exec(&going);
    let process = processes.get(9, KernelTime(SECOND));
    assert_eq!((service(&process), &*process.name), ("orders", "curl"));
    assert_eq!(process.parent_pid, Some(1));
}
