//! The feed as server-sent events (WHATWG HTML §9.2).

use super::super::socket::Reply;
use super::super::{Message, Subscription};
use futures_util::{Stream, stream};
use http_body_util::StreamBody;
use hyper::body::{Body, Bytes, Frame};
use std::convert::Infallible;
use std::time::Duration;

/// A comment goes this often where nothing else does, so that a browser that is gone is seen to be.
const ALIVE: Duration = Duration::from_secs(15);

/// What comes next.
enum Next {
    Hello(Subscription),
    Messages(Subscription),
    Over,
}

/// All events of a subscription. The last says that the agent stops.
pub(super) fn body(
    subscription: Subscription,
) -> impl Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static {
    StreamBody::new(frames(subscription))
}

fn frames(
    subscription: Subscription,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync {
    stream::unfold(Next::Hello(subscription), |next| async move {
        let (bytes, next) = match next {
            Next::Hello(subscription) => {
                let hello = serde_json::to_vec(&Reply::hello()).unwrap_or_default();
                (event("hello", &hello), Next::Messages(subscription))
            }
            Next::Messages(mut subscription) => {
                match tokio::time::timeout(ALIVE, subscription.next()).await {
                    Err(_) => (Bytes::from_static(b":\n\n"), Next::Messages(subscription)),
                    Ok(None) => (event("end", b"{}"), Next::Over),
                    Ok(Some(Message::Transaction(json))) => {
                        (event("transaction", &json), Next::Messages(subscription))
                    }
                    Ok(Some(Message::Missed(count))) => {
                        let json = format!("{{\"type\":\"missed\",\"count\":{count}}}");
                        (
                            event("missed", json.as_bytes()),
                            Next::Messages(subscription),
                        )
                    }
                }
            }
            Next::Over => return None,
        };
        Some((Ok(Frame::data(bytes)), next))
    })
}

/// JSON has no line breaks here, so it is one line of data.
fn event(name: &str, json: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(json.len() + name.len() + 16);
    bytes.extend_from_slice(b"event: ");
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\ndata: ");
    bytes.extend_from_slice(json);
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}
