//! Heads: header fields, trailers, request target, method and reason phrase.

use super::MASK;
use super::hits::Hits;
use super::matchers::BodyRules;
use super::modes::Action;
use super::names::{self, COOKIE, MALFORMED, Ordinary, Rules, Verdict, with_lower};
use super::url::{Form, scrub};
use crate::transaction::{Headers, Mark, Request, Response, Transaction};
use std::borrow::Cow;

/// The compiled rules of each place: all that says what is a secret.
pub(super) struct Places {
    pub header: Rules,
    pub query: Rules,
    pub cookie: Rules,
    pub body: BodyRules,
    /// Of header fields.
    pub ordinary: Ordinary,
}

/// What becomes of one field's value.
enum Change {
    Stays,
    Becomes(Vec<u8>),
    Masked,
    Dropped,
}

impl Places {
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

    /// A header of this name is hidden whatever its value.
    pub(super) fn masks_header(&self, lower: &[u8]) -> bool {
        matches!(self.header(lower), Verdict::Hide(..))
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
        } else if let Some(target) = scrub(&self.query, Form::Target, &request.target, hits) {
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

    pub(super) fn fields(&self, headers: &mut Headers, hits: &mut Hits) {
        if headers.is_empty() {
            return;
        }
        let mut ordinary = self.ordinary.lock();
        // Ordinary names are plain.
        let odd = |(name, _): (&[u8], &[u8])| !ordinary.has(name) && !plain_name(name);
        if headers.iter().any(odd) {
            hide_odd_names(headers, hits);
        }
        let mut changes = Vec::new();
        for (index, (name, value)) in headers.iter().enumerate() {
            if ordinary.has(name) && !breaks_out(value) {
                continue;
            }
            if self.is_ordinary(name) {
                ordinary.add(name);
            }
            match self.field(name, value, hits) {
                Change::Stays => {}
                change => changes.push((index, change)),
            }
        }
        drop(ordinary);
        let mut dropped = Vec::new();
        for (index, change) in changes {
            match change {
                Change::Stays => {}
                Change::Dropped => dropped.push(index),
                Change::Becomes(value) => headers.replace_value(index, &value),
                Change::Masked => headers.replace_value(index, MASK),
            }
        }
        if !dropped.is_empty() {
            let mut index = 0..;
            headers.retain(|_, _| !index.next().is_some_and(|i| dropped.contains(&i)));
        }
    }

    /// Whether fields of this name stay as they are, whatever their values, as long as these do not break out.
    fn is_ordinary(&self, name: &[u8]) -> bool {
        with_lower(name, |lower| {
            self.header(lower) == Verdict::Unknown
                && !matches!(lower, b"cookie" | b"set-cookie" | b"grpc-message")
                && !lower.ends_with(b"-bin")
                && url_form(lower).is_none()
        })
    }

    /// Trailers of gRPC-Web, which are the last message of a body; None where they stay.
    pub(super) fn trailers(&self, block: &[u8], hits: &mut Hits) -> Option<Vec<u8>> {
        let mut headers = Headers::default();
        for line in block.split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = memchr::memchr(b':', line).unwrap_or(line.len());
            let (name, value) = line.split_at(colon);
            if !line.is_empty() {
                headers.push(name, value.get(1..).unwrap_or_default().trim_ascii());
            }
        }
        let before = headers.clone();
        // The end of what is cut stays the end: patterns look at it.
        let cut = !block.ends_with(b"\n");
        let last = headers.len().checked_sub(1).filter(|_| cut);
        let bin = |i: &usize| {
            headers
                .iter()
                .nth(*i)
                .is_some_and(|(n, _)| n.ends_with(b"-bin"))
        };
        if let Some(last) = last.filter(bin) {
            headers.replace_value(last, MASK);
            hits.add(MALFORMED);
        }
        self.fields(&mut headers, hits);
        if headers == before {
            return None;
        }
        let line = |(name, value): (&[u8], &[u8])| [name, b": ", value, b"\r\n"].concat();
        let mut out: Vec<u8> = headers.iter().flat_map(line).collect();
        if cut {
            out.truncate(out.len().saturating_sub(2));
        }
        Some(out)
    }

