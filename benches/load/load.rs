//! The loads: which server, which client, what is asked for.

use crate::attached::{Attached, Ends, Level};
use crate::client::Client;
use crate::server::Program;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub name: &'static str,
    pub server: Program,
    pub client: Client,
    /// Of each response.
    pub bytes: u64,
    pub attached: &'static [Attached],
}

const fn agent(level: Level, ends: Ends) -> Attached {
    Attached::Agent(level, ends)
}

const EVERY: &[Attached] = &[
    Attached::Nothing,
    Attached::Empty,
    agent(Level::None, Ends::Server),
    agent(Level::Summary, Ends::Server),
    agent(Level::Headers, Ends::Server),
    agent(Level::Full, Ends::Server),
    agent(Level::Headers, Ends::Both),
    agent(Level::Full, Ends::Both),
];

const SOME: &[Attached] = &[
    Attached::Nothing,
    Attached::Empty,
    agent(Level::Headers, Ends::Server),
    agent(Level::Full, Ends::Server),
];

const HEADERS: &[Attached] = &[
    Attached::Nothing,
    Attached::Empty,
    agent(Level::Headers, Ends::Server),
];

/// Kept-open connections of the loads that are not about connections.
const CONNECTIONS: u32 = 16;

const HTTP1: Client = Client::Wrk {
    connections: CONNECTIONS,
    each_its_own: false,
};
const HTTP2: Client = Client::H2load {
    connections: 4,
    streams: 32,
};

pub const HTTP1_1K: &str = "nginx h1 1K";
pub const HTTP2_1K: &str = "nginx h2 1K";
pub const HTTP1_100M: &str = "nginx h1 100M";
pub const HTTP2_100M: &str = "nginx h2 100M";

/// All of them.
pub fn all() -> impl Iterator<Item = Load> {
    let load = |name, server, client, bytes, attached| Load {
        name,
        server,
        client,
        bytes,
        attached,
    };
    let download = |http2| Client::Download { http2, times: 24 };
    let own = Client::Wrk {
        connections: CONNECTIONS,
        each_its_own: true,
    };
    [
        load(HTTP1_1K, Program::Nginx, HTTP1, 1 << 10, EVERY),
        load(HTTP2_1K, Program::Nginx, HTTP2, 1 << 10, EVERY),
        load("nginx h1 64K", Program::Nginx, HTTP1, 64 << 10, SOME),
        load("nginx h1 new", Program::Nginx, own, 1 << 10, HEADERS),
        load(
            HTTP1_100M,
            Program::Nginx,
            download(false),
            100 << 20,
            HEADERS,
        ),
        load(
            HTTP2_100M,
            Program::Nginx,
            download(true),
            100 << 20,
            HEADERS,
        ),
        load("node h1 1K", Program::Node, HTTP1, 1 << 10, SOME),
        load("go h1 1K", Program::Go, HTTP1, 1 << 10, SOME),
        load("go h2 1K", Program::Go, HTTP2, 1 << 10, SOME),
    ]
    .into_iter()
}
