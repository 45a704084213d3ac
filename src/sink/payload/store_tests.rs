use super::super::answering::{FakeStore, Reply};
use super::*;
use crate::config::{AzureStore, DiskStore, Encryption, GcsStore, Layout, S3Store, Secret};
use crate::telemetry::ledger::PayloadLost;
use std::collections::BTreeMap;

fn opened(kind: ObjectStoreKind, prefix: &str) -> Store {
    let settings = Settings {
        id: "s".to_owned(),
        access_url: None,
        prefix: prefix.to_owned(),
        layout: Layout::Object,
        spool: None,
        kind,
    };
    Store::open(&settings, &Ledger::new()).unwrap()
}

fn s3(endpoint: &str) -> S3Store {
    S3Store {
        endpoint: endpoint.to_owned(),
        bucket: "traffic".to_owned(),
        region: "eu-west-1".to_owned(),
        insecure: true,
        credentials: Some((Secret::new("key"), Secret::new("secret"))),
        ..S3Store::default()
    }
}

fn s3_at(endpoint: &str) -> Store {
    opened(ObjectStoreKind::S3(s3(endpoint)), "a/")
}

async fn fake_s3(
    answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
) -> (Store, FakeStore) {
    let fake = FakeStore::start(answer).await;
    (s3_at(&fake.endpoint), fake)
}

async fn put(store: &Store) -> Result<Put, StoreError> {
    let document = Bytes::from_static(b"DOCUMENT");
    store.put("a/k", document, "application/json").await
}

#[tokio::test]
async fn a_put_is_conditional_signed_and_by_path() {
    let (store, fake) = fake_s3(|_, _| Reply::of(200, "")).await;
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    let (head, body) = fake.asked().remove(0);
    assert!(head.starts_with("put /traffic/a/k "), "{head}");
    for part in [
        "if-none-match: *",
        "content-type: application/json",
        "/eu-west-1/s3/",
        "user-agent: plainspan/",
    ] {
        assert!(head.contains(part), "{part} in {head}");
    }
    assert!(!head.contains("x-amz-tagging") && !head.contains("encryption"));
    assert_eq!(body, b"DOCUMENT");
}

#[tokio::test]
async fn encryption_and_tags_go_with_each_object() {
    let tags = BTreeMap::from([
        ("cost center".to_owned(), "7/a".to_owned()),
        ("team".to_owned(), "shop".to_owned()),
    ]);
    for (encryption, parts) in [
        (
            Encryption::Aes256,
            vec!["x-amz-server-side-encryption: aes256"],
        ),
        (
            Encryption::Kms(None),
            vec!["x-amz-server-side-encryption: aws:kms"],
        ),
        (
            Encryption::Kms(Some("arn:aws:kms:eu-west-1:1:key/2".to_owned())),
            vec![
                "x-amz-server-side-encryption: aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:eu-west-1:1:key/2",
            ],
        ),
    ] {
        let fake = FakeStore::start(|_, _| Reply::of(200, "")).await;
        let settings = S3Store {
            encryption: Some(encryption),
            object_tags: tags.clone(),
            ..s3(&fake.endpoint)
        };
        put(&opened(ObjectStoreKind::S3(settings), ""))
            .await
            .unwrap();
        let head = fake.asked().remove(0).0;
        for part in parts
            .iter()
            .chain(&["x-amz-tagging: cost+center=7%2fa&team=shop"])
        {
            assert!(head.contains(part), "{part} in {head}");
        }
    }
}

