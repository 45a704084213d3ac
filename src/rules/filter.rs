//! Which traffic is looked at: direction, loopback, processes, containers and pods.

use crate::config::{Direction, ExeMatch, ExeStrategy, Include, Tap};
use crate::enrich::{Lookup, Process, Strategy};
use crate::event::Role;
use crate::transaction::{ConnectionInfo, Transaction};

/// Compiled filters of `tap`.
pub struct Filter {
    direction: Direction,
    ignore_loopback: bool,
    exclude: Vec<Exe>,
    /// Of these, what goes over TLS.
    exclude_tls: Vec<Exe>,
    include: Vec<IncludeRule>,
}

/// A pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("`{pattern}` in tap.filters is not a regular expression: {source}")]
    Regex {
        pattern: String,
        source: Box<regex::Error>,
    },
    #[error("in tap.filters: {0}")]
    Glob(#[from] globset::Error),
}

struct IncludeRule {
    exe: Option<Exe>,
    container: Option<Name>,
    pod: Option<Name>,
    k8s_namespace: Option<Name>,
    rule: Include,
}

/// A pattern of a name.
struct Name {
    text: String,
    glob: globset::GlobMatcher,
}

/// What is known of a container or pod, where it is asked for.
enum Known {
    Yes,
    No,
    /// The container's runtime has not answered yet.
    NotYet,
}

enum Exe {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(regex::Regex),
}

impl Exe {
    fn new(pattern: &ExeMatch) -> Result<Exe, FilterError> {
        let text = pattern.exe.clone();
        Ok(match pattern.strategy {
            ExeStrategy::Exact => Exe::Exact(text),
            ExeStrategy::Prefix => Exe::Prefix(text),
            ExeStrategy::Suffix => Exe::Suffix(text),
            ExeStrategy::Contains => Exe::Contains(text),
            ExeStrategy::Regex => {
                Exe::Regex(
                    regex::Regex::new(&text).map_err(|source| FilterError::Regex {
                        pattern: text,
                        source: Box::new(source),
                    })?,
                )
            }
        })
    }

    fn matches(&self, exe: &str) -> bool {
        match self {
            Exe::Exact(text) => exe == text,
            Exe::Prefix(text) => exe.starts_with(text.as_str()),
            Exe::Suffix(text) => exe.ends_with(text.as_str()),
            Exe::Contains(text) => exe.contains(text.as_str()),
            Exe::Regex(regex) => regex.is_match(exe),
        }
    }
}

