use super::*;
use crate::config::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An S3 of one answer: `answer` gets the head of each request.
async fn fake_s3(answer: fn(&str) -> (u16, &'static str)) -> (Store, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                // The document is the end of each request.
                while !bytes.ends_with(b"DOCUMENT") {
                    if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                        return;
                    }
                }
                let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                let (status, body) = answer(&head);
                seen.lock().unwrap().push(head);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\netag: \"e\"\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    (store_at(&address.to_string()), heads)
}

fn store_at(endpoint: &str) -> Store {
    let settings = Settings {
        id: "s".to_owned(),
        access_url: None,
        layout: crate::config::Layout::Object,
        spool: None,
        kind: ObjectStoreKind::S3(s3(endpoint)),
    };
    Store::open(&settings).unwrap()
}

fn s3(endpoint: &str) -> S3Store {
    S3Store {
        endpoint: endpoint.to_owned(),
        bucket: "traffic".to_owned(),
        region: "eu-west-1".to_owned(),
        insecure: true,
        credentials: Some((Secret::new("key"), Secret::new("secret"))),
        prefix: "a/".to_owned(),
    }
}

async fn put(store: &Store) -> Result<Put, StoreError> {
    store
        .put("a/k", Bytes::from_static(b"DOCUMENT"), "application/json")
        .await
}

#[tokio::test]
async fn a_put_is_conditional_signed_and_by_path() {
    let (store, heads) = fake_s3(|_| (200, "")).await;
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    let heads = heads.lock().unwrap();
    assert!(heads[0].starts_with("put /traffic/a/k "), "{}", heads[0]);
    for part in [
        "if-none-match: *",
        "content-type: application/json",
        "/eu-west-1/s3/",
    ] {
        assert!(heads[0].contains(part), "{part} in {}", heads[0]);
    }
}

#[tokio::test]
async fn an_object_that_is_there_is_a_dedupe() {
    let (store, _) = fake_s3(|_| (412, "<Error><Code>PreconditionFailed</Code></Error>")).await;
    assert_eq!(put(&store).await.unwrap(), Put::Deduplicated);
}

#[tokio::test]
async fn a_store_without_conditional_puts_is_written_to_without() {
    let (store, heads) = fake_s3(|head| match head.contains("if-none-match") {
        true => (400, "<Error><Code>NotImplemented</Code></Error>"),
        false => (200, ""),
    })
    .await;
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    let asked: Vec<_> = heads
        .lock()
        .unwrap()
        .iter()
        .map(|h| h.contains("if-none-match"))
        .collect();
    assert_eq!(asked, [true, false, false]);
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    for (answer, parts) in [
        (
            (|_: &str| {
                (
                    403,
                    "<Error><Code>InvalidAccessKeyId</Code><Message>No such key</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>",
                )
            }) as fn(&str) -> (u16, &'static str),
            ["InvalidAccessKeyId: No such key", "credentials are wrong"],
        ),
        (
            |_| (403, "<Error><Code>AccessDenied</Code></Error>"),
            ["AccessDenied", "s3:PutObject"],
        ),
        (
            |_| (404, "<Error><Code>NoSuchBucket</Code></Error>"),
            ["NoSuchBucket", "no such bucket"],
        ),
        (
            |_| {
                (
                    400,
                    "<Error><Code>AuthorizationHeaderMalformed</Code></Error>",
                )
            },
            ["AuthorizationHeaderMalformed", "region"],
        ),
        (|_| (403, ""), ["403", "credentials are wrong"]),
    ] {
        let (store, heads) = fake_s3(answer).await;
        let error = put(&store).await.unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("AKIA"), "{error}");
        assert_eq!(heads.lock().unwrap().len(), 1, "no retry: {error}");
    }
}

#[tokio::test]
async fn an_overloaded_store_is_tried_again_for_a_short_time() {
    let (store, heads) = fake_s3(|_| (503, "<Error><Code>SlowDown</Code></Error>")).await;
    let began = Instant::now();
    let error = put(&store).await.unwrap_err().to_string();
    assert!(
        error.contains("SlowDown") && error.contains("overloaded"),
        "{error}"
    );
    assert_eq!(heads.lock().unwrap().len(), 1 + RETRIES as usize);
    assert!(began.elapsed() < RETRY_TIMEOUT);
}

#[tokio::test]
async fn nobody_there_says_to_check_the_endpoint() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = put(&store_at(&nobody.to_string()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`endpoint`") && error.contains("refused"),
        "{error}"
    );
}

#[test]
fn awss_own_name_is_asked_in_the_region() {
    let mut aws = s3("s3.amazonaws.com");
    aws.insecure = false;
    assert_eq!(endpoint(&aws), "https://s3.eu-west-1.amazonaws.com");
    assert_eq!(endpoint(&s3("minio:9000")), "http://minio:9000");
}

#[test]
fn a_prefix_that_is_no_key_is_an_error_at_start() {
    let mut bad = s3("minio:9000");
    bad.prefix = "a//b/".to_owned();
    let error = s3_client("s", &bad).err().unwrap().to_string();
    assert!(error.contains("`a//b/`"), "{error}");
}

#[test]
fn on_stdout_a_document_is_a_line() {
    let mut out = Vec::new();
    write_line(&mut out, b"{}").unwrap();
    assert_eq!(out, b"{}\n");
}
