//! What is counted, under which attributes, of whom, from when, and within which bounds.

use super::aggregate::Overflow;
use super::*;
use crate::enrich::ResourceValue;
use crate::event::Role;
use crate::redact::sample::headers;
use crate::rules::sample;
use crate::telemetry::prometheus::Exposition;
use crate::transaction::{Mark, Protocol};
use std::time::UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn process(pid: u32, service: &str) -> Arc<Process> {
    let name = ResourceValue::Str(service.to_owned());
    Arc::new(Process {
        pid,
        resource: vec![("service.name".to_owned(), name)],
        ..sample::process()
    })
}

/// The attributes as `name=value`.
fn list(transaction: &Transaction, host_hidden: bool) -> Vec<String> {
    let beside = Beside {
        host_hidden,
        ..Beside::default()
    };
    let attributes = Attributes::of(transaction, &KnownMethods::default(), beside);
    let shown = attributes.list().map(|(key, value)| match value {
        Value::Text(text) => format!("{key}={text}"),
        Value::Int(number) => format!("{key}={number}"),
    });
    shown.collect()
}

fn transaction(change: impl FnOnce(&mut Transaction)) -> Transaction {
    let mut transaction = sample::orders().transaction;
    change(&mut transaction);
    transaction
}

fn host(transaction: &mut Transaction, target: &str, fields: &[(&str, &str)]) {
    let request = transaction.request.as_mut().expect("a request");
    request.target = target.as_bytes().to_vec();
    request.headers = headers(fields);
}

#[test]
fn a_client_is_counted_by_server_and_a_server_by_nothing_that_clients_choose() {
    let client = transaction(|_| {});
    let base = [
        "http.request.method=POST",
        "url.scheme=https",
        "http.response.status_code=201",
        "network.protocol.version=1.1",
    ];
    let of_client = ["server.address=API.Example.com", "server.port=8443"];
    assert_eq!(list(&client, false), [&base[..], &of_client].concat());
    let server = transaction(|t| t.role = Role::Server);
    assert_eq!(list(&server, false), base);
    let masked = list(&client, true);
    assert_eq!(masked[4..], ["server.address=REDACTED", "server.port=443"]);
}

#[test]
fn user_info_path_and_query_are_in_no_attribute() {
    let client = transaction(|t| {
        let target = "http://user:s3cret@example.com:81/s3cret?token=s3cret#s3cret";
        host(t, target, &[("Host", "other:s3cret@h")]);
    });
    let shown = list(&client, false);
    assert!(shown.contains(&"server.address=example.com".to_owned()));
    assert!(shown.contains(&"server.port=81".to_owned()));
    assert!(!shown.concat().contains("s3cret"), "{shown:?}");
}

#[test]
fn odd_methods_schemes_and_long_names_are_bounded() {
    let odd = transaction(|t| {
        t.role = Role::Server;
        host(t, "/", &[("X-Forwarded-Proto", "gopher-17")]);
        t.request.as_mut().expect("a request").method = b"PURGE-17".to_vec();
    });
    let shown = list(&odd, false);
    assert_eq!(
        shown[..2],
        ["http.request.method=_OTHER", "url.scheme=https"]
    );
    let behind_a_proxy = transaction(|t| {
        t.role = Role::Server;
        host(t, "/", &[("X-Forwarded-Proto", "http")]);
    });
    assert_eq!(list(&behind_a_proxy, false)[1], "url.scheme=http");
    let long = transaction(|t| host(t, "/", &[("Host", &"\u{e4}".repeat(4000))]));
    let shown = list(&long, false);
    let address = shown.iter().find(|a| a.starts_with("server.address="));
    assert!(address.is_some_and(|address| address.len() <= 270));
}

#[test]
fn errors_are_those_of_the_span() {
    type Change = fn(&mut Transaction);
    let status = |role, code| {
        transaction(|t| {
            t.role = role;
            t.response.as_mut().expect("a response").status = code;
        })
    };
    let broken = |change: Change| transaction(change);
    for (transaction, error) in [
        (status(Role::Client, 404), Some("404")),
        (status(Role::Server, 404), None),
        (status(Role::Server, 503), Some("503")),
        (
            broken(|t| {
                t.response = None;
                t.marks.set(Mark::ResponseMissing);
                t.marks.set(Mark::Reset);
            }),
            Some("connection_reset"),
        ),
        (broken(|t| t.protocol = Protocol::Http2), None),
    ] {
        let shown = list(&transaction, false);
        let found = shown.iter().find_map(|a| a.strip_prefix("error.type="));
        assert_eq!(found, error, "{shown:?}");
    }
}

/// One that took so many milliseconds, from a server of this number.
fn asked(server: usize, ms: u64) -> (Attributes, Measured) {
    let transaction = transaction(|t| host(t, "/", &[("Host", &format!("h{server}"))]));
    let measured = Measured {
        duration_ns: ms * 1_000_000,
        ..Measured::of(&transaction, None)
    };
    let attributes = Attributes::of(&transaction, &KnownMethods::default(), Beside::default());
    (attributes, measured)
}