impl Filter {
    /// # Errors
    /// When a pattern of strategy `regex` is none.
    pub fn new(tap: &Tap) -> Result<Filter, FilterError> {
        Ok(Filter {
            direction: tap.direction,
            ignore_loopback: tap.ignore_loopback,
            exclude: exes(&tap.exclude)?,
            exclude_tls: exes(&tap.exclude_tls)?,
            include: tap
                .include
                .iter()
                .map(IncludeRule::new)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether this transaction of this process is wanted.
    pub fn admits(&self, transaction: &Transaction, process: &Process) -> bool {
        self.admits_end(transaction.role, &transaction.connection, process)
    }

    /// Whether what this process asks, or answers, on this connection is wanted.
    pub fn admits_end(&self, role: Role, connection: &ConnectionInfo, process: &Process) -> bool {
        if self.ignore_loopback && is_loopback(connection) {
            return false;
        }
        self.admits_direction(role, connection, process)
            && self.admits_process(process, Some(connection))
    }

    /// Whether anything of this process can be wanted. Where not, nothing of it needs to be copied from the kernel.
    pub fn may_admit(&self, process: &Process) -> bool {
        self.admits_process(process, None)
    }

    /// Whether anything of this connection of this process can be wanted; `role`: which side of it the process is.
    pub fn may_admit_connection(
        &self,
        role: Role,
        connection: &ConnectionInfo,
        process: &Process,
    ) -> bool {
        let of_connection = |include: &IncludeRule| include.matches_connection(connection, process);
        !(self.ignore_loopback && is_loopback(connection))
            && self.admits_direction(role, connection, process)
            && (self.include.is_empty() || self.include.iter().any(of_connection))
    }

    fn admits_process(&self, process: &Process, connection: Option<&ConnectionInfo>) -> bool {
        let exe = process.exe.as_deref().unwrap_or(&process.name);
        if process.identity.strategy == Strategy::Ignore
            || self.exclude.iter().any(|pattern| pattern.matches(exe))
        {
            return false;
        }
        let over_tls = connection.is_some_and(|c| c.tls.is_some() || c.tls_info.is_some());
        if over_tls && self.exclude_tls.iter().any(|pattern| pattern.matches(exe)) {
            return false;
        }
        let included = |include: &IncludeRule| {
            // Of a process that may yet turn out to be wanted nothing is decided for good.
            let workload = match include.matches_workload(process) {
                Known::Yes => true,
                Known::No => false,
                Known::NotYet => connection.is_none(),
            };
            workload
                && include.matches_process(process, exe)
                && connection
                    .is_none_or(|connection| include.matches_connection(connection, process))
        };
        self.include.is_empty() || self.include.iter().any(included)
    }

    fn admits_direction(&self, role: Role, connection: &ConnectionInfo, process: &Process) -> bool {
        let private = &process.identity.private;
        let internal = connection.remote.map(|remote| private.contain(remote.ip()));
        match (self.direction, role) {
            (Direction::All, _) => true,
            (Direction::Ingress, Role::Server) | (Direction::Egress, Role::Client) => true,
            // An unknown peer is neither internal nor external.
            (Direction::EgressInternal, Role::Client) => internal == Some(true),
            (Direction::EgressExternal, Role::Client) => internal == Some(false),
            _ => false,
        }
    }
}

fn exes(patterns: &[ExeMatch]) -> Result<Vec<Exe>, FilterError> {
    patterns.iter().map(Exe::new).collect()
}

impl Name {
    fn new(pattern: &Option<String>) -> Result<Option<Name>, FilterError> {
        let Some(text) = pattern else {
            return Ok(None);
        };
        Ok(Some(Name {
            glob: globset::Glob::new(text)?.compile_matcher(),
            text: text.clone(),
        }))
    }

    fn matches(&self, name: &str) -> bool {
        self.glob.is_match(name)
    }

    /// The first 12 digits of the id, as runtimes show it, or more of them.
    fn is_id(&self, id: &str) -> bool {
        self.text.len() >= 12 && id.starts_with(self.text.as_str())
    }
}

impl IncludeRule {
    fn new(rule: &Include) -> Result<IncludeRule, FilterError> {
        Ok(IncludeRule {
            exe: rule.exe.as_ref().map(Exe::new).transpose()?,
            container: Name::new(&rule.container)?,
            pod: Name::new(&rule.pod)?,
            k8s_namespace: Name::new(&rule.k8s_namespace)?,
            rule: rule.clone(),
        })
    }

    /// What has no name that is known does not match; whether it has one may not be known yet.
    fn matches_workload(&self, process: &Process) -> Known {
        let identity = &process.identity;
        let pod = identity.pod();
        let container = self.container.as_ref().is_none_or(|wanted| {
            let name = identity.container.as_ref().and_then(|c| c.name.as_deref());
            let id = process.container_id.as_deref();
            name.is_some_and(|name| wanted.matches(name)) || id.is_some_and(|id| wanted.is_id(id))
        });
        let of_pod = |wanted: &Option<Name>, name: Option<&str>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| name.is_some_and(|name| wanted.matches(name)))
        };
        let all = container
            && of_pod(&self.pod, pod.map(|pod| &*pod.name))
            && of_pod(&self.k8s_namespace, pod.map(|pod| &*pod.namespace));
        match (all, identity.lookup) {
            (true, _) => Known::Yes,
            // A runtime that comes up late is asked again.
            (false, Lookup::Pending | Lookup::Unavailable | Lookup::NotFound) => Known::NotYet,
            (false, Lookup::None | Lookup::Known) => Known::No,
        }
    }

    fn matches_process(&self, process: &Process, exe: &str) -> bool {
        let rule = &self.rule;
        self.exe.as_ref().is_none_or(|pattern| pattern.matches(exe))
            && rule.pid.is_none_or(|pid| pid == process.pid)
            && rule.uid.is_none_or(|uid| Some(uid) == process.uid)
            && rule
                .cgroup
                .as_ref()
                .is_none_or(|group| process.identity.cgroups.within(group))
    }

    fn matches_connection(&self, connection: &ConnectionInfo, process: &Process) -> bool {
        let has_port = |port| {
            [connection.local, connection.remote]
                .into_iter()
                .flatten()
                .any(|address| address.port() == port)
        };
        self.rule.port.is_none_or(has_port)
            && self
                .rule
                .netns
                .is_none_or(|ns| ns == connection.netns || Some(ns) == process.netns)
    }
}

fn is_loopback(connection: &ConnectionInfo) -> bool {
    [connection.local, connection.remote]
        .into_iter()
        .flatten()
        .any(|address| address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PrivateRanges;
    use crate::enrich::Identity;
    use crate::enrich::identity::{Cgroups, Container, Pod};
    use crate::rules::expr::Net;
    use crate::rules::sample;
    use std::net::SocketAddr;

    fn tap() -> Tap {
        Tap { ..Tap::default() }
    }

    fn process(exe: &str) -> Process {
        Process {
            exe: Some(exe.into()),
            name: exe.rsplit('/').next().unwrap_or(exe).into(),
            container_id: None,
            ..sample::process()
        }
    }

    fn transaction(role: Role, remote: &str) -> Transaction {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let transaction = sample::bare().transaction;
        Transaction {
            role,
            connection: ConnectionInfo {
                local: Some(address("10.0.0.9:5000")),
                remote: Some(address(remote)),
                netns: 7,
                ..transaction.connection
            },
            ..transaction
        }
    }

    fn admits(tap: &Tap, role: Role, remote: &str, exe: &str) -> bool {
        let filter = Filter::new(tap).expect("patterns compile");
        filter.admits(&transaction(role, remote), &process(exe))
    }

    #[test]
    fn direction_is_the_side_of_the_request_and_the_remote_address() {
        use Direction::*;
        let (inside, outside) = ("192.168.1.1:443", "93.184.216.34:443");
        for (direction, role, remote, wanted) in [
            (All, Role::Server, inside, true),
            (Ingress, Role::Server, outside, true),
            (Ingress, Role::Client, outside, false),
            (Egress, Role::Client, inside, true),
            (Egress, Role::Server, inside, false),
            (EgressInternal, Role::Client, inside, true),
            (EgressInternal, Role::Client, "[fd00::1]:443", true),
            (EgressInternal, Role::Client, outside, false),
            (EgressExternal, Role::Client, outside, true),
            (EgressExternal, Role::Client, inside, false),
            (EgressExternal, Role::Server, outside, false),
        ] {
            let tap = Tap { direction, ..tap() };
            assert_eq!(
                admits(&tap, role, remote, "/usr/bin/curl"),
                wanted,
                "{direction:?} {role:?} {remote}"
            );
        }
    }

    #[test]
    fn loopback_is_an_address_at_either_end() {
        let tap = Tap {
            ignore_loopback: true,
            ..tap()
        };
        assert!(!admits(&tap, Role::Client, "127.8.0.1:80", "/bin/x"));
        assert!(!admits(&tap, Role::Client, "[::1]:80", "/bin/x"));
        assert!(admits(&tap, Role::Client, "10.0.0.1:80", "/bin/x"));
    }

    #[test]
    fn each_strategy_excludes_by_the_executable_s_path() {
        let exe = "/usr/local/bin/python3.11";
        for (strategy, pattern, excluded) in [
            (ExeStrategy::Exact, "/usr/local/bin/python3.11", true),
            (ExeStrategy::Exact, "python3.11", false),
            (ExeStrategy::Prefix, "/usr/local/", true),
            (ExeStrategy::Prefix, "/opt/", false),
            (ExeStrategy::Suffix, "python3.11", true),
            (ExeStrategy::Suffix, "python", false),
            (ExeStrategy::Contains, "/bin/py", true),
            (ExeStrategy::Contains, "ruby", false),
            (ExeStrategy::Regex, r"python3\.\d+$", true),
            (ExeStrategy::Regex, r"^python", false),
        ] {
            let tap = Tap {
                exclude: vec![ExeMatch {
                    exe: pattern.into(),
                    strategy,
                }],
                ..tap()
            };
            assert_eq!(
                !admits(&tap, Role::Client, "10.0.0.1:80", exe),
                excluded,
                "{strategy:?} {pattern}"
            );
        }
    }

    #[test]
    fn include_wants_every_key_of_one_entry() {
        let include = |rule: Include| Tap {
            include: vec![rule],
            ..tap()
        };
        let port = |port| Include {
            port: Some(port),
            ..Include::default()
        };
        assert!(admits(
            &include(port(443)),
            Role::Client,
            "1.1.1.1:443",
            "/x"
        ));
        assert!(admits(
            &include(port(5000)),
            Role::Client,
            "1.1.1.1:443",
            "/x"
        ));
        assert!(!admits(
            &include(port(80)),
            Role::Client,
            "1.1.1.1:443",
            "/x"
        ));
        let both = Include {
            uid: Some(33),
            pid: Some(1),
            ..Include::default()
        };
        assert!(!admits(&include(both), Role::Client, "1.1.1.1:443", "/x"));
        let netns = Include {
            netns: Some(7),
            ..Include::default()
        };
        assert!(admits(&include(netns), Role::Client, "1.1.1.1:443", "/x"));
    }

    #[test]
    fn a_process_is_out_for_good_only_where_no_connection_of_it_could_be_wanted() {
        let of = |rule: Include| {
            let tap = Tap {
                include: vec![rule],
                ..tap()
            };
            let filter = Filter::new(&tap).expect("patterns compile");
            filter.may_admit(&process("/usr/sbin/nginx"))
        };
        assert!(of(Include {
            port: Some(443),
            netns: Some(99),
            ..Include::default()
        }));
        assert!(!of(Include {
            pid: Some(1),
            ..Include::default()
        }));
    }

    fn in_pod(container: &str, pod: &str, namespace: &str) -> Process {
        let container = Container {
            name: Some(container.into()),
            pod: Some(Pod {
                name: pod.into(),
                namespace: namespace.into(),
                ..Pod::default()
            }),
            ..Container::default()
        };
        Process {
            container_id: Some("0123456789abcdef".repeat(4)),
            identity: Identity {
                cgroups: Cgroups::parse("0::/kubepods/besteffort/x\n"),
                lookup: Lookup::Known,
                container: Some(std::sync::Arc::new(container)),
                ..Identity::default()
            },
            ..process("/usr/bin/curl")
        }
    }

    fn including(rule: Include) -> Filter {
        let tap = Tap {
            include: vec![rule],
            ..tap()
        };
        Filter::new(&tap).expect("patterns compile")
    }

    #[test]
    fn include_knows_containers_pods_namespaces_and_control_groups() {
        let text = |text: &str| Some(text.to_owned());
        let none = Include::default;
        let process = in_pod("web", "web-5d4-x", "prod");
        for (wanted, rule) in [
            (
                true,
                Include {
                    container: text("web"),
                    ..none()
                },
            ),
            (
                true,
                Include {
                    container: text("w*"),
                    ..none()
                },
            ),
            (
                true,
                Include {
                    container: text("0123456789ab"),
                    ..none()
                },
            ),
            (
                false,
                Include {
                    container: text("0123456789"),
                    ..none()
                },
            ),
            (
                false,
                Include {
                    container: text("we"),
                    ..none()
                },
            ),
            (
                true,
                Include {
                    pod: text("web-*"),
                    ..none()
                },
            ),
            (
                false,
                Include {
                    pod: text("api-*"),
                    ..none()
                },
            ),
            (
                true,
                Include {
                    k8s_namespace: text("prod"),
                    ..none()
                },
            ),
            (
                false,
                Include {
                    k8s_namespace: text("dev"),
                    ..none()
                },
            ),
            (
                true,
                Include {
                    cgroup: text("/kubepods"),
                    ..none()
                },
            ),
            (
                false,
                Include {
                    cgroup: text("/kube"),
                    ..none()
                },
            ),
            (
                false,
                Include {
                    pod: text("web-*"),
                    k8s_namespace: text("dev"),
                    ..none()
                },
            ),
        ] {
            let filter = including(rule.clone());
            let transaction = transaction(Role::Client, "1.1.1.1:443");
            assert_eq!(filter.admits(&transaction, &process), wanted, "{rule:?}");
            assert_eq!(filter.may_admit(&process), wanted, "{rule:?}");
        }
    }

    #[test]
    fn a_process_whose_names_are_not_known_yet_is_not_admitted_and_not_given_up() {
        let filter = including(Include {
            pod: Some("web-*".into()),
            ..Include::default()
        });
        let transaction = transaction(Role::Client, "1.1.1.1:443");
        for (lookup, may) in [
            (Lookup::Pending, true),
            (Lookup::Unavailable, true),
            (Lookup::NotFound, true),
            (Lookup::None, false),
        ] {
            let mut unknown = process("/usr/bin/curl");
            unknown.identity.lookup = lookup;
            assert!(!filter.admits(&transaction, &unknown), "{lookup:?}");
            assert_eq!(filter.may_admit(&unknown), may, "{lookup:?}");
        }
    }

    #[test]
    fn a_process_that_asks_to_be_ignored_is_left_out() {
        let filter = Filter::new(&tap()).expect("patterns compile");
        let transaction = transaction(Role::Client, "1.1.1.1:443");
        for (strategy, wanted) in [
            (Strategy::Observe, true),
            (Strategy::Audit, true),
            (Strategy::Ignore, false),
        ] {
            let mut asks = process("/usr/bin/curl");
            asks.identity.strategy = strategy;
            assert_eq!(filter.admits(&transaction, &asks), wanted);
            assert_eq!(filter.may_admit(&asks), wanted);
        }
    }

    #[test]
    fn only_tls_leaves_out_what_goes_over_tls() {
        let tap = Tap {
            exclude_tls: vec![ExeMatch {
                exe: "/usr/bin/curl".into(),
                strategy: ExeStrategy::Exact,
            }],
            ..tap()
        };
        let filter = Filter::new(&tap).expect("patterns compile");
        let curl = process("/usr/bin/curl");
        let mut transaction = transaction(Role::Client, "1.1.1.1:443");
        assert!(filter.admits(&transaction, &curl));
        assert!(filter.may_admit(&curl));
        transaction.connection.tls_info = Some(Default::default());
        assert!(!filter.admits(&transaction, &curl));
        assert!(filter.admits(&transaction, &process("/usr/bin/wget")));
    }

    #[test]
    fn networks_that_are_configured_are_internal() {
        let tap = Tap {
            direction: Direction::EgressInternal,
            ..tap()
        };
        let filter = Filter::new(&tap).expect("patterns compile");
        let transaction = transaction(Role::Client, "100.64.1.1:443");
        let mut process = process("/usr/bin/curl");
        assert!(!filter.admits(&transaction, &process));
        process.identity.private = PrivateRanges::new(Net::parse("100.64.0.0/10"));
        assert!(filter.admits(&transaction, &process));
    }

    #[test]
    fn a_pattern_that_is_no_regular_expression_is_named() {
        let tap = Tap {
            exclude: vec![ExeMatch {
                exe: "(".into(),
                strategy: ExeStrategy::Regex,
            }],
            ..tap()
        };
        let Err(error) = Filter::new(&tap) else {
            panic!("`(` compiled");
        };
        assert!(error.to_string().contains("`(`"));
    }
}
