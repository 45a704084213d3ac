//! `plainspan payload`: what the agent stored is read back by the program that people have, by real readers of HAR, by a
//! shell, by jq and by DuckDB.
//!
//! Captures go through the payload stage itself, into folders and into a server that speaks S3 as far as needed and counts
//! what it is asked. `tests/setup.sh` installs the programs.

#[path = "../support/bare.rs"]
mod bare;
mod curl;
mod documented;
mod get;
#[path = "../support/har.rs"]
mod har;
mod many;
mod replay;
mod server;
mod stored;
