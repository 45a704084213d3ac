//! The table of fields: what an expression can ask of a transaction.

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

const fn field(
    id: FieldId,
    name: &'static str,
    ty: Type,
    known: Known,
    meaning: &'static str,
) -> FieldDef {
    FieldDef {
        id,
        name,
        ty,
        kind: Kind::One,
        known,
        ours: false,
        folds: false,
        values: &[],
        range: (0, i128::MAX),
        meaning,
    }
}

impl FieldDef {
    const fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    const fn folds(mut self) -> Self {
        self.folds = true;
        self
    }

    const fn values(mut self, values: &'static [&'static str]) -> Self {
        self.values = values;
        self
    }

    const fn range(mut self, least: i128, most: i128) -> Self {
        self.range = (least, most);
        self
    }

    /// A key follows the name.
    pub fn keyed(&self) -> bool {
        self.name.ends_with('.')
    }
}

use Kind::{List, Repeated};
use Known::{Connection, End, Never, Process, Request, Response};
use Type::{Bool, Duration, Ip, Number, Size, Text};

/// Every field, in the order of the reference.
pub static FIELDS: &[FieldDef] = &[
    field(
        FieldId::Method,
        "http.req.method",
        Text,
        Request,
        "method, as sent",
    ),
    field(
        FieldId::Path,
        "http.req.path",
        Text,
        Request,
        "path of the target, without query, as sent",
    ),
    field(
        FieldId::Query,
        "http.req.query",
        Text,
        Request,
        "query without `?`, as sent",
    )
    .ours(),
    field(
        FieldId::QueryParameter,
        "http.req.query.",
        Text,
        Request,
        "parameters of this name, percent-decoded",
    )
    .ours()
    .kind(Repeated),
    field(
        FieldId::Host,
        "http.req.host",
        Text,
        Request,
        "`Host` or `:authority`, lower-case; with and without its port",
    )
    .kind(Repeated)
    .folds(),
    field(
        FieldId::Url,
        "http.req.url",
        Text,
        Request,
        "scheme, host, path and query",
    ),
    field(
        FieldId::Scheme,
        "http.req.scheme",
        Text,
        Request,
        "`https` where the bytes came out of TLS, else `http`",
    )
    .values(&["http", "https"]),
    field(
        FieldId::RequestHeader,
        "http.req.headers.",
        Text,
        Request,
        "field lines of this name, in wire order",
    )
    .kind(Repeated),
    field(
        FieldId::Cookie,
        "http.req.cookies.",
        Text,
        Request,
        "cookies of this name",
    )
    .ours()
    .kind(Repeated),
    field(
        FieldId::RequestSize,
        "http.req.body.size",
        Size,
        End,
        "content of the request, as sent",
    )
    .ours(),
    field(
        FieldId::Status,
        "http.res.status",
        Number,
        Response,
        "status code",
    )
    .range(100, 999),
    field(
        FieldId::ResponseHeader,
        "http.res.headers.",
        Text,
        Response,
        "field lines of this name, in wire order",
    )
    .kind(Repeated),
    field(
        FieldId::ResponseSize,
        "http.res.body.size",
        Size,
        End,
        "content of the response, as sent",
    )
    .ours(),
    field(
        FieldId::Duration,
        "http.duration",
        Duration,
        End,
        "first byte of the request to last of the response",
    )
    .ours(),
    field(
        FieldId::Ttfb,
        "http.ttfb",
        Duration,
        Response,
        "first byte of the request to first of the response",
    )
    .ours(),
    field(
        FieldId::Version,
        "http.version",
        Text,
        Request,
        "`1.0`, `1.1`, `2`",
    )
    .ours()
    .values(&["1.0", "1.1", "2"]),
    field(
        FieldId::GrpcService,
        "grpc.service",
        Text,
        Request,
        "`package.Service`",
    )
    .ours(),
    field(
        FieldId::GrpcMethod,
        "grpc.method",
        Text,
        Request,
        "name of the method",
    )
    .ours(),
    field(
        FieldId::GrpcStatus,
        "grpc.status",
        Number,
        End,
        "code of `grpc-status`",
    )
    .ours(),
    field(
        FieldId::Protocol,
        "protocol",
        Text,
        Request,
        "`http`, with `http1` or `http2`, and `grpc`",
    )
    .kind(Repeated)
    .values(&["http", "http1", "http2", "grpc"]),
    field(
        FieldId::Direction,
        "direction",
        Text,
        Connection,
        "`ingress`; or `egress`, with `egress-internal` or `egress-external`",
    )
    .kind(Repeated)
    .values(&["ingress", "egress", "egress-internal", "egress-external"]),
    field(FieldId::Transport, "type", Text, Connection, "`tcp`").values(&["tcp"]),
    field(
        FieldId::TlsEnabled,
        "tls.enabled",
        Bool,
        Request,
        "the bytes came out of TLS",
    ),
    field(
        FieldId::TlsVersion,
        "tls.version",
        Number,
        Request,
        "1.2, 1.3",
    ),
    field(
        FieldId::TlsSni,
        "tls.sni",
        Text,
        Request,
        "name that the client asked for, lower-case",
    )
    .folds(),
    field(
        FieldId::TlsAlpn,
        "tls.alpn",
        Text,
        Request,
        "protocols that the client offered",
    )
    .kind(List),
    field(
        FieldId::SourceIp,
        "src.ip",
        Ip,
        Connection,
        "address of the local side",
    ),
    field(
        FieldId::SourcePort,
        "src.port",
        Number,
        Connection,
        "port of the local side",
    )
    .range(0, 65535),
    field(
        FieldId::ProcessPath,
        "src.process.path",
        Text,
        Process,
        "path of the executable",
    ),
    field(
        FieldId::ProcessBinary,
        "src.process.binary",
        Text,
        Process,
        "base name of the executable",
    ),
    field(
        FieldId::ProcessPid,
        "src.process.pid",
        Number,
        Process,
        "process id",
    )
    .ours(),
    field(
        FieldId::ProcessHostname,
        "src.process.hostname",
        Text,
        Never,
        "host name that the process sees",
    ),
    field(
        FieldId::UserId,
        "src.process.user.id",
        Number,
        Process,
        "user id",
    ),
    field(
        FieldId::UserName,
        "src.process.user.name",
        Text,
        Process,
        "name of the user on the host",
    ),
    field(
        FieldId::ProcessEnv,
        "src.process.env.",
        Text,
        Process,
        "variable of the process's environment",
    ),
    field(
        FieldId::ContainerId,
        "src.container.id",
        Text,
        Process,
        "its 12 first digits, and all 64",
    )
    .kind(Repeated),
    field(
        FieldId::ContainerName,
        "src.container.name",
        Text,
        Process,
        "name",
    ),
    field(
        FieldId::ContainerImage,
        "src.container.image",
        Text,
        Process,
        "image",
    ),
    field(
        FieldId::ContainerLabel,
        "src.container.labels.",
        Text,
        Process,
        "label",
    ),
    field(FieldId::PodName, "src.pod.name", Text, Process, "name"),
    field(
        FieldId::PodNamespace,
        "src.pod.namespace",
        Text,
        Process,
        "namespace",
    ),
    field(FieldId::PodLabel, "src.pod.labels.", Text, Process, "label"),
    field(
        FieldId::PodAnnotation,
        "src.pod.annotations.",
        Text,
        Process,
        "annotation",
    ),
    field(
        FieldId::DestinationIp,
        "dst.ip",
        Ip,
        Connection,
        "address of the remote side",
    ),
    field(
        FieldId::DestinationPort,
        "dst.port",
        Number,
        Connection,
        "port of the remote side",
    )
    .range(0, 65535),
    field(
        FieldId::DestinationDomain,
        "dst.domain",
        Text,
        Request,
        "name that TLS asked for, else the host; lower-case",
    )
    .folds(),
    field(FieldId::Tags, "tags", Text, Process, "`key:value`").kind(List),
    field(
        FieldId::TraceId,
        "trace.id",
        Text,
        Request,
        "of the captured trace context, 32 hex digits",
    )
    .ours(),
    field(
        FieldId::TraceSampled,
        "trace.sampled",
        Bool,
        Request,
        "flag of the captured trace context",
    )
    .ours(),
];

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
            Text => "a text",
            Number => "a number",
            Size => "a size",
            Duration => "a time",
            Bool => "true or false",
            Ip => "an address",
        }
    }
}

impl Known {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Process => "with the process",
            Connection => "with the connection",
            Request => "with the request's header",
            Response => "with the response's header",
            End => "at the end",
            Never => "not in this version",
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
