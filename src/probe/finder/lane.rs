//! Threads for what may take long: a file can lie on a file system that does not answer.
//!
//! Enters: jobs. Leaves: an answer for each, or that it was given up. Holds: nobody waits for a job; a thread that hangs
//! in the kernel is left behind and replaced, a few times, and what it says later is not heard.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a thread that hangs is replaced.
const MAX_REPLACED: u32 = 4;

/// Becomes readable when there are answers. Shared by the lanes of one waiter.
pub struct Wake(OwnedFd);

impl Wake {
    pub fn new() -> io::Result<Arc<Wake>> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made this descriptor, and nothing else owns it.
        Ok(Arc::new(Wake(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn set(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` has the eight bytes that an eventfd takes.
        let written = unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
        if written < 0 {
            // The waiter looks again after its longest wait.
            tracing::warn!(error = %io::Error::last_os_error(), "cannot wake the finder");
        }
    }

    /// Not readable any more, until the next answer.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: `count` has room for the eight bytes that an eventfd gives.
        let read = unsafe { libc::read(self.fd(), count.as_mut_ptr().cast(), count.len()) };
        // It is readable only after a `set`.
        let error = io::Error::last_os_error();
        if read < 0 && error.kind() != io::ErrorKind::WouldBlock {
            tracing::warn!(%error, "cannot read the finder's wake-up");
        }
    }
}

/// Names a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// What became of a job.
pub enum Done<A> {
    Answer(A),
    /// It took longer than may be, or no thread is left to do it.
    GivenUp,
}

/// One thread with a queue.
pub struct Lane<J, A> {
    shared: Arc<Shared<J, A>>,
    name: &'static str,
    limit: Duration,
    next: u64,
    replaced: u32,
    /// No thread is left.
    dead: bool,
}

struct Shared<J, A> {
    state: Mutex<State<J, A>>,
    more: Condvar,
    wake: Arc<Wake>,
    work: Box<dyn Fn(J) -> A + Send + Sync>,
}

struct State<J, A> {
    jobs: VecDeque<(Ticket, J)>,
    /// What the thread is at, and since when.
    busy: Option<(Ticket, Instant)>,
    done: Vec<(Ticket, Done<A>)>,
    /// Changes when the thread is replaced: one that finds another number ends.
    thread: u32,
    closed: bool,
}

impl<J, A> Shared<J, A> {
    // A panic elsewhere must not take the queue away: each change leaves it whole.
    fn lock(&self) -> MutexGuard<'_, State<J, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until the lane is closed, or another thread has taken over.
    fn run(&self, number: u32) {
        let mut state = self.lock();
        loop {
            if state.closed || state.thread != number {
                return;
            }
            let Some((ticket, job)) = state.jobs.pop_front() else {
                let waited = self.more.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy = Some((ticket, Instant::now()));
            drop(state);
            let answer = (self.work)(job);
            state = self.lock();
            if state.thread == number {
                state.busy = None;
                state.done.push((ticket, Done::Answer(answer)));
                self.wake.set();
            }
        }
    }
}

impl<J: Send + 'static, A: Send + 'static> Lane<J, A> {
    /// Starts the thread. A job that takes longer than `limit` is given up.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(
        name: &'static str,
        wake: Arc<Wake>,
        limit: Duration,
        work: impl Fn(J) -> A + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let state = State {
            jobs: VecDeque::new(),
            busy: None,
            done: Vec::new(),
            thread: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            more: Condvar::new(),
            wake,
            work: Box::new(work),
        });
        let lane = Lane {
            shared,
            name,
            limit,
            next: 0,
            replaced: 0,
            dead: false,
        };
        lane.spawn(0)?;
        Ok(lane)
    }

    fn spawn(&self, number: u32) -> io::Result<()> {
        let shared = self.shared.clone();
        let builder = std::thread::Builder::new().name(self.name.into());
        // Not joined: it may hang for good.
        builder.spawn(move || shared.run(number)).map(drop)
    }

    /// Adds a job to the queue.
    pub fn submit(&mut self, job: J) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let mut state = self.shared.lock();
        if self.dead {
            state.done.push((ticket, Done::GivenUp));
            self.shared.wake.set();
        } else {
            state.jobs.push_back((ticket, job));
            self.shared.more.notify_one();
        }
        ticket
    }

    /// What is done by now. A job that takes too long is given up here, and its thread replaced.
    pub fn take(&mut self) -> Vec<(Ticket, Done<A>)> {
        let mut state = self.shared.lock();
        let late = state.busy.filter(|(_, since)| since.elapsed() > self.limit);
        if let Some((ticket, _)) = late {
            state.busy = None;
            state.done.push((ticket, Done::GivenUp));
            state.thread += 1;
            let number = state.thread;
            drop(state);
            self.replace(number);
            state = self.shared.lock();
        }
        std::mem::take(&mut state.done)
    }

    fn replace(&mut self, number: u32) {
        let spawned = if self.replaced < MAX_REPLACED {
            self.replaced += 1;
            self.spawn(number)
        } else {
            Err(io::Error::other("too many hang already"))
        };
        let Err(error) = spawned else {
            tracing::warn!(
                thread = self.name,
                "a file system does not answer: the thread that waits for it is replaced"
            );
            return;
        };
        tracing::error!(
            thread = self.name,
            %error,
            "no thread is left to look at files: programs that start from now on are not captured. Restart the agent"
        );
        self.dead = true;
        let mut state = self.shared.lock();
        let left: Vec<_> = state.jobs.drain(..).collect();
        let given_up = left.into_iter().map(|(ticket, _)| (ticket, Done::GivenUp));
        state.done.extend(given_up);
    }
}

impl<J, A> Drop for Lane<J, A> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn all<J: Send + 'static, A: Send + 'static>(
        lane: &mut Lane<J, A>,
        number: usize,
    ) -> Vec<(Ticket, Done<A>)> {
        let began = Instant::now();
        let mut done = Vec::new();
        while done.len() < number {
            done.extend(lane.take());
            assert!(began.elapsed() < Duration::from_secs(10), "{}", done.len());
            std::thread::sleep(Duration::from_millis(1));
        }
        done
    }

    #[test]
    fn answers_come_in_order_and_wake_the_waiter() {
        let wake = Wake::new().expect("an eventfd");
        let limit = Duration::from_secs(60);
        let mut lane = Lane::start("test", wake.clone(), limit, |n: u32| n * 2).expect("started");
        let tickets = [1, 2, 3].map(|n| lane.submit(n));
        let done = all(&mut lane, 3);
        for ((ticket, done), (want, n)) in done.into_iter().zip(tickets.into_iter().zip(1..)) {
            assert_eq!(ticket, want);
            assert!(matches!(done, Done::Answer(answer) if answer == n * 2));
        }
        wake.clear();
    }

    #[test]
    fn a_job_that_hangs_is_given_up_and_the_next_ones_are_done() {
        let wake = Wake::new().expect("an eventfd");
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let limit = Duration::from_millis(30);
        let work = move |hang: bool| {
            if hang {
                // The sender goes with the test.
                assert!(held.lock().expect("not poisoned").recv().is_err());
            }
            hang
        };
        let mut lane = Lane::start("test", wake, limit, work).expect("started");
        let (hangs, goes) = (lane.submit(true), lane.submit(false));
        let done = all(&mut lane, 2);
        assert!(matches!(done[0], (ticket, Done::GivenUp) if ticket == hangs));
        assert!(matches!(done[1], (ticket, Done::Answer(false)) if ticket == goes));
        drop(release);
    }

    #[test]
    fn when_all_threads_hang_jobs_are_given_up_at_once() {
        let wake = Wake::new().expect("an eventfd");
        let limit = Duration::from_millis(1);
        let work = |()| std::thread::sleep(Duration::from_secs(3));
        let mut lane = Lane::start("test", wake, limit, work).expect("started");
        for _ in 0..=MAX_REPLACED + 2 {
            lane.submit(());
        }
        let done = all(&mut lane, MAX_REPLACED as usize + 3);
        assert!(done.iter().all(|(_, done)| matches!(done, Done::GivenUp)));
        lane.submit(());
        assert!(matches!(lane.take()[..], [(_, Done::GivenUp)]));
    }
}
