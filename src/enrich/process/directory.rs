//! Containers seen so far, and the questions that are on their way.

use super::identity::Lookup;
use crate::enrich::identity::{Answer, Cgroups, Container, Lookups, Question};
use crate::event::KernelTime;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Containers kept at the most; above it those that were asked for longest ago go.
const MAX: usize = 4096;
/// What nobody knew is asked again after this: a runtime may come up late.
const RETRY: Duration = Duration::from_secs(10);
/// Labels of a pod can change.
const REFRESH: Duration = Duration::from_secs(300);
/// An answer that has not come by then does not come; sources are asked with less.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// Containers by id.
#[derive(Default)]
pub struct Directory {
    /// None: nobody can be asked.
    lookups: Option<Lookups>,
    known: HashMap<String, Slot>,
    pending: usize,
}

struct Slot {
    lookup: Lookup,
    container: Option<Arc<Container>>,
    asked: KernelTime,
    /// A question is on its way.
    open: bool,
}

impl Directory {
    pub fn new(lookups: Option<Lookups>) -> Directory {
        Directory {
            lookups,
            ..Directory::default()
        }
    }

    /// What is known now of a container that has a process in these groups. Asks where nothing is, and again where it
    /// is old.
    pub fn get(
        &mut self,
        id: &str,
        cgroups: &Cgroups,
        now: KernelTime,
    ) -> (Lookup, Option<Arc<Container>>) {
        let question = || Question {
            container: id.to_owned(),
            pod: cgroups.pod_uid(),
        };
        let Some(lookups) = &self.lookups else {
            return (Lookup::None, None);
        };
        if let Some(slot) = self.known.get_mut(id) {
            let stale = match slot.is_whole() {
                true => REFRESH,
                false => RETRY,
            };
            if !slot.open && u128::from(now.since(slot.asked)) >= stale.as_nanos() {
                slot.open = lookups.ask(question());
                slot.asked = now;
            }
            return (slot.lookup, slot.container.clone());
        }
        let open = lookups.ask(question());
        if self.known.len() >= MAX {
            self.make_room();
        }
        let lookup = match open {
            true => Lookup::Pending,
            false => Lookup::Unavailable,
        };
        self.pending += usize::from(open);
        let slot = Slot {
            lookup,
            container: None,
            asked: now,
            open,
        };
        self.known.insert(id.to_owned(), slot);
        (lookup, None)
    }

    /// The next container of which more is known than before.
    pub fn news(&mut self) -> Option<String> {
        let lookups = self.lookups.as_ref()?;
        while let Some((id, answer)) = lookups.answer() {
            let Some(slot) = self.known.get_mut(&id) else {
                continue;
            };
            slot.open = false;
            let first = slot.lookup == Lookup::Pending;
            self.pending -= usize::from(first);
            let before = slot.container.clone();
            slot.settle(answer);
            if first || slot.container != before {
                return Some(id);
            }
        }
        None
    }

    /// Gives up what has waited too long; returns the containers concerned.
    pub fn give_up(&mut self, now: KernelTime) -> Vec<String> {
        if self.pending == 0 {
            return Vec::new();
        }
        let late = |slot: &Slot| u128::from(now.since(slot.asked)) >= GIVEN_UP.as_nanos();
        let mut given_up = Vec::new();
        for (id, slot) in &mut self.known {
            if slot.lookup == Lookup::Pending && late(slot) {
                slot.lookup = Lookup::Unavailable;
                slot.open = false;
                given_up.push(id.clone());
            }
        }
        self.pending -= given_up.len();
        given_up
    }

    fn make_room(&mut self) {
        // At most as many are pending as questions can be on their way.
        let settled = self.known.values();
        let settled = settled.filter(|slot| slot.lookup != Lookup::Pending);
        let mut times: Vec<_> = settled.map(|slot| slot.asked).collect();
        let last = times.len().saturating_sub(1);
        if times.is_empty() {
            return;
        }
        let (_, middle, _) = times.select_nth_unstable(last.min(MAX / 8));
        let oldest = *middle;
        self.known
            .retain(|_, slot| slot.asked > oldest || slot.lookup == Lookup::Pending);
    }
}

impl Slot {
    /// All is known that somebody will say: a pod may be known before its containers are.
    fn is_whole(&self) -> bool {
        let pod = self.container.as_ref().map(|container| &container.pod);
        self.lookup == Lookup::Known
            && pod.is_some_and(|pod| pod.as_ref().is_none_or(|pod| pod.container.is_some()))
    }

