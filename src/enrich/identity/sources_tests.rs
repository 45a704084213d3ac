//! Look-ups against sockets that behave like the runtimes' own.

use super::super::containerd::{
    self, GetContainerRequest, GetContainerResponse, ListNamespacesResponse, Namespace, Stored,
};
use super::super::cri::{
    self, ContainerMetadata, ImageSpec, ListContainersRequest, ListContainersResponse, Listed,
    PodSandboxMetadata, PodSandboxNetworkStatus, PodSandboxStatus, PodSandboxStatusRequest,
    PodSandboxStatusResponse,
};
use super::*;
use crate::config::KubernetesServer as KubeletSettings;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

const WAIT: Duration = Duration::from_secs(5);

fn id() -> String {
    "0123456789abcdef".repeat(4)
}

fn question(container: &str) -> Question {
    Question {
        container: container.to_owned(),
        pod: None,
    }
}

fn sources(config: IdentitySources) -> Sources {
    Sources::new(&config, WAIT).expect("sources")
}

fn docker(socket: &Path) -> IdentitySources {
    IdentitySources {
        docker: vec![socket.into()],
        ..IdentitySources::default()
    }
}

fn known(answer: Answer) -> Container {
    match answer {
        Answer::Known(container) => (*container).clone(),
        other => panic!("not known: {other:?}"),
    }
}

/// Answers one request at a time with what `answer` makes of its path and `authorization`.
async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: impl Fn(&str, Option<&str>) -> (u16, String),
) {
    let service = service_fn(|request: Request<Incoming>| {
        let token = request.headers().get("authorization");
        let (status, body) = answer(
            request.uri().path(),
            token.and_then(|token| token.to_str().ok()),
        );
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status.try_into().expect("a status");
        async { Ok::<_, Infallible>(response) }
    });
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // The client goes away when it has its answer.
    if let Err(error) = served.await {
        assert!(
            error.is_incomplete_message() || error.is_canceled() || error.is_closed(),
            "{error}"
        );
    }
}

fn serve_http(
    socket: &Path,
    answer: impl Fn(&str, Option<&str>) -> (u16, String) + Clone + Send + Sync + 'static,
) {
    let listener = UnixListener::bind(socket).expect("a socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn({
                let answer = answer.clone();
                async move { http(stream, answer).await }
            });
        }
    });
}

/// A gRPC server of unary methods: path, namespace and message make a message, or a status code.
fn serve_rpc(
    socket: &Path,
    answer: impl Fn(&str, Option<&str>, Bytes) -> Result<Vec<u8>, u8> + Clone + Send + Sync + 'static,
) {
    let listener = UnixListener::bind(socket).expect("a socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.expect("a body").to_bytes();
                    let namespace = head.headers.get("containerd-namespace");
                    let reply = answer(
                        head.uri.path(),
                        namespace.and_then(|name| name.to_str().ok()),
                        body.slice(5..),
                    );
                    Ok::<_, Infallible>(rpc_response(reply))
                }
            });
            tokio::spawn(async move {
                let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = served.await {
                    eprintln!("connection: {error}");
                }
            });
        }
    });
}

type Frames = Vec<Result<Frame<Bytes>, Infallible>>;

