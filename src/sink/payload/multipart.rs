//! Objects that are too large for one request: in parts, none of which stays behind.

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStore, PutMultipartOptions, TagSet,
};
use std::time::Duration;

/// From how many bytes on an object goes in parts.
pub(super) const FROM: usize = 16 << 20;
/// Bytes of a part but the last: stores want 5 MiB and more, and some all alike.
const PART: usize = 8 << 20;
/// How long a store may take to throw parts away.
const ABORT: Duration = Duration::from_secs(5);

/// An upload that is thrown away unless it is completed, also where whoever waits for it gives up.
struct Upload(Option<Box<dyn MultipartUpload>>);

/// Puts an object in parts; one that is there is overwritten.
///
/// # Errors
/// Those of the store. Parts that it has already are thrown away.
pub(super) async fn put(
    store: &dyn ObjectStore,
    key: &Key,
    object: Bytes,
    content_type: &'static str,
    tags: &TagSet,
) -> object_store::Result<()> {
    let options = PutMultipartOptions {
        attributes: Attributes::from_iter([(Attribute::ContentType, content_type)]),
        tags: tags.clone(),
        ..PutMultipartOptions::default()
    };
    let mut upload = Upload(Some(store.put_multipart_opts(key, options).await?));
    let mut rest = object;
    while let Some(open) = upload.0.as_mut().filter(|_| !rest.is_empty()) {
        let part = rest.split_to(rest.len().min(PART));
        open.put_part(part.into()).await?;
    }
    if let Some(open) = upload.0.as_mut() {
        open.complete().await?;
    }
    upload.0 = None;
    Ok(())
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) =
            (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            let error = match tokio::time::timeout(ABORT, upload.abort()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            tracing::warn!(
                error,
                "parts of an object stay in the store; a lifecycle rule for incomplete multipart uploads removes them"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutPayload, PutResult, UploadPart};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn object(len: usize) -> Bytes {
        let mut random = fastrand::Rng::with_seed(3);
        (0..len).map(|_| random.u8(..)).collect()
    }

    #[tokio::test]
    async fn an_object_in_parts_is_the_same_object() {
        let store = InMemory::new();
        let key = Key::from("large");
        let bytes = object(2 * PART + 5);
        put(
            &store,
            &key,
            bytes.clone(),
            "text/plain",
            &TagSet::default(),
        )
        .await
        .expect("stored");
        let got = store.get(&key).await.expect("there").bytes().await;
        assert!(got.expect("bytes") == bytes);
    }

    /// Takes nothing, and counts how often it is thrown away.
    #[derive(Debug)]
    struct Torn(Arc<AtomicUsize>);

    #[async_trait]
    impl MultipartUpload for Torn {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            Box::pin(std::future::pending())
        }

        async fn complete(&mut self) -> object_store::Result<PutResult> {
            std::future::pending().await
        }

        async fn abort(&mut self) -> object_store::Result<()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_is_thrown_away_once() {
        let aborted = Arc::new(AtomicUsize::new(0));
        let upload = Upload(Some(Box::new(Torn(aborted.clone()))));
        drop(upload);
        while aborted.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(aborted.load(Ordering::SeqCst), 1);
    }
}