    /// What is left of one field's value; None: nothing.
    pub(super) fn header_value<'v>(
        &self,
        name: &[u8],
        value: &'v [u8],
        hits: &mut Hits,
    ) -> Option<Cow<'v, [u8]>> {
        match self.field(name, value, hits) {
            Change::Stays => Some(Cow::Borrowed(value)),
            Change::Becomes(value) => Some(Cow::Owned(value)),
            Change::Masked => Some(Cow::Borrowed(MASK)),
            Change::Dropped => None,
        }
    }

    fn header(&self, lower: &[u8]) -> Verdict {
        match self.header.decide(lower) {
            Verdict::Unknown => names::built_in_header(lower)
                .map_or(Verdict::Unknown, |id| Verdict::Hide(id, Action::Mask)),
            verdict => verdict,
        }
    }

    fn field(&self, name: &[u8], value: &[u8], hits: &mut Hits) -> Change {
        if value.is_empty() || value == MASK {
            return Change::Stays;
        }
        with_lower(name, |lower| {
            if lower == b"cookie"
                && !self.cookie.is_empty()
                && self.header.decide(lower) == Verdict::Unknown
            {
                return self.cookies(value, hits);
            }
            if lower == b"set-cookie"
                && self.header.decide(lower) == Verdict::Unknown
                && let Some(change) = self.set_cookie(value, hits)
            {
                return change;
            }
            match self.header(lower) {
                Verdict::Keep => Change::Stays,
                Verdict::Hide(matcher, action) => {
                    hits.add(matcher);
                    match action {
                        Action::Mask => Change::Masked,
                        // Without its coding, content would be taken for what it is not.
                        Action::Drop if is_coding(lower) => Change::Masked,
                        Action::Drop => Change::Dropped,
                        Action::Hash => Change::Becomes(self.hash(value)),
                    }
                }
                Verdict::Unknown if breaks_out(value) => {
                    hits.add(MALFORMED);
                    Change::Masked
                }
                Verdict::Unknown => match url_form(lower) {
                    Some(form) => {
                        scrub(&self.query, form, value, hits).map_or(Change::Stays, Change::Becomes)
                    }
                    None if lower == b"grpc-message" => {
                        let said = self.body.mask_field(value, hits);
                        said.map_or(Change::Stays, Change::Becomes)
                    }
                    None if lower.ends_with(b"-bin") && self.body.touches_base64(value, hits) => {
                        Change::Masked
                    }
                    None => Change::Stays,
                },
            }
        })
    }

    /// What stands for a value: the same for the same secret, white space around it aside.
    fn hash(&self, value: &[u8]) -> Vec<u8> {
        self.header.instead(Action::Hash, names::trim(value))
    }

    /// Pairs of a `cookie` header, one by one: all are masked but those that a rule keeps.
    fn cookies(&self, value: &[u8], hits: &mut Hits) -> Change {
        let mut out = Vec::with_capacity(value.len());
        let mut first = true;
        for pair in value.split(|b| *b == b';') {
            let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
            let has_value = name.len() < pair.len();
            let decided = with_lower(name, |lower| self.cookie.decide(lower));
            let (matcher, action) = match decided {
                Verdict::Hide(matcher, action) => (matcher, action),
                _ => (COOKIE, Action::Mask),
            };
            let empty = names::trim(pair).is_empty();
            if action == Action::Drop && !empty {
                hits.add(matcher);
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b';');
            }
            if decided == Verdict::Keep && has_value {
                out.extend_from_slice(pair);
                continue;
            }
            if empty {
                continue;
            }
            if pair.starts_with(b" ") {
                out.push(b' ');
            }
            // Without a name, the pair is all value.
            let mut secret = name;
            if has_value {
                out.extend_from_slice(names::trim(name));
                out.push(b'=');
                secret = pair.get(name.len() + 1..).unwrap_or_default();
            }
            out.extend(self.cookie.instead(action, names::trim(secret)));
            hits.add(matcher);
        }
        match out == value {
            true => Change::Stays,
            false => Change::Becomes(out),
        }
    }

    /// What a rule for cookies makes of a `set-cookie` value; None: no rule knows its cookie, or one masks it, and the
    /// whole field is hidden.
    fn set_cookie(&self, value: &[u8], hits: &mut Hits) -> Option<Change> {
        let pair = value.split(|b| *b == b';').next().unwrap_or_default();
        let (name, secret) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
        match with_lower(name, |lower| self.cookie.decide(lower)) {
            Verdict::Keep => Some(Change::Stays),
            Verdict::Hide(matcher, Action::Drop) => {
                hits.add(matcher);
                Some(Change::Dropped)
            }
            Verdict::Hide(matcher, Action::Hash) => {
                hits.add(matcher);
                let secret = names::trim(secret.get(1..).unwrap_or_default());
                let hash = self.cookie.instead(Action::Hash, secret);
                let attributes = value.get(pair.len()..).unwrap_or_default();
                Some(Change::Becomes([name, b"=", &hash, attributes].concat()))
            }
            Verdict::Hide(_, Action::Mask) | Verdict::Unknown => None,
        }
    }
}

const KNOWN_METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
    b"QUERY",
];

/// Longer ones are no method that anyone has registered (`UPDATEREDIRECTREF` has 17 bytes).
const MAX_METHOD: usize = 32;

/// Some receiver may see another field in here.
fn breaks_out(value: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, value).is_some()
}

/// Names the codings of content.
fn is_coding(lower: &[u8]) -> bool {
    matches!(lower, b"content-encoding" | b"transfer-encoding")
}

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
