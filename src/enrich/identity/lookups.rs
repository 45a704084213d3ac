//! Questions to the host's runtimes, and their answers: the way between a thread that never waits and tasks that do.

use super::{Answer, Sources};
use std::sync::Arc;
use std::sync::mpsc as sync;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

/// A source that has not answered by then is not waited for.
pub const TIMEOUT: Duration = Duration::from_millis(400);
/// Questions that wait to be asked.
const QUEUE: usize = 1024;
/// Questions that are asked at the same time.
const AT_ONCE: usize = 16;

/// A container that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// 64 hex digits.
    pub container: String,
    /// Uid of its pod, where a cgroup path says it.
    pub pod: Option<String>,
}

/// Asks for containers.
pub struct Lookups {
    ask: mpsc::Sender<Question>,
    answers: sync::Receiver<(String, Answer)>,
}

/// The far end of [`Lookups`].
pub struct Asked {
    pub questions: mpsc::Receiver<Question>,
    pub answers: sync::Sender<(String, Answer)>,
}

impl Lookups {
    /// Starts the task that asks `sources`.
    pub fn start(sources: Sources, runtime: &Handle) -> Lookups {
        let (lookups, asked) = Lookups::pair();
        runtime.spawn(serve(Arc::new(sources), asked));
        lookups
    }

    /// Both ends, for whoever answers otherwise.
    pub fn pair() -> (Lookups, Asked) {
        let (ask, questions) = mpsc::channel(QUEUE);
        // Bounded by the questions: each has one answer.
        let (answer, answers) = sync::channel();
        let asked = Asked {
            questions,
            answers: answer,
        };
        (Lookups { ask, answers }, asked)
    }

    /// False: too many questions wait, or nobody is there to answer.
    pub fn ask(&self, question: Question) -> bool {
        self.ask.try_send(question).is_ok()
    }

    /// The next answer that is there.
    pub fn answer(&self) -> Option<(String, Answer)> {
        self.answers.try_recv().ok()
    }
}

async fn serve(sources: Arc<Sources>, mut asked: Asked) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(question) = asked.questions.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (sources, answers) = (sources.clone(), asked.answers.clone());
        tokio::spawn(async move {
            let answer = sources.find(&question).await;
            drop(place);
            if answers.send((question.container, answer)).is_err() {
                tracing::debug!("nobody waits for a container any more");
            }
        });
    }
}
