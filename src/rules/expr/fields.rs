//! Fields: what they are, and how a name finds one in the [table](super::table).

use super::table::FIELDS;
use std::sync::Arc;

/// What values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    /// A whole or broken number.
    Number,
    /// Bytes.
    Size,
    Duration,
    Bool,
    Ip,
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    One,
    /// One, or several of which each counts: a header that came twice. A comparison is true if any makes it so.
    Repeated,
    /// A list: `contains` looks for an element.
    List,
}

/// From when on a field is known, at the latest. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Known {
    /// With the process.
    Process,
    /// With the connection: its direction and addresses.
    Connection,
    /// With the request's header.
    Request,
    /// With the response's header.
    Response,
    /// When the transaction is over.
    End,
    /// Not in this version: always missing.
    Never,
}

/// Which field it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldId {
    Method,
    Path,
    Query,
    QueryParameter,
    Host,
    Url,
    Scheme,
    RequestHeader,
    Cookie,
    RequestSize,
    Status,
    ResponseHeader,
    ResponseSize,
    Duration,
    Ttfb,
    Version,
    GrpcService,
    GrpcMethod,
    GrpcStatus,
    Protocol,
    Direction,
    Transport,
    TlsEnabled,
    TlsVersion,
    TlsSni,
    TlsAlpn,
    SourceIp,
    SourcePort,
    ProcessPath,
    ProcessBinary,
    ProcessPid,
    ProcessHostname,
    UserId,
    UserName,
    ProcessEnv,
    ContainerId,
    ContainerName,
    ContainerImage,
    ContainerLabel,
    PodName,
    PodNamespace,
    PodLabel,
    PodAnnotation,
    DestinationIp,
    DestinationPort,
    DestinationDomain,
    Tags,
    TraceId,
    TraceSampled,
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct FieldDef {
    pub id: FieldId,
    /// Ends with a dot where a key follows: `http.req.headers.`.
    pub name: &'static str,
    pub ty: Type,
    pub kind: Kind,
    pub known: Known,
    /// Rulekit does not have it.
    pub ours: bool,
    /// Letters compare without case: values are lower-case.
    pub folds: bool,
    /// The only values there are; empty: any.
    pub values: &'static [&'static str],
    /// The least and the greatest number there is, in the unit of the type.
    pub range: (i128, i128),
    pub meaning: &'static str,
}

impl FieldDef {
    /// A key follows the name.
    pub fn keyed(&self) -> bool {
        self.name.ends_with('.')
    }
}

/// A field of an expression: a row, and the key where the row takes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub def: &'static FieldDef,
    /// Empty where the row takes none. Names of headers are lower-case.
    pub key: Arc<str>,
}

/// What a name in an expression turned out to be.
pub enum Lookup {
    Found(Field),
    /// A former spelling, with today's.
    Former(Field, String),
    /// With what was probably meant.
    Unknown(Option<String>),
    /// The name of a family, without a key.
    NoKey(&'static FieldDef),
}

/// Finds the field of a name.
pub fn lookup(name: &str) -> Lookup {
    if let Some(field) = exact(name) {
        return Lookup::Found(field);
    }
    let bare = name.trim_end_matches('.');
    if let Some(def) = FIELDS
        .iter()
        .find(|def| def.keyed() && def.name.trim_end_matches('.') == bare)
    {
        return Lookup::NoKey(def);
    }
    const FORMER: [(&str, &str); 4] = [
        ("request.", "http.req."),
        ("response.", "http.res."),
        ("req.", "http.req."),
        ("res.", "http.res."),
    ];
    let renamed = FORMER
        .iter()
        .find_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?)));
    match renamed.as_deref().and_then(exact) {
        Some(field) => Lookup::Former(field, renamed.unwrap_or_default()),
        None => Lookup::Unknown(suggest(renamed.as_deref().unwrap_or(name))),
    }
}

