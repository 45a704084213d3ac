//! What is known of a transaction beside its bytes: the process, its service, wall-clock time.
//!
//! Enters: process ids of events, kernel times. Leaves: a shared [`Process`] and wall-clock times.
//! Holds: what could not be found out is absent, never waited for; a short-lived process keeps its identity
//! after it is gone.

mod clock;
pub mod identity;
mod ids;
mod process;
pub mod published;

pub use clock::{Clock, rfc3339, rfc3339_millis};
pub use ids::{Ids, Made};
pub(crate) use process::resource_pairs;
pub use process::{
    Directory, Identity, Lookup, Process, Processes, ResourceValue, Strategy, Tag, Variables,
    Wanted,
};
