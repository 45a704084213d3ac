//! A store opened to be read: nothing is made, and nothing is written.

use super::remote::{self, Tries};
use super::{ObjectStore as Settings, StartError};
use object_store::ObjectStore;
use std::sync::Arc;

/// The store behind these settings, with their credentials. None: its objects are files, or it keeps none.
///
/// # Errors
/// When the settings cannot be used. A store that cannot be reached is no error.
pub fn reader(settings: &Settings) -> Result<Option<Arc<dyn ObjectStore>>, StartError> {
    let client = remote::connect(&settings.id, &settings.kind, Tries::Several)?;
    Ok(client.map(|client| client.store))
}
