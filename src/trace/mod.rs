//! Which trace a transaction belongs to, and which span is its parent (`docs/trace-context.md`).
//!
//! Enters: what a request carries, who made it and who answers it, and when threads begin to answer. Leaves: a place
//! ([`Place`]), and the request that a call was made for where that is certain.
//! Holds: pure, no clock (time comes with the events); everything is bounded; what is not certain gives no parent: a
//! wrong one is worse than none.

mod caps;
mod policy;
mod sdk;
mod serving;

pub use caps::{CapSettings, Caps};
pub use policy::{Asked, Header, Place, Why, place};
pub use sdk::Sdks;
pub use serving::{Begin, Begun, Call, Serving, Together};
