//! Keys of stacks and their plugins.

use super::GIB;
use crate::config::model::{RedactMode, RedactPlace};
use crate::config::table::{Choices, Kind, Section, State, Tagged, key, variant};
use crate::config::text::{absolute, glob, is_rate, is_share, not_empty};
use crate::rules::Level;
use Kind::{Any, Bool, Checked, Choice, Credential, List, Size, Tagged as Typed, Text};

pub(super) static STACK: Section = Section {
    name: "stack",
    keys: &[key("plugins", List(&Typed(&PLUGIN)))],
};

static PLUGIN: Tagged = Tagged {
    what: "plugin",
    variants: &[
        variant("http_capture", &HTTP_CAPTURE_PLUGIN),
        variant("access_logs", &ACCESS_LOGS_PLUGIN),
        variant("debug", &ACCESS_LOGS_PLUGIN)
            .former_name_of("access_logs")
            .state(State::Ignored(
                "`debug` is a former name: write `access_logs`",
            )),
        variant("report_usage", &BARE_PLUGIN),
        variant("http_metrics", &BARE_PLUGIN),
        variant("detect_errors", &OTHER_PLUGIN).state(State::Ignored(
            "say it with rules of http_capture: spans of failures have `error.type`, and a rule gives them a level",
        )),
        variant("qscan", &OTHER_PLUGIN).state(State::Ignored(
            "nothing is sent to Qscan: `redact` of http_capture keeps what is private from leaving",
        )),
        variant("dlp", &DLP_PLUGIN)
            .state(State::Ignored("nothing is reported: `redact` of http_capture masks it")),
        variant("llm", &OTHER_PLUGIN).state(State::Ignored(
            "conversations are not put together: level full keeps their requests and responses",
        )),
        variant("logger", &OTHER_PLUGIN)
            .state(State::Ignored("the agent's own log has --log-level and --log-format")),
        variant("devtools", &OTHER_PLUGIN).state(State::Ignored(
            "there is no such view: access_logs, or an event store of type stdout, shows what goes by",
        )),
    ],
};

const NO_SETTINGS: &str = "this plugin has no settings here";

static BARE_PLUGIN: Section = Section {
    name: "plugin",
    keys: &[
        key("type", Text),
        key("config", Any).ignored(NO_SETTINGS).idle("{}"),
    ],
};
static OTHER_PLUGIN: Section = Section {
    name: "plugin",
    keys: &[key("type", Text), key("config", Any)],
};
static DLP_PLUGIN: Section = Section {
    name: "plugin dlp",
    keys: &[key("type", Text), key("config", Kind::Section(&DLP))],
};
static HTTP_CAPTURE_PLUGIN: Section = Section {
    name: "plugin http_capture",
    keys: &[
        key("type", Text),
        key("config", Kind::Section(&HTTP_CAPTURE)),
    ],
};
static ACCESS_LOGS_PLUGIN: Section = Section {
    name: "plugin access_logs",
    keys: &[
        key("type", Text),
        key("config", Kind::Section(&ACCESS_LOGS)),
    ],
};

static DLP: Section = Section {
    name: "dlp.config",
    keys: &[
        key("scan_headers", Bool),
        key("rules", List(&Kind::Section(&DLP_RULE))),
    ],
};

static DLP_RULE: Section = Section {
    name: "dlp.config.rules",
    keys: &[
        key("label", Text),
        key("expression", Text),
        key("scrub", Bool)
            .refused("would not scrub anything in this version: use `redact` of http_capture")
            .idle("false"),
        key("report", Bool),
        key("record", Bool),
        key("fail_on_detect", Bool),
    ],
};

static HTTP_CAPTURE: Section = Section {
    name: "http_capture.config",
    keys: &[
        key("level", Choice(&LEVELS)).default("none"),
        key("format", Choice(&FORMATS)).default("json"),
        key("rules", List(&Kind::Section(&RULE))),
        key("object_store", Kind::Section(&STORE_CHOICE)),
        key("headers", Kind::Section(&HEADERS)),
        key("redact", Kind::Section(&REDACT)),
        key("sample", Kind::Section(&SAMPLE)),
        key("bodies", Kind::Section(&BODIES)),
    ],
};

