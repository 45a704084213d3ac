//! s2n-tls: every file with symbols of `s2n_recv` and `s2n_send`.
//!
//! A connection does its socket calls inside of these through functions of the program's; programs over an event loop,
//! such as the AWS Common Runtime, do them beside.

use super::bytes::ReadAt;
use super::chosen::Chosen;
use super::exports::{self, Export, export};
use super::image::Image;
use super::{ScanError, Stack};
use crate::probe::target::{CallResult, TlsCall};

const INT: CallResult = CallResult::Int;
const NONE: CallResult = CallResult::None;

const RECV: usize = 0;
const SEND: usize = 1;

/// `tls/api/s2n.h`. Early data has functions of its own; `s2n_sendv` gives pieces.
static EXPORTS: [Export; 6] = [
    export("s2n_recv", TlsCall::Read, INT, true),
    export("s2n_send", TlsCall::Write, INT, true),
    export("s2n_negotiate", TlsCall::Handshake, NONE, true),
    export("s2n_shutdown", TlsCall::Handshake, NONE, true),
    export("s2n_connection_free", TlsCall::Free, NONE, true),
    export("s2n_connection_wipe", TlsCall::Free, NONE, true),
];

/// The places to probe; `None` where the file is not s2n-tls.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let names: Vec<&str> = EXPORTS.iter().map(|e| e.name).collect();
    let symbols = image.find("s2n_", &names, &[RECV, SEND])?;
    if symbols.functions.is_empty() {
        return Ok(None);
    }
    let known = exports::read(image, &symbols, &EXPORTS)?;
    let mut out = Chosen::new(image);
    exports::push_all(&mut out, &known)?;
    Ok(Some(out.into_stack("s2n")))
}
