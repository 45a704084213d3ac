use super::*;
use crate::config::{ExeMatch, ExeStrategy, Include, PrivateRanges};
use crate::enrich::identity::{Cgroups, Container, Pod};
use crate::enrich::{Identity, Lookup};
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
fn what_a_process_says_over_tls_is_decided_by_all_that_is_known_of_it() {
    let decides = |tap: &Tap, lookup: Lookup| {
        let mut java = process("/usr/bin/java");
        java.identity.lookup = lookup;
        Filter::new(tap).expect("patterns compile").decides(&java)
    };
    let (known, pending) = (Lookup::Known, Lookup::Pending);
    assert_eq!(decides(&tap(), known), Some(true));
    assert_eq!(decides(&tap(), pending), None);
    let exe = |pattern: &str| ExeMatch {
        exe: pattern.into(),
        strategy: ExeStrategy::Exact,
    };
    let java = || vec![exe("/usr/bin/java")];
    for tap in [
        Tap {
            exclude: java(),
            ..tap()
        },
        Tap {
            exclude_tls: java(),
            ..tap()
        },
    ] {
        assert_eq!(decides(&tap, pending), Some(false));
    }
    let pod = Tap {
        include: vec![Include {
            container: Some("shop".into()),
            ..Include::default()
        }],
        ..tap()
    };
    assert_eq!(decides(&pod, known), Some(false));
    assert_eq!(decides(&pod, Lookup::NotFound), None, "it is asked again");
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
