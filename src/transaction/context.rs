//! Trace context in request headers: W3C `traceparent`/`tracestate` (level 2) and B3.

use super::Headers;

/// Members that a `tracestate` may have (Trace Context §3.3.1.1).
pub const TRACESTATE_MEMBERS: usize = 32;
/// W3C flag: the caller recorded its span.
const SAMPLED: u8 = 1;

/// Where a trace context came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceContextSource {
    W3c,
    /// More than one `traceparent` stood there, and this is the first that is valid: worth a link, and no parent.
    W3cRepeated,
    B3,
    /// No header: the span of the request that the process was handling.
    Inferred,
}

/// A remote parent, as a request carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Never all zeros.
    pub trace_id: [u8; 16],
    /// Never all zeros.
    pub span_id: [u8; 8],
    /// W3C flags: 0x01 sampled, 0x02 random trace id.
    pub flags: u8,
    /// `tracestate` lines joined with commas; empty where there is none.
    pub tracestate: String,
    pub source: TraceContextSource,
}

impl TraceContext {
    /// The context that a request's headers carry: W3C where it is valid, else B3 single, else B3 multi, else the first
    /// valid one of several `traceparent`.
    pub fn from_headers(headers: &Headers) -> Option<Self> {
        w3c(headers)
            .or_else(|| b3_single(headers))
            .or_else(|| b3_multi(headers))
            .or_else(|| w3c_repeated(headers))
    }

    /// The caller keeps its span, or left the decision to others.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

fn w3c(headers: &Headers) -> Option<TraceContext> {
    let (trace_id, span_id, flags) = traceparent(only(headers, b"traceparent")?)?;
    Some(TraceContext {
        trace_id,
        span_id,
        flags,
        tracestate: tracestate(headers),
        source: TraceContextSource::W3c,
    })
}

/// `tracestate` goes with a valid `traceparent` alone, and there is none (Trace Context §3.2.1).
fn w3c_repeated(headers: &Headers) -> Option<TraceContext> {
    let (trace_id, span_id, flags) = headers.get_all(b"traceparent").find_map(traceparent)?;
    Some(TraceContext {
        trace_id,
        span_id,
        flags,
        tracestate: String::new(),
        source: TraceContextSource::W3cRepeated,
    })
}

/// The value of a name that stands exactly once.
fn only<'a>(headers: &'a Headers, name: &'a [u8]) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// `version-traceid-parentid-flags`, lower-case hex (Trace Context level 2 §3.2). Of versions above 00 the first four
/// fields are read, and only the flags that version 00 knows are kept.
fn traceparent(value: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    let value = value.trim_ascii();
    let field = |from: usize, to: usize| value.get(from..to);
    if [2, 35, 52].iter().any(|at| value.get(*at) != Some(&b'-')) {
        return None;
    }
    let [version] = hex::<1>(field(0, 2)?)?;
    let [flags] = hex::<1>(field(53, 55)?)?;
    let fits = match version {
        0 => value.len() == 55,
        0xff => false,
        _ => value.len() == 55 || value.get(55) == Some(&b'-'),
    };
    if !fits {
        return None;
    }
    let trace_id = nonzero(hex(field(3, 35)?)?)?;
    let span_id = nonzero(hex(field(36, 52)?)?)?;
    Some((trace_id, span_id, flags & 0x03))
}

/// All `tracestate` lines in one; empty where there is none or it has more members than are allowed.
fn tracestate(headers: &Headers) -> String {
    let mut joined = String::new();
    let mut members = 0;
    for line in headers.get_all(b"tracestate") {
        let Ok(line) = std::str::from_utf8(line) else {
            return String::new();
        };
        for member in line.split(',').map(str::trim).filter(|m| !m.is_empty()) {
            members += 1;
            if members > TRACESTATE_MEMBERS || !is_member(member) {
                return String::new();
            }
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(member);
        }
    }
    joined
}

/// `key=value` (Trace Context level 2 §3.3.1.3).
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else {
        return false;
    };
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let begins = key.bytes().next().is_some_and(lower);
    let of_key = |b: u8| lower(b) || b"_-*/@".contains(&b);
    // Commas are the list's.
    let of_value = |b: u8| (0x20..0x7f).contains(&b) && b != b'=';
    let short = |text: &str| text.len() <= 256;
    begins
        && key.bytes().all(of_key)
        && value.bytes().all(of_value)
        && !value.is_empty()
        && short(key)
        && short(value)
}

