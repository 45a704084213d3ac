//! GnuTLS: every library that exports `gnutls_record_recv` and `gnutls_record_send`.
//!
//! A session does its socket I/O inside the call, through functions of the program's or its own, so the connection is
//! known for certain. Corked data counts when it is given, and is sent in `gnutls_record_uncork`.

use super::bytes::ReadAt;
use super::chosen::Chosen;
use super::exports::{self, Export, export};
use super::image::Image;
use super::{ScanError, Stack};
use crate::probe::target::{CallResult, TlsCall};

const INT: CallResult = CallResult::Int;
const NONE: CallResult = CallResult::None;

const RECV: usize = 0;
const SEND: usize = 4;

static EXPORTS: [Export; 15] = [
    export("gnutls_record_recv", TlsCall::Read, INT, true),
    export("gnutls_record_recv_seq", TlsCall::Read, INT, true),
    // Gives a packet of its own, in a form that differs by version.
    export(
        "gnutls_record_recv_packet",
        TlsCall::Read,
        CallResult::Length,
        true,
    ),
    export("gnutls_record_recv_early_data", TlsCall::Read, INT, false),
    export("gnutls_record_send", TlsCall::Write, INT, true),
    export("gnutls_record_send2", TlsCall::Write, INT, true),
    export("gnutls_record_send_range", TlsCall::Write, INT, true),
    export(
        "gnutls_record_send_early_data",
        TlsCall::Write,
        CallResult::All,
        false,
    ),
    export("gnutls_handshake", TlsCall::Handshake, NONE, true),
    export("gnutls_rehandshake", TlsCall::Handshake, NONE, true),
    export("gnutls_reauth", TlsCall::Handshake, NONE, true),
    export("gnutls_record_uncork", TlsCall::Handshake, NONE, true),
    export("gnutls_alert_send", TlsCall::Handshake, NONE, true),
    export("gnutls_bye", TlsCall::Handshake, NONE, true),
    export("gnutls_deinit", TlsCall::Free, NONE, true),
];

/// The places to probe; `None` where the file is not GnuTLS.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let names: Vec<&str> = EXPORTS.iter().map(|e| e.name).collect();
    let symbols = image.find_exported("gnutls_", &names, &[RECV, SEND])?;
    if symbols.functions.is_empty() {
        return Ok(None);
    }
    let known = exports::read(image, &symbols, &EXPORTS)?;
    let mut out = Chosen::new(image);
    exports::push_all(&mut out, &known)?;
    Ok(Some(out.into_stack("gnutls")))
}
