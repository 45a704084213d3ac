//! CMake, which fetches files from a web server, each over a connection of its own.

use super::{Row, git, scene};
use crate::harness::process::Running;
use crate::harness::servers::nginx;
use crate::harness::work::Work;
use std::path::Path;
use std::process::Command;

pub fn run(row: &Row, program: &Path) {
    // One that runs before the agent: the agent cannot know the program's file before somebody runs it.
    let mut idle = None;
    let scene = scene(|work| {
        let server = nginx(work);
        files(work);
        let mut command = Command::new(program);
        command.args(["-E", "sleep", "300"]);
        idle = Some(Running::start(&mut command, work.dir(), "idle"));
        server
    });
    let script = scene.work.path("fetch.cmake");
    let fetch = fetch(&scene.work, &scene.server.base());
    std::fs::write(&script, fetch).expect("write what is fetched");
    let mut command = Command::new(program);
    command.arg("-P").arg(script).env("no_proxy", "*");
    git::reads(row, scene, command, "/index/");
    drop(idle);
}

fn files(work: &Work) {
    let folder = work.folder("nginx/www/index");
    for number in 0..=git::FILES {
        let text = format!("file {number} of the test\n").repeat(number * 3);
        std::fs::write(folder.join(format!("{number}.txt")), text).expect("write a file");
    }
}

fn fetch(work: &Work, base: &str) -> String {
    let (out, ca) = (work.folder("fetched"), work.path("cert.pem"));
    format!(
        "foreach(number RANGE {last})\n  \
           file(DOWNLOAD {base}/index/${{number}}.txt {out}/${{number}}.txt TIMEOUT 30\n    \
             TLS_VERIFY ON TLS_CAINFO {ca} STATUS status)\n  \
           list(GET status 0 code)\n  \
           if(code)\n    message(FATAL_ERROR \"${{status}}\")\n  endif()\n\
         endforeach()\n",
        last = git::FILES,
        out = out.display(),
        ca = ca.display(),
    )
}
