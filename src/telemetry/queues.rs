//! What waits in queues now, asked for when somebody looks.
//!
//! Enters: queues, when they are made. Leaves: their fill. Holds: a queue that is gone is not shown; those of the same
//! name, as while a store is exchanged for another, are shown as one.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

/// How full a queue is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Fill {
    pub items: u64,
    /// Of these, in requests under way.
    pub in_flight: u64,
    pub bytes: u64,
    pub max_items: u64,
    pub max_bytes: u64,
    /// `otel.component.type` of what empties it, where it is an exporter of OTLP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter: Option<&'static str>,
    /// How the object store behind it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreHealth>,
}

/// How an object store is, by the write probe and by what became of payloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreHealth {
    pub state: StoreState,
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// What it failed with last, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreState {
    /// It has not answered yet.
    Unknown,
    Works,
    Fails,
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::enrich::rfc3339_millis(*time))
}

/// A queue that can be looked at.
pub trait Watched: Send + Sync {
    fn fill(&self) -> Fill;
}

/// All queues by name: `STORE/SIGNAL`, or what else waits.
#[derive(Clone, Default)]
pub struct Queues(Arc<Mutex<Vec<Named>>>);

type Named = (String, Weak<dyn Watched>);

impl Queues {
    /// Shows the queue for as long as it lives.
    pub fn watch(&self, name: &str, queue: &Arc<impl Watched + 'static>) {
        let queue: Arc<dyn Watched> = queue.clone();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, queue)| queue.strong_count() > 0);
        all.push((name.to_owned(), Arc::downgrade(&queue)));
    }

    /// The fill of each at this moment.
    pub fn fills(&self) -> BTreeMap<String, Fill> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fills = BTreeMap::new();
        for (name, queue) in all.iter() {
            let Some(queue) = queue.upgrade() else {
                continue;
            };
            let now = queue.fill();
            let sum: &mut Fill = fills.entry(name.clone()).or_default();
            sum.items += now.items;
            sum.in_flight += now.in_flight;
            sum.bytes += now.bytes;
            sum.max_items += now.max_items;
            sum.max_bytes += now.max_bytes;
            sum.exporter = now.exporter;
            sum.store = now.store;
        }
        fills
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Of(u64);

    impl Watched for Of {
        fn fill(&self) -> Fill {
            Fill {
                items: self.0,
                max_items: 10,
                ..Fill::default()
            }
        }
    }

    #[test]
    fn queues_of_one_name_are_one_and_those_that_are_gone_are_not_shown() {
        let queues = Queues::default();
        let (a, b, c) = (Arc::new(Of(1)), Arc::new(Of(2)), Arc::new(Of(4)));
        queues.watch("c/traces", &a);
        queues.watch("c/traces", &b);
        queues.watch("c/logs", &c);
        let fill = |name: &str| queues.fills().get(name).map(|f| (f.items, f.max_items));
        assert_eq!(fill("c/traces"), Some((3, 20)));
        drop((a, c));
        assert_eq!((fill("c/traces"), fill("c/logs")), (Some((2, 10)), None));
    }
}
