use super::*;
use crate::config::{Rate, RuleLimits};
use crate::rules::TransactionFacts;
use crate::rules::sample;
use crate::telemetry::ledger::LeftOut;
use std::time::Duration;

/// A POST answered 201 in 1.5 s, under a sampler.
struct Bench {
    sampler: Sampler,
    capture: sample::Sample,
    buffers: Buffers,
}

fn bench(change: impl FnOnce(&mut HttpCapture)) -> Bench {
    let mut capture = HttpCapture::default();
    change(&mut capture);
    Bench {
        sampler: Sampler::new(&capture, &[]).expect("keep rules compile"),
        capture: sample::orders(),
        buffers: Buffers::default(),
    }
}

fn ids(trace_id: u128, tracestate: &str) -> SpanIds {
    SpanIds {
        trace_id: trace_id.to_be_bytes(),
        span_id: [1; 8],
        parent_span_id: None,
        origin: crate::redact::Origin::default(),
        no_span: None,
        flags: 3,
        tracestate: tracestate.to_owned(),
        link: None,
    }
}

impl Bench {
    fn decide(&mut self, rule: Option<&str>, ids: &mut SpanIds) -> Outcome {
        let facts = TransactionFacts {
            transaction: &self.capture.transaction,
            process: &self.capture.process,
        };
        let decision = Decision {
            level: Level::Full,
            rule: rule.map(Arc::from),
        };
        let asked = (&self.capture.transaction, &facts as &dyn Facts);
        self.sampler
            .decide(asked, &decision, ids, &mut self.buffers)
    }

    fn keeps(&mut self, trace_id: u128, tracestate: &str) -> Option<(f64, String)> {
        let mut ids = ids(trace_id, tracestate);
        match self.decide(None, &mut ids) {
            Outcome::Kept(sampling) => Some((sampling.stands_for, ids.tracestate)),
            Outcome::LeftOut(reason) => {
                assert_eq!(reason, LeftOut::SampledOut);
                None
            }
            Outcome::Always => panic!("no keep rule"),
        }
    }
}

fn ratio(share: f64) -> impl FnOnce(&mut HttpCapture) {
    move |capture| capture.sample.ratio = Ratio::new(share).expect("a share")
}

#[test]
fn a_ratio_keeps_what_is_at_or_above_its_threshold_exactly_by_the_trace_id() {
    let mut quarter = bench(ratio(0.25));
    let edge = 0xc0_0000_0000_0000u128;
    // Bits above the last 56 say nothing.
    for high in [0, 1 << 56, u128::MAX << 56] {
        assert_eq!(
            quarter.keeps(high | edge, ""),
            Some((4.0, "ot=th:c".to_owned()))
        );
        assert_eq!(quarter.keeps(high | (edge - 1), ""), None);
    }
    let mut all = bench(ratio(1.0));
    assert_eq!(all.keeps(1 << 56, "a=b"), Some((1.0, "a=b".to_owned())));
    assert_eq!(bench(ratio(0.0)).keeps(u128::MAX, ""), None);
}

#[test]
fn the_share_of_random_traces_is_the_ratio_and_a_lower_ratio_keeps_a_part_of_a_higher_one() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut tenth, mut half) = (bench(ratio(0.1)), bench(ratio(0.5)));
    let (mut tenths, mut halves, mut weight) = (0, 0, 0.0);
    for _ in 0..20_000 {
        let id = random.u128(1..);
        let (a, b) = (tenth.keeps(id, ""), half.keeps(id, ""));
        assert!(a.is_none() || b.is_some(), "{id:x}");
        tenths += i32::from(a.is_some());
        halves += i32::from(b.is_some());
        weight += a.map_or(0.0, |(stands_for, _)| stands_for);
    }
    // Five standard deviations.
    assert!((tenths - 2_000).abs() < 5 * 42, "{tenths}");
    assert!((halves - 10_000).abs() < 5 * 71, "{halves}");
    assert!((weight - f64::from(tenths) * 10.0).abs() < 0.1, "{weight}");
}

#[test]
fn randomness_of_the_trace_state_goes_before_the_trace_id_and_the_higher_threshold_stays() {
    let mut half = bench(ratio(0.5));
    let kept = |kept: Option<(f64, String)>| kept.map(|(_, state)| state);
    let high = 0xff_ffff_ffff_ffff;
    assert_eq!(kept(half.keeps(high, "ot=rv:7fffffffffffff")), None);
    assert_eq!(
        kept(half.keeps(0, "x=y,ot=rv:80000000000000")).as_deref(),
        Some("ot=th:8;rv:80000000000000,x=y")
    );
    // Who sampled before kept a quarter: so does the trace.
    assert_eq!(
        kept(half.keeps(high, "ot=th:c")).as_deref(),
        Some("ot=th:c")
    );
    assert_eq!(
        kept(half.keeps(high, "ot=th:4")).as_deref(),
        Some("ot=th:8")
    );
    // 0x80… is below the threshold c that it claims to have passed.
    assert_eq!(
        kept(half.keeps(0x80_0000_0000_0000, "ot=th:c")).as_deref(),
        Some("ot=th:8")
    );
}

