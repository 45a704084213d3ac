//! The agent where there is no traffic.

use crate::attached::{self, Ends, Level};
use crate::cost;
use crate::harness::agent::{Launch, write_config};
use crate::harness::work::Work;
use crate::sink::Sink;
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Still {
    /// From its start until it says that it is ready.
    pub ready: Duration,
    /// Of a core.
    pub cpu: f64,
    pub pss: u64,
}

/// How long nothing happens.
const LONG: Duration = Duration::from_secs(20);

pub fn measure(sink: &Sink) -> Still {
    let work = Work::new();
    let endpoint = sink.endpoint();
    let config = attached::config(
        Level::Headers,
        Ends::Both,
        Path::new("/"),
        &endpoint,
        work.dir(),
    );
    let file = write_config(&work, &config.yaml());
    // The first one fills what is kept of scans.
    Launch::new(&file).quiet().start(&work).stop();
    let start = Instant::now();
    let agent = Launch::new(&file).quiet().start(&work);
    let ready = start.elapsed();
    std::thread::sleep(Duration::from_secs(5));
    let before = cost::cpu(agent.pid());
    std::thread::sleep(LONG);
    let used = cost::cpu(agent.pid()) - before;
    let pss = cost::pss(agent.pid());
    agent.stop();
    Still {
        ready,
        cpu: used.as_secs_f64() / LONG.as_secs_f64(),
        pss,
    }
}
