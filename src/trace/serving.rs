//! Which request a call was made for.
//!
//! Enters: requests whose threads wait for nothing else, the first byte of their responses, and calls of such threads.
//! Leaves: for a call the request that its thread was handling.
//! Holds: a call has a parent only where it is certain: the thread read the one request that it has open, in receives
//! that block (an event loop's never do), and has not begun to answer it. A thread that ever had two requests open at
//! once, and a process in which one thread ever answered what another had read, give none from then on. Bounded by
//! number; what is over is remembered for a moment, because calls may come out after the request that they were made for.

use crate::event::{KernelTime, Role};
use crate::join::{Key, Position};
use crate::redact::SpanIds;
use crate::transaction::{ConnectionInfo, TraceContext};
use std::collections::{HashMap, HashSet, VecDeque};

/// Requests, and calls, that are remembered at the most, of each.
const KEPT_MAX: usize = 16_384;
/// Processes, and threads, that give no parents, of each.
const DOUBTFUL_MAX: usize = 65_536;
/// How long what is over is remembered, in ns.
const LINGER: u64 = 10_000_000_000;

/// A request or a call, by the operation of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Begin {
    pub pid: u32,
    pub tid: u32,
    pub time: KernelTime,
}

impl Begin {
    fn thread(&self) -> (u32, u32) {
        (self.pid, self.tid)
    }
}

/// What is known of a request when its head has been read.
#[derive(Debug, Clone)]
pub struct Begun {
    /// `Server`: a request that a thread begins to handle; `Client`: a call.
    pub role: Role,
    pub begin: Begin,
    pub connection: ConnectionInfo,
    /// Where it stands in its connection, where both ends can say so.
    pub position: Option<(Key, Position)>,
    pub context: Option<TraceContext>,
    pub tunnel: bool,
}

/// What becomes of a call whose two ends are seen here: said once, for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// Both are in the trace of the request that it was made for.
    Follow,
    /// Both stay in the trace that they compute.
    Apart,
}

/// A call that was made for a request.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub begin: Begin,
    /// The request.
    pub parent: Begin,
    /// None: not said yet.
    pub together: Option<Together>,
}

struct Served {
    begun: Begun,
    /// Its span's ids, once somebody needs them.
    fixed: Option<SpanIds>,
    doubtful: bool,
}

#[derive(Default)]
struct Thread {
    /// Requests that it read and did not answer.
    open: Vec<Begin>,
}

/// All requests that are handled by threads of their own, and their calls.
#[derive(Default)]
pub struct Serving {
    threads: HashMap<(u32, u32), Thread>,
    served: HashMap<Begin, Served>,
    /// How many threads of each process have some open.
    open: HashMap<u32, u32>,
    calls: HashMap<Begin, Call>,
    /// Calls by the trace that both ends compute.
    by_trace: HashMap<[u8; 16], Begin>,
    /// Threads that handle many at a time.
    loops: HashSet<(u32, u32)>,
    /// Processes whose threads pass requests on to others.
    pass_on: HashSet<u32>,
    /// What is over, oldest first.
    over: VecDeque<(KernelTime, Over)>,
}

enum Over {
    Request(Begin),
    Call(Begin, Option<[u8; 16]>),
}

impl Serving {
    /// A thread has read the head of a request, in receives that block.
    pub fn begins(&mut self, begun: Begun) {
        let begin = begun.begin;
        let alone = !self.threads.contains_key(&begin.thread());
        if !alone {
            self.is_loop(begin);
        }
        if self.served.len() >= KEPT_MAX {
            return;
        }
        let thread = self.threads.entry(begin.thread()).or_default();
        thread.open.push(begin);
        if alone {
            *self.open.entry(begin.pid).or_default() += 1;
        }
        let served = Served {
            begun,
            fixed: None,
            doubtful: !alone,
        };
        self.served.insert(begin, served);
    }

    /// The thread of `begin` has other requests open.
    fn is_loop(&mut self, begin: Begin) {
        if self.loops.len() < DOUBTFUL_MAX {
            self.loops.insert(begin.thread());
        }
        let open = self.threads.get(&begin.thread());
        for other in open.into_iter().flat_map(|thread| &thread.open) {
            if let Some(served) = self.served.get_mut(other) {
                served.doubtful = true;
            }
        }
    }

    /// The first byte of the answer to `begin` was written by the thread `by`, or none comes (None), at `time`.
    pub fn ends(&mut self, begin: Begin, by: Option<u32>, time: KernelTime) {
        if by.is_some_and(|tid| tid != begin.tid) {
            if self.pass_on.len() < DOUBTFUL_MAX {
                self.pass_on.insert(begin.pid);
            }
            if let Some(served) = self.served.get_mut(&begin) {
                served.doubtful = true;
            }
        }
        let Some(thread) = self.threads.get_mut(&begin.thread()) else {
            return;
        };
        let before = thread.open.len();
        thread.open.retain(|open| *open != begin);
        let known = thread.open.len() < before;
        if thread.open.is_empty() {
            self.threads.remove(&begin.thread());
            self.closes(begin.pid);
        }
        if known {
            self.over.push_back((time, Over::Request(begin)));
        }
    }

