//! When a process is asked what its SDK publishes, and what it answered.

use crate::enrich::published::{Found, Published};
use crate::event::KernelTime;
use std::sync::Arc;
use std::time::Duration;

/// What has published nothing yet is asked again after this, and then after twice as long each time: an SDK may start
/// later than the first request.
const FIRST: Duration = Duration::from_secs(2);
/// No later than this, and so is what has published something: it may be changed.
const AGAIN: Duration = Duration::from_secs(30);

/// Of one process.
#[derive(Debug, Default)]
pub(super) struct Publication {
    pub published: Option<Arc<Published>>,
    /// When it was asked last; None: never.
    asked: Option<KernelTime>,
    /// Number of the question that is on its way.
    open: Option<u64>,
    /// Questions in a row to which there was nothing.
    nothing: u32,
}

impl Publication {
    /// Whether to ask now.
    pub fn is_due(&self, now: KernelTime) -> bool {
        let again = match &self.published {
            Some(_) => AGAIN,
            None => (FIRST * 2_u32.pow(self.nothing.clamp(1, 5) - 1)).min(AGAIN),
        };
        let due = |asked| u128::from(now.since(asked)) >= again.as_nanos();
        self.open.is_none() && self.asked.is_none_or(due)
    }

    /// It was asked; `question`: None where nobody could be. True where it is the first time.
    pub fn asked(&mut self, question: Option<u64>, now: KernelTime) -> bool {
        self.open = question;
        self.asked.replace(now).is_none()
    }

    /// Takes an answer: whether more is known than before. None: to a question that nobody waits for.
    pub fn answered(&mut self, question: u64, found: Found) -> Option<bool> {
        self.open.take_if(|open| *open == question)?;
        Some(match found {
            // What was published stays: a process that ends takes its memory with it.
            Found::Nothing => {
                self.nothing = self.nothing.saturating_add(1);
                false
            }
            Found::Same => false,
            Found::New(published) => {
                let before = self.published.replace(published.clone());
                !before.is_some_and(|before| before.attributes == published.attributes)
            }
        })
    }

    /// The answer is not waited for any more. It is asked again when that is due.
    pub fn give_up(&mut self) {
        self.open = None;
        self.nothing = self.nothing.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::ResourceValue;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> KernelTime {
        KernelTime((1000 + seconds) * SECOND)
    }

    fn named(name: &str, published_at: u64) -> Found {
        Found::New(Arc::new(Published {
            attributes: vec![("service.name".into(), ResourceValue::Str(name.into()))],
            address: 1,
            published_at,
        }))
    }

    #[test]
    fn who_publishes_nothing_is_asked_less_and_less_often() {
        let mut publication = Publication::default();
        let mut asked = Vec::new();
        for second in 0..200 {
            if publication.is_due(at(second)) {
                asked.push(second);
                assert_eq!(publication.asked(Some(second), at(second)), second == 0);
                assert!(!publication.is_due(at(second + 100)));
                assert_eq!(publication.answered(second, Found::Nothing), Some(false));
            }
        }
        assert_eq!(asked, [0, 2, 6, 14, 30, 60, 90, 120, 150, 180]);
    }

    #[test]
    fn what_is_published_is_looked_at_again_and_stays_when_the_process_is_gone() {
        let mut publication = Publication::default();
        publication.asked(Some(1), at(0));
        assert_eq!(publication.answered(2, named("other", 1)), None);
        assert_eq!(publication.answered(1, named("orders", 1)), Some(true));
        assert!(!publication.is_due(at(29)) && publication.is_due(at(30)));
        publication.asked(Some(3), at(30));
        assert_eq!(publication.answered(3, Found::Same), Some(false));
        publication.asked(Some(4), at(60));
        assert_eq!(publication.answered(4, named("orders", 2)), Some(false));
        publication.asked(Some(5), at(90));
        assert_eq!(publication.answered(5, named("billing", 3)), Some(true));
        publication.asked(Some(6), at(120));
        assert_eq!(publication.answered(6, Found::Nothing), Some(false));
        assert_eq!(publication.published.map(|p| p.published_at), Some(3));
    }
}
