//! Names of attributes: semantic conventions v1.44, and ours under `plainspan.`.

/// Schema of the names below.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
/// Instrumentation scope of everything that is captured.
pub const SCOPE: &str = "plainspan";
/// Event name of log records.
pub const EVENT: &str = "plainspan.http.transaction";
/// Event name of the reports of a transaction that goes on.
pub const PROGRESS_EVENT: &str = "plainspan.http.progress";

/// Event name where payloads are stored whose spans said `pending`.
pub const PAYLOAD_STORED_EVENT: &str = "plainspan.payload.stored";
/// Event name where a payload is lost whose span said `pending`.
pub const PAYLOAD_LOST_EVENT: &str = "plainspan.payload.lost";

pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub const HTTP_REQUEST_METHOD_ORIGINAL: &str = "http.request.method_original";
pub const HTTP_REQUEST_SIZE: &str = "http.request.size";
pub const HTTP_REQUEST_BODY_SIZE: &str = "http.request.body.size";
/// On main of the conventions, not in v1.44; in lines on stdout alone.
pub const HTTP_REQUEST_BODY_CONTENT: &str = "http.request.body.content";
/// In front of a lower-case header name.
pub const HTTP_REQUEST_HEADER: &str = "http.request.header.";
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub const HTTP_RESPONSE_SIZE: &str = "http.response.size";
pub const HTTP_RESPONSE_BODY_SIZE: &str = "http.response.body.size";
/// On main of the conventions, not in v1.44; in lines on stdout alone.
pub const HTTP_RESPONSE_BODY_CONTENT: &str = "http.response.body.content";
/// In front of a lower-case header name.
pub const HTTP_RESPONSE_HEADER: &str = "http.response.header.";
/// The route's pattern, of servers.
pub const HTTP_ROUTE: &str = "http.route";
/// The route's pattern, of clients; in development.
pub const URL_TEMPLATE: &str = "url.template";
pub const URL_FULL: &str = "url.full";
pub const URL_SCHEME: &str = "url.scheme";
pub const URL_PATH: &str = "url.path";
pub const URL_QUERY: &str = "url.query";
pub const SERVER_ADDRESS: &str = "server.address";
pub const SERVER_PORT: &str = "server.port";
pub const CLIENT_ADDRESS: &str = "client.address";
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
pub const NETWORK_LOCAL_ADDRESS: &str = "network.local.address";
pub const NETWORK_LOCAL_PORT: &str = "network.local.port";
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
pub const ERROR_TYPE: &str = "error.type";
pub const USER_AGENT_ORIGINAL: &str = "user_agent.original";
pub const TLS_PROTOCOL_NAME: &str = "tls.protocol.name";
pub const TLS_PROTOCOL_VERSION: &str = "tls.protocol.version";
/// What Tempo's service graph draws an edge for.
pub const PEER_SERVICE: &str = "peer.service";
/// The conventions' successor of [`PEER_SERVICE`].
pub const SERVICE_PEER_NAME: &str = "service.peer.name";

pub const TRANSACTION_ID: &str = "plainspan.transaction.id";
pub const CAPTURE_LEVEL: &str = "plainspan.capture.level";
/// Name of the rule that decided the level; absent where the default did.
pub const CAPTURE_RULE: &str = "plainspan.capture.rule";
/// The level that its rules give, where it was lowered to save cost.
pub const WANTED_LEVEL: &str = "plainspan.capture.wanted_level";
/// Transactions that this one stands for where sampling leaves some out; absent: itself alone.
pub const STANDS_FOR: &str = "plainspan.sampling.adjusted_count";
/// How the parent is known where no header names it, on a span; on a link, how that is known.
pub const TRACE_PARENT: &str = "plainspan.trace.parent";
/// Both ends of the connection compute it.
pub const COMPUTED: &str = "computed";
/// The request that the process was handling.
pub const INFERRED: &str = "inferred";
/// Why no span leaves for a log record: `sdk_traced`, `unsampled`.
pub const NO_SPAN: &str = "plainspan.no_span";
/// False where bytes are missing or something is in doubt.
pub const COMPLETE: &str = "plainspan.capture.complete";
/// True where `http.route` or `url.template` is a guess (`tap.route_heuristic`); absent elsewhere.
pub const ROUTE_GUESSED: &str = "plainspan.route.guessed";
/// What is missing or in doubt: names of marks.
pub const MARKS: &str = "plainspan.capture.marks";
/// Before a tag's key: `tags` of the configuration, and the process's own.
pub const TAG: &str = "plainspan.tag.";
/// Seconds from the first byte of the request to the first byte of the response.
pub const TTFB: &str = "plainspan.ttfb";
/// Which report of its transaction a report is, from 1.
pub const PROGRESS_REPORT: &str = "plainspan.progress.report";
/// Seconds from the first byte of the request to the report.
pub const PROGRESS_DURATION: &str = "plainspan.progress.duration";
/// How many reports there were of a transaction that has ended; absent where there was none.
pub const PROGRESS_REPORTS: &str = "plainspan.progress.reports";
/// Followed by `from_client.` or `from_server.` and what is counted, or by `close_code`.
pub const WEBSOCKET: &str = "plainspan.websocket.";
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// What the client asked for, where the server does not know it and `rpc.method` is `_OTHER`.
pub const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
/// `package.Service/Method`, or `_OTHER`.
pub const RPC_METHOD: &str = "rpc.method";
/// The code's name: `UNAVAILABLE`.
pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
/// Followed by `from_client.` or `from_server.` and what is counted, or by what the call is.
pub const GRPC: &str = "plainspan.grpc.";

pub const PAYLOAD_URL: &str = "plainspan.payload.url";
pub const PAYLOAD_DIGEST: &str = "plainspan.payload.digest";
pub const PAYLOAD_SIZE: &str = "plainspan.payload.size";
pub const PAYLOAD_STATUS: &str = "plainspan.payload.status";
/// Why a payload is lost, as in the ledger.
pub const PAYLOAD_REASON: &str = "plainspan.payload.reason";
/// Of how many transactions an object has the payloads.
pub const PAYLOAD_TRANSACTIONS: &str = "plainspan.payload.transactions";
/// In front of a lower-case trailer name.
pub const REQUEST_TRAILER: &str = "plainspan.request.trailer.";
/// In front of a lower-case trailer name.
pub const RESPONSE_TRAILER: &str = "plainspan.response.trailer.";
/// Names of the attributes whose values were cut to [`MAX_VALUE`] bytes, whose last elements were left out, or that were
/// left out for the length of their own name, which is cut here.
pub const TRUNCATED: &str = "plainspan.attribute.truncated";

/// Bytes of an attribute's value at the most: what Tempo keeps of one.
pub const MAX_VALUE: usize = 2048;
/// Bytes of all elements of an array at the most, each of them [`MAX_VALUE`] at the most.
pub const MAX_ARRAY: usize = 4 * MAX_VALUE;
/// Bytes of a name that stands on the wire, as part of an attribute's name. Fields of longer names are left out.
pub const MAX_NAME: usize = 256;
