//! The table of fields: what an expression can ask of a transaction.

use super::fields::{FieldDef, FieldId, Kind, Known, Type};
use Kind::{List, Repeated};
use Known::{Connection, End, Never, Process, Request, Response};
use Type::{Bool, Duration, Ip, Number, Size, Text};

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
}

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
