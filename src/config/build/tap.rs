//! What is looked at: direction, filters, the stack of HTTP.

use super::Builder;
use crate::config::groups;
use crate::config::model::{
    Direction, EndpointStack, ExeMatch, ExeStrategy, HttpCapture, IdentitySources, Include, Join,
    Kubernetes, KubernetesServer, Stack, Tap, TraceContextPolicy,
};
use crate::config::private::PrivateRanges;
use crate::config::problem::quote;
use crate::config::schema::{CONTEXTS, DIRECTIONS, STRATEGIES};
use crate::config::settings::Fields;
use crate::config::text;
use crate::config::tree::Mark;
use crate::probe::java;
use crate::rules::Level;
use crate::rules::expr::Net;
use crate::trace::CapSettings;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Default of `tap.progress`.
const PROGRESS: Duration = Duration::from_secs(60);

/// Where programs in a cluster find the API, and what says who they are.
const API: &str = "https://kubernetes.default.svc";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Variable with the name of the node, where the file does not say it.
const NODE_NAME: &str = "NODE_NAME";

type Stacks = BTreeMap<String, Stack>;

impl Builder<'_> {
    pub(super) fn tap(&mut self, tap: &Fields, root: &Fields, stacks: &Stacks) -> Tap {
        let http_stack = self.http_stack(tap, root, stacks);
        let endpoints = self.endpoints(tap, stacks);
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
        let (exclude, exclude_tls) = self.exclude(filters);
        let identity = self.identity(tap.section("identity").unwrap_or(&none));
        Tap {
            direction: tap
                .choice("direction", &DIRECTIONS)
                .unwrap_or(Direction::All),
            ignore_loopback: tap.bool("ignore_loopback").unwrap_or(false),
            http_stack,
            exclude,
            exclude_tls,
            endpoints,
            private_ranges: PrivateRanges::new(tap.texts("private_ranges").filter_map(Net::parse)),
            identity,
            include: filters
                .sections("include")
                .filter_map(|f| self.include(f))
                .collect(),
            trace_context: tap
                .section("trace")
                .and_then(|t| t.choice("context", &CONTEXTS))
                .unwrap_or(TraceContextPolicy::Auto),
            join: self.join(tap.section("trace").unwrap_or(&none)),
            progress: tap.duration("progress").unwrap_or(PROGRESS),
            routes: self.routes(tap),
            route_heuristic: tap.bool("route_heuristic").unwrap_or(false),
            scan_cache: tap
                .text("scan_cache")
                .filter(|path| *path != "off")
                .map(PathBuf::from),
            java: self.java(tap),
        }
    }

    fn java(&mut self, tap: &Fields) -> bool {
        let wanted = tap.bool("java").unwrap_or(false);
        if wanted && java::LIBRARY.is_none() {
            let message = "this program was built without what Java needs, the feature `java`";
            self.problems.error(tap.mark("java"), message);
            self.problems
                .hint("leave it out, or build with that feature");
        }
        wanted
    }

    fn http_stack(&mut self, tap: &Fields, root: &Fields, stacks: &Stacks) -> Option<String> {
        let none = Fields::default();
        let http = tap.section("http").unwrap_or(&none);
        let Some(name) = stack_name(http) else {
            let mark = [http.mark, tap.mark]
                .into_iter()
                .find(|m| m.line > 0)
                .unwrap_or(root.mark);
            // Hosts may have stacks of their own.
            if tap.sections("endpoints").next().is_none() {
                self.problems
                    .warn(mark, "tap.http.stack names no stack: no HTTP is captured");
            }
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

    /// Stacks of single domains. An entry that is there twice would hide a stack that may protect something.
    fn endpoints(&mut self, tap: &Fields, stacks: &Stacks) -> Vec<EndpointStack> {
        let mut all: Vec<EndpointStack> = Vec::new();
        for endpoint in tap.sections("endpoints") {
            let Some(http) = endpoint.section("http").filter(|h| h.mark.line > 0) else {
                continue;
            };
            let name = stack_name(http);
            if name.is_some_and(|n| !self.known_stack(http.mark("stack"), n, stacks)) {
                continue;
            }
            let Some(domain) = endpoint.text("domain").map(str::to_ascii_lowercase) else {
                continue;
            };
            if all.iter().any(|known| known.domain == domain) {
                let message = format!("{} has an entry already", quote(&domain));
                self.problems.error(endpoint.mark("domain"), message);
                self.problems.hint("leave one of them out");
                continue;
            }
            all.push(EndpointStack {
                domain,
                stack: name.map(str::to_owned),
            });
        }
        all
    }

    fn identity(&mut self, identity: &Fields) -> IdentitySources {
        let paths = |key: &str| identity.texts(key).map(PathBuf::from).collect();
        IdentitySources {
            docker: paths("docker"),
            containerd: paths("containerd"),
            cri: paths("cri"),
            kubelet: identity
                .section("kubelet")
                .filter(|kubelet| kubelet.mark.line > 0)
                .and_then(|kubelet| self.kubelet(kubelet)),
            kubernetes: identity
                .section("kubernetes")
                .filter(|kubernetes| kubernetes.mark.line > 0)
                .and_then(|kubernetes| self.kubernetes(kubernetes)),
        }
    }

    fn join(&mut self, trace: &Fields) -> Join {
        let usual = CapSettings::default();
        Join {
            networks: trace
                .texts("joined_networks")
                .filter_map(Net::parse)
                .collect(),
            site_key: self.key(trace, "site_key", "site_key_file"),
            state_file: trace
                .text("state_file")
                .filter(|path| *path != "off")
                .map(PathBuf::from),
            untrusted: trace.texts("untrusted").filter_map(Net::parse).collect(),
            caps: CapSettings {
                requests: trace
                    .number("adopt_max")
                    .and_then(|n| u32::try_from(n).ok())
                    .unwrap_or(usual.requests),
                age: trace.duration("adopt_age").unwrap_or(usual.age),
            },
            inferred: trace.bool("inferred").unwrap_or(true),
        }
    }

    fn kubelet(&mut self, fields: &Fields) -> Option<KubernetesServer> {
        let Some(url) = fields.text("url") else {
            self.problems
                .error(fields.mark, "tap.identity.kubelet is missing `url`")
                .hint("the kubelet's own server: https://127.0.0.1:10250");
            return None;
        };
        let server = server(fields, url);
        self.reachable(fields, &server);
        Some(server)
    }

    fn kubernetes(&mut self, fields: &Fields) -> Option<Kubernetes> {
        let mut server = server(fields, fields.text("url").unwrap_or(API));
        if server.url.starts_with("https:") {
            let of_account = |file: &str| Some(PathBuf::from(SERVICE_ACCOUNT).join(file));
            server.token_file = server.token_file.or_else(|| of_account("token"));
            if !server.insecure_skip_verify {
                server.ca_file = server.ca_file.or_else(|| of_account("ca.crt"));
            }
        }
        self.reachable(fields, &server);
        let node = fields.text("node").or(self.environment.get(NODE_NAME));
        let Some(node) = node.filter(|node| !node.is_empty()) else {
            self.problems
                .error(fields.mark, "tap.identity.kubernetes is missing `node`")
                .hint(
                    "give the node's name, or set NODE_NAME to spec.nodeName by the downward API",
                );
            return None;
        };
        Some(Kubernetes {
            server,
            node: node.to_owned(),
        })
    }

    fn reachable(&mut self, fields: &Fields, server: &KubernetesServer) {
        // What is no URL is refused below, with all else that is no address.
        let parsed = url::Url::parse(&server.url).ok();
        let parsed = parsed.filter(url::Url::has_host);
        match parsed.as_ref().map(url::Url::scheme) {
            Some("https") => {}
            // A token in the clear is a token given away.
            Some("http") if server.token_file.is_none() => {}
            Some("http") => self
                .problems
                .error(
                    fields.mark("token_file"),
                    "the token would be sent in the clear",
                )
                .hint("use an https URL, or a port without a token"),
            _ => {
                self.problems
                    .error(fields.mark("url"), "`url` must be a URL of http or https");
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
                .warn(mark, format!("stack {} is used by no traffic but that of pods which ask for it", quote(name)))
                .hint("name it in tap.http.stack or in tap.endpoints, or in the pod's label tap.qpoint.io/stack");
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

    /// Executables that are left out, and those of which only TLS is.
    fn exclude(&mut self, filters: &Fields) -> (Vec<ExeMatch>, Vec<ExeMatch>) {
        let groups = filters.texts("groups").flat_map(groups::members);
        let mut all: Vec<ExeMatch> = groups.collect();
        let mut tls = Vec::new();
        for custom in filters.sections("custom") {
            let exe = self.exe(custom);
            match self.facets(custom) {
                Facets::All => all.extend(exe),
                Facets::Tls => tls.extend(exe),
                Facets::None => {}
            }
        }
        (all, tls)
    }

    /// What QTap's `only` leaves out of a process. Without its data, or without HTTP, nothing is left to look at; DNS is
    /// never looked at.
    fn facets(&mut self, custom: &Fields) -> Facets {
        let only: Vec<&str> = custom.texts("only").collect();
        if only.is_empty() || only.iter().any(|facet| matches!(*facet, "data" | "http")) {
            return Facets::All;
        }
        if only.contains(&"tls") {
            return Facets::Tls;
        }
        self.problems.warn(
            custom.mark("only"),
            "the entry has no effect: DNS is not looked at",
        );
        Facets::None
    }

    fn include(&mut self, fields: &Fields) -> Option<Include> {
        let text = |key| fields.text(key).map(str::to_owned);
        let number = |key| fields.number(key).and_then(|n| u32::try_from(n).ok());
        let include = Include {
            exe: self.exe(fields),
            pid: number("pid"),
            uid: number("uid"),
            port: fields.number("port").and_then(|n| u16::try_from(n).ok()),
            netns: number("netns"),
            cgroup: text("cgroup"),
            container: text("container"),
            pod: text("pod"),
            k8s_namespace: text("k8s_namespace"),
        };
        if fields.written.iter().all(|key| *key == "strategy") {
            self.problems.error(
                fields.mark,
                "an entry of tap.filters.include matches nothing",
            );
            self.problems
                .hint("give it at least one of exe, pid, uid, cgroup, container, pod, k8s_namespace, netns, port");
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

fn server(fields: &Fields, url: &str) -> KubernetesServer {
    let path = |key| fields.text(key).map(PathBuf::from);
    KubernetesServer {
        url: url.trim_end_matches('/').to_owned(),
        token_file: path("token_file"),
        ca_file: path("ca_file"),
        insecure_skip_verify: fields.bool("insecure_skip_verify").unwrap_or(false),
    }
}

/// What of a process is left out.
enum Facets {
    All,
    Tls,
    None,
}

/// The stack that is named; `none` and nothing mean no stack.
fn stack_name(http: &Fields) -> Option<&str> {
    http.text("stack")
        .filter(|name| !name.is_empty() && *name != "none")
}
