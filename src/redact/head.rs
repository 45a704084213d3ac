//! Heads: header fields, trailers, request target, method and reason phrase.

use super::hits::Hits;
use super::names::{self, COOKIE, MALFORMED, Rules, Verdict, with_lower};
use super::url::{Form, scrub};
use super::{MASK, Redactor};
use crate::transaction::{Headers, Mark, Request, Response, Transaction};

/// The compiled rules of each place.
pub(super) struct Places {
    pub header: Rules,
    pub query: Rules,
    pub cookie: Rules,
}

/// What becomes of one field's value.
enum Change {
    Stays,
    Becomes(Vec<u8>),
    Masked,
}

impl Redactor {
    /// Masks the secrets of both heads and their trailers.
    pub(super) fn heads(&self, transaction: &mut Transaction, hits: &mut Hits) {
        let marks = transaction.marks;
        if let Some(request) = &mut transaction.request {
            self.request(request, marks.has(Mark::RequestMalformed), hits);
        }
        if let Some(response) = &mut transaction.response {
            self.response(response, marks.has(Mark::ResponseMalformed), hits);
        }
        // The context was read from headers: it goes where they go.
        if let Some(context) = &mut transaction.context
            && self.masks_header(b"tracestate")
        {
            context.tracestate.clear();
        }
    }

    /// A header of this name is masked whatever its value.
    pub(super) fn masks_header(&self, lower: &[u8]) -> bool {
        matches!(self.header(lower), Verdict::Mask(_))
    }

    fn request(&self, request: &mut Request, malformed: bool, hits: &mut Hits) {
        let method = &request.method;
        let known = KNOWN_METHODS.contains(&method.as_slice());
        if !known
            && (malformed || !token(method) || method.len() > MAX_METHOD)
            && !method.is_empty()
        {
            replace(&mut request.method, MASK.to_vec());
            hits.add(MALFORMED);
        }
        if malformed && !usual_target(&request.target) {
            replace(&mut request.target, MASK.to_vec());
            hits.add(MALFORMED);
        } else if let Some(target) = scrub(&self.places.query, Form::Target, &request.target, hits)
        {
            replace(&mut request.target, target);
        }
        self.fields(&mut request.headers, hits);
        self.fields(&mut request.trailers, hits);
    }

    fn response(&self, response: &mut Response, malformed: bool, hits: &mut Hits) {
        if malformed && !response.reason.is_empty() {
            replace(&mut response.reason, MASK.to_vec());
            hits.add(MALFORMED);
        }
        self.fields(&mut response.headers, hits);
        self.fields(&mut response.trailers, hits);
    }

    fn fields(&self, headers: &mut Headers, hits: &mut Hits) {
        if headers.iter().any(|(name, _)| !plain_name(name)) {
            hide_odd_names(headers, hits);
        }
        let mut changes = Vec::new();
        for (index, (name, value)) in headers.iter().enumerate() {
            match self.field(name, value, hits) {
                Change::Stays => {}
                change => changes.push((index, change)),
            }
        }
        for (index, change) in changes {
            match change {
                Change::Stays => {}
                Change::Becomes(value) => headers.replace_value(index, &value),
                Change::Masked => headers.replace_value(index, MASK),
            }
        }
    }

    fn header(&self, lower: &[u8]) -> Verdict {
        match self.places.header.decide(lower) {
            Verdict::Unknown => {
                names::built_in_header(lower).map_or(Verdict::Unknown, Verdict::Mask)
            }
            verdict => verdict,
        }
    }