/// A body of these frames, one after another.
struct Listing(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

impl hyper::body::Body for Listing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn rpc_response(reply: Result<Vec<u8>, u8>) -> Response<Listing> {
    let mut frames: Frames = Vec::new();
    let status = match reply {
        Ok(message) => {
            let mut framed = BytesMut::new();
            framed.put_u8(0);
            framed.put_u32(message.len() as u32);
            framed.put_slice(&message);
            frames.push(Ok(Frame::data(framed.freeze())));
            0
        }
        Err(status) => status,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", u16::from(status).into());
    frames.push(Ok(Frame::trailers(trailers)));
    Response::builder()
        .header("content-type", "application/grpc")
        .body(Listing(frames.into_iter()))
        .expect("a response")
}

#[tokio::test]
async fn docker_names_a_container_its_image_and_its_labels() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let wanted = format!("/containers/{}/json", id());
    serve_http(&socket, move |path, _| {
        match path == wanted {
        true => (
            200,
            r#"{"Id":"x","Name":"/shop-web-1","Image":"sha256:1","Config":{"Image":"shop/web:2.1","Labels":{"team":"checkout"}}}"#.into(),
        ),
        false => (404, r#"{"message":"No such container"}"#.into()),
    }
    });
    let sources = sources(docker(&socket));
    let container = known(sources.find(&question(&id())).await);
    assert_eq!(container.name.as_deref(), Some("shop-web-1"));
    assert_eq!(container.image.as_deref(), Some("shop/web:2.1"));
    assert_eq!(container.labels["team"], "checkout");
    assert_eq!(container.pod, None);
    assert_eq!(
        sources.find(&question(&"f".repeat(64))).await,
        Answer::NotFound
    );
}

#[tokio::test]
async fn labels_of_kubernetes_on_a_docker_container_name_its_pod() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    serve_http(&socket, |_, _| {
        let labels = r#"{"io.kubernetes.pod.name":"web-1","io.kubernetes.pod.namespace":"prod","io.kubernetes.pod.uid":"u","io.kubernetes.container.name":"web"}"#;
        (
            200,
            format!(r#"{{"Name":"/k8s_web","Config":{{"Image":"i","Labels":{labels}}}}}"#),
        )
    });
    let pod = known(sources(docker(&socket)).find(&question(&id())).await).pod;
    let pod = pod.expect("a pod");
    assert_eq!((&*pod.name, &*pod.namespace), ("web-1", "prod"));
    assert_eq!(pod.container.as_deref(), Some("web"));
}

#[tokio::test]
async fn a_socket_that_is_not_there_or_says_nonsense_or_nothing_makes_the_container_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("no.sock");
    assert_eq!(
        sources(docker(&nowhere)).find(&question(&id())).await,
        Answer::Unavailable
    );
    let nonsense = folder.path().join("nonsense.sock");
    serve_http(&nonsense, |_, _| (200, "not JSON".into()));
    assert_eq!(
        sources(docker(&nonsense)).find(&question(&id())).await,
        Answer::Unavailable
    );
    let broken = folder.path().join("broken.sock");
    serve_http(&broken, |_, _| (500, String::new()));
    assert_eq!(
        sources(docker(&broken)).find(&question(&id())).await,
        Answer::Unavailable
    );
    let silent = folder.path().join("silent.sock");
    let _listener = UnixListener::bind(&silent).expect("a socket");
    for config in [
        docker(&silent),
        IdentitySources {
            cri: vec![silent.clone()],
            ..IdentitySources::default()
        },
    ] {
        let short = Sources::new(&config, Duration::from_millis(50)).expect("sources");
        let before = Instant::now();
        assert_eq!(short.find(&question(&id())).await, Answer::Unavailable);
        assert!(before.elapsed() < WAIT);
        // It rests now, and holds nobody up.
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            let before = Instant::now();
            assert_eq!(short.find(&question(&id())).await, Answer::Unavailable);
            quickest = quickest.min(before.elapsed());
        }
        assert!(quickest < Duration::from_millis(45));
    }
}

fn serve_cri(socket: &Path) {
    serve_rpc(socket, |path, _, message| match path {
        cri::CONTAINERS => {
            let request = ListContainersRequest::decode(message).expect("a request");
            let wanted = request.filter.expect("a filter").id;
            let containers = match wanted == id() {
                true => vec![Listed {
                    id: wanted,
                    pod_sandbox_id: "sandbox".into(),
                    metadata: Some(ContainerMetadata { name: "web".into() }),
                    image: Some(ImageSpec {
                        image: "sha256:1".into(),
                        user_specified_image: "shop/web:2.1".into(),
                    }),
                    labels: [("a".to_owned(), "b".to_owned())].into(),
                }],
                false => Vec::new(),
            };
            Ok(ListContainersResponse { containers }.encode_to_vec())
        }
        cri::SANDBOX => {
            let request = PodSandboxStatusRequest::decode(message).expect("a request");
            assert_eq!(request.pod_sandbox_id, "sandbox");
            let status = PodSandboxStatus {
                metadata: Some(PodSandboxMetadata {
                    name: "web-7".into(),
                    uid: "uid-7".into(),
                    namespace: "prod".into(),
                }),
                network: Some(PodSandboxNetworkStatus {
                    ip: "10.0.0.7".into(),
                }),
                labels: [("team".to_owned(), "checkout".to_owned())].into(),
                annotations: [("note".to_owned(), "x".to_owned())].into(),
            };
            let status = Some(status);
            Ok(PodSandboxStatusResponse { status }.encode_to_vec())
        }
        _ => Err(12),
    });
}

#[tokio::test]
async fn a_cri_socket_names_the_pod_with_its_labels_and_annotations() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("cri.sock");
    serve_cri(&socket);
    let sources = sources(IdentitySources {
        cri: vec![socket],
        ..IdentitySources::default()
    });
    let container = known(sources.find(&question(&id())).await);
    assert_eq!(container.name.as_deref(), Some("web"));
    assert_eq!(container.image.as_deref(), Some("shop/web:2.1"));
    let pod = container.pod.expect("a pod");
    assert_eq!((&*pod.name, &*pod.namespace), ("web-7", "prod"));
    assert_eq!(pod.uid.as_deref(), Some("uid-7"));
    assert_eq!(pod.ip.as_deref(), Some("10.0.0.7"));
    assert_eq!(pod.labels["team"], "checkout");
    assert_eq!(pod.annotations["note"], "x");
    assert_eq!(
        sources.find(&question(&"f".repeat(64))).await,
        Answer::NotFound
    );
}

