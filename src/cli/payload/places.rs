//! From URLs, or a store's id, to objects.

use super::args::Places;
use super::error::PayloadError;
use super::fetch::{Object, Part, Remote};
use crate::cli::check;
use crate::config::{ObjectStore, ObjectStoreKind};
use crate::payload::{Link, digest_of, key_of};
use crate::sink::payload::{LinkTemplate, reader};
use object_store::path::Path as Key;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// The stores of a configuration; none without one.
pub struct Stores(Option<Vec<ObjectStore>>);

/// What a URL names.
#[derive(Debug, Clone)]
pub struct Place {
    pub object: Object,
    /// Of the object, or what the keys of a folder begin with; empty where no store is known.
    pub key: String,
    pub naming: Naming,
    /// The key ends with `/`, or the file is a folder: all that is beneath.
    pub folder: bool,
}

/// How objects get their URLs.
#[derive(Debug, Clone)]
pub enum Naming {
    /// As the store's links; where they cannot be made again, the store's own URL.
    Store(Arc<(LinkTemplate, LinkTemplate)>),
    File,
}

impl Naming {
    fn of(store: &ObjectStore) -> Naming {
        let own = ObjectStore {
            access_url: None,
            ..store.clone()
        };
        Naming::Store(Arc::new((
            LinkTemplate::new(store),
            LinkTemplate::new(&own),
        )))
    }

    /// URL of an object, without bytes. None: the store has no URLs.
    pub fn url(&self, object: &Object, key: &str) -> Option<String> {
        let (links, own) = match (self, object) {
            (Naming::Store(links), _) => (&links.0, &links.1),
            (Naming::File, Object::File(path)) => {
                return Url::from_file_path(path).ok().map(String::from);
            }
            (Naming::File, Object::Remote { .. }) => return None,
        };
        let digest = digest_of(key);
        let wants_digest = links.template()?.contains("{{DIGEST}}");
        match (digest, wants_digest) {
            (None, true) => own.url(key, ""),
            _ => links.url(key, digest.unwrap_or_default()),
        }
    }
}

impl Stores {
    /// # Errors
    /// When the configuration cannot be used.
    pub fn load(config: Option<&Path>) -> Result<Stores, PayloadError> {
        let Some(path) = config else {
            return Ok(Stores(None));
        };
        let environment = check::environment();
        let loaded = check::load_file(path, &environment, check::reader(&environment))?;
        Ok(Stores(Some(loaded.config.object_stores)))
    }

    /// What was asked for: the URLs, else a store.
    ///
    /// # Errors
    /// When one belongs to no store that is known.
    pub fn places(&self, asked: &Places) -> Result<Vec<(Place, Part)>, PayloadError> {
        if asked.urls.is_empty() {
            return Ok(vec![(self.store(asked.store.as_deref())?, None)]);
        }
        let place = |link: &Link| Ok((self.place(&link.url)?, link.bytes));
        asked.urls.iter().map(place).collect()
    }

    /// What a URL names. A file:// URL needs no configuration, but one of a store with a template of its own may.
    ///
    /// # Errors
    /// When it belongs to no store that is known: then nothing is asked anywhere.
    pub fn place(&self, url: &str) -> Result<Place, PayloadError> {
        let stores = self.0.as_deref().unwrap_or_default();
        let found = stores
            .iter()
            .find_map(|store| Some((store, key_of(store, url)?)));
        if let Some((store, key)) = found {
            return within(store, &key);
        }
        if let Ok(parsed) = Url::parse(url)
            && parsed.scheme() == "file"
        {
            return file(&parsed);
        }
        let url = url.to_owned();
        Err(match &self.0 {
            None => PayloadError::NoConfig { url },
            Some(stores) => {
                let ids: Vec<_> = stores.iter().map(|store| &*store.id).collect();
                PayloadError::Foreign {
                    url,
                    stores: match ids.is_empty() {
                        true => "none".to_owned(),
                        false => ids.join(", "),
                    },
                }
            }
        })
    }

    /// All of a store, beneath what is the same in all its keys.
    fn store(&self, id: Option<&str>) -> Result<Place, PayloadError> {
        let mut stores = self.0.iter().flatten();
        let found = match id {
            Some(id) => stores.find(|store| store.id == id),
            None => stores.next(),
        };
        let store =
            found.ok_or_else(|| PayloadError::NoStore(id.unwrap_or_default().to_owned()))?;
        let link = LinkTemplate::new(store);
        let fixed = link.fixed_prefix();
        let folder = fixed.rfind('/').map_or(0, |at| at + 1);
        within(store, fixed.get(..folder).unwrap_or_default())
    }
}

/// The object of a store with this key; a folder where the key is empty or ends with `/`.
fn within(store: &ObjectStore, key: &str) -> Result<Place, PayloadError> {
    let parsed = Key::parse(key.trim_end_matches('/')).map_err(|e| PayloadError::Store {
        place: format!("object store `{}`", store.id),
        what: e.to_string(),
    })?;
    let object = match (&store.kind, reader(store)?) {
        (ObjectStoreKind::Disk { path }, _) => Object::File(path.join(parsed.as_ref())),
        (_, Some(client)) => {
            let id = store.id.clone();
            let store = Arc::new(Remote { id, client });
            Object::Remote { store, key: parsed }
        }
        (_, None) => {
            let id = store.id.clone();
            return Err(PayloadError::Nothing { id });
        }
    };
    Ok(Place {
        object,
        key: key.to_owned(),
        naming: Naming::of(store),
        folder: key.is_empty() || key.ends_with('/'),
    })
}

fn file(url: &Url) -> Result<Place, PayloadError> {
    let path: PathBuf = url.to_file_path().map_err(|()| PayloadError::NoFile {
        url: url.to_string(),
    })?;
    Ok(Place {
        folder: path.is_dir(),
        object: Object::File(path),
        key: String::new(),
        naming: Naming::File,
    })
}
