//! Configuration files as people write them: the guide's, broken ones, the reference, every key.

mod broken;
mod damage;
mod effects;
mod environment;
mod from_qtap;
mod guide;
mod keys;
mod variables;

use plainspan::config::{Environment, Loaded, load, render};
use std::path::PathBuf;

fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn text_of(relative: &str) -> String {
    let path = path(relative);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

/// What loads, or the problems as shown.
fn read(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    load(text, "test.yaml", &environment(variables))
        .map_err(|problems| render("test.yaml", &problems))
}

#[track_caller]
fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
    read(text, variables).unwrap_or_else(|shown| panic!("{text}\n{shown}"))
}