#[test]
fn what_a_keep_rule_applies_to_is_always_kept_and_its_trace_state_says_nothing_of_it() {
    let keep = |expr: &str| {
        let expr = expr.to_owned();
        bench(|capture| {
            capture.sample.ratio = Ratio::new(0.0).expect("a share");
            capture.sample.keep = vec!["http.res.status >= 500".into(), expr];
        })
    };
    let mut ids = ids(1, "a=b");
    let outcome = keep("http.duration > 1s").decide(None, &mut ids);
    assert_eq!((outcome, ids.tracestate.as_str()), (Outcome::Always, "a=b"));
    let outcome = keep("http.duration > 2s").decide(None, &mut ids);
    assert_eq!(outcome, Outcome::LeftOut(LeftOut::SampledOut));
}

#[test]
fn a_rule_has_its_own_ratio() {
    let mut bench = bench(|capture| {
        let own = RuleLimits {
            ratio: Ratio::new(0.0),
            max_bytes: None,
        };
        capture.by_rule.insert("health".into(), own);
    });
    let outcome = bench.decide(Some("health"), &mut ids(u128::MAX, ""));
    assert_eq!(outcome, Outcome::LeftOut(LeftOut::SampledOut));
    let outcome = bench.decide(Some("other"), &mut ids(u128::MAX, ""));
    assert_eq!(outcome, Outcome::Kept(Sampling::default()));
    // Which rule will decide is not known before the end.
    assert!(!bench.sampler.reports(&ids(u128::MAX, "")));
}

#[test]
fn what_a_rate_leaves_out_is_told_by_the_next_that_it_keeps() {
    let mut bench = bench(|capture| {
        capture.sample.ratio = Ratio::new(0.5).expect("a share");
        capture.sample.per_endpoint = Some(Rate {
            count: 2,
            period: Duration::from_secs(1),
        });
        capture.sample.per_process = Some(Rate {
            count: 100,
            period: Duration::from_secs(1),
        });
    });
    let at = |bench: &mut Bench, ms: u64| {
        bench.capture.transaction.timing.end = KernelTime(ms * 1_000_000);
        match bench.decide(None, &mut ids(u128::MAX, "")) {
            Outcome::Kept(sampling) => Some(sampling.stands_for),
            Outcome::LeftOut(reason) => {
                assert_eq!(reason, LeftOut::RateLimited);
                None
            }
            Outcome::Always => panic!("no keep rule"),
        }
    };
    let outcomes: Vec<_> = (0..5).map(|_| at(&mut bench, 10_000)).collect();
    assert_eq!(outcomes, [Some(2.0), Some(2.0), None, None, None]);
    // Itself and three others, each for two.
    assert_eq!(at(&mut bench, 10_500), Some(8.0));
    // Another endpoint of the same process has tokens of its own.
    let request = bench
        .capture
        .transaction
        .request
        .as_mut()
        .expect("a request");
    request.headers = Default::default();
    bench.capture.transaction.connection.tls_info = None;
    assert_eq!(at(&mut bench, 10_500), Some(2.0));
}

#[test]
fn the_endpoint_is_the_name_asked_for_by_tls_else_the_host_else_the_address() {
    let mut transaction = sample::orders().transaction;
    let mut name = Vec::new();
    let mut endpoint = |transaction: &Transaction| {
        super::endpoint(transaction, &mut name);
        String::from_utf8(name.clone()).expect("text")
    };
    transaction.connection.tls_info = Some(crate::transaction::TlsInfo {
        sni: Some("Shop.Example".into()),
        ..Default::default()
    });
    assert_eq!(endpoint(&transaction), "shop.example");
    transaction.connection.tls_info = None;
    let request = transaction.request.as_mut().expect("a request");
    request.headers = Default::default();
    request.headers.push(b"Host", b"API.example:8080");
    assert_eq!(endpoint(&transaction), "api.example:8080");
    let request = transaction.request.as_mut().expect("a request");
    request.headers = Default::default();
    transaction.connection.remote = Some(([10, 0, 0, 7], 443).into());
    assert_eq!(endpoint(&transaction), "10.0.0.7:443");
}
