use super::*;
use crate::config::EndpointStack;
use crate::enrich::identity::{Container, Pod};
use crate::enrich::{Identity, Lookup};
use crate::rules::sample;
use crate::transaction::TlsInfo;
use std::sync::Arc;

fn stacks(entries: &[(&str, &str)]) -> Stacks {
    let entry = |(domain, stack): &(&str, &str)| EndpointStack {
        domain: (*domain).to_owned(),
        stack: Some((*stack).to_owned()).filter(|name| name != "none"),
    };
    let tap = Tap {
        http_stack: Some("general".into()),
        endpoints: entries.iter().map(entry).collect(),
        ..Tap::default()
    };
    let others = ["a", "b"].map(|name| (name.to_owned(), Plugins::default()));
    Stacks::new(&tap, others.into())
}

/// A transaction for `host` over a connection that asked for `sni`.
fn transaction(host: &str, sni: Option<&str>) -> Transaction {
    let mut transaction = sample::orders().transaction;
    let request = transaction.request.as_mut().expect("a request");
    request.target = b"/".to_vec();
    request.headers = Default::default();
    request.headers.push(b"Host", host.as_bytes());
    transaction.connection.tls_info = sni.map(|name| TlsInfo {
        sni: Some(name.into()),
        ..TlsInfo::default()
    });
    transaction
}

#[test]
fn an_exact_domain_wins_over_a_pattern_and_the_longest_pattern_over_others() {
    let stacks = stacks(&[
        ("*.example.com", "a"),
        ("*.eu.example.com", "b"),
        ("api.example.com", "b"),
        ("::1", "a"),
        ("off.example.com", "none"),
    ]);
    let process = sample::orders().process;
    for (host, wanted) in [
        ("api.example.com", Choice::Other(1)),
        ("API.example.com:8443", Choice::Other(1)),
        ("api.example.com.", Choice::Other(1)),
        ("www.example.com", Choice::Other(0)),
        ("a.b.example.com", Choice::Other(0)),
        ("a.eu.example.com", Choice::Other(1)),
        ("eu.example.com", Choice::Other(0)),
        ("example.com", Choice::General),
        (".example.com", Choice::General),
        ("badexample.com", Choice::General),
        ("off.example.com", Choice::Nothing),
        ("[::1]:80", Choice::Other(0)),
        ("", Choice::General),
    ] {
        assert_eq!(
            stacks.choose(&transaction(host, None), &process),
            wanted,
            "{host}"
        );
    }
}

#[test]
fn the_name_that_tls_asked_for_counts_where_the_host_has_no_entry() {
    let stacks = stacks(&[("api.example.com", "a"), ("other.example.com", "b")]);
    let process = sample::orders().process;
    let choose = |host, sni| stacks.choose(&transaction(host, sni), &process);
    assert_eq!(
        choose("10.0.0.1", Some("api.example.com")),
        Choice::Other(0)
    );
    assert_eq!(
        choose("other.example.com", Some("api.example.com")),
        Choice::Other(1)
    );
    assert_eq!(choose("10.0.0.1", None), Choice::General);
}

#[test]
fn a_pod_s_label_wins_over_the_domain() {
    let stacks = stacks(&[("api.example.com", "a")]);
    for (label, wanted) in [
        ("b", Choice::Other(1)),
        ("general", Choice::General),
        ("none", Choice::Nothing),
        ("misspelt", Choice::Other(0)),
    ] {
        let pod = Pod {
            labels: [("tap.qpoint.io/stack".to_owned(), label.to_owned())].into(),
            ..Pod::default()
        };
        let mut process = sample::orders().process;
        process.identity = Identity {
            lookup: Lookup::Known,
            container: Some(Arc::new(Container {
                pod: Some(pod),
                ..Container::default()
            })),
            ..Identity::default()
        };
        let transaction = transaction("api.example.com", None);
        assert_eq!(stacks.choose(&transaction, &process), wanted, "{label}");
    }
}