fn exact(name: &str) -> Option<Field> {
    let plain = FIELDS.iter().find(|def| def.name == name && !def.keyed());
    let (def, key) = match plain {
        Some(def) => (def, ""),
        None => FIELDS.iter().filter(|def| def.keyed()).find_map(|def| {
            Some((
                def,
                name.strip_prefix(def.name).filter(|key| !key.is_empty())?,
            ))
        })?,
    };
    let key = match def.id {
        FieldId::RequestHeader | FieldId::ResponseHeader => key.to_ascii_lowercase().into(),
        _ => key.into(),
    };
    Some(Field { def, key })
}

/// The nearest name; or the one that ends with the word; the key stays.
fn suggest(name: &str) -> Option<String> {
    let names = || FIELDS.iter().filter(|def| !def.keyed()).map(|def| def.name);
    if let Some(near) = crate::config::nearest(name, names()) {
        return Some(near.to_owned());
    }
    // The same, but for a key at its end.
    let family = FIELDS.iter().filter(|def| def.keyed()).find_map(|def| {
        let dots = def.name.matches('.').count();
        let (at, _) = name.match_indices('.').nth(dots - 1)?;
        let (head, key) = name.split_at(at + 1);
        let near = crate::config::nearest(head, [def.name])?;
        (!key.is_empty()).then(|| format!("{near}{key}"))
    });
    let last = || {
        let ends = |known: &&str| {
            known
                .strip_suffix(name)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        let word = match name {
            "exe" => Some("src.process.path"),
            "url" | "uri" => Some("http.req.url"),
            "namespace" => Some("src.pod.namespace"),
            _ => None,
        };
        word.or_else(|| names().find(ends)).map(str::to_owned)
    };
    family.or_else(last)
}

impl Field {
    /// As it is written.
    pub fn name(&self) -> String {
        format!("{}{}", self.def.name, self.key)
    }
}

impl Type {
    /// In words, with an article.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Size => "a size",
            Self::Duration => "a time",
            Self::Bool => "true or false",
            Self::Ip => "an address",
        }
    }
}

impl Known {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Process => "with the process",
            Self::Connection => "with the connection",
            Self::Request => "with the request's header",
            Self::Response => "with the response's header",
            Self::End => "at the end",
            Self::Never => "not in this version",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_keys_and_former_spellings() {
        for (name, expected) in [
            ("http.req.method", "http.req.method"),
            (
                "http.req.headers.X-Request-Id",
                "http.req.headers.x-request-id",
            ),
            ("http.req.query.page", "http.req.query.page"),
            ("src.pod.labels.app", "src.pod.labels.app"),
        ] {
            let Lookup::Found(field) = lookup(name) else {
                panic!("{name}")
            };
            assert_eq!(field.name(), expected);
        }
        for (name, expected) in [
            ("request.host", "http.req.host"),
            ("request.method", "http.req.method"),
            ("response.status", "http.res.status"),
            ("req.headers.accept", "http.req.headers.accept"),
            ("res.status", "http.res.status"),
        ] {
            let Lookup::Former(field, now) = lookup(name) else {
                panic!("{name}")
            };
            assert_eq!((field.name().as_str(), now.as_str()), (expected, expected));
        }
        assert!(matches!(lookup("http.req.headers"), Lookup::NoKey(_)));
    }

    #[test]
    fn a_misspelt_name_gets_the_one_that_was_meant() {
        for (name, meant) in [
            ("http.req.mehtod", Some("http.req.method")),
            ("http.res.stauts", Some("http.res.status")),
            ("http.req.header.accept", Some("http.req.headers.accept")),
            ("req.hots", Some("http.req.host")),
            ("status", Some("http.res.status")),
            ("exe", Some("src.process.path")),
            ("bandwidth", None),
        ] {
            let Lookup::Unknown(hint) = lookup(name) else {
                panic!("{name}")
            };
            assert_eq!(hint.as_deref(), meant, "{name}");
        }
    }

    #[test]
    fn every_field_stands_once_in_the_table() {
        for (i, def) in FIELDS.iter().enumerate() {
            assert!(
                FIELDS[i + 1..]
                    .iter()
                    .all(|other| other.id != def.id && other.name != def.name),
                "{}",
                def.name
            );
        }
    }
}
