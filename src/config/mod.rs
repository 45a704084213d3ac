//! Configuration: from a file as written to what runs.
//!
//! Enters: YAML text, the environment (passed in, never read here). Leaves: a [`Config`], or all problems at once,
//! each with line, column and what was probably meant.
//! Holds: an unknown key is a problem, never a silence; secrets are [`Secret`]s and have no readable `Debug`.
//!
//! The way: `tree` (text → nodes with places) → `decode` by the tables of `schema` (→ settings, defaults filled in) →
//! `build` (→ [`Config`]). To add a key is a line in `schema`, and its use in `build`.
//!
//! YAML is read with `serde_yaml` for what things are and with saphyr-parser for where they stand, since serde's own
//! positions are wrong inside tagged lists: `serde_yaml` types every scalar, reads the whole text once more to find
//! what two readers would understand differently, and writes `check --print`.

mod agree;
mod build;
mod decode;
mod environment;
pub mod file;
mod groups;
mod inside;
mod leaf;
mod model;
mod near;
mod private;
mod problem;
mod schema;
mod secrets;
mod settings;
mod sources;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod tree;

pub use environment::Environment;
pub use model::*;
pub(crate) use near::nearest;
pub use private::PrivateRanges;
pub use problem::{Problem, Severity, render};
pub use sources::{Origin, Source, Sources, describe};
pub use text::duration;

use crate::rules::expr::Macros;
use build::Builder;
use decode::Decoder;
use problem::Problems;
use tree::Mark;

/// Name under which problems and sources of the embedded default are shown.
pub const EMBEDDED: &str = "embedded default";
const DEFAULT: &str = include_str!("default.yaml");

/// A configuration that can run.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
    /// Where each value comes from.
    pub sources: Sources,
    /// SHA-256 of the text, in hex.
    pub digest: String,
}

/// Reads a configuration. `file` is its name, for the sources of values.
///
/// # Errors
/// Every problem of the text, warnings included, in the order of the file.
pub fn load(text: &str, file: &str, environment: &Environment) -> Result<Loaded, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::default();
    let Some(root) = tree::read(text, &mut problems) else {
        return Err(problems.finish(text, &secrets::marks_of_lines(text)));
    };
    let mut decoder = Decoder {
        environment,
        problems: &mut problems,
    };
    let settings = decoder.section(
        &schema::ROOT,
        Some(&root),
        Mark {
            line: 1,
            column: 1,
            width: 1,
        },
    );
    let mut builder = Builder {
        environment,
        problems: &mut problems,
        sources: Sources::of(file),
        text,
        macros: Macros::default(),
    };
    let config = builder.config(&settings);
    let sources = builder.sources;
    if !problems.has_errors()
        && let Some((mark, message)) = agree::disagreement(text, &root)
    {
        problems.error(mark, message);
    }
    let failed = problems.has_errors();
    let found = problems.finish(text, &secrets::marks(&root));
    if failed {
        Err(found)
    } else {
        Ok(Loaded {
            config,
            warnings: found,
            sources,
            digest: digest(text),
        })
    }
}

fn digest(text: &str) -> String {
    use sha2::Digest;
    use std::fmt::Write;
    let hash = sha2::Sha256::digest(text);
    hash.iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes any text");
            hex
        })
}

/// Section and name of every key that this version acts on.
pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    table::acting_keys(&schema::ROOT).into_iter()
}

/// The configuration that runs without a file.
///
/// # Errors
/// Problems of the environment; the text itself has none.
pub fn embedded(environment: &Environment) -> Result<Loaded, Vec<Problem>> {
    load(DEFAULT, EMBEDDED, environment)
}
