//! Configuration: from a file as written to what runs.
//!
//! Enters: YAML text, the environment (passed in, never read here). Leaves: a [`Config`], or all problems at once,
//! each with line, column and what was probably meant.
//! Holds: an unknown key is a problem, never a silence; secrets are [`Secret`]s and have no readable `Debug`.

mod model;

pub use model::*;