fn count(aggregator: &mut Aggregator, process: &Arc<Process>, server: usize, ms: u64) -> Overflow {
    let (attributes, measured) = asked(server, ms);
    aggregator.count(process, &attributes, &measured)
}

/// Pid, start and count of each process.
fn counts(
    aggregator: &mut Aggregator,
    now: u64,
    alive: impl Fn(u32) -> bool,
) -> Vec<(u32, u64, u64)> {
    let mut all: Vec<_> = aggregator
        .collect(at(now), |process| alive(process.pid))
        .iter()
        .map(|collected| {
            let start = collected.start.duration_since(UNIX_EPOCH).expect("after");
            let known = collected.series.iter().map(|(_, point)| point);
            let points = known.chain(collected.series.overflow().map(|(_, point)| point));
            let count = points.map(|point| point.duration.count()).sum();
            (collected.process.pid, start.as_secs(), count)
        })
        .collect();
    all.sort_unstable();
    all
}

fn aggregator(limits: Limits) -> Aggregator {
    let mut aggregator = Aggregator::new(limits, at(0));
    aggregator.subscribe(at(100));
    aggregator
}

#[test]
fn counts_are_cumulative_from_one_start_which_is_the_export_before_the_first() {
    let mut aggregator = aggregator(Limits::default());
    let one = process(1, "one");
    count(&mut aggregator, &one, 1, 10);
    assert_eq!(counts(&mut aggregator, 110, |_| true), [(1, 100, 1)]);
    aggregator.exported();
    count(&mut aggregator, &one, 1, 10);
    count(&mut aggregator, &process(2, "two"), 1, 10);
    let expected = [(1, 100, 2), (2, 110, 1)];
    assert_eq!(counts(&mut aggregator, 120, |_| true), expected);
    assert_eq!(counts(&mut aggregator, 130, |_| true), expected);
}

#[test]
fn a_process_that_is_gone_stays_until_its_last_numbers_arrived_and_its_service_for_ever() {
    let mut aggregator = aggregator(Limits::default());
    let one = process(1, "one");
    count(&mut aggregator, &one, 1, 10);
    assert_eq!(counts(&mut aggregator, 110, |_| false), [(1, 100, 1)]);
    // What comes late starts anew: the numbers before it may be on their way.
    count(&mut aggregator, &one, 1, 10);
    aggregator.exported();
    assert_eq!(counts(&mut aggregator, 120, |_| false), [(1, 110, 1)]);
    // It did not arrive.
    assert_eq!(counts(&mut aggregator, 130, |_| false), [(1, 110, 1)]);
    aggregator.exported();
    assert_eq!(counts(&mut aggregator, 140, |_| false), []);
    let text = prometheus::render(&aggregator.services, Exposition::Text);
    let line = "http_client_request_duration_seconds_count{service_name=\"one\",http_request_method=\"POST\",url_scheme=\"https\",http_response_status_code=\"201\",network_protocol_version=\"1.1\",server_address=\"h1\",server_port=\"443\"} 2";
    assert!(text.lines().any(|l| l == line), "{text}");
}

#[test]
fn a_process_whose_resource_changes_is_another_resource() {
    let mut aggregator = aggregator(Limits::default());
    count(&mut aggregator, &process(1, "one"), 1, 10);
    count(&mut aggregator, &process(1, "one"), 1, 10);
    assert_eq!(counts(&mut aggregator, 110, |_| true), [(1, 100, 2)]);
    count(&mut aggregator, &process(1, "other"), 1, 10);
    let both = [(1, 100, 2), (1, 110, 1)];
    assert_eq!(counts(&mut aggregator, 120, |_| true), both);
    aggregator.exported();
    assert_eq!(counts(&mut aggregator, 130, |_| true), [(1, 110, 1)]);
}

#[test]
fn what_finds_no_room_is_counted_under_no_attributes_and_said() {
    let limits = Limits {
        of_process: 2,
        of_processes: 3,
        of_services: 4,
        processes: 2,
    };
    let mut aggregator = aggregator(limits);
    let (one, two, three) = (process(1, "one"), process(2, "two"), process(3, "three"));
    let fits = Overflow::default();
    let series = Overflow {
        series: true,
        process: false,
    };
    assert_eq!(count(&mut aggregator, &one, 1, 1), fits);
    assert_eq!(count(&mut aggregator, &one, 2, 1), fits);
    // Two of a process.
    assert_eq!(count(&mut aggregator, &one, 3, 1), series);
    assert_eq!(count(&mut aggregator, &one, 2, 1), fits);
    assert_eq!(count(&mut aggregator, &two, 1, 1), fits);
    // Three of all, and four of the services.
    assert_eq!(count(&mut aggregator, &two, 2, 1), series);
    let all = Overflow {
        series: true,
        process: true,
    };
    assert_eq!(count(&mut aggregator, &three, 1, 1), all);
    let expected = [(1, 100, 4), (2, 100, 2)];
    assert_eq!(counts(&mut aggregator, 110, |_| true), expected);
    let text = prometheus::render(&aggregator.services, Exposition::Text);
    let line = "http_client_request_duration_seconds_count{otel_metric_overflow=\"true\"} 2";
    assert!(text.lines().any(|l| l == line), "{text}");
    // Room is made by those who go.
    assert_eq!(counts(&mut aggregator, 120, |pid| pid == 2).len(), 2);
    aggregator.exported();
    assert_eq!(count(&mut aggregator, &three, 1, 1), series);
    assert_eq!(counts(&mut aggregator, 130, |_| true).len(), 2);
}