/// `b3: traceid-spanid[-state[-parentspanid]]`. A lone state carries no parent; without a state nobody has decided
/// against the trace.
fn b3_single(headers: &Headers) -> Option<TraceContext> {
    let mut fields = only(headers, b"b3")?.trim_ascii().split(|b| *b == b'-');
    let trace_id = b3_trace_id(fields.next()?)?;
    let span_id = nonzero(hex_any(fields.next()?)?)?;
    let sampled = match fields.next() {
        Some(b"1" | b"d") | None => true,
        Some(b"0") => false,
        Some(_) => return None,
    };
    if let Some(parent) = fields.next() {
        hex_any::<8>(parent)?;
    }
    fields
        .next()
        .is_none()
        .then(|| b3(trace_id, span_id, sampled))
}

fn b3_multi(headers: &Headers) -> Option<TraceContext> {
    let trace_id = b3_trace_id(only(headers, b"x-b3-traceid")?.trim_ascii())?;
    let span_id = nonzero(hex_any(only(headers, b"x-b3-spanid")?.trim_ascii())?)?;
    let is = |name: &[u8], values: &[&[u8]]| {
        headers
            .get(name)
            .is_some_and(|v| values.contains(&v.trim_ascii()))
    };
    let debug = is(b"x-b3-flags", &[b"1"]);
    let refused = is(b"x-b3-sampled", &[b"0", b"false"]);
    Some(b3(trace_id, span_id, debug || !refused))
}

fn b3(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> TraceContext {
    TraceContext {
        trace_id,
        span_id,
        flags: if sampled { SAMPLED } else { 0 },
        tracestate: String::new(),
        source: TraceContextSource::B3,
    }
}

/// 32 hex digits, or 16 that stand for the lower half.
fn b3_trace_id(digits: &[u8]) -> Option<[u8; 16]> {
    let id = match digits.len() {
        32 => hex_any(digits)?,
        16 => {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&hex_any::<8>(digits)?);
            id
        }
        _ => return None,
    };
    nonzero(id)
}

fn nonzero<const N: usize>(id: [u8; N]) -> Option<[u8; N]> {
    id.iter().any(|b| *b != 0).then_some(id)
}

/// Exactly `2 * N` lower-case hex digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    hex_any(digits)
}

