//! Protocols: from bytes of both directions of a connection to messages and transactions.
pub mod http2;
