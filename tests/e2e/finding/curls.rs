//! Programs that live for a moment.

use super::{Stage, own_library};
use crate::harness::process::run_well;
use crate::harness::turn;
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

#[test]
fn of_500_short_lived_curls_none_is_missed() {
    let _turn = turn();
    let stage = Stage::new();
    let library = own_library(&stage.work.folder("lib"));
    let curl = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-e", "-c", script, "sh"]);
        command.arg(stage.nginx.base());
        command.env("LD_LIBRARY_PATH", library.parent().expect("a folder"));
        command.env("CURL_CA_BUNDLE", stage.work.path("cert.pem"));
        let limit = Duration::from_secs(120);
        run_well(&mut command, stage.work.dir(), "curls", limit);
    };
    // The one that makes it known.
    curl(&format!(
        "curl -q -s -S -f -o /dev/null \"$1{}\"",
        stage.work.url_path("get/known")
    ));
    stage.wait_captured(&library);

    let calls = stage.calls("curl", 500);
    let mut script = String::new();
    for call in &calls {
        writeln!(
            script,
            "curl -q -s -S -f -o /dev/null \"$1{}\"",
            call.target
        )
        .expect("written");
    }
    curl(&script);
    stage.finish(&calls);
}