/// Exactly `2 * N` hex digits.
fn hex_any<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let nibble = |b: u8| char::from(b).to_digit(16).map(|n| n as u8);
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn from(fields: &[(&str, &str)]) -> Option<TraceContext> {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        TraceContext::from_headers(&headers)
    }

    #[test]
    fn traceparent_is_read_strictly() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let cases = [
            (good.clone(), Some(1)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(0)),
            (format!("00-{TRACE}-{SPAN}-03"), Some(3)),
            (format!("00-{TRACE}-{SPAN}-ff"), Some(3)),
            (format!(" {good} "), Some(1)),
            (format!("cc-{TRACE}-{SPAN}-01"), Some(1)),
            (format!("cc-{TRACE}-{SPAN}-01-what-comes-later"), Some(1)),
            (format!("cc-{TRACE}-{SPAN}-01."), None),
            (format!("{good}-extra"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (good.to_uppercase(), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("00-{TRACE}-{SPAN}-0x"), None),
            (format!("0-{TRACE}-{SPAN}-01"), None),
            (format!("00_{TRACE}-{SPAN}-01"), None),
            (String::new(), None),
        ];
        for (value, flags) in cases {
            let got = from(&[("Traceparent", &value)]);
            assert_eq!(got.map(|c| c.flags), flags, "{value:?}");
        }
    }

    #[test]
    fn ids_are_read_in_order() {
        let c = from(&[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]).expect("valid");
        assert_eq!((c.trace_id[0], c.trace_id[15]), (0x4b, 0x36));
        assert_eq!((c.span_id[1], c.span_id[7]), (0xf0, 0xb7));
        assert_eq!(c.source, TraceContextSource::W3c);
    }

    #[test]
    fn two_traceparents_are_worth_a_link_and_no_more_and_b3_goes_before_them() {
        let value = format!("00-{TRACE}-{SPAN}-01");
        let twice = [
            ("traceparent", value.as_str()),
            ("traceparent", value.as_str()),
            ("tracestate", "a=1"),
        ];
        let got = from(&twice).expect("a context");
        assert_eq!(
            (got.source, got.tracestate.as_str()),
            (TraceContextSource::W3cRepeated, "")
        );
        let b3 = format!("{TRACE}-{SPAN}-1");
        let with = [twice[0], twice[1], ("b3", &b3)];
        assert_eq!(from(&with).map(|c| c.source), Some(TraceContextSource::B3));
        assert_eq!(from(&[("traceparent", "x"), ("traceparent", "y")]), None);
    }

    #[test]
    fn tracestate_lines_join_and_are_dropped_when_too_many() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let joined = |lines: &[&str]| {
            let mut fields = vec![("traceparent", parent.as_str())];
            fields.extend(lines.iter().map(|l| ("tracestate", *l)));
            from(&fields).expect("valid").tracestate
        };
        let many = |n: usize| {
            let members: Vec<_> = (0..n).map(|i| format!("k{i}=v")).collect();
            members.join(",")
        };
        assert_eq!(joined(&[]), "");
        assert_eq!(joined(&["a=1, b=2", "", "c=3"]), "a=1,b=2,c=3");
        assert_eq!(joined(&[&many(32)]), many(32));
        assert_eq!(joined(&[&many(33)]), "");
        for bad in ["nokey", "=v", "k=", "K=v", "k=a=b", "_k=v", "k=v,\u{e9}=v"] {
            assert_eq!(joined(&["a=1", bad]), "", "{bad}");
        }
        assert_eq!(
            joined(&["33@nr=0-1 x,a*b/c_d-e=1"]),
            "33@nr=0-1 x,a*b/c_d-e=1"
        );
        assert_eq!(joined(&[&format!("k={}", "v".repeat(256))]).len(), 258);
        assert_eq!(joined(&[&format!("k={}", "v".repeat(257))]), "");
        assert_eq!(from(&[("tracestate", "a=1")]), None);
    }

    #[test]
    fn b3_comes_in_two_shapes() {
        let single = |v: &str| from(&[("b3", v)]).map(|c| c.flags);
        assert_eq!(single(&format!("{TRACE}-{SPAN}")), Some(1));
        assert_eq!(single(&format!("{TRACE}-{SPAN}-1")), Some(1));
        assert_eq!(single(&format!("{TRACE}-{SPAN}-d-{SPAN}")), Some(1));
        assert_eq!(single(&format!("{TRACE}-{SPAN}-0")), Some(0));
        for bad in [
            "0".to_owned(),
            format!("{TRACE}-{SPAN}-x"),
            format!("{TRACE}-{SPAN}-1-{SPAN}-1"),
            format!("{TRACE}-{SPAN}-1-zz"),
            format!("{}-{SPAN}-1", &TRACE[1..]),
            format!("{TRACE}-{}", "0".repeat(16)),
        ] {
            assert_eq!(single(&bad), None, "{bad}");
        }
        let multi = |more: &[(&str, &str)]| {
            let mut fields = vec![("X-B3-TraceId", SPAN), ("X-B3-SpanId", SPAN)];
            fields.extend(more);
            from(&fields).expect("valid")
        };
        let c = multi(&[]);
        assert_eq!(
            (&c.trace_id[..8], c.trace_id[9], c.flags),
            (&[0; 8][..], 0xf0, 1)
        );
        assert_eq!(multi(&[("X-B3-Sampled", "1")]).flags, 1);
        assert_eq!(multi(&[("X-B3-Sampled", "0")]).flags, 0);
        assert_eq!(multi(&[("X-B3-Sampled", "false")]).flags, 0);
        assert_eq!(
            multi(&[("X-B3-Sampled", "0"), ("X-B3-Flags", "1")]).flags,
            1
        );
        assert_eq!(from(&[("X-B3-TraceId", TRACE)]), None);
    }

    #[test]
    fn w3c_goes_before_b3_and_b3_helps_where_w3c_is_invalid() {
        let b3 = format!("{TRACE}-{SPAN}-1");
        let good = format!("00-{TRACE}-{SPAN}-01");
        let source = |parent: &str| from(&[("b3", &b3), ("traceparent", parent)]).map(|c| c.source);
        assert_eq!(source(&good), Some(TraceContextSource::W3c));
        assert_eq!(source("00-bad"), Some(TraceContextSource::B3));
    }
}