#[test]
fn without_anybody_who_collects_nothing_of_processes_is_held() {
    let mut aggregator = Aggregator::new(Limits::default(), at(0));
    let one = process(1, "one");
    count(&mut aggregator, &one, 1, 1);
    assert_eq!(counts(&mut aggregator, 1, |_| true), []);
    aggregator.subscribe(at(5));
    aggregator.subscribe(at(6));
    count(&mut aggregator, &one, 1, 1);
    aggregator.unsubscribe();
    assert_eq!(counts(&mut aggregator, 7, |_| true), [(1, 5, 1)]);
    aggregator.unsubscribe();
    assert_eq!(counts(&mut aggregator, 8, |_| true), []);
}

#[test]
fn services_are_counted_whole_while_nobody_collects_and_processes_come_and_go() {
    let limits = Limits {
        of_process: 2,
        of_processes: 3,
        processes: 2,
        ..Limits::default()
    };
    let mut aggregator = Aggregator::new(limits, at(0));
    for n in 0..60 {
        let one = process(n % 5, "one");
        let server = usize::try_from(n % 4).expect("few");
        assert_eq!(count(&mut aggregator, &one, server, 1), Overflow::default());
    }
    let text = prometheus::render(&aggregator.services, Exposition::Text);
    let counts = text
        .lines()
        .filter(|line| line.starts_with("http_client_request_duration_seconds_count"))
        .map(|line| line.rsplit(' ').next().expect("a value"));
    assert_eq!(counts.collect::<Vec<_>>(), ["15"; 4]);
}

#[test]
fn prometheus_buckets_are_cumulative_and_sizes_have_metrics_of_their_own() {
    let mut aggregator = aggregator(Limits::default());
    let one = process(1, "a\"b\nc\\d");
    count(&mut aggregator, &one, 1, 5);
    count(&mut aggregator, &one, 1, 6);
    count(&mut aggregator, &one, 1, 60_000);
    let text = prometheus::render(&aggregator.services, Exposition::Text);
    let value = |name: &str, le: &str| {
        let line = text.lines().find(|line| {
            line.starts_with(&format!("{name}{{service_name=\"a\\\"b\\nc\\\\d\""))
                && line.contains(le)
        });
        let line = line.unwrap_or_else(|| panic!("{name} {le}: {text}"));
        line.rsplit(' ').next().expect("a value").to_owned()
    };
    let duration = "http_client_request_duration_seconds";
    for (le, count) in [("0.005", "1"), ("0.01", "2"), ("10", "2"), ("+Inf", "3")] {
        let le = format!("le=\"{le}\"");
        assert_eq!(value(&format!("{duration}_bucket"), &le), count, "{le}");
    }
    assert_eq!(value(&format!("{duration}_sum"), ""), "60.011");
    assert_eq!(value(&format!("{duration}_count"), ""), "3");
    assert_eq!(value("http_client_request_body_size_bytes_sum", ""), "6144");
    assert_eq!(
        value("http_client_response_body_size_bytes_sum", ""),
        "210000"
    );
    assert_eq!(text.matches("# TYPE").count(), 3);
}

#[test]
fn open_metrics_have_the_last_transaction_at_the_bucket_that_it_fell_into() {
    let mut aggregator = aggregator(Limits::default());
    let one = process(1, "shop");
    let (attributes, measured) = asked(1, 60);
    let exemplar = |time| Exemplar {
        trace_id: [0xab; 16],
        span_id: [1; 8],
        time: UNIX_EPOCH + Duration::from_millis(time),
    };
    for (time, ms) in [(1_000_250, 60), (2_000_007, 30), (0, 4)] {
        let measured = Measured {
            duration_ns: ms * 1_000_000,
            exemplar: (time > 0).then(|| exemplar(time)),
            ..measured.clone()
        };
        aggregator.count(&one, &attributes, &measured);
    }
    let text = prometheus::render(&aggregator.services, Exposition::Text);
    assert!(!text.contains("trace_id"), "{text}");
    let open = prometheus::render(&aggregator.services, Exposition::OpenMetrics);
    let with = open.lines().filter(|line| line.contains(" # "));
    let with: Vec<&str> = with.collect();
    let [line] = with[..] else { panic!("{open}") };
    assert!(line.contains("duration_seconds_bucket{"), "{line}");
    let ids = format!(
        "{{trace_id=\"{}\",span_id=\"{}\"}}",
        "ab".repeat(16),
        "01".repeat(8)
    );
    assert!(
        line.ends_with(&format!("le=\"0.05\"}} 2 # {ids} 0.03 2000.007")),
        "{line}"
    );
}
