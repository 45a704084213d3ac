//! Libraries that are loaded after the agent started.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::wait_for_targets;
use crate::harness::plan::Call;
use crate::harness::process::Running;
use crate::harness::seen::Seen;
use crate::harness::servers::{self, PYTHON, program};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::process::Command;
use std::time::Duration;

/// Where Debian has the library.
const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";

#[test]
fn a_libssl_that_a_process_loads_five_seconds_after_its_start_is_found_within_a_second() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    // A copy of its own: no other process maps this file, so that it has no probes yet.
    let private = work.folder("lib");
    std::fs::copy(LIBSSL, private.join("libssl.so.3")).unwrap_or_else(|e| panic!("{LIBSSL}: {e}"));
    let agent = Agent::start(
        &work,
        &Config::new("headers").grpc(&sink.grpc_endpoint()).yaml(),
    );

    let calls: Vec<Call> = (0..5)
        .map(|n| Call::get(work.url_path(&format!("get/late/{n}"))))
        .collect();
    let mut command = Command::new(PYTHON);
    command
        .arg(program("late.py"))
        .args(["5", "1"])
        .arg(work.path("cert.pem"))
        .args(
            calls
                .iter()
                .map(|call| format!("{}{}", nginx.base(), call.target)),
        )
        .env("LD_LIBRARY_PATH", &private);
    let mut late = Running::start(&mut command, work.dir(), "late");
    late.wait_for_output("done", Duration::from_secs(30));
    let output = late.stdout();
    assert!(
        output.contains("started []"),
        "it was mapped from the start: {output}"
    );
    assert!(
        output.contains(private.to_str().expect("UTF-8")),
        "it is not the private copy: {output}"
    );

    wait_for_targets(&agent, &sink, &calls, 2);
    agent.stop();
    let seen = Seen::of(&sink);
    for call in &calls {
        seen.one(&call.target, SpanKind::Client);
        seen.one(&call.target, SpanKind::Server);
    }
}
