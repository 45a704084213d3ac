//! Against a server over TLS that answers as Kubernetes' API does.

use super::super::Pod;
use super::keeper::PAGE;
use super::*;
use crate::config::KubernetesServer;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

const PACE: Pace = Pace {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(100),
};
const WAIT: Duration = Duration::from_secs(20);

/// What the server knows and was asked.
#[derive(Default)]
struct Known {
    pods: Vec<Value>,
    /// Answers with this instead.
    refuse: Option<(u16, Value)>,
    watchers: Vec<UnboundedSender<String>>,
    asked: Vec<String>,
}

struct Server {
    known: Arc<Mutex<Known>>,
    url: String,
    folder: tempfile::TempDir,
}

/// The lines of changes, until the sender is gone.
struct Lines(UnboundedReceiver<String>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = self.0.poll_recv(context);
        line.map(|line| line.map(|line| Ok(Frame::data(Bytes::from(line)))))
    }
}

impl Server {
    async fn start() -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .and_then(|params| params.self_signed(&key))
            .expect("a certificate");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
        std::fs::write(folder.path().join("token"), "secret\n").expect("written");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("a server");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let known = Arc::new(Mutex::new(Known::default()));
        let serving = known.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, known) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate goes away.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request| {
                        let answer = lock(&known).answer(&request);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = served.await {
                        eprintln!("connection: {error}");
                    }
                });
            }
        });
        Server {
            known,
            url: format!("https://localhost:{port}"),
            folder,
        }
    }

    fn settings(&self) -> Settings {
        let file = |name: &str| -> Option<PathBuf> { Some(self.folder.path().join(name)) };
        Settings {
            server: KubernetesServer {
                url: self.url.clone(),
                token_file: file("token"),
                ca_file: file("ca.pem"),
                insecure_skip_verify: false,
            },
            node: "n1".into(),
        }
    }

    fn client(&self) -> Kubernetes {
        Kubernetes::with(&self.settings(), PACE).expect("a client")
    }

    /// Puts a pod there, and tells those who watch of it.
    fn put(&self, kind: &str, pod: Value) {
        let mut known = lock(&self.known);
        let uid = pod["metadata"]["uid"].clone();
        known.pods.retain(|own| own["metadata"]["uid"] != uid);
        if kind != "DELETED" {
            known.pods.push(pod.clone());
        }
        known.tell(&json!({"type": kind, "object": pod}));
    }

    fn tell(&self, change: &Value) {
        lock(&self.known).tell(change);
    }

    fn refuse(&self, answer: Option<(u16, Value)>) {
        lock(&self.known).refuse = answer;
    }

    /// Requests whose path and query have `part`.
    fn asked(&self, part: &str) -> usize {
        let known = lock(&self.known);
        known
            .asked
            .iter()
            .filter(|asked| asked.contains(part))
            .count()
    }

    async fn wait_for_watcher(&self, count: usize) {
        let watched = || self.asked("watch=true") >= count;
        wait_until("a watcher", || async { watched().then_some(()) }).await;
    }
}

async fn wait_until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

impl Known {
    fn tell(&mut self, change: &Value) {
        self.watchers
            .retain(|watcher| watcher.send(format!("{change}\n")).is_ok());
    }

    fn answer(&mut self, request: &Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        let asked = request.uri().to_string();
        self.asked.push(asked.clone());
        let token = request.headers().get("authorization");
        if token.is_none_or(|token| token != "Bearer secret") {
            return whole(401, &json!({"kind": "Status", "message": "Unauthorized"}));
        }
        if let Some((status, body)) = &self.refuse {
            return whole(*status, body);
        }
        let url = url::Url::parse("https://k")
            .and_then(|base| base.join(&asked))
            .expect("a URL");
        let query = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
        };
        match url.path() {
            "/api/v1/pods" if query("watch").is_some() => {
                assert_eq!(query("fieldSelector").as_deref(), Some("spec.nodeName=n1"));
                let (sender, lines) = unbounded_channel();
                self.watchers.push(sender);
                Response::new(Lines(lines).boxed())
            }
            "/api/v1/pods" => {
                assert_eq!(query("fieldSelector").as_deref(), Some("spec.nodeName=n1"));
                let number = |name| query(name).and_then(|text| text.parse().ok()).unwrap_or(0);
                let (from, limit): (usize, usize) = (number("continue"), number("limit"));
                let page: Vec<&Value> = self.pods.iter().skip(from).take(limit).collect();
                let rest = match from + limit < self.pods.len() {
                    true => (from + limit).to_string(),
                    false => String::new(),
                };
                whole(
                    200,
                    &json!({"metadata": {"resourceVersion": "7", "continue": rest}, "items": page}),
                )
            }
            "/apis/apps/v1/namespaces/prod/replicasets/web-5d4" => {
                whole(200, &owned("Deployment", "web"))
            }
            "/apis/batch/v1/namespaces/prod/jobs/report-1" => {
                whole(200, &owned("CronJob", "report"))
            }
            _ => whole(404, &json!({"kind": "Status", "message": "not found"})),
        }
    }
}

