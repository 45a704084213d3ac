//! A store opened to be read: nothing is made, and nothing is written.

use super::store::s3_client;
use super::{ObjectStore as Settings, ObjectStoreKind, StartError};
use object_store::ObjectStore;
use std::sync::Arc;

/// The store behind these settings, with their credentials. None: its objects are files, or it keeps none.
///
/// # Errors
/// When the settings cannot be used. A store that cannot be reached is no error.
pub fn reader(settings: &Settings) -> Result<Option<Arc<dyn ObjectStore>>, StartError> {
    Ok(match &settings.kind {
        ObjectStoreKind::S3(s3) => Some(Arc::new(s3_client(&settings.id, s3)?)),
        ObjectStoreKind::Disk { .. } | ObjectStoreKind::Stdout | ObjectStoreKind::Disabled => None,
    })
}
