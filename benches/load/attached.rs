//! What is attached while a load runs.

use crate::harness::config::Config;
pub use plainspan::rules::Level;
use serde_json::json;
use std::fmt;
use std::path::Path;

/// Whose traffic the agent sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ends {
    Server,
    Both,
}

impl Ends {
    /// Transactions that each request makes.
    pub fn number(self) -> u64 {
        match self {
            Ends::Server => 1,
            Ends::Both => 2,
        }
    }
}

/// What is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attached {
    Nothing,
    /// Programs without an instruction of their own at the places in the server that the agent would probe.
    Empty,
    Agent(Level, Ends),
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Attached::Nothing => "nothing".into(),
            Attached::Empty => "empty programs".into(),
            Attached::Agent(level, Ends::Server) => format!("{}, server", level.name()),
            Attached::Agent(level, Ends::Both) => format!("{}, both ends", level.name()),
        };
        f.pad(&text)
    }
}

/// The agent's configuration: everything as it comes, but for level, whose traffic, and loopback.
pub fn config(level: Level, ends: Ends, server: &Path, collector: &str, work: &Path) -> Config {
    let mut config = Config::new(level.name()).grpc(collector);
    if level == Level::Full {
        let folder = work.join("payloads");
        config = config.s3(json!({
            "id": "payloads", "type": "disk", "path": folder, "layout": "segment", "max_bytes": "1GiB",
        }));
    }
    match ends {
        Ends::Server => config.tap("filters", json!({"include": [{"exe": server}]})),
        Ends::Both => config,
    }
}