fn whole(status: u16, body: &Value) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed());
    *response.status_mut() = status.try_into().expect("a status");
    response
}

fn owned(kind: &str, name: &str) -> Value {
    json!({"metadata": {"name": "x", "ownerReferences": [{"kind": kind, "name": name, "controller": true}]}})
}

fn id(n: u64) -> String {
    format!("{n:064x}")
}

/// A pod `name` of container `n`, made by `owner`; `running`: its status names the container.
fn pod(name: &str, n: u64, owner: (&str, &str), running: bool) -> Value {
    let statuses = match running {
        true => {
            json!([{"name": "web", "image": "shop/web:2.1", "containerID": format!("containerd://{}", id(n))}])
        }
        false => json!([]),
    };
    json!({
        "metadata": {
            "name": name, "namespace": "prod", "uid": format!("uid-{n}"), "resourceVersion": "8",
            "labels": {"team": "checkout"}, "annotations": {"note": "x", "long": "y".repeat(5000)},
            "ownerReferences": [{"kind": owner.0, "name": owner.1, "controller": true}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": "shop/web:2.1"}]},
        "status": {"podIP": "10.0.0.7", "containerStatuses": statuses},
    })
}

fn question(n: u64) -> Question {
    Question {
        container: id(n),
        pod: None,
    }
}

async fn found(client: &Kubernetes, n: u64) -> Container {
    let question = question(n);
    wait_until("a container", || async {
        client.find(&question).await.ok().flatten()
    })
    .await
}

fn pod_of(container: Container) -> Pod {
    container.pod.expect("a pod")
}

fn owner(kind: &str, name: &str) -> Option<Owner> {
    Some((kind.to_owned(), name.to_owned()))
}

#[tokio::test]
async fn the_api_names_the_node_s_pods_and_what_made_them() {
    let server = Server::start().await;
    server.put(
        "ADDED",
        pod("web-5d4-x", 1, ("ReplicaSet", "web-5d4"), true),
    );
    server.put("ADDED", pod("report-1-x", 2, ("Job", "report-1"), true));
    server.put("ADDED", pod("db-0", 3, ("StatefulSet", "db"), true));
    let client = server.client();
    let container = found(&client, 1).await;
    assert_eq!(container.name.as_deref(), Some("web"));
    assert_eq!(container.image.as_deref(), Some("shop/web:2.1"));
    assert_eq!(container.runtime.as_deref(), Some("containerd"));
    let web = pod_of(container);
    assert_eq!((&*web.name, &*web.namespace), ("web-5d4-x", "prod"));
    assert_eq!(
        (web.uid.as_deref(), web.node.as_deref()),
        (Some("uid-1"), Some("n1"))
    );
    assert_eq!(web.ip.as_deref(), Some("10.0.0.7"));
    assert_eq!(web.owner, owner("ReplicaSet", "web-5d4"));
    assert_eq!(web.workload, owner("Deployment", "web"));
    assert_eq!(web.labels["team"], "checkout");
    // Annotations that hold whole documents are not kept.
    assert_eq!(web.annotations.keys().collect::<Vec<_>>(), ["note"]);
    assert_eq!(
        pod_of(found(&client, 2).await).workload,
        owner("CronJob", "report")
    );
    let db = pod_of(found(&client, 3).await);
    assert_eq!((db.owner, db.workload), (owner("StatefulSet", "db"), None));
    assert_eq!(client.find(&question(9)).await, Ok(None));
    // The owner is asked for once, the list too.
    found(&client, 1).await;
    assert_eq!(
        (server.asked("replicasets"), server.asked("limit=")),
        (1, 1)
    );
}

#[tokio::test]
async fn pods_that_come_change_and_go_are_known_without_another_list() {
    let server = Server::start().await;
    let client = server.client();
    server.wait_for_watcher(1).await;
    assert_eq!(client.find(&question(1)).await, Ok(None));
    server.put("ADDED", pod("db-0", 1, ("StatefulSet", "db"), false));
    server.put("MODIFIED", pod("db-0", 1, ("StatefulSet", "db"), true));
    assert_eq!(pod_of(found(&client, 1).await).name, "db-0");
    let bookmark = json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}});
    server.tell(&bookmark);
    server.put("DELETED", pod("db-0", 1, ("StatefulSet", "db"), true));
    wait_until("gone", || async {
        (client.find(&question(1)).await == Ok(None)).then_some(())
    })
    .await;
    assert_eq!(server.asked("limit="), 1);
}

