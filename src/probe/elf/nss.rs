//! NSS: plaintext goes through the descriptors of NSPR, the portable runtime.
//!
//! Two libraries, or one where they were merged: NSPR exports `PR_Read` and its like, which read and write whatever a
//! descriptor stands for, and NSS `SSL_ImportFD`, which makes a TLS session of one. The kernel programs take what moves
//! through descriptors that are TLS sessions, and nothing else.

use super::bytes::ReadAt;
use super::chosen::Chosen;
use super::exports::{self, Export, export};
use super::image::Image;
use super::{ScanError, Stack};
use crate::probe::target::{CallResult, TlsCall};

const PLAIN: CallResult = CallResult::Descriptor { flags: false };
const FLAGS: CallResult = CallResult::Descriptor { flags: true };
const NONE: CallResult = CallResult::None;

static DESCRIPTORS: [Export; 5] = [
    export("PR_Read", TlsCall::Read, PLAIN, true),
    export("PR_Recv", TlsCall::Read, FLAGS, true),
    export("PR_Write", TlsCall::Write, PLAIN, true),
    export("PR_Send", TlsCall::Write, PLAIN, true),
    export("PR_Close", TlsCall::Free, NONE, true),
];

static SESSIONS: [Export; 4] = [
    export("SSL_ImportFD", TlsCall::New, NONE, true),
    export("SSL_ForceHandshake", TlsCall::Handshake, NONE, true),
    export(
        "SSL_ForceHandshakeWithTimeout",
        TlsCall::Handshake,
        NONE,
        true,
    ),
    export("SSL_ReHandshake", TlsCall::Handshake, NONE, true),
];

/// The places to probe; `None` where the file is neither NSPR nor NSS.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let mut out = Chosen::new(image);
    let mut any = false;
    for (prefix, exports, needed) in [
        ("PR_", &DESCRIPTORS[..], &[0, 1, 2, 3, 4][..]),
        ("SSL_", &SESSIONS[..], &[0, 1][..]),
    ] {
        let names: Vec<&str> = exports.iter().map(|e| e.name).collect();
        let symbols = image.find_exported(prefix, &names, needed)?;
        if !symbols.functions.is_empty() {
            any = true;
            let known = exports::read(image, &symbols, exports)?;
            exports::push_all(&mut out, &known)?;
        }
    }
    Ok(any.then(|| out.into_stack("nss")))
}
