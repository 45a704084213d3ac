//! A thread that goes first, in a process that has given up CAP_SYS_NICE.
//!
//! A thread that was started before has the capability still. It raises one thread, and ends; then none has it.

use std::io;
use std::sync::mpsc;
use std::thread;

/// What the thread has to do.
struct Raise {
    thread: libc::id_t,
    nice: libc::c_int,
    answer: mpsc::Sender<io::Result<()>>,
}

/// The right to raise one thread.
pub struct Priority(mpsc::SyncSender<Raise>);

impl Priority {
    /// Call it before the capability is given up.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn keep() -> io::Result<Priority> {
        let (ask, asked) = mpsc::sync_channel::<Raise>(1);
        thread::Builder::new()
            .name("priority".into())
            .spawn(move || {
                if let Ok(Raise {
                    thread,
                    nice,
                    answer,
                }) = asked.recv()
                {
                    // SAFETY: no memory is involved.
                    let failed = unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice) };
                    // Nobody waits any more where that fails.
                    let _ = answer.send(match failed {
                        0 => Ok(()),
                        _ => Err(io::Error::last_os_error()),
                    });
                }
            })?;
        Ok(Priority(ask))
    }

    /// Gives the calling thread this nice value.
    ///
    /// # Errors
    /// What the kernel says: CAP_SYS_NICE was missing from the start.
    pub fn raise(self, nice: libc::c_int) -> io::Result<()> {
        let (answer, answered) = mpsc::channel();
        // SAFETY: no arguments, and it cannot fail.
        let thread = unsafe { libc::gettid() };
        let thread = thread.try_into().map_err(io::Error::other)?;
        let raise = Raise {
            thread,
            nice,
            answer,
        };
        let gone = |_| io::Error::other("the thread that has the right is gone");
        self.0.send(raise).map_err(|_| gone(mpsc::RecvError))?;
        answered.recv().map_err(gone)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asking_thread_alone_gets_another_priority() {
        // Nicer needs no right.
        let nice_of = |thread| {
            // SAFETY: no memory is involved.
            unsafe { libc::getpriority(libc::PRIO_PROCESS, thread) }
        };
        let before = nice_of(0);
        let priority = Priority::keep().expect("a thread");
        let nice = thread::spawn(move || {
            priority.raise(19).expect("set");
            nice_of(0)
        });
        assert_eq!(
            (nice.join().expect("its nice value"), nice_of(0)),
            (19, before)
        );
    }
}
