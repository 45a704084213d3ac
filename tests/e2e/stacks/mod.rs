//! Every TLS stack with real programs: one test for each row of `docs/support-matrix.md`.
//!
//! A row names a program, one end of its connections, and the TLS implementation that it uses. Its test makes 200
//! requests on eight connections side by side, half of them with bodies, against an end that is known to be right, and
//! wants each request once on each side: method, target, sizes, headers, both bodies, peers, times, and that both ends
//! tell the same connection. Then it compares the row of the page with what ran.

mod clients;
mod cmake;
mod git;
mod grpcio;
mod java;
mod matrix;
mod programs;
mod proxies;
mod rows;
mod rustls;
mod servers;
mod uv;

pub use programs::bun;
pub use servers::{rustls_aws_lc_12 as rustls_tls_1_2, rustls_ring};

use crate::harness::config::Config;
use crate::harness::exchange::Exchange;
use crate::harness::plan::{Call, Client};
use crate::harness::process::Running;
use crate::harness::scene::Scene;
use crate::harness::servers::{Server, nginx, nginx_http2};
use crate::harness::turn;
use crate::harness::work::Work;
use serde_json::json;
use std::path::PathBuf;

/// One line of the matrix.
pub struct Row {
    pub program: &'static str,
    /// Its version, as far as the row is about it.
    pub version: fn() -> String,
    /// As verdicts name it.
    pub stack: &'static str,
    pub stack_version: fn() -> String,
    /// The file with its code: a part of the path.
    pub library: &'static str,
    pub kind: Kind,
    pub http: &'static str,
    pub end: End,
    pub association: Association,
}

/// How the TLS implementation comes with the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A library of the system.
    Shared,
    /// A library that the program's package brings.
    Bundled,
    /// A library that the agent gives to it.
    Given,
    /// Inside the program, with symbols.
    Static,
    /// Inside the program, without.
    Stripped,
}

/// Which end of its connections the program is.
#[derive(Clone, Copy)]
pub enum End {
    Client(clients::Start),
    /// A client that other tests use too. `idle`: a program of the same file that runs before the agent.
    Known {
        client: Client,
        idle: Option<fn(&Work) -> Server>,
    },
    Server {
        start: fn(&Work) -> Server,
        /// The `x-server` that it sends.
        header: &'static str,
    },
    /// Server of one connection and client of another.
    Proxy {
        start: fn(&Work, u16) -> Server,
        header: &'static str,
        /// Of HTTP, to the server behind it.
        behind: &'static str,
    },
    /// Reads a repository.
    Git,
    /// Fetches files.
    Cmake(fn() -> PathBuf),
    /// Client and server of gRPC.
    Grpcio,
    /// Reads an index of packages.
    Uv,
}

/// How a TLS session's connection becomes known (`docs/architecture.md`).
#[derive(Clone, Copy)]
pub enum Association {
    /// The program's socket calls are inside the TLS calls.
    Inside,
    /// They are beside them, on the same thread.
    Beside,
    /// They are on other threads.
    Apart,
}

/// Runs a row's test.
pub fn run(row: &Row) {
    let _turn = turn();
    match row.end {
        End::Client(start) => client(row, start),
        End::Server { start, header } => server(row, start, header),
        End::Proxy {
            start,
            header,
            behind,
        } => proxies::run(row, start, header, behind),
        End::Known { client, idle } => known(row, client, idle),
        End::Git => git::run(row),
        End::Cmake(program) => cmake::run(row, &program()),
        End::Grpcio => grpcio::run(row),
        End::Uv => uv::run(row),
    }
    matrix::check(row);
}

fn client(row: &Row, start: clients::Start) {
    // One that runs before the agent, where the agent cannot know the program's file before somebody runs it.
    let mut idle: Option<Running> = None;
    let scene = row_scene(row, |work| {
        idle = start.idle(work);
        match row.http {
            "2" => nginx_http2(work, "https"),
            _ => nginx(work),
        }
    });
    exchange(row, scene, Client::Program(start.program), "nginx");
    drop(idle);
}

fn known(row: &Row, client: Client, start_idle: Option<fn(&Work) -> Server>) {
    let mut idle = None;
    let scene = scene(|work| {
        idle = start_idle.map(|start| start(work));
        match row.http {
            "2" => nginx_http2(work, "https"),
            _ => nginx(work),
        }
    });
    exchange(row, scene, client, "nginx");
    drop(idle);
}

fn server(row: &Row, start: fn(&Work) -> Server, header: &'static str) {
    // The client's file has to be known before its first request.
    let mut idle = None;
    let scene = row_scene(row, |work| {
        idle = clients::NODE.idle(work);
        start(work)
    });
    if row.kind == Kind::Given {
        java::wait_until_captured(&scene.agent, scene.server.running.pid());
    }
    let client = match row.http {
        "2" => Client::Program(clients::NODE_HTTP2.program),
        _ => Client::Node,
    };
    exchange(row, scene, client, header);
    drop(idle);
}

/// With what the row needs beside.
fn row_scene(row: &Row, start: impl FnOnce(&Work) -> Server) -> Scene {
    let given = row.kind == Kind::Given;
    scene_with(start, |config| config.tap("java", given.into()))
}

/// Everything is captured, and where it is joined is kept.
pub fn scene(start: impl FnOnce(&Work) -> Server) -> Scene {
    scene_with(start, |config| config)
}

fn scene_with(start: impl FnOnce(&Work) -> Server, more: impl FnOnce(Config) -> Config) -> Scene {
    Scene::with(start, |work, sink, _| {
        let state = json!({"state_file": work.path("connections")});
        more(Config::full(work, sink).tap("trace", state))
    })
}

fn exchange(row: &Row, scene: Scene, client: Client, header: &'static str) {
    let calls = calls(&scene.work);
    let ends = (client, &scene.server);
    let (work, agent) = (&scene.work, &scene.agent);
    let exchange = Exchange::perform(work, agent, &scene.sink, ends, &calls, header);
    agent.ledger().assert_nothing_lost();
    assert_verdict(row, &scene);
    let (seen, _work) = scene.stop();
    exchange.verify(&seen);
    exchange.verify_joined(&seen);
}

/// 25 requests on each of eight connections, every other one with a body.
pub fn calls(work: &Work) -> Vec<Vec<Call>> {
    let call = |number: usize| {
        let call = match number % 2 {
            0 => Call::get(work.url_path(&format!("get/{number}?number={number}"))),
            _ => {
                let size = 1000 + number * 300;
                let body = (0..size).map(|at| (at * 7 + at / 251 + number) as u8);
                Call::post(work.url_path(&format!("upload/{number}")), body.collect())
            }
        };
        call.header("x-call", &number.to_string())
    };
    (0..8)
        .map(|connection| (0..25).map(|n| call(connection * 25 + n)).collect())
        .collect()
}

/// The agent says of the file that it captures this stack there.
pub fn assert_verdict(row: &Row, scene: &Scene) {
    let status = scene.agent.status();
    let libraries = status["verdicts"]["libraries"].as_array();
    let all = libraries.expect("verdicts of libraries");
    let captured = all.iter().any(|library| {
        let path = library["path"].as_str().unwrap_or_default();
        let mut stacks = library["stacks"].as_array().into_iter().flatten();
        path.contains(row.library)
            && library["state"] == "attached"
            && stacks.any(|stack| stack["name"] == row.stack)
    });
    let paths: Vec<_> = all.iter().map(|l| (&l["path"], &l["state"])).collect();
    assert!(captured, "no {} in {}: {paths:?}", row.stack, row.library);
}