    /// One of the process's threads has none open any more.
    fn closes(&mut self, pid: u32) {
        if let Some(threads) = self.open.get_mut(&pid) {
            *threads -= 1;
            if *threads == 0 {
                self.open.remove(&pid);
            }
        }
    }

    /// Whether a call of this thread would be looked at.
    pub fn is_handling(&self, pid: u32, tid: u32) -> bool {
        !self.threads.is_empty() && self.threads.contains_key(&(pid, tid))
    }

    /// Whether any thread of the process handles a request.
    pub fn is_handling_any(&self, pid: u32) -> bool {
        self.open.contains_key(&pid)
    }

    /// A thread makes a call. `trace`: what both its ends compute.
    pub fn calls(&mut self, begin: Begin, trace: Option<[u8; 16]>) {
        let Some(parent) = self.handled_by(begin) else {
            return;
        };
        if self.calls.len() >= KEPT_MAX {
            return;
        }
        let call = Call {
            begin,
            parent,
            together: None,
        };
        self.calls.insert(begin, call);
        if let Some(trace) = trace {
            self.by_trace.insert(trace, begin);
        }
        self.over.push_back((begin.time, Over::Call(begin, trace)));
    }

    /// The one request that the thread of `call` handles at its beginning.
    fn handled_by(&self, call: Begin) -> Option<Begin> {
        let thread = self.threads.get(&call.thread())?;
        let [only] = thread.open[..] else { return None };
        let certain = !self.loops.contains(&call.thread())
            && !self.pass_on.contains(&call.pid)
            && only.time <= call.time;
        certain.then_some(only)
    }

    /// The call that began so, where it has a parent.
    pub fn call(&self, begin: Begin) -> Option<Call> {
        self.believed(self.calls.get(&begin)?)
    }

    /// The call whose ends compute this trace, where it has a parent.
    pub fn call_of(&self, trace: &[u8; 16]) -> Option<Call> {
        self.believed(self.calls.get(self.by_trace.get(trace)?)?)
    }

    /// What was said of a call holds, whatever is found out later.
    fn believed(&self, call: &Call) -> Option<Call> {
        let served = self.served.get(&call.parent)?;
        (!served.doubtful || call.together.is_some()).then_some(*call)
    }

    /// Says what becomes of a call, at both of its ends.
    pub fn say(&mut self, begin: Begin, together: Together) {
        if let Some(call) = self.calls.get_mut(&begin) {
            call.together.get_or_insert(together);
        }
    }

    /// What is known of the request that began so.
    pub fn request(&self, begin: Begin) -> Option<&Begun> {
        self.served.get(&begin).map(|served| &served.begun)
    }

    /// The ids of the request's span, once they are fixed.
    pub fn fixed(&self, begin: Begin) -> Option<&SpanIds> {
        self.served.get(&begin)?.fixed.as_ref()
    }

    /// Fixes the ids of the request's span.
    pub fn fix(&mut self, begin: Begin, ids: SpanIds) {
        if let Some(served) = self.served.get_mut(&begin) {
            served.fixed.get_or_insert(ids);
        }
    }

    /// The process has a new program, or is gone.
    pub fn forget(&mut self, pid: u32, time: KernelTime) {
        self.pass_on.remove(&pid);
        if !self.loops.is_empty() {
            self.loops.retain(|(of, _)| *of != pid);
        }
        self.open.remove(&pid);
        let open = self.threads.extract_if(|(of, _), _| *of == pid);
        for begin in open.flat_map(|(_, thread)| thread.open) {
            self.over.push_back((time, Over::Request(begin)));
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: KernelTime) {
        while let Some((time, _)) = self.over.front()
            && now.since(*time) > LINGER
        {
            match self.over.pop_front() {
                Some((_, Over::Request(begin))) => {
                    self.served.remove(&begin);
                }
                Some((_, Over::Call(begin, trace))) if self.goes_on(begin) => {
                    self.over.push_back((now, Over::Call(begin, trace)));
                }
                Some((_, Over::Call(begin, trace))) => {
                    self.calls.remove(&begin);
                    if let Some(trace) = trace {
                        self.by_trace.remove(&trace);
                    }
                }
                None => {}
            }
        }
    }

    /// The request that the call was made for is not answered yet.
    fn goes_on(&self, call: Begin) -> bool {
        let parent = self.calls.get(&call).map(|call| call.parent);
        let thread = self.threads.get(&call.thread());
        thread.is_some_and(|thread| thread.open.iter().any(|open| Some(*open) == parent))
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> u64 {
        let served = self.served.capacity() * size_of::<(Begin, Served)>();
        let calls = self.calls.capacity() * size_of::<(Begin, Call)>();
        let traces = self.by_trace.capacity() * size_of::<([u8; 16], Begin)>();
        let over = self.over.capacity() * size_of::<(KernelTime, Over)>();
        (served + calls + traces + over) as u64
    }
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
