//! Each process under its own resource, however short it lives.

use crate::harness::config::Config;
use crate::harness::process::run_well;
use crate::harness::scene::Scene;
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const CURLS: usize = 200;

fn plain() -> Scene {
    Scene::with(servers::nginx_plain, |_, sink, _| {
        Config::new("headers").grpc(&sink.grpc_endpoint())
    })
}

#[test]
fn of_200_curls_that_live_some_milliseconds_each_has_its_own_resource() {
    let _turn = turn();
    let scene = plain();
    let url = format!(
        "{}{}",
        scene.server.base(),
        scene.work.url_path("answer?n=")
    );
    let script = format!(
        "seq {CURLS} | xargs -P 8 -I @ env OTEL_SERVICE_NAME=own-@ \
         OTEL_RESOURCE_ATTRIBUTES=number=@,service.namespace=curls curl -sSf -o /dev/null '{url}@'"
    );
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &script]).env("no_proxy", "*");
    run_well(&mut command, scene.work.dir(), "curls", LIMIT);
    let clients = |seen: &Seen| {
        let spans = (1..=CURLS).flat_map(|n| {
            let target = scene.work.url_path(&format!("answer?n={n}"));
            let spans = seen.spans_of(&target).into_iter();
            let clients = spans.filter(|span| span.span.kind() == SpanKind::Client);
            clients
                .map(move |span| (n, span.resource.clone()))
                .collect::<Vec<_>>()
        });
        spans.collect::<Vec<_>>()
    };
    let arrived = scene
        .sink
        .wait_for(|sink| clients(&Seen::of(sink)).len() >= CURLS, LIMIT);
    let seen = clients(&Seen::of(&scene.sink));
    assert!(arrived, "{} spans of {CURLS} curls", seen.len());
    assert_eq!(seen.len(), CURLS);
    for (n, resource) in &seen {
        let own = |key: &str| resource.get(key).cloned();
        assert_eq!(
            own("service.name"),
            Some(json!(format!("own-{n}"))),
            "{resource:?}"
        );
        assert_eq!(own("number"), Some(json!(n.to_string())), "{resource:?}");
        assert_eq!(
            own("service.namespace"),
            Some(json!("curls")),
            "{resource:?}"
        );
        assert_eq!(
            own("process.executable.name"),
            Some(json!("curl")),
            "{resource:?}"
        );
    }
    let mut pids: Vec<String> = seen
        .iter()
        .map(|(_, resource)| format!("{:?}", resource.get("process.pid")))
        .collect();
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), CURLS);
    scene.agent.stop();
}

/// `ProcessContext` with these attributes.
fn context(attributes: &[(&str, &str)]) -> Vec<u8> {
    let pair = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue((*value).to_owned())),
        }),
        ..KeyValue::default()
    };
    let resource = Resource {
        attributes: attributes.iter().map(pair).collect(),
        ..Resource::default()
    };
    let resource = resource.encode_to_vec();
    let mut bytes = vec![0x0a];
    prost::encode_length_delimiter(resource.len(), &mut bytes).expect("room");
    bytes.extend(resource);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("into a text");
        text
    })
}

#[test]
fn a_span_has_the_resource_that_the_process_s_sdk_publishes() {
    let _turn = turn();
    let scene = plain();
    let mut child = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/programs/process_context.py"
        ))
        .env("OTEL_SERVICE_NAME", "by-environment")
        .env("OTEL_RESOURCE_ATTRIBUTES", "team=shop")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut told = child.stdin.take().expect("its input");
    let mut says = BufReader::new(child.stdout.take().expect("its output"));
    let mut tell = |command: String| {
        writeln!(told, "{command}").expect("told");
        let mut said = String::new();
        says.read_line(&mut said).expect("an answer");
        said.trim().to_owned()
    };
    tell("map memfd".into());
    let payload = context(&[
        ("service.name", "by-sdk"),
        (
            "service.instance.id",
            "627cc493-f310-47de-96bd-71410b7dec09",
        ),
        ("telemetry.sdk.language", "python"),
        ("process.pid", "1"),
    ]);
    let at: u64 = tell(format!("payload {}", hex(&payload)))
        .parse()
        .expect("an address");
    let mut header = b"OTEL_CTX".to_vec();
    header.extend(2_u32.to_le_bytes());
    header.extend((payload.len() as u32).to_le_bytes());
    header.extend(1_u64.to_le_bytes());
    header.extend(at.to_le_bytes());
    tell(format!("write 0 {}", hex(&header)));
    let target = scene.work.url_path("answer?published");
    tell(format!("get {}{target}", scene.server.base()));
    let pid = child.id();
    drop(told);
    assert!(child.wait().expect("its end").success());
    let (seen, _work) = scene.finish(&target);
    let span = seen.one(&target, SpanKind::Client);
    for (key, wanted) in [
        ("service.name", Some(json!("by-sdk"))),
        (
            "service.instance.id",
            Some(json!("627cc493-f310-47de-96bd-71410b7dec09")),
        ),
        ("team", Some(json!("shop"))),
        ("process.pid", Some(json!(pid))),
        ("telemetry.sdk.language", None),
    ] {
        assert_eq!(span.resource.get(key).cloned(), wanted, "{key}");
    }
}