    fn field(&self, name: &[u8], value: &[u8], hits: &mut Hits) -> Change {
        if value.is_empty() || value == MASK {
            return Change::Stays;
        }
        with_lower(name, |lower| {
            if lower == b"cookie"
                && !self.places.cookie.is_empty()
                && self.places.header.decide(lower) == Verdict::Unknown
            {
                return self.cookies(value, hits);
            }
            if lower == b"set-cookie"
                && self.places.header.decide(lower) == Verdict::Unknown
                && self.keeps_cookie(value)
            {
                return Change::Stays;
            }
            match self.header(lower) {
                Verdict::Keep => Change::Stays,
                Verdict::Mask(matcher) => {
                    hits.add(matcher);
                    Change::Masked
                }
                Verdict::Unknown if value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) => {
                    // Some receiver may see another field in here.
                    hits.add(MALFORMED);
                    Change::Masked
                }
                Verdict::Unknown => match url_form(lower) {
                    Some(form) => scrub(&self.places.query, form, value, hits)
                        .map_or(Change::Stays, Change::Becomes),
                    None => Change::Stays,
                },
            }
        })
    }

    /// Pairs of a `cookie` header, one by one: all are masked but those that a rule keeps.
    fn cookies(&self, value: &[u8], hits: &mut Hits) -> Change {
        let mut out = Vec::with_capacity(value.len());
        for (i, pair) in value.split(|b| *b == b';').enumerate() {
            if i > 0 {
                out.push(b';');
            }
            let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
            let has_value = name.len() < pair.len();
            let decided = with_lower(name, |lower| self.places.cookie.decide(lower));
            let matcher = match decided {
                Verdict::Keep if has_value => {
                    out.extend_from_slice(pair);
                    continue;
                }
                Verdict::Mask(matcher) => matcher,
                _ => COOKIE,
            };
            if names::trim(pair).is_empty() {
                continue;
            }
            if pair.starts_with(b" ") {
                out.push(b' ');
            }
            // Without a name, the pair is all value.
            if has_value {
                out.extend_from_slice(names::trim(name));
                out.push(b'=');
            }
            out.extend_from_slice(MASK);
            hits.add(matcher);
        }
        match out == value {
            true => Change::Stays,
            false => Change::Becomes(out),
        }
    }

    /// A rule keeps the cookie that this `set-cookie` value sets.
    fn keeps_cookie(&self, value: &[u8]) -> bool {
        let pair = value.split(|b| *b == b';').next().unwrap_or_default();
        let Some(equals) = memchr::memchr(b'=', pair) else {
            return false;
        };
        let name = pair.get(..equals).unwrap_or_default();
        with_lower(name, |lower| self.places.cookie.decide(lower)) == Verdict::Keep
    }
}

const KNOWN_METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
    b"QUERY",
];

/// Longer ones are no method that anyone has registered (`UPDATEREDIRECTREF` has 17 bytes).
const MAX_METHOD: usize = 32;

/// How the URLs in a header's value stand there.
fn url_form(lower: &[u8]) -> Option<Form> {
    Some(match lower {
        b"link" => Form::Link,
        b":path" => Form::Target,
        b"host" | b":authority" | b"x-forwarded-host" => Form::Host,
        b"referer" | b"location" | b"content-location" | b"refresh" | b"origin"
        | b"destination" | b"x-original-url" | b"x-original-uri" | b"x-rewrite-url"
        | b"x-forwarded-uri" | b"x-forwarded-url" => Form::Url,
        _ => return None,
    })
}

/// Puts `new` in place of `old`, whose bytes become zeros first.
fn replace(old: &mut Vec<u8>, new: Vec<u8>) {
    old.fill(0);
    *old = new;
}

/// RFC 9110 §5.6.2.
fn token(bytes: &[u8]) -> bool {
    let odd = |b: &u8| !b.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && !bytes.iter().any(odd)
}

/// A field name, pseudo-headers included, perhaps with white space behind it. White space in front of it would make it
/// part of the value before it (obs-fold).
fn plain_name(name: &[u8]) -> bool {
    let trimmed = names::trim(name);
    name.starts_with(trimmed) && token(trimmed.strip_prefix(b":").unwrap_or(trimmed))
}

/// One of the four forms of RFC 9112 §3.2, without odd bytes.
fn usual_target(target: &[u8]) -> bool {
    let odd = |b: &u8| *b <= b' ' || *b >= 0x7f;
    let form = target.starts_with(b"/")
        || target == b"*"
        || target.starts_with(b"http://")
        || target.starts_with(b"https://");
    form && !target.iter().any(odd)
}

/// What stands where a name should be, and is none, may be anything: name and value are masked.
fn hide_odd_names(headers: &mut Headers, hits: &mut Hits) {
    let mut hidden = Headers::with_capacity(headers.len(), 0);
    for (name, value) in headers.iter() {
        if plain_name(name) {
            hidden.push(name, value);
        } else {
            hidden.push(MASK, MASK);
            hits.add(MALFORMED);
        }
    }
    headers.retain(|_, _| false);
    *headers = hidden;
}