#[tokio::test]
async fn containerd_is_asked_in_each_of_its_namespaces() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("containerd.sock");
    serve_rpc(&socket, |path, namespace, message| match path {
        containerd::NAMESPACES => {
            let named = |name: &str| Namespace { name: name.into() };
            let namespaces = vec![named("moby"), named("default")];
            Ok(ListNamespacesResponse { namespaces }.encode_to_vec())
        }
        containerd::GET if namespace == Some("default") => {
            let request = GetContainerRequest::decode(message).expect("a request");
            let labels = [("nerdctl/name".to_owned(), "web".to_owned())].into();
            let stored = Stored {
                id: request.id,
                labels,
                image: "docker.io/shop/web:2.1".into(),
            };
            let container = Some(stored);
            Ok(GetContainerResponse { container }.encode_to_vec())
        }
        containerd::GET => Err(5),
        _ => Err(12),
    });
    let sources = sources(IdentitySources {
        containerd: vec![socket],
        ..IdentitySources::default()
    });
    let container = known(sources.find(&question(&id())).await);
    assert_eq!(container.name.as_deref(), Some("web"));
    assert_eq!(container.image.as_deref(), Some("docker.io/shop/web:2.1"));
    assert_eq!(container.runtime.as_deref(), Some("containerd"));
}

#[tokio::test]
async fn what_one_source_does_not_know_another_adds() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cri, docker) = (folder.path().join("c.sock"), folder.path().join("d.sock"));
    serve_cri(&cri);
    serve_http(&docker, |_, _| {
        (
            200,
            r#"{"Name":"/k8s_web","Config":{"Image":"other","Labels":{"c":"d"}}}"#.into(),
        )
    });
    let sources = sources(IdentitySources {
        docker: vec![docker],
        cri: vec![cri],
        ..IdentitySources::default()
    });
    let container = known(sources.find(&question(&id())).await);
    assert_eq!(container.name.as_deref(), Some("web"));
    assert_eq!(container.labels["c"], "d");
    assert!(container.pod.is_some());
}

#[tokio::test]
async fn the_kubelet_s_list_names_pods_and_their_owners_and_is_not_asked_for_each_container() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "secret\n").expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let list = format!(
        r#"{{"items":[{{"metadata":{{"name":"web-7","namespace":"prod","uid":"u7","labels":{{"team":"checkout"}},"ownerReferences":[{{"kind":"ReplicaSet","name":"web-5d4","controller":true}}]}},"spec":{{"nodeName":"n1"}},"status":{{"containerStatuses":[{{"name":"web","image":"shop/web:2.1","containerID":"cri-o://{}"}}]}}}}]}}"#,
        id()
    );
    tokio::spawn({
        let asked = asked.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                http(stream, |path, token| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    assert_eq!((path, token), ("/pods", Some("Bearer secret")));
                    (200, list.clone())
                })
                .await;
            }
        }
    });
    let sources = sources(IdentitySources {
        kubelet: Some(KubeletSettings {
            url,
            token_file: Some(token),
            ca_file: None,
            insecure_skip_verify: false,
        }),
        ..IdentitySources::default()
    });
    let container = known(sources.find(&question(&id())).await);
    assert_eq!(container.runtime.as_deref(), Some("cri-o"));
    let pod = container.pod.expect("a pod");
    assert_eq!((&*pod.name, pod.node.as_deref()), ("web-7", Some("n1")));
    assert_eq!(pod.owner, Some(("ReplicaSet".into(), "web-5d4".into())));
    assert_eq!(
        sources.find(&question(&"f".repeat(64))).await,
        Answer::NotFound
    );
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// A kubelet over TLS whose certificate is its own authority, written to `ca`. Returns its URL.
async fn kubelet_over_tls(ca: &Path, list: String) -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .and_then(|params| params.self_signed(&key))
        .expect("a certificate");
    std::fs::write(ca, certificate.pem()).expect("written");
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
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                http(stream, |_, _| (200, list.clone())).await;
            }
        }
    });
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn a_kubelet_over_tls_is_trusted_by_its_ca_file_or_unseen() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let list = format!(
        r#"{{"items":[{{"metadata":{{"name":"web-7","namespace":"prod"}},"status":{{"containerStatuses":[{{"name":"web","containerID":"cri-o://{}"}}]}}}}]}}"#,
        id()
    );
    let url = kubelet_over_tls(&ca, list).await;
    let other = folder.path().join("other.pem");
    kubelet_over_tls(&other, String::new()).await;
    for (ca_file, insecure_skip_verify, trusted) in [
        (Some(ca), false, true),
        (Some(other.clone()), false, false),
        (None, true, true),
        (Some(other), true, true),
    ] {
        let sources = sources(IdentitySources {
            kubelet: Some(KubeletSettings {
                url: url.clone(),
                token_file: None,
                ca_file: ca_file.clone(),
                insecure_skip_verify,
            }),
            ..IdentitySources::default()
        });
        let known = matches!(sources.find(&question(&id())).await, Answer::Known(_));
        assert_eq!(known, trusted, "{ca_file:?} {insecure_skip_verify}");
    }
}
