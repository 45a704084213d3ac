//! End-to-end tests: the agent with its kernel programs, beside real programs that know nothing of it.
//!
//! Every test starts what it needs, talks over loopback or over a network namespace of its own, and ends all of it.
//! They need root and a kernel with BTF, and say so loudly where that is missing; they never skip.
//! One test runs at a time, whatever `--test-threads` says: an agent sees the whole host.
//! `tests/setup.sh` installs the programs.

#[path = "../support/har.rs"]
mod har;
mod harness;
#[path = "../support/otlp_sink.rs"]
mod otlp_sink;
#[path = "../support/conformance.rs"]
mod rows;
#[path = "../support/seaweedfs.rs"]
mod seaweedfs;

mod association;
mod bodies;
mod bounds;
mod budget;
mod canary;
mod check;
mod collector;
mod conformance;
mod content;
mod curl_nginx;
mod dry_run;
mod filters;
mod finding;
mod go;
mod grpc;
mod guide;
mod http1;
mod http2;
mod http2_programs;
mod identities;
mod inferred;
mod joining;
mod late_attach;
mod late_library;
mod live;
mod metrics;
mod mixed;
mod node;
mod odd_connections;
mod oteltap;
mod overflow;
mod own_telemetry;
mod own_traffic;
mod payload_failure;
mod payload_links;
mod payload_store;
mod payload_volume;
mod plain_http;
mod privileges;
mod process_life;
mod programs;
mod prometheus;
mod proxy;
mod python;
mod reload;
mod rotel;
mod rules;
mod rustls;
mod sampling;
mod spool;
mod stacks;
mod streams;
mod tiers;
mod trace_context;
mod trees;
mod websocket;
