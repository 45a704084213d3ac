//! Functions that a library exports under known names, and which of them to probe.

use super::bytes::ReadAt;
use super::chosen::{Chosen, function_size, needs};
use super::code::{self, Exit, Place};
use super::image::{Function, Image, Symbols};
use super::{Method, ScanError};
use crate::probe::target::{CallResult, TlsCall};
use std::collections::HashSet;

/// A function that a library exports.
pub struct Export {
    pub name: &'static str,
    pub call: TlsCall,
    pub result: CallResult,
    /// Every program's bytes go through one of these; the others are for early data alone.
    pub main: bool,
}

pub const fn export(name: &'static str, call: TlsCall, result: CallResult, main: bool) -> Export {
    Export {
        name,
        call,
        result,
        main,
    }
}

/// One of the named functions, as it is in this file.
pub struct Known {
    /// Index into the names looked for.
    pub name: usize,
    /// What is known of it; a name without is looked at and never probed.
    pub export: Option<&'static Export>,
    pub address: u64,
    pub code: Vec<u8>,
    /// Where its calls and jumps lead, with the linkage table seen through.
    pub exits: HashSet<Exit>,
}

/// The functions that the symbols name, which are those of `exports` in order, and perhaps more.
pub fn read<B: ReadAt>(
    image: &Image<'_, B>,
    symbols: &Symbols,
    exports: &'static [Export],
) -> Result<Vec<Known>, ScanError> {
    let mut known = Vec::new();
    let mut names: Vec<(&usize, &Function)> = symbols.functions.iter().collect();
    names.sort_by_key(|(name, _)| **name);
    for (name, function) in names {
        // Two names for one function: one probe.
        if known.iter().any(|k: &Known| k.address == function.address) {
            continue;
        }
        let code = image.code(function.address, function_size(function))?;
        let mut exits = HashSet::new();
        for exit in code::exits(&code, function.address) {
            exits.insert(resolve(image, symbols, exit)?);
        }
        known.push(Known {
            name: *name,
            export: exports.get(*name),
            address: function.address,
            code,
            exits,
        });
    }
    Ok(known)
}

/// An exit with the linkage table seen through, as far as it leads to a named function of this file.
fn resolve<B: ReadAt>(
    image: &Image<'_, B>,
    symbols: &Symbols,
    exit: Exit,
) -> Result<Exit, ScanError> {
    let slot = match exit {
        Exit::Slot(slot) => Some(slot),
        Exit::Code(address) => code::linkage_slot(&image.code(address, 16)?, address),
    };
    Ok(slot
        .and_then(|slot| symbols.slots.get(&slot))
        .and_then(|name| symbols.functions.get(name))
        .map_or(exit, |function| Exit::Code(function.address)))
}

/// The functions that do their work themselves. One that goes through another of them would be seen twice.
pub fn outermost_left_out<'k>(all: &[&'k Known]) -> Vec<&'k Known> {
    let goes_through = |k: &Known, other: &Known| {
        other.address != k.address
            && k.exits.contains(&Exit::Code(other.address))
            && !other.exits.contains(&Exit::Code(k.address))
    };
    let inner: Vec<&Known> = all
        .iter()
        .copied()
        .filter(|k| !all.iter().any(|other| goes_through(k, other)))
        .collect();
    if inner.is_empty() {
        all.to_vec()
    } else {
        inner
    }
}

/// Whether `from` calls `address`, itself or through others of `all`.
pub fn reaches(from: &Known, address: u64, all: &[&Known]) -> bool {
    let mut seen = HashSet::new();
    let mut next = vec![from];
    while let Some(known) = next.pop() {
        if known.exits.contains(&Exit::Code(address)) {
            return true;
        }
        if seen.insert(known.address) {
            let calls = |k: &&&Known| known.exits.contains(&Exit::Code(k.address));
            next.extend(all.iter().filter(calls).copied());
        }
    }
    false
}

/// Where a probe of it costs little.
pub fn cheap(known: &Known) -> Option<Place> {
    let export = known.export?;
    let needs = needs(export.call, export.result);
    code::place(&known.code, known.address, needs)
}

/// Probes each function at its cheap place, or at its entry where it has none.
pub fn push_exported<B: ReadAt>(
    out: &mut Chosen<'_, '_, B>,
    functions: &[(&Known, Option<Place>)],
) -> Result<(), ScanError> {
    for (known, place) in functions {
        if let Some(export) = known.export {
            let what = (export.call, export.result, Method::Exported);
            out.push(known.address, *place, what, export.name.to_owned())?;
        }
    }
    Ok(())
}

/// Probes the functions of each kind of call, but those that go through another of the same kind.
pub fn push_all<B: ReadAt>(out: &mut Chosen<'_, '_, B>, known: &[Known]) -> Result<(), ScanError> {
    for call in TlsCall::ALL {
        let of_call = |k: &&Known| k.export.is_some_and(|e| e.call == call);
        let all: Vec<&Known> = known.iter().filter(of_call).collect();
        let chosen = outermost_left_out(&all);
        let placed: Vec<_> = chosen.into_iter().map(|k| (k, cheap(k))).collect();
        push_exported(out, &placed)?;
    }
    Ok(())
}
