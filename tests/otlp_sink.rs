//! The test OTLP server itself, against clients that are not ours.

mod support;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, trace_service_client::TraceServiceClient,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use std::time::Duration;
use support::otlp_sink::{Fault, OtlpSink, free_port};
use tonic::codec::CompressionEncoding;

fn request(names: &[&str]) -> ExportTraceServiceRequest {
    let spans = names.iter().map(|n| Span {
        name: (*n).to_owned(),
        ..Span::default()
    });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: spans.collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

#[test]
fn a_sink_starts_at_a_port_that_was_told_and_can_be_started_there_again() {
    let port = free_port();
    let first = OtlpSink::start_at(port);
    assert_eq!(first.http_endpoint(), format!("http://127.0.0.1:{port}"));
    drop(first);
    assert_eq!(OtlpSink::start_at(port).port(), port);
}

#[tokio::test]
async fn grpc_of_every_compression_arrives_and_faults_reach_the_client() {
    let sink = OtlpSink::start();
    let mut client = TraceServiceClient::connect(sink.grpc_endpoint())
        .await
        .expect("connect");
    client.export(request(&["plain"])).await.expect("plain");
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut packed = client
            .clone()
            .send_compressed(encoding)
            .accept_compressed(encoding);
        packed.export(request(&["packed"])).await.expect("packed");
    }
    sink.fail_next(
        1,
        Fault::Exhausted {
            retry_after: Some(Duration::from_secs(2)),
        },
    );
    let status = client.export(request(&["x"])).await.expect_err("a fault");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(!status.details().is_empty());
    sink.fail_next(
        1,
        Fault::PartialSuccess {
            rejected: 1,
            message: "no".into(),
        },
    );
    let reply = client.export(request(&["a", "b"])).await.expect("partial");
    let partial = reply.into_inner().partial_success.expect("partial success");
    assert_eq!(
        (partial.rejected_spans, &partial.error_message[..]),
        (1, "no")
    );
    let names: Vec<_> = sink.spans().into_iter().map(|s| s.span.name).collect();
    assert_eq!(names, ["plain", "packed", "packed", "a"]);
    sink.fail_next(1, Fault::Disconnect);
    client.export(request(&["x"])).await.expect_err("hang up");
}

#[tokio::test]
async fn http_arrives_and_what_it_sent_can_be_searched() {
    let sink = OtlpSink::start();
    let send = async || {
        reqwest::Client::new()
            .post(format!("{}/v1/traces", sink.http_endpoint()))
            .header("content-type", "application/x-protobuf")
            .body(request(&["CANARY"]).encode_to_vec())
            .send()
            .await
            .expect("send")
    };
    assert_eq!(send().await.status(), 200);
    sink.fail_next(
        1,
        Fault::RetryAfter {
            http: 503,
            value: "3".into(),
        },
    );
    let later = send().await;
    assert_eq!(
        (later.status().as_u16(), &later.headers()["retry-after"]),
        (503, &"3".parse().expect("header value"))
    );
    assert_eq!((sink.spans().len(), sink.stats().requests), (1, 2));
    let all = sink.all_bytes();
    assert!(memchr::memmem::find(&all, b"CANARY").is_some());
}