    /// What was known once stays: a container that is gone keeps its names.
    fn settle(&mut self, answer: Answer) {
        match answer {
            Answer::Known(container) => {
                self.lookup = Lookup::Known;
                self.container = Some(container);
            }
            Answer::NotFound | Answer::Unavailable if self.container.is_some() => {}
            Answer::NotFound => self.lookup = Lookup::NotFound,
            Answer::Unavailable => self.lookup = Lookup::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::identity::Asked;

    const SECOND: u64 = 1_000_000_000;

    fn directory() -> (Directory, Asked) {
        let (lookups, asked) = Lookups::pair();
        (Directory::new(Some(lookups)), asked)
    }

    fn named(name: &str) -> Answer {
        Answer::Known(Arc::new(Container {
            name: Some(name.into()),
            ..Container::default()
        }))
    }

    #[test]
    fn a_container_is_asked_for_once_and_known_for_all_its_processes() {
        let (mut directory, mut asked) = directory();
        let at = KernelTime(SECOND);
        assert_eq!(
            directory.get("a", &Cgroups::default(), at).0,
            Lookup::Pending
        );
        assert_eq!(
            directory.get("a", &Cgroups::default(), at).0,
            Lookup::Pending
        );
        assert_eq!(
            asked
                .questions
                .try_recv()
                .map(|asked| asked.container)
                .as_deref(),
            Ok("a")
        );
        assert!(asked.questions.try_recv().is_err());
        asked
            .answers
            .send(("a".into(), named("web")))
            .expect("sent");
        assert_eq!(directory.news().as_deref(), Some("a"));
        assert_eq!(directory.news(), None);
        let (lookup, container) = directory.get("a", &Cgroups::default(), at);
        assert_eq!(lookup, Lookup::Known);
        assert_eq!(
            container.and_then(|c| c.name.clone()).as_deref(),
            Some("web")
        );
    }

    #[test]
    fn what_nobody_knew_is_asked_again_and_what_is_known_survives_a_runtime_that_is_gone() {
        let (mut directory, mut asked) = directory();
        directory.get("a", &Cgroups::default(), KernelTime(SECOND));
        asked
            .answers
            .send(("a".into(), Answer::NotFound))
            .expect("sent");
        directory.news();
        assert_eq!(
            directory
                .get("a", &Cgroups::default(), KernelTime(2 * SECOND))
                .0,
            Lookup::NotFound
        );
        directory.get("a", &Cgroups::default(), KernelTime(12 * SECOND));
        assert!(asked.questions.try_recv().is_ok());
        assert!(asked.questions.try_recv().is_ok());
        asked
            .answers
            .send(("a".into(), named("web")))
            .expect("sent");
        assert_eq!(directory.news().as_deref(), Some("a"));
        directory.get("a", &Cgroups::default(), KernelTime(400 * SECOND));
        assert!(asked.questions.try_recv().is_ok());
        asked
            .answers
            .send(("a".into(), Answer::Unavailable))
            .expect("sent");
        assert_eq!(directory.news(), None);
        let (lookup, container) = directory.get("a", &Cgroups::default(), KernelTime(401 * SECOND));
        assert!(lookup == Lookup::Known && container.is_some());
    }

    #[test]
    fn an_answer_that_does_not_come_is_given_up() {
        let (mut directory, _asked) = directory();
        directory.get("a", &Cgroups::default(), KernelTime(SECOND));
        assert!(directory.give_up(KernelTime(SECOND + 1)).is_empty());
        assert_eq!(directory.give_up(KernelTime(3 * SECOND)), ["a"]);
        assert_eq!(
            directory
                .get("a", &Cgroups::default(), KernelTime(3 * SECOND))
                .0,
            Lookup::Unavailable
        );
    }

    #[test]
    fn questions_and_containers_are_bounded() {
        let (mut directory, asked) = directory();
        for i in 0..5000 {
            directory.get(&format!("{i}"), &Cgroups::default(), KernelTime(i));
        }
        let refused = directory
            .get("more", &Cgroups::default(), KernelTime(6000))
            .0;
        assert_eq!(refused, Lookup::Unavailable);
        assert!(directory.known.len() <= MAX);
        drop(asked);
    }

    #[test]
    fn without_anybody_to_ask_nothing_is_pending() {
        let mut directory = Directory::new(None);
        assert_eq!(
            directory.get("a", &Cgroups::default(), KernelTime(1)).0,
            Lookup::None
        );
    }
}