#[tokio::test]
async fn an_object_that_is_there_is_a_dedupe_and_a_conflict_of_another_kind_is_none() {
    let (store, _) = fake_s3(|_, _| Reply::error(412, "PreconditionFailed")).await;
    assert_eq!(put(&store).await.unwrap(), Put::Deduplicated);
    let (store, fake) = fake_s3(|_, n| match n {
        0 => Reply::error(409, "ConditionalRequestConflict"),
        _ => Reply::of(200, ""),
    })
    .await;
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn a_store_without_conditional_puts_is_written_to_without() {
    let (store, fake) = fake_s3(|head, _| match head.contains("if-none-match") {
        true => Reply::error(400, "NotImplemented"),
        false => Reply::of(200, ""),
    })
    .await;
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    let asked = fake.asked();
    let asked: Vec<_> = asked
        .iter()
        .map(|(head, _)| head.contains("if-none-match"))
        .collect();
    assert_eq!(asked, [true, false, false]);
}

/// Answers that are not tried again: the answer, what is said, and what of.
fn refusals() -> Vec<(Reply, [&'static str; 2])> {
    let key = "<Error><Code>InvalidAccessKeyId</Code><Message>No such key</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
    vec![
        (
            Reply::of(403, key),
            [
                "InvalidAccessKeyId: No such key",
                "check `access_key` and `secret_key`",
            ],
        ),
        (
            Reply::error(403, "AccessDenied"),
            ["AccessDenied", "s3:PutObject"],
        ),
        (
            Reply::error(404, "NoSuchBucket"),
            ["NoSuchBucket", "no such bucket"],
        ),
        (
            Reply::error(400, "AuthorizationHeaderMalformed"),
            ["AuthorizationHeaderMalformed", "check `region`"],
        ),
        (
            Reply::error(301, "PermanentRedirect").with("x-amz-bucket-region: eu-central-1"),
            ["region", "set `region: eu-central-1`"],
        ),
        (
            Reply::of(
                400,
                "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>",
            ),
            ["AuthorizationHeaderMalformed", "set `region: us-west-2`"],
        ),
        (
            Reply::error(403, "RequestTimeTooSkewed"),
            ["RequestTimeTooSkewed", "this host's clock"],
        ),
        (
            Reply::of(403, "").with("date: Mon, 01 Jan 2001 00:00:00 GMT"),
            ["403", "this host's clock"],
        ),
        (Reply::of(403, ""), ["403", "credentials are wrong"]),
        (Reply::of(404, ""), ["404", "no such bucket"]),
        (Reply::of(405, "<html>"), ["405", "check `endpoint`"]),
        (
            Reply::error(400, "KMS.NotFoundException"),
            ["KMS.NotFoundException", "`encryption`"],
        ),
    ]
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_is_not_tried_again() {
    for (reply, parts) in refusals() {
        let shown = format!("{reply:?}");
        let (store, fake) = fake_s3(move |_, _| reply.clone()).await;
        let error = put(&store).await.unwrap_err();
        assert_eq!(error.failure(), Failure::Refused, "{shown}: {error}");
        assert_eq!(error.lost(), PayloadLost::StoreRefused);
        let error = error.to_string();
        for part in parts {
            assert!(error.contains(part), "{shown}: {part} in {error}");
        }
        assert!(!error.contains("AKIA"), "{error}");
        assert_eq!(fake.asked().len(), 1, "no retry: {error}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let other = FakeStore::start(|_, _| Reply::of(200, "")).await;
    let location = format!("location: http://{}/traffic/a/k", other.endpoint);
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let (store, _) = fake_s3(move |_, _| Reply::of(status, "").with(&location)).await;
        let error = put(&store).await.unwrap_err();
        assert_ne!(error.failure(), Failure::Unfit, "{status}: {error}");
    }
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}

#[tokio::test]
async fn an_overloaded_store_is_tried_again_for_a_short_time() {
    let (store, fake) = fake_s3(|_, _| Reply::error(503, "SlowDown")).await;
    let began = Instant::now();
    let error = put(&store).await.unwrap_err();
    assert_eq!(error.failure(), Failure::Unavailable);
    assert_eq!(error.lost(), PayloadLost::StoreFailed);
    let text = error.to_string();
    assert!(
        text.contains("SlowDown") && text.contains("overloaded"),
        "{text}"
    );
    assert_eq!(fake.asked().len(), 1 + RETRIES as usize);
    assert!(began.elapsed() < RETRY_TIMEOUT);
}

#[tokio::test]
async fn a_store_that_asks_for_time_gets_it() {
    let (store, fake) = fake_s3(|_, n| match n {
        0 => Reply::error(503, "SlowDown").with("retry-after: 2"),
        _ => Reply::of(200, ""),
    })
    .await;
    let began = Instant::now();
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    assert!(began.elapsed() >= Duration::from_secs(2), "{began:?}");
    assert_eq!(fake.asked().len(), 2);

    // More than a put waits for: whoever keeps the payload is told.
    let (store, fake) = fake_s3(|_, _| Reply::of(429, "").with("retry-after: 120")).await;
    let error = put(&store).await.unwrap_err();
    assert_eq!(error.failure(), Failure::Unavailable, "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(120)));
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn a_torn_upload_is_made_again_and_is_never_taken_for_stored() {
    let (store, fake) = fake_s3(|_, n| match n {
        0 => Reply {
            torn: true,
            ..Reply::default()
        },
        1 => Reply::error(400, "IncompleteBody"),
        _ => Reply::of(200, ""),
    })
    .await;
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    let bodies: Vec<_> = fake.asked().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies[1..], [b"DOCUMENT".to_vec(), b"DOCUMENT".to_vec()]);

    let (store, _) = fake_s3(|_, _| Reply {
        torn: true,
        ..Reply::default()
    })
    .await;
    let error = put(&store).await.unwrap_err();
    assert_eq!(error.failure(), Failure::Unavailable);
    assert!(error.to_string().contains("broke"), "{error}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up_by_name() {
    let (store, fake) = fake_s3(|_, _| Reply {
        after: Duration::from_secs(600),
        ..Reply::of(200, "")
    })
    .await;
    let began = Instant::now();
    let error = put(&store).await.unwrap_err();
    assert_eq!(error.failure(), Failure::Unavailable);
    let text = error.to_string();
    assert!(
        text.contains("no answer within 10 s") && text.contains("too slow"),
        "{text}"
    );
    assert!(began.elapsed() < TIMEOUT + RETRY_TIMEOUT, "{began:?}");
    assert_eq!(fake.asked().len(), 1, "there is no time for a second one");
}

#[tokio::test]
async fn a_store_without_room_says_so() {
    for reply in [
        Reply::error(507, "XMinioStorageFull"),
        Reply::of(507, ""),
        Reply::error(403, "QuotaExceeded"),
    ] {
        let (store, _) = fake_s3(move |_, _| reply.clone()).await;
        let error = put(&store).await.unwrap_err();
        assert_eq!(error.failure(), Failure::Full, "{error}");
        assert_eq!(error.lost(), PayloadLost::StoreFull);
        assert!(error.to_string().contains("make room"), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_says_to_check_the_endpoint() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = put(&s3_at(&nobody.to_string())).await.unwrap_err();
    assert_eq!(error.failure(), Failure::Unavailable);
    let error = error.to_string();
    assert!(
        error.contains("`endpoint`") && error.contains("refused"),
        "{error}"
    );
}

#[tokio::test]
async fn the_write_probe_leaves_one_object_and_a_store_that_takes_it_works() {
    let (store, fake) = fake_s3(|_, n| match n {
        0 => Reply::of(200, ""),
        _ => Reply::error(412, "PreconditionFailed"),
    })
    .await;
    assert_eq!(store.state().state, StoreState::Unknown);
    store.look_after().await;
    assert_eq!(store.state().state, StoreState::Works);
    store.look_after().await;
    assert_eq!(store.state().state, StoreState::Works);
    for (head, body) in fake.asked() {
        assert!(
            head.starts_with("put /traffic/a/plainspan-write-probe "),
            "{head}"
        );
        assert!(head.contains("if-none-match: *") && body == PROBE_TEXT);
    }
}

#[tokio::test]
async fn a_store_that_fails_the_probe_is_asked_again_until_it_works() {
    let (store, fake) = fake_s3(|_, n| match n {
        0 => Reply::error(404, "NoSuchBucket"),
        _ => Reply::of(200, ""),
    })
    .await;
    let store = std::sync::Arc::new(store);
    let asking = tokio::spawn({
        let store = store.clone();
        async move { store.look_after().await }
    });
    while store.state().state == StoreState::Unknown {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failing = store.state();
    assert_eq!(failing.state, StoreState::Fails);
    let error = failing.error.unwrap();
    assert!(error.contains("no such bucket"), "{error}");
    asking.await.unwrap();
    let well = store.state();
    assert_eq!((well.state, well.error), (StoreState::Works, None));
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn one_payload_that_no_store_takes_says_nothing_of_the_store() {
    let (store, _) = fake_s3(|_, _| Reply::error(400, "EntityTooLarge")).await;
    let error = put(&store).await.unwrap_err();
    assert_eq!(error.lost(), PayloadLost::TooLarge);
    store.report(&error);
    assert_eq!(store.state().state, StoreState::Unknown);
}

#[tokio::test]
async fn gcs_gets_a_token_for_a_key_and_writes_what_is_not_there() {
    // The file of a service account names where tokens come from only for its users; `disable_oauth` is for emulators.
    let fake = FakeStore::start(|_, n| match n {
        0 => Reply::of(200, ""),
        1 => Reply::error(412, "PreconditionFailed"),
        2 => Reply::error(403, "AccessDenied"),
        _ => Reply::error(404, "NoSuchBucket"),
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let key =
        r#"{"disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}"#;
    std::fs::write(file.path(), key).unwrap();
    let gcs = GcsStore {
        endpoint: fake.endpoint.clone(),
        bucket: "traffic".to_owned(),
        insecure: true,
        credentials_file: Some(file.path().to_owned()),
    };
    let store = opened(ObjectStoreKind::Gcs(gcs), "a/");
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    assert_eq!(put(&store).await.unwrap(), Put::Deduplicated);
    let denied = put(&store).await.unwrap_err().to_string();
    assert!(denied.contains("storage.objects.create"), "{denied}");
    let gone = put(&store).await.unwrap_err().to_string();
    assert!(gone.contains("no such bucket"), "{gone}");
    let (head, body) = fake.asked().remove(0);
    // A key's slash may be written as one, or so (RFC 3986 §2.1): it is the same object.
    assert!(head.starts_with("put /traffic/a%2fk "), "{head}");
    assert!(head.contains("x-goog-if-generation-match: 0"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(body, b"DOCUMENT");
}

#[tokio::test]
async fn azure_is_asked_with_the_account_and_says_what_is_wrong() {
    let fake = FakeStore::start(|_, n| match n {
        0 => Reply::of(201, ""),
        1 => Reply::error(409, "BlobAlreadyExists"),
        2 => Reply::error(404, "ContainerNotFound"),
        3 => Reply::error(403, "AuthenticationFailed"),
        4 => Reply::error(403, "AuthorizationPermissionMismatch"),
        5 => Reply::error(409, "ContainerBeingDeleted"),
        6 => Reply::error(503, "ServerBusy"),
        _ => Reply::of(201, ""),
    })
    .await;
    let azure = AzureStore {
        endpoint: fake.endpoint.clone(),
        account: "shop".to_owned(),
        container: "traffic".to_owned(),
        insecure: true,
        access_key: Some(Secret::new("a2V5")),
        object_tags: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
    };
    let store = opened(ObjectStoreKind::Azure(azure), "a/");
    assert_eq!(put(&store).await.unwrap(), Put::Stored);
    assert_eq!(put(&store).await.unwrap(), Put::Deduplicated);
    for part in [
        "no such container",
        "`account` and `access_key`",
        "writing of blobs",
    ] {
        let error = put(&store).await.unwrap_err();
        assert_eq!(error.failure(), Failure::Refused, "{error}");
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    assert_eq!(put(&store).await.unwrap(), Put::Stored, "tried again twice");
    let (head, body) = fake.asked().remove(0);
    assert!(head.starts_with("put /shop/traffic/a/k "), "{head}");
    for part in [
        "if-none-match: *",
        "x-ms-tags: team=shop",
        "authorization: sharedkey shop:",
        "x-ms-blob-type: blockblob",
    ] {
        assert!(head.contains(part), "{part} in {head}");
    }
    assert_eq!(body, b"DOCUMENT");
}

#[tokio::test]
async fn without_credentials_anywhere_it_is_said_where_they_come_from() {
    // A host without a role: the place of an instance's credentials says 404.
    let nothing = FakeStore::start(|_, _| Reply::of(404, "")).await;
    let text = format!(
        "Error performing PUT http://{}/latest/api/token in 1ms - Server returned non-2xx status code: 404",
        nothing.endpoint
    );
    let error = object_store::Error::Generic {
        store: "S3",
        source: text.into(),
    };
    let answer = Answer {
        status: Some(404),
        ..Answer::default()
    };
    let error = explain(&error, &answer, super::super::explain::S3);
    assert_eq!(error.failure(), Failure::Refused);
    assert!(
        error.to_string().contains("give this host a role"),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_below_a_prefix_is_for_its_owner_alone_too() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let disk = DiskStore::at(&path);
    let store = opened(ObjectStoreKind::Disk(disk), "t/{date}/");
    let document = Bytes::from_static(b"{\"metadata\":1}");
    let name = "ab".repeat(32);
    let key = format!("t/2026-11-23/{name}");
    let put = store.put(&key, document.clone(), "application/json").await;
    assert_eq!(put.unwrap(), Put::Stored);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for folder in ["", "t", "t/2026-11-23"] {
        assert_eq!(mode(&path.join(folder)), 0o700, "{folder}");
    }
    assert_eq!(mode(&path.join(&key)), 0o600);

    // A link in the place of a folder is not followed.
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, path.join("t/2026-11-24")).unwrap();
    let key = format!("t/2026-11-24/{name}");
    let error = store
        .put(&key, document, "application/json")
        .await
        .unwrap_err();
    assert_eq!(error.failure(), Failure::Refused, "{error}");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_disk_is_said_and_is_not_tried_again() {
    let error = std::io::Error::from_raw_os_error(libc::ENOSPC);
    let error = StoreError::file("/p/k: no space".to_owned(), &error);
    assert_eq!(error.failure(), Failure::Full);
    assert_eq!(error.lost(), PayloadLost::StoreFull);
    assert!(error.to_string().contains("`max_bytes`"), "{error}");
}

#[test]
fn on_stdout_a_document_is_a_line() {
    let mut out = Vec::new();
    write_line(&mut out, b"{}").unwrap();
    assert_eq!(out, b"{}\n");
}
