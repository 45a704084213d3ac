//! Which processes are worth probes.
//!
//! A probe costs every process that maps the probed file. A file that nobody uses of whom something may be wanted is
//! not probed.

use super::lane::Wake;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Says of processes whether anything of them may be wanted.
pub trait Choose: Send + Sync {
    /// Whether something may be wanted of a process that nothing is known of. Then libraries are probed before anyone
    /// uses them, so that the first byte of the shortest program is seen.
    fn anyone(&self) -> bool;

    /// Whether something may be wanted of this process, now or later.
    fn process(&self, pid: u32) -> bool;
}

/// Of all processes.
struct Everyone;

impl Choose for Everyone {
    fn anyone(&self) -> bool {
        true
    }

    fn process(&self, _pid: u32) -> bool {
        true
    }
}

/// One [`Choose`], shared.
#[derive(Clone)]
pub struct Choice(Arc<dyn Choose>);

impl Choice {
    pub fn new(choose: impl Choose + 'static) -> Choice {
        Choice(Arc::new(choose))
    }

    pub fn anyone(&self) -> bool {
        self.0.anyone()
    }

    pub fn process(&self, pid: u32) -> bool {
        self.0.process(pid)
    }
}

impl Default for Choice {
    fn default() -> Self {
        Choice::new(Everyone)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice")
            .field("anyone", &self.anyone())
            .finish_non_exhaustive()
    }
}

/// The next choice, on its way to the finder's thread.
pub(super) struct Next {
    choice: Mutex<Option<Choice>>,
    wake: Arc<Wake>,
}

impl Next {
    pub fn new(wake: Arc<Wake>) -> Next {
        Next {
            choice: Mutex::new(None),
            wake,
        }
    }

    pub fn set(&self, choice: Choice) {
        let mut next = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(choice);
        drop(next);
        self.wake.set();
    }

    pub fn take(&self) -> Option<Choice> {
        let mut next = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        next.take()
    }
}
