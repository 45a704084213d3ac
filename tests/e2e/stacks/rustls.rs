//! `tests/programs/rustls` with a version of rustls each, without symbols.

use super::clients::{Start, start};
use super::programs::{rustls_file, rustls_in};
use super::servers::told;
use crate::harness::servers::Server;
use crate::harness::work::Work;
use std::process::Command;

/// Clients and servers with one of the older versions, and the version.
macro_rules! version {
    ($module:ident, $version:literal, $cryptography:literal) => {
        pub mod $module {
            use super::*;

            pub const FILE: &str = concat!("/target/rustls/peer-", $version);

            fn peer(words: &[&str]) -> Command {
                let mut command = Command::new(rustls_file(concat!("peer-", $version)));
                command.args(words);
                command
            }

            const fn client(command: fn() -> Command, http: &'static str) -> Start {
                let name = concat!("rustls-", $version);
                start(name, command, 1, http).with_idle(|| peer(&["idle"]))
            }

            pub const CLIENT: Start = client(
                || peer(&["client", concat!($cryptography, ",1.3,1.1")]),
                "1.1",
            );
            pub const CLIENT_HTTP2: Start = client(|| peer(&["client", "ring,1.2,2"]), "2");

            pub fn server(work: &Work) -> Server {
                told(work, peer(&["server", "ring,1.2,1.1,chacha"]), "rustls")
            }

            pub fn server_http2(work: &Work) -> Server {
                let how = concat!($cryptography, ",1.3,2");
                told(work, peer(&["server", how]), "rustls")
            }

            pub fn rustls() -> String {
                rustls_in(&rustls_file(concat!("peer-", $version)))
            }
        }
    };
}

version!(v20, "0.20", "ring");
version!(v21, "0.21", "ring");
version!(v22, "0.22", "aws-lc");

/// The current version, with symbols.
pub mod with_symbols {
    use super::*;

    pub const FILE: &str = "/target/rustls/peer-symbols";

    pub fn server(work: &Work) -> Server {
        let mut command = Command::new(rustls_file("peer-symbols"));
        command.args(["server", "ring,1.3,2"]);
        told(work, command, "rustls")
    }

    pub fn rustls() -> String {
        rustls_in(&rustls_file("peer-symbols"))
    }
}
