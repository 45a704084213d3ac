//! Which object of a store a link names.

use crate::config::ObjectStore;
use crate::sink::payload::LinkTemplate;
use percent_encoding::percent_decode_str;
use regex::Regex;

/// The key of the object that `url` names, where it is one of this store: its links follow `access_url`, and every
/// object has the store's own URL besides. None: the URL belongs to something else, which this store's credentials are
/// not for.
pub fn key_of(store: &ObjectStore, url: &str) -> Option<String> {
    let own = ObjectStore {
        access_url: None,
        ..store.clone()
    };
    [store, &own].into_iter().find_map(|store| {
        let link = LinkTemplate::new(store);
        let key = by_template(link.template()?, url)?;
        key.starts_with(link.prefix()).then_some(key)
    })
}

fn by_template(template: &str, url: &str) -> Option<String> {
    let found = pattern(template)?.captures(url)?;
    if let Some(key) = found.name("key") {
        let key = percent_decode_str(key.as_str()).decode_utf8().ok()?;
        return Some(key.into_owned());
    }
    // Where a digest alone stands in a template there is no prefix.
    found
        .name("digest")
        .map(|digest| digest.as_str().to_owned())
}

/// A pattern for what a template can give. Of variables that stand there more than once the first counts.
fn pattern(template: &str) -> Option<Regex> {
    let mut pattern = String::from("^");
    let mut rest = template;
    let mut seen = (false, false);
    while let Some((at, variable)) = next(rest) {
        pattern.push_str(&regex::escape(rest.get(..at)?));
        rest = rest.get(at + variable.len()..)?;
        let (group, known) = match variable {
            KEY => ("(?P<key>.+?)", &mut seen.0),
            _ => ("(?P<digest>[0-9a-f]{64})", &mut seen.1),
        };
        match (*known, variable) {
            (false, _) => pattern.push_str(group),
            (true, KEY) => pattern.push_str(".+?"),
            (true, _) => pattern.push_str("[0-9a-f]{64}"),
        }
        *known = true;
    }
    pattern.push_str(&regex::escape(rest));
    pattern.push('$');
    Regex::new(&pattern).ok()
}

const KEY: &str = "{{KEY}}";
const DIGEST: &str = "{{DIGEST}}";

/// The first variable, and where it stands.
fn next(text: &str) -> Option<(usize, &'static str)> {
    let at = |variable: &'static str| text.find(variable).map(|at| (at, variable));
    [at(KEY), at(DIGEST)].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};

    fn store(keys: &str) -> ObjectStore {
        let yaml = format!("version: 2\nservices: {{object_stores: [{{id: payloads, {keys}}}]}}\n");
        let loaded = load(&yaml, "test", &Environment::default()).expect("a good configuration");
        loaded
            .config
            .object_stores
            .into_iter()
            .next()
            .expect("a store")
    }

    fn s3(access_url: Option<&str>, prefix: &str) -> ObjectStore {
        let access_url = access_url.map(|url| format!("access_url: '{url}', "));
        let access_url = access_url.unwrap_or_default();
        store(&format!(
            "{access_url}type: s3, endpoint: 's3.example.com:9000', bucket: traffic, prefix: '{prefix}'"
        ))
    }

    const DIGEST: &str = "aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899";

    #[test]
    fn a_link_of_the_template_leads_to_its_key_and_so_does_the_stores_own_url() {
        let store = s3(Some("https://view.example/{{BUCKET}}/{{DIGEST}}?k=1"), "");
        let url = format!("https://view.example/traffic/{DIGEST}?k=1");
        assert_eq!(key_of(&store, &url).as_deref(), Some(DIGEST));
        let url = "https://s3.example.com:9000/traffic/a%20b/c.ndjson.zst";
        assert_eq!(key_of(&store, url).as_deref(), Some("a b/c.ndjson.zst"));
    }

    #[test]
    fn every_link_that_a_store_gives_leads_back_to_its_key() {
        let twice = "https://v.example/{{KEY}}/view#{{DIGEST}}-{{KEY}}";
        for (access_url, prefix) in [
            (None, ""),
            (None, "team a/x/"),
            (None, "t/{service}/{date}/{hour}"),
            (Some(twice), "p/"),
        ] {
            let store = s3(access_url, prefix);
            let link = LinkTemplate::new(&store);
            let key = link.key(DIGEST, std::time::UNIX_EPOCH, "shop");
            let url = link.url(&key, DIGEST).expect("a link");
            assert_eq!(key_of(&store, &url), Some(key), "{url}");
        }
    }

    #[test]
    fn a_url_of_something_else_leads_nowhere() {
        let store = s3(None, "ours/");
        for url in [
            "https://evil.example/traffic/ours/k",
            "https://s3.example.com:9000/other/ours/k",
            "https://s3.example.com/traffic/ours/k",
            "http://s3.example.com:9000/traffic/ours/k",
            "https://s3.example.com:9000.evil.example/traffic/ours/k",
            "https://s3.example.com:9000/traffic/theirs/k",
            "https://s3.example.com:9000/traffic/",
            "x https://s3.example.com:9000/traffic/ours/k",
        ] {
            assert_eq!(key_of(&store, url), None, "{url}");
        }
    }

    #[test]
    fn a_folder_has_file_urls_and_stdout_has_none() {
        let disk = store("type: disk, path: '/var/lib/a b'");
        let key = key_of(&disk, "file:///var/lib/a%20b/k.ndjson.zst");
        assert_eq!(key.as_deref(), Some("k.ndjson.zst"));
        assert_eq!(
            key_of(&store("type: stdout"), "https://s3.example.com"),
            None
        );
    }
}
