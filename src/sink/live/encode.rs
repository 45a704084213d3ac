//! A transaction as viewers get it.

use crate::redact::Capture;
use crate::sink::PayloadLink;
use crate::sink::json::Json;
use crate::sink::otlp::encode;
use crate::sink::payload::document;
use crate::sink::stdout;
use hyper::body::Bytes;

/// One JSON object, without a line break: what lists show (`line` as the event store `stdout` has it), and the payload document of the capture, which is all that its
/// level keeps. `number` counts the transactions of the feed, also those that its viewer is not shown.
pub(super) fn encode(capture: &Capture, link: Option<&PayloadLink>, number: u64) -> Bytes {
    let document = document::encode(capture);
    let mut json = Json::with_capacity(document.len() + 512);
    json.object(|j| {
        j.key("type").string("transaction");
        j.key("number").number(number);
        j.key("line").string(&stdout::line(capture, link));
        j.key("process").string(&capture.process.name);
        match encode::outcome(&capture.transaction).error {
            Some(error) => j.key("error").string(&error),
            None => j.key("error").null(),
        }
        match &capture.route {
            Some(route) => j.key("route").string(&route.template),
            None => j.key("route").null(),
        }
        match link {
            Some(link) => j.key("payload").object(|j| payload(j, link)),
            None => j.key("payload").null(),
        }
        // Its place is taken by the document.
        j.key("document");
    });
    let mut out = json.finish();
    out.pop();
    out.extend_from_slice(&document);
    out.push(b'}');
    out.into()
}

fn payload(j: &mut Json, link: &PayloadLink) {
    match &link.url {
        Some(url) => j.key("url").string(url),
        None => j.key("url").null(),
    }
    match &link.digest {
        Some(digest) => j.key("digest").string(digest),
        None => j.key("digest").null(),
    }
    match link.size {
        Some(size) => j.key("size").number(size),
        None => j.key("size").null(),
    }
    j.key("status").string(link.status.name());
}
