//! Keys of what is looked at.

use super::DAY;
use crate::config::groups::GROUPS;
use crate::config::model::{Direction, ExeStrategy, TraceContextPolicy};
use crate::config::table::{Choices, Key, Kind, Section, key};
use crate::config::text::{absolute, absolute_or_off, domain, glob, network, not_empty};
use Kind::{Bool, Checked, Choice, Credential, Duration, List, Number, Text};

/// In milliseconds.
const SECOND: u64 = 1000;

const MAX_U32: u64 = u32::MAX as u64;

pub(super) static TAP: Section = Section {
    name: "tap",
    keys: &[
        key("direction", Choice(&DIRECTIONS)).default("all"),
        key("ignore_loopback", Bool).default("false"),
        key("audit_include_dns", Bool)
            .ignored("DNS is not looked at")
            .idle("false"),
        key("http", Kind::Section(&TAP_HTTP)),
        other_protocol("redis"),
        other_protocol("mysql"),
        other_protocol("postgres"),
        other_protocol("kafka"),
        other_protocol("grpc"),
        key("filters", Kind::Section(&FILTERS)),
        key("endpoints", List(&Kind::Section(&ENDPOINT))),
        key("trace", Kind::Section(&TRACE)),
        key("routes", List(&Text)).default("[]"),
        key("route_heuristic", Bool).default("false"),
        key("private_ranges", List(&Checked(network))).default("[]"),
        key("identity", Kind::Section(&IDENTITY)),
        key("progress", Duration(SECOND, DAY)).default("60s"),
        key("scan_cache", Checked(absolute_or_off)).default("/var/cache/plainspan/scans"),
        key("java", Bool).default("false"),
    ],
};

const fn other_protocol(name: &'static str) -> Key {
    key(name, Kind::Section(&OTHER_PROTOCOL)).ignored("only HTTP is looked at")
}

pub(in crate::config) static DIRECTIONS: Choices<Direction> = Choices::new(&[
    ("all", Direction::All),
    ("ingress", Direction::Ingress),
    ("egress", Direction::Egress),
    ("egress-internal", Direction::EgressInternal),
    ("egress-external", Direction::EgressExternal),
]);

static TAP_HTTP: Section = Section {
    name: "tap.http",
    keys: &[key("stack", Text)],
};
static OTHER_PROTOCOL: Section = Section {
    name: "tap",
    keys: &[key("stack", Text)],
};

static FILTERS: Section = Section {
    name: "tap.filters",
    keys: &[
        key("groups", List(&Choice(&GROUPS))).default("[]"),
        key("custom", List(&Kind::Section(&CUSTOM))).default("[]"),
        key("include", List(&Kind::Section(&INCLUDE))).default("[]"),
    ],
};

static CUSTOM: Section = Section {
    name: "tap.filters.custom",
    keys: &[
        key("exe", Checked(not_empty)).required(),
        key("strategy", Choice(&STRATEGIES)).default("exact"),
        key("only", List(&Choice(&FACETS))).default("[]"),
    ],
};

pub(in crate::config) static STRATEGIES: Choices<ExeStrategy> = Choices::new(&[
    ("exact", ExeStrategy::Exact),
    ("prefix", ExeStrategy::Prefix),
    ("suffix", ExeStrategy::Suffix),
    ("contains", ExeStrategy::Contains),
    ("regex", ExeStrategy::Regex),
]);

static FACETS: Choices<()> = Choices::new(&[("data", ()), ("dns", ()), ("tls", ()), ("http", ())]);

static INCLUDE: Section = Section {
    name: "tap.filters.include",
    keys: &[
        key("exe", Checked(not_empty)),
        key("strategy", Choice(&STRATEGIES)).default("exact"),
        key("pid", Number(1, MAX_U32)),
        key("uid", Number(0, MAX_U32)),
        key("port", Number(1, 65535)),
        key("netns", Number(1, MAX_U32)),
        key("cgroup", Checked(absolute)),
        key("container", Checked(glob)),
        key("pod", Checked(glob)),
        key("k8s_namespace", Checked(glob)),
    ],
};

static ENDPOINT: Section = Section {
    name: "tap.endpoints",
    keys: &[
        key("domain", Checked(domain)).required(),
        key("http", Kind::Section(&TAP_HTTP)),
        other_protocol("redis"),
        other_protocol("mysql"),
        other_protocol("postgres"),
        other_protocol("kafka"),
        other_protocol("grpc"),
    ],
};

static IDENTITY: Section = Section {
    name: "tap.identity",
    keys: &[
        key("docker", List(&Checked(absolute)))
            .default("[/run/docker.sock, /run/podman/podman.sock]"),
        key("containerd", List(&Checked(absolute))).default("[/run/containerd/containerd.sock]"),
        key("cri", List(&Checked(absolute)))
            .default("[/run/containerd/containerd.sock, /run/crio/crio.sock]"),
        key("kubelet", Kind::Section(&KUBELET)),
        key("kubernetes", Kind::Section(&KUBERNETES)),
    ],
};

static KUBELET: Section = Section {
    name: "tap.identity.kubelet",
    keys: &[
        key("url", Checked(not_empty)),
        key("token_file", Checked(absolute)),
        key("ca_file", Checked(absolute)),
        key("insecure_skip_verify", Bool).default("false"),
    ],
};

/// Its defaults are in `build::tap`: without the section the API is not asked.
static KUBERNETES: Section = Section {
    name: "tap.identity.kubernetes",
    keys: &[
        key("url", Checked(not_empty)),
        key("node", Checked(not_empty)),
        key("token_file", Checked(absolute)),
        key("ca_file", Checked(absolute)),
        key("insecure_skip_verify", Bool),
    ],
};

static TRACE: Section = Section {
    name: "tap.trace",
    keys: &[
        key("context", Choice(&CONTEXTS)).default("auto"),
        key("joined_networks", List(&Checked(network))).default("[]"),
        key("site_key", Credential),
        key("site_key_file", Checked(absolute)),
        key("state_file", Checked(absolute_or_off)).default("/run/plainspan/connections"),
        key("untrusted", List(&Checked(network))).default("[]"),
        key("adopt_max", Number(1, MAX_U32)).default("100"),
        key("adopt_age", Duration(SECOND, DAY)).default("10m"),
        key("inferred", Bool).default("true"),
    ],
};

pub(in crate::config) static CONTEXTS: Choices<TraceContextPolicy> = Choices::new(&[
    ("auto", TraceContextPolicy::Auto),
    ("adopt", TraceContextPolicy::Adopt),
    ("link", TraceContextPolicy::Link),
    ("off", TraceContextPolicy::Off),
]);