#[tokio::test]
async fn when_changes_end_they_go_on_from_there_and_what_is_too_old_is_listed_anew() {
    let server = Server::start().await;
    let client = server.client();
    server.wait_for_watcher(1).await;
    server.tell(&json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}}));
    lock(&server.known).watchers.clear();
    server.wait_for_watcher(2).await;
    assert_eq!(
        (server.asked("resourceVersion=99"), server.asked("limit=")),
        (1, 1)
    );
    // Pods that nobody told of.
    lock(&server.known)
        .pods
        .push(pod("db-0", 1, ("StatefulSet", "db"), true));
    let gone = json!({"kind": "Status", "code": 410, "message": "too old resource version"});
    server.tell(&json!({"type": "ERROR", "object": gone}));
    assert_eq!(pod_of(found(&client, 1).await).name, "db-0");
    assert_eq!(server.asked("limit="), 2);
    assert_eq!(client.pods.lock().error, None);
}

#[tokio::test]
async fn a_container_that_its_pod_s_status_does_not_name_yet_is_known_by_the_pod() {
    let server = Server::start().await;
    server.put("ADDED", pod("db-0", 1, ("StatefulSet", "db"), false));
    let client = server.client();
    server.wait_for_watcher(1).await;
    let by_pod = Question {
        container: id(1),
        pod: Some("uid-1".into()),
    };
    let container = client
        .find(&by_pod)
        .await
        .expect("an answer")
        .expect("a container");
    assert_eq!(container.name.as_deref(), Some("web"));
    assert_eq!(pod_of(container).name, "db-0");
    // Of two nobody knows which.
    let mut two = pod("db-0", 1, ("StatefulSet", "db"), false);
    two["spec"]["containers"] = json!([{"name": "web"}, {"name": "side"}]);
    server.put("MODIFIED", two.clone());
    wait_until("two containers", || async {
        let container = client.find(&by_pod).await.ok()??;
        container.name.is_none().then(|| pod_of(container))
    })
    .await;
    // The status comes while somebody asks.
    let asking = client.find(&by_pod);
    let telling = async {
        two["status"]["containerStatuses"] =
            json!([{"name": "side", "containerID": format!("cri-o://{}", id(1))}]);
        server.put("MODIFIED", two);
    };
    let (container, ()) = tokio::join!(asking, telling);
    let container = container.expect("an answer").expect("a container");
    assert_eq!(container.name.as_deref(), Some("side"));
}

/// What is said of a server that does not say the pods.
async fn error(client: &Kubernetes) -> String {
    let why = wait_until("an error", || async { client.pods.lock().error.clone() }).await;
    let before = Instant::now();
    // Nobody who asks waits for it.
    assert!(client.find(&question(1)).await.is_err());
    assert!(before.elapsed() < Duration::from_secs(2));
    why
}

