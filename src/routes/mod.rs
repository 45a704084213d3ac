//! Routes: the low-cardinality names of paths, from patterns of the configuration or, where asked for, by guess.
//!
//! Enters: transactions that are over, with their paths as sent. Leaves: `/users/{id}`, shared.
//! Holds: pure but for what guessing has learnt, which is bounded; the time is linear in the segments of a path; nothing
//! is allocated for a route that is known. A pattern that applies wins over a guess.

mod guess;
mod pattern;
mod table;
#[cfg(test)]
mod tests;

pub use pattern::{Fault, MAX_PATTERNS, Pattern};
pub use table::{Overlap, Table};

use crate::event::Role;
use crate::transaction::{Request, Transaction};
use guess::{Guess, Guesses};
use std::sync::Arc;

/// The route of a transaction: `http.route` of a server, `url.template` of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// As the configuration has it, or as it was guessed.
    pub template: Arc<str>,
    pub guessed: bool,
}

/// Finds routes. One for each configuration.
#[derive(Debug, Default)]
pub struct Routes {
    table: Table,
    /// What servers here answer, and what clients here ask for; None: nothing is guessed.
    guesses: Option<Box<[Guesses; 2]>>,
    /// A segment without its percent-encoding.
    buffer: Vec<u8>,
}

/// What became of the search for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Route(Route),
    None,
    /// It would have been guessed, and as many routes are known as may be.
    Full,
}

impl Found {
    pub fn route(self) -> Option<Route> {
        match self {
            Found::Route(route) => Some(route),
            Found::None | Found::Full => None,
        }
    }
}

impl Routes {
    /// `guess`: paths that no pattern applies to have a route by heuristic.
    pub fn new(table: Table, guess: bool) -> Routes {
        Routes {
            table,
            guesses: guess.then(Box::default),
            buffer: Vec::new(),
        }
    }

    /// The route of a transaction. A guess is learnt from those that went well.
    pub fn of(&mut self, transaction: &Transaction) -> Found {
        if self.table.is_empty() && self.guesses.is_none() {
            return Found::None;
        }
        let Some(path) = transaction.request.as_ref().and_then(path) else {
            return Found::None;
        };
        if let Some(template) = self.table.find(path, &mut self.buffer) {
            return Found::Route(Route {
                template: template.clone(),
                guessed: false,
            });
        }
        // The method of a call is its name.
        if transaction.grpc.is_some() {
            return Found::None;
        }
        let Some(guesses) = &mut self.guesses else {
            return Found::None;
        };
        let [of_servers, of_clients] = &mut **guesses;
        let guesses = match transaction.role {
            Role::Server => of_servers,
            Role::Client => of_clients,
        };
        let status = transaction.response.as_ref().map(|r| r.status);
        // What a server does not know is no route of it.
        let learn = status.is_some_and(|status| (100..400).contains(&status));
        match guesses.find(path, learn) {
            Guess::Known(template) => Found::Route(Route {
                template,
                guessed: true,
            }),
            Guess::Unknown => Found::None,
            Guess::Full => Found::Full,
        }
    }
}

/// The path of a request target as sent; None where it has none.
fn path(request: &Request) -> Option<&[u8]> {
    let target = &request.target;
    // An absolute URL begins with a scheme, whose `:` comes before any slash.
    let rest = match target.first()? {
        b'/' => &target[..],
        _ if request.method == b"CONNECT" => return None,
        _ => {
            let at = memchr::memmem::find(target, b"://")?;
            let (scheme, rest) = (target.get(..at)?, target.get(at + 3..)?);
            if scheme.contains(&b'/') || scheme.contains(&b'?') {
                return None;
            }
            match rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')) {
                Some(at) if rest.get(at) == Some(&b'/') => rest.get(at..)?,
                _ => b"/",
            }
        }
    };
    let end = memchr::memchr2(b'?', b'#', rest).unwrap_or(rest.len());
    rest.get(..end)
}

/// The segments of a path that begins with `/`. A slash at its end adds none.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let none = path.is_empty();
    path.split(|b| *b == b'/').skip(usize::from(none))
}

/// A segment without its parameters (RFC 3986 §3.3): `;jsessionid=…`.
fn bare(segment: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', segment).unwrap_or(segment.len());
    segment.get(..end).unwrap_or(segment)
}
