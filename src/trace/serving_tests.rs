//! Which request a call belongs to, and when to none.

use super::*;

const PID: u32 = 7;

fn at(tid: u32, time: u64) -> Begin {
    Begin {
        pid: PID,
        tid,
        time: KernelTime(time),
    }
}

fn begun(begin: Begin) -> Begun {
    Begun {
        role: Role::Server,
        begin,
        connection: ConnectionInfo {
            conn: None,
            tls: None,
            local: None,
            remote: None,
            netns: 0,
            tls_info: None,
            join: None,
        },
        position: None,
        context: None,
        tunnel: false,
    }
}

fn parent_of(serving: &mut Serving, call: Begin) -> Option<Begin> {
    serving.calls(call, None);
    serving.call(call).map(|call| call.parent)
}

#[test]
fn a_call_belongs_to_the_request_that_its_thread_handles_until_it_answers() {
    let mut serving = Serving::default();
    assert!(!serving.is_handling(PID, 1));
    assert_eq!(parent_of(&mut serving, at(1, 5)), None);
    serving.begins(begun(at(1, 10)));
    serving.begins(begun(at(2, 11)));
    assert!(serving.is_handling(PID, 1) && !serving.is_handling(PID, 3));
    assert!(serving.is_handling_any(PID) && !serving.is_handling_any(8));
    assert_eq!(parent_of(&mut serving, at(1, 20)), Some(at(1, 10)));
    assert_eq!(parent_of(&mut serving, at(2, 20)), Some(at(2, 11)));
    assert_eq!(parent_of(&mut serving, at(3, 20)), None);
    serving.ends(at(1, 10), Some(1), KernelTime(30));
    assert_eq!(parent_of(&mut serving, at(1, 31)), None);
    serving.ends(at(2, 11), Some(2), KernelTime(30));
    assert!(!serving.is_handling_any(PID));
    // The next one on the same thread, and what was found before.
    serving.begins(begun(at(1, 40)));
    assert_eq!(parent_of(&mut serving, at(1, 41)), Some(at(1, 40)));
    assert_eq!(serving.call(at(1, 20)).map(|c| c.parent), Some(at(1, 10)));
}

#[test]
fn a_thread_that_has_two_requests_open_gives_no_parent_now_or_later() {
    let mut serving = Serving::default();
    serving.begins(begun(at(1, 10)));
    serving.calls(at(1, 11), None);
    serving.begins(begun(at(1, 12)));
    assert_eq!(parent_of(&mut serving, at(1, 13)), None);
    assert!(serving.call(at(1, 11)).is_none(), "it may have been wrong");
    serving.ends(at(1, 12), Some(1), KernelTime(14));
    serving.ends(at(1, 10), Some(1), KernelTime(15));
    serving.begins(begun(at(1, 20)));
    assert_eq!(parent_of(&mut serving, at(1, 21)), None);
    serving.begins(begun(at(2, 20)));
    assert_eq!(parent_of(&mut serving, at(2, 21)), Some(at(2, 20)));
}

#[test]
fn a_process_whose_threads_answer_for_each_other_gives_no_parents() {
    let mut serving = Serving::default();
    serving.begins(begun(at(1, 10)));
    serving.calls(at(1, 11), None);
    serving.ends(at(1, 10), Some(2), KernelTime(12));
    assert!(serving.call(at(1, 11)).is_none());
    serving.begins(begun(at(3, 20)));
    assert_eq!(parent_of(&mut serving, at(3, 21)), None);
    serving.forget(PID, KernelTime(30));
    serving.begins(begun(at(3, 40)));
    assert_eq!(parent_of(&mut serving, at(3, 41)), Some(at(3, 40)));
}

#[test]
fn what_was_said_of_a_call_is_said_once_and_found_by_its_trace() {
    let mut serving = Serving::default();
    serving.begins(begun(at(1, 10)));
    serving.calls(at(1, 11), Some([9; 16]));
    assert_eq!(serving.call_of(&[8; 16]).map(|c| c.begin), None);
    assert_eq!(serving.call_of(&[9; 16]).map(|c| c.begin), Some(at(1, 11)));
    serving.say(at(1, 11), Together::Apart);
    serving.say(at(1, 11), Together::Follow);
    let said = serving.call_of(&[9; 16]).and_then(|c| c.together);
    assert_eq!(said, Some(Together::Apart));
    // Found out too late: both ends go on as was said.
    serving.begins(begun(at(1, 12)));
    assert!(serving.call(at(1, 11)).is_some());
}

#[test]
fn what_is_over_is_forgotten_after_a_while_and_what_goes_on_is_not() {
    let mut serving = Serving::default();
    serving.begins(begun(at(1, 10)));
    serving.begins(begun(at(2, 10)));
    serving.calls(at(1, 11), Some([9; 16]));
    serving.ends(at(1, 10), Some(1), KernelTime(12));
    serving.tick(KernelTime(11 + LINGER));
    assert!(serving.call(at(1, 11)).is_some());
    serving.tick(KernelTime(13 + LINGER));
    assert!(serving.call(at(1, 11)).is_none() && serving.by_trace.is_empty());
    assert!(serving.request(at(1, 10)).is_none());
    assert!(serving.request(at(2, 10)).is_some());
}

#[test]
fn a_call_that_lasts_is_known_as_long_as_its_request_is_open() {
    let mut serving = Serving::default();
    serving.begins(begun(at(1, 10)));
    serving.calls(at(1, 11), Some([9; 16]));
    for round in 1..5 {
        serving.tick(KernelTime(100 + round * (LINGER + 1)));
        assert!(serving.call(at(1, 11)).is_some(), "{round}");
    }
    let answered = KernelTime(5 * LINGER);
    serving.ends(at(1, 10), Some(1), answered);
    for round in 1..4 {
        serving.tick(KernelTime(answered.0 + round * (LINGER + 1)));
    }
    assert!(serving.calls.is_empty() && serving.served.is_empty());
}

#[test]
fn requests_are_bounded_in_number() {
    let mut serving = Serving::default();
    for time in 0..KEPT_MAX as u64 + 10 {
        let tid = u32::try_from(time).expect("few");
        serving.begins(begun(at(tid, time)));
    }
    assert_eq!(serving.served.len(), KEPT_MAX);
    assert!(!serving.is_handling(PID, KEPT_MAX as u32 + 1));
}
