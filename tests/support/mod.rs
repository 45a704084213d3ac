//! What tests share.

pub mod otlp_sink;
