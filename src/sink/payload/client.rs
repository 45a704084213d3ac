//! HTTP to a store, and what its answers say beside their bodies.
//!
//! Enters: requests of `object_store`. Leaves: their responses, and to the put that they belong to an [`Answer`].
//! Holds: no redirect is followed, for a put that is redirected may end as a get, and its signature goes to a stranger.

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientOptions, HeaderMap};
use std::cell::RefCell;
use std::time::{Duration, SystemTime};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Idle connections are kept for this long: less than most stores do.
const IDLE: Duration = Duration::from_secs(15);
/// From here on a clock is wrong; S3 and Azure allow 15 minutes.
const SKEW: Duration = Duration::from_secs(14 * 60);

/// What the last answer of a store said beside its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Absent: none came.
    pub status: Option<u16>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Where the bucket is, as S3 says when it is asked in another region.
    pub region: Option<String>,
    /// `Date`: by how much the store's clock differs from ours.
    pub skew: Option<Duration>,
}

impl Answer {
    fn of(status: u16, headers: &HeaderMap, now: SystemTime) -> Answer {
        // A field that is no text says nothing that is asked for here.
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let date = text("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let until = |after: &str| match after.trim().parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let at = httpdate::parse_http_date(after.trim()).ok()?;
                Some(at.duration_since(date.unwrap_or(now)).unwrap_or_default())
            }
        };
        Answer {
            status: Some(status),
            retry_after: text("retry-after").and_then(until),
            region: text("x-amz-bucket-region").map(str::to_owned),
            skew: date.map(|at| {
                now.duration_since(at)
                    .unwrap_or_else(|early| early.duration())
            }),
        }
    }

    /// This host's clock, or the store's, is wrong by more than a signature may be.
    pub fn skewed(&self) -> bool {
        self.skew.is_some_and(|skew| skew > SKEW)
    }
}

tokio::task_local! {
    /// Of the requests that this task makes.
    static LAST: RefCell<Answer>;
}

/// Runs `future`, and says what the last answer to its requests was. Requests of tasks that it spawns are not seen.
pub(super) async fn listen<T>(future: impl Future<Output = T>) -> (T, Answer) {
    LAST.scope(RefCell::default(), async {
        let result = future.await;
        (result, LAST.with(RefCell::take))
    })
    .await
}

/// Makes the clients of a store.
#[derive(Debug)]
pub(super) struct Connector {
    /// Of one request, its answer's body included.
    pub timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    /// The options are those of `object_store`'s own client, and not looked at.
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let builder = reqwest::Client::builder();
        let builder = match self.timeout {
            Some(timeout) => builder.timeout(timeout),
            None => builder,
        };
        let client = builder
            .user_agent(concat!("plainspan/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .http1_only()
            .build()
            .map_err(|source| object_store::Error::Generic {
                store: "HTTP client",
                source: Box::new(source),
            })?;
        Ok(HttpClient::new(Listening(HttpClient::new(client))))
    }
}

/// A client that notes what the answers say.
#[derive(Debug)]
struct Listening(HttpClient);

#[async_trait]
impl HttpService for Listening {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let result = self.0.execute(request).await;
        let answer = match &result {
            Ok(response) => Answer::of(
                response.status().as_u16(),
                response.headers(),
                SystemTime::now(),
            ),
            Err(_) => Answer::default(),
        };
        // Nobody listens where credentials are renewed by themselves.
        if LAST.try_with(|last| last.replace(answer)).is_err() {
            tracing::trace!("a store answered nobody");
        }
        result
    }
}