pub(in crate::config) static LEVELS: Choices<Level> = Choices::new(&[
    ("none", Level::None),
    ("summary", Level::Summary),
    ("headers", Level::Headers),
    ("details", Level::Headers),
    ("full", Level::Full),
]);

static FORMATS: Choices<()> = Choices::new(&[("json", ()), ("text", ())]);

static RULE: Section = Section {
    name: "http_capture.config.rules",
    keys: &[
        key("name", Text),
        key("expr", Checked(not_empty)).required(),
        key("level", Choice(&LEVELS)).required(),
        key("format", Choice(&FORMATS)),
        // Ours: what is left of `sample` and `bodies` for what the rule decides.
        key("ratio", Checked(is_share)),
        key("max_bytes", Size(0, GIB)),
    ],
};

static SAMPLE: Section = Section {
    name: "http_capture.config.sample",
    keys: &[
        key("ratio", Checked(is_share)).default("1"),
        key("per_endpoint", Checked(is_rate)).default("0"),
        key("per_process", Checked(is_rate)).default("0"),
        key("keep", List(&Checked(not_empty))).default("[]"),
    ],
};

static STORE_CHOICE: Section = Section {
    name: "http_capture.config.object_store",
    keys: &[
        key("id", Text),
        key("disabled", Bool).default("false"),
        key("from_level", Choice(&LEVELS)).default("summary"),
    ],
};

static HEADERS: Section = Section {
    name: "http_capture.config.headers",
    keys: &[
        key("include", List(&Checked(glob))).default("['*']"),
        key("exclude", List(&Checked(glob))).default("[]"),
    ],
};

static REDACT: Section = Section {
    name: "http_capture.config.redact",
    keys: &[
        key("hash_key", Credential),
        key("hash_key_file", Checked(absolute)),
        key("rules", List(&Kind::Section(&REDACT_RULE))).default("[]"),
    ],
};

static REDACT_RULE: Section = Section {
    name: "http_capture.config.redact.rules",
    keys: &[
        key("name", Checked(not_empty)),
        key("in", Choice(&PLACES)).required(),
        key("match", Choice(&MATCHES)).default("exact"),
        key("key", Checked(not_empty)).required(),
        key("mode", Choice(&MODES)).default("mask"),
    ],
};

pub(in crate::config) static PLACES: Choices<RedactPlace> = Choices {
    words: &[
        ("header", RedactPlace::Header),
        ("query", RedactPlace::Query),
        ("cookie", RedactPlace::Cookie),
        ("json", RedactPlace::Json),
        ("body", RedactPlace::Body),
    ],
    later: &[],
};

#[derive(Clone, Copy)]
pub(in crate::config) enum MatchWord {
    Exact,
    Glob,
    Regex,
    Detector,
}

pub(in crate::config) static MATCHES: Choices<MatchWord> = Choices::new(&[
    ("exact", MatchWord::Exact),
    ("glob", MatchWord::Glob),
    ("regex", MatchWord::Regex),
    ("detector", MatchWord::Detector),
]);

pub(in crate::config) static MODES: Choices<RedactMode> = Choices {
    words: &[
        ("mask", RedactMode::Mask),
        ("hash", RedactMode::Hash),
        ("drop", RedactMode::Drop),
        ("keep", RedactMode::Keep),
    ],
    later: &[],
};

static BODIES: Section = Section {
    name: "http_capture.config.bodies",
    keys: &[
        key("max_bytes", Size(0, GIB)).default("1MiB"),
        key("content_types", List(&Checked(glob))).default("[]"),
        key("as_sent", Bool).default("false"),
    ],
};

static ACCESS_LOGS: Section = Section {
    name: "access_logs.config",
    keys: &[
        key("mode", Choice(&LEVELS)).default("summary"),
        key("format", Choice(&LINE_FORMATS)).default("console"),
        key("rules", List(&Kind::Section(&ACCESS_RULE))),
    ],
};

/// True: JSON.
pub(in crate::config) static LINE_FORMATS: Choices<bool> =
    Choices::new(&[("console", false), ("json", true)]);

static ACCESS_RULE: Section = Section {
    name: "access_logs.config.rules",
    keys: &[
        key("name", Text),
        key("expr", Checked(not_empty)).required(),
        key("mode", Choice(&LEVELS)).required(),
    ],
};
