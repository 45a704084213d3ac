//! Questions to the thread that reads other processes' memory, and its answers.

use super::{Published, memory};
use crate::event::KernelTime;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::Duration;

/// Questions that wait to be answered.
const QUEUE: usize = 1024;
/// A thread that has answered nothing for so long, although asked, does not come back: memory of a process can be of a
/// file system that never answers.
const STUCK: Duration = Duration::from_secs(5);
/// Threads that are given up, at the most; then nothing is read any more.
const GIVEN_UP_MAX: u32 = 4;

/// What is asked of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Tells questions apart.
    pub number: u64,
    pub pid: u32,
    /// Tells processes with the same number apart.
    pub start_boottime_ns: Option<u64>,
    /// What is known already.
    pub known: Option<Arc<Published>>,
}

/// What a process has published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or nothing that can be followed.
    Nothing,
    /// What is known already.
    Same,
    New(Arc<Published>),
}

/// The answer to one [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of the question.
    pub number: u64,
    pub pid: u32,
    pub found: Found,
}

type Read = Arc<dyn Fn(&Ask) -> Found + Send + Sync>;

/// Asks what processes have published.
pub struct Reader {
    ask: SyncSender<Ask>,
    answers: Receiver<Answer>,
    /// What a thread does; None: somebody else answers.
    read: Option<Read>,
    /// Questions without an answer, and when the last answer came or the first of them was asked.
    waiting: usize,
    moved: KernelTime,
    given_up: u32,
}

/// The far end of a [`Reader`].
pub struct Asked {
    pub questions: Receiver<Ask>,
    pub answers: Sender<Answer>,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start() -> io::Result<Reader> {
        Reader::reading(Arc::new(|ask| memory::read(Path::new("/proc"), ask)))
    }

    fn reading(read: Read) -> io::Result<Reader> {
        let (mut reader, asked) = Reader::pair();
        spawn(asked, read.clone())?;
        reader.read = Some(read);
        Ok(reader)
    }

    /// Both ends, for whoever answers otherwise.
    pub fn pair() -> (Reader, Asked) {
        let (ask, questions) = mpsc::sync_channel(QUEUE);
        // Bounded by the questions: each has one answer.
        let (answer, answers) = mpsc::channel();
        let reader = Reader {
            ask,
            answers,
            read: None,
            waiting: 0,
            moved: KernelTime::default(),
            given_up: 0,
        };
        let asked = Asked {
            questions,
            answers: answer,
        };
        (reader, asked)
    }

    /// False: too many questions wait, or nobody is there to answer.
    pub fn ask(&mut self, ask: Ask, now: KernelTime) -> bool {
        if self.waiting == 0 {
            self.moved = now;
        } else if u128::from(now.since(self.moved)) >= STUCK.as_nanos() {
            self.replace(now);
        }
        let asked = self.ask.try_send(ask).is_ok();
        self.waiting += usize::from(asked);
        asked
    }

    /// The next answer that is there.
    pub fn answer(&mut self, now: KernelTime) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.waiting = self.waiting.saturating_sub(1);
        self.moved = now;
        Some(answer)
    }

    /// Goes on with another thread. What the one before was asked is not answered any more.
    fn replace(&mut self, now: KernelTime) {
        let Some(read) = self.read.clone() else {
            return;
        };
        let (fresh, asked) = Reader::pair();
        let given_up = self.given_up + 1;
        let started = match given_up {
            ..=GIVEN_UP_MAX => spawn(asked, read.clone()),
            _ => {
                drop(asked);
                Err(io::Error::other("too many threads hang already"))
            }
        };
        match &started {
            Ok(()) => tracing::warn!(
                "a process held the reader of process contexts up: another thread goes on"
            ),
            Err(error) => tracing::error!(%error, "process contexts are read no more"),
        }
        *self = Reader {
            read: started.is_ok().then_some(read),
            moved: now,
            given_up,
            ..fresh
        };
    }
}

fn spawn(asked: Asked, read: Read) -> io::Result<()> {
    std::thread::Builder::new()
        .name("contexts".into())
        .spawn(move || {
            while let Ok(ask) = asked.questions.recv() {
                let answer = Answer {
                    number: ask.number,
                    pid: ask.pid,
                    found: read(&ask),
                };
                if asked.answers.send(answer).is_err() {
                    return;
                }
            }
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const SECOND: u64 = 1_000_000_000;

    fn ask(pid: u32) -> Ask {
        Ask {
            number: 0,
            pid,
            start_boottime_ns: None,
            known: None,
        }
    }

    fn answered(reader: &mut Reader) -> u32 {
        let before = Instant::now();
        loop {
            if let Some(answer) = reader.answer(KernelTime(1)) {
                return answer.pid;
            }
            assert!(before.elapsed() < Duration::from_secs(20), "no answer");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_process_that_holds_the_thread_up_costs_no_other_its_answer() {
        let read = |ask: &Ask| {
            if ask.pid == 666 {
                loop {
                    std::thread::park();
                }
            }
            Found::Nothing
        };
        let mut reader = Reader::reading(Arc::new(read)).expect("a thread");
        for turn in 0..u64::from(GIVEN_UP_MAX) {
            let now = KernelTime(turn * 100 * SECOND);
            assert!(reader.ask(ask(666), now));
            assert!(reader.ask(ask(1), KernelTime(now.0 + SECOND)));
            assert_eq!(reader.answer(now), None);
            assert!(reader.ask(ask(2), KernelTime(now.0 + 6 * SECOND)));
            assert_eq!(answered(&mut reader), 2);
        }
        assert!(reader.ask(ask(666), KernelTime(1000 * SECOND)));
        assert!(!reader.ask(ask(2), KernelTime(1006 * SECOND)));
        assert!(!reader.ask(ask(2), KernelTime(1012 * SECOND)));
    }

    #[test]
    fn questions_are_bounded() {
        let (mut reader, asked) = Reader::pair();
        let taken = (0..2000).filter(|pid| reader.ask(ask(*pid), KernelTime(1)));
        assert_eq!(taken.count(), QUEUE);
        drop(asked);
        assert!(!reader.ask(ask(1), KernelTime(1)));
    }
}
