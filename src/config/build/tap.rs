//! What is looked at: direction, filters, the stack of HTTP.

use super::Builder;
use crate::config::groups;
use crate::config::model::{
    Direction, ExeMatch, ExeStrategy, HttpCapture, Include, Stack, Tap, TraceContextPolicy,
};
use crate::config::problem::quote;
use crate::config::schema::{CONTEXTS, DIRECTIONS, STRATEGIES};
use crate::config::settings::Fields;
use crate::config::text;
use crate::config::tree::Mark;
use crate::rules::Level;
use std::collections::BTreeMap;
use std::time::Duration;

/// Default of `tap.progress`.
const PROGRESS: Duration = Duration::from_secs(60);

type Stacks = BTreeMap<String, Stack>;

impl Builder<'_> {
    pub(super) fn tap(&mut self, tap: &Fields, root: &Fields, stacks: &Stacks) -> Tap {
        let http_stack = self.http_stack(tap, root, stacks);
        self.endpoints(tap, http_stack.as_deref(), stacks);
        // A misspelt name has had its error; the stack that was meant is not unused.
        if http_stack
            .as_ref()
            .is_none_or(|name| stacks.contains_key(name))
        {
            self.unused_stacks(tap, root, http_stack.as_deref());
        }
        self.captures_nothing(tap, root, http_stack.as_deref(), stacks);
        let none = Fields::default();
        let filters = tap.section("filters").unwrap_or(&none);
        Tap {
            direction: tap
                .choice("direction", &DIRECTIONS)
                .unwrap_or(Direction::All),
            ignore_loopback: tap.bool("ignore_loopback").unwrap_or(false),
            http_stack,
            exclude: self.exclude(filters),
            include: filters
                .sections("include")
                .filter_map(|f| self.include(f))
                .collect(),
            trace_context: tap
                .section("trace")
                .and_then(|t| t.choice("context", &CONTEXTS))
                .unwrap_or(TraceContextPolicy::Auto),
            progress: tap.duration("progress").unwrap_or(PROGRESS),
        }
    }

    fn http_stack(&mut self, tap: &Fields, root: &Fields, stacks: &Stacks) -> Option<String> {
        let none = Fields::default();
        let http = tap.section("http").unwrap_or(&none);
        let Some(name) = stack_name(http) else {
            let mark = [http.mark, tap.mark]
                .into_iter()
                .find(|m| m.line > 0)
                .unwrap_or(root.mark);
            self.problems
                .warn(mark, "tap.http.stack names no stack: no HTTP is captured");
            return None;
        };
        self.known_stack(http.mark("stack"), name, stacks);
        Some(name.to_owned())
    }

    fn known_stack(&mut self, mark: Mark, name: &str, stacks: &Stacks) -> bool {
        let known = stacks.contains_key(name);
        if !known {
            let names: Vec<&str> = stacks.keys().map(String::as_str).collect();
            self.no_such(mark, "stack", name, &names);
        }
        known
    }

    /// Stacks for single domains are not told apart yet. Where one keeps less than the general one, it protects
    /// something: to go on without it would leak.
    fn endpoints(&mut self, tap: &Fields, http_stack: Option<&str>, stacks: &Stacks) {
        let capture = |name: Option<&str>| {
            let stack = name.and_then(|n| stacks.get(n));
            stack.and_then(|s| s.http_capture.as_ref())
        };
        let highest = |name| capture(name).map_or(Level::None, HttpCapture::highest);
        let lowest = |name| {
            capture(name).map_or(Level::None, |c| {
                c.rules
                    .iter()
                    .map(|rule| rule.level)
                    .fold(c.level, Level::min)
            })
        };
        for endpoint in tap.sections("endpoints") {
            let Some(http) = endpoint.section("http").filter(|h| h.mark.line > 0) else {
                continue;
            };
            let name = stack_name(http);
            if name.is_some_and(|n| !self.known_stack(http.mark("stack"), n, stacks)) {
                continue;
            }
            let domain = quote(endpoint.text("domain").unwrap_or_default());
            let (here, general) = (lowest(name), highest(http_stack));
            if name != http_stack && here < general {
                let message = format!(
                    "endpoints are not told apart by this version: {domain} would be kept at level {}, not {}",
                    general.name(),
                    here.name()
                );
                self.problems
                    .error(endpoint.mark, message)
                    .hint("lower the level of tap.http.stack, or remove the entry");
            } else {
                let message = format!(
                    "endpoints are not told apart by this version: {domain} goes through tap.http.stack"
                );
                self.problems.warn(endpoint.mark, message);
            }
        }
    }

    fn unused_stacks(&mut self, tap: &Fields, root: &Fields, http_stack: Option<&str>) {
        let named: Vec<&str> = tap
            .sections("endpoints")
            .filter_map(|e| e.section("http"))
            .filter_map(stack_name)
            .chain(http_stack)
            .collect();
        for (name, setting) in root
            .map("stacks")
            .iter()
            .filter(|(name, _)| !named.contains(&name.as_str()))
        {
            let mark = setting.value.section().map_or(setting.mark, |f| f.mark);
            self.problems
                .warn(mark, format!("stack {} is not used", quote(name)))
                .hint("name it in tap.http.stack");
        }
    }

    /// An absent level is none, as in QTap: easily overlooked. Said only where nothing else explains it.
    fn captures_nothing(
        &mut self,
        tap: &Fields,
        root: &Fields,
        http_stack: Option<&str>,
        stacks: &Stacks,
    ) {
        let Some((name, stack)) = http_stack.and_then(|n| Some((n, stacks.get(n)?))) else {
            return;
        };
        if self.problems.has_errors() {
            return;
        }
        let level = stack
            .http_capture
            .as_ref()
            .map_or(Level::None, HttpCapture::highest);
        let other = stack.access_logs.is_some() || stack.report_usage || stack.http_metrics;
        if level > Level::None || other {
            return;
        }
        let fields = root
            .map("stacks")
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, s)| s.value.section());
        let mark = fields.map_or(tap.mark, |f| f.mark);
        self.problems
            .warn(mark, format!("stack {} captures nothing", quote(name)));
        self.problems
            .hint("give http_capture a `level`: summary, headers or full");
    }

    fn exclude(&mut self, filters: &Fields) -> Vec<ExeMatch> {
        let groups = filters
            .list("groups")
            .iter()
            .filter_map(|s| s.value.text())
            .flat_map(groups::members);
        let mut all: Vec<ExeMatch> = groups.collect();
        for custom in filters.sections("custom") {
            if self.excludes(custom) {
                all.extend(self.exe(custom));
            }
        }
        all
    }

    /// QTap's `only` leaves out some facets of a process. To leave out all of it never keeps too much; `dns` alone
    /// leaves out nothing that is looked at here.
    fn excludes(&mut self, custom: &Fields) -> bool {
        let only: Vec<&str> = custom
            .list("only")
            .iter()
            .filter_map(|s| s.value.text())
            .collect();
        if only.is_empty() {
            return true;
        }
        let dns_alone = only.iter().all(|facet| *facet == "dns");
        let effect = if dns_alone {
            "the entry has no effect: DNS is not looked at"
        } else {
            "the whole process is left out"
        };
        self.problems.warn(
            custom.mark("only"),
            format!("`only` is not acted on: {effect}"),
        );
        !dns_alone
    }

    fn include(&mut self, fields: &Fields) -> Option<Include> {
        let number = |key| fields.number(key).and_then(|n| u32::try_from(n).ok());
        let include = Include {
            exe: self.exe(fields),
            pid: number("pid"),
            uid: number("uid"),
            port: fields.number("port").and_then(|n| u16::try_from(n).ok()),
            netns: number("netns"),
        };
        if fields.written.iter().all(|key| *key == "strategy") {
            self.problems.error(
                fields.mark,
                "an entry of tap.filters.include matches nothing",
            );
            self.problems
                .hint("give it at least one of exe, pid, uid, port, netns");
        }
        (include != Include::default()).then_some(include)
    }

    fn exe(&mut self, fields: &Fields) -> Option<ExeMatch> {
        let exe = fields.text("exe")?.to_owned();
        let strategy = fields.choice("strategy", &STRATEGIES)?;
        let mark = fields.mark("exe");
        match strategy {
            ExeStrategy::Regex => self.checked(mark, "`exe`", text::regex(&exe)),
            ExeStrategy::Exact | ExeStrategy::Prefix if !exe.starts_with('/') => {
                self.problems.error(
                    mark,
                    format!(
                        "`exe` is compared with a whole path, and {} is none",
                        quote(&exe)
                    ),
                );
                self.problems
                    .hint("begin with `/`, or use strategy suffix or contains");
            }
            _ => {}
        }
        Some(ExeMatch { exe, strategy })
    }
}

/// The stack that is named; `none` and nothing mean no stack.
fn stack_name(http: &Fields) -> Option<&str> {
    http.text("stack")
        .filter(|name| !name.is_empty() && *name != "none")
}