#[tokio::test]
async fn an_api_that_is_not_trusted_or_does_not_trust_us_is_said_with_its_reason() {
    let server = Server::start().await;
    let other = Server::start().await;
    let change = |change: &dyn Fn(&mut KubernetesServer)| {
        let mut settings = server.settings();
        change(&mut settings.server);
        Kubernetes::with(&settings, PACE).expect("a client")
    };
    let wrong_ca = change(&|server| server.ca_file = Some(other.folder.path().join("ca.pem")));
    assert!(
        error(&wrong_ca).await.contains("certificate"),
        "{}",
        error(&wrong_ca).await
    );
    let no_token = change(&|server| server.token_file = Some("/nowhere/token".into()));
    assert!(
        error(&no_token)
            .await
            .contains("cannot read the token /nowhere/token")
    );
    let anonymous = change(&|server| server.token_file = None);
    let why = error(&anonymous).await;
    assert!(
        why.contains("401") && why.contains("Unauthorized") && why.contains("token"),
        "{why}"
    );
    server.put("ADDED", pod("db-0", 1, ("StatefulSet", "db"), true));
    let unchecked = change(&|server| {
        server.ca_file = None;
        server.insecure_skip_verify = true;
    });
    assert_eq!(pod_of(found(&unchecked, 1).await).name, "db-0");
    let missing = Settings {
        server: KubernetesServer {
            ca_file: Some("/nowhere/ca".into()),
            ..server.settings().server
        },
        ..server.settings()
    };
    let error = Kubernetes::new(&missing)
        .err()
        .map(|error| error.to_string());
    assert!(error.is_some_and(
        |error| error.contains("tap.identity.kubernetes") && error.contains("/nowhere/ca")
    ));
}

#[tokio::test]
async fn an_api_that_refuses_is_asked_again_and_what_was_known_stays() {
    let server = Server::start().await;
    let forbidden = json!({"kind": "Status", "message": "pods is forbidden"});
    server.refuse(Some((403, forbidden)));
    let client = server.client();
    let why = error(&client).await;
    assert!(
        why.contains("pods is forbidden") && why.contains("allowed to list and watch pods"),
        "{why}"
    );
    for (status, body) in [
        (500, json!({})),
        (200, json!("no list")),
        (200, json!({"items": 7})),
    ] {
        server.refuse(Some((status, body.clone())));
        let before = server.asked("limit=");
        wait_until("another try", || async {
            (server.asked("limit=") > before + 1).then_some(())
        })
        .await;
        assert!(client.find(&question(1)).await.is_err(), "{status} {body}");
    }
    server.put("ADDED", pod("db-0", 1, ("StatefulSet", "db"), true));
    server.refuse(None);
    found(&client, 1).await;
    server.wait_for_watcher(1).await;
    assert_eq!(client.pods.lock().error, None);
    // It goes away in the middle, and what it said holds.
    server.refuse(Some((503, json!({}))));
    server.tell(&json!("nonsense"));
    wait_until("an error", || async { client.pods.lock().error.clone() }).await;
    assert_eq!(pod_of(found(&client, 1).await).name, "db-0");
}

#[tokio::test]
async fn a_list_has_pages_and_pods_are_bounded() {
    let server = Server::start().await;
    let many = PODS_MAX as u64 + 300;
    lock(&server.known).pods = (0..many)
        .map(|n| pod(&format!("p-{n}"), n, ("DaemonSet", "d"), true))
        .collect();
    let client = server.client();
    found(&client, 0).await;
    found(&client, 600).await;
    let kept = || {
        let state = client.pods.lock();
        (state.pods.len(), state.containers.len())
    };
    assert_eq!(kept(), (PODS_MAX, PODS_MAX));
    assert_eq!(server.asked("limit="), PODS_MAX.div_ceil(PAGE));
    server.wait_for_watcher(1).await;
    // One more finds no room until another goes.
    server.put("ADDED", pod("more", 9999, ("DaemonSet", "d"), true));
    server.put("DELETED", pod("p-1", 1, ("DaemonSet", "d"), true));
    wait_until("gone", || async {
        (client.find(&question(1)).await == Ok(None)).then_some(())
    })
    .await;
    assert_eq!(client.find(&question(9999)).await, Ok(None));
    server.put("MODIFIED", pod("more", 9999, ("DaemonSet", "d"), true));
    assert_eq!(pod_of(found(&client, 9999).await).name, "more");
}

#[tokio::test]
async fn nobody_asks_any_more_when_the_client_is_gone() {
    let server = Server::start().await;
    server.refuse(Some((500, json!({}))));
    let client = server.client();
    error(&client).await;
    drop(client);
    sleep(Duration::from_millis(50)).await;
    let asked = server.asked("limit=");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(server.asked("limit="), asked);
}
