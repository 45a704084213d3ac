//! Who may ask the live page for what: the first look at each request. Pure.

use super::assets::{self, Asset};
use super::token::Token;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::{Method, Request, StatusCode};
use std::net::{IpAddr, SocketAddr};

/// What a request that may be answered asks for.
pub(super) enum Wanted {
    Asset(&'static Asset),
    Status,
    Transactions,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "this page answers to loopback names alone: localhost, 127.0.0.1, [::1], with its port"
    )]
    Host,
    #[error("another page may not ask this one")]
    Origin,
    #[error(
        "nothing goes in the query of the URL, least of all the token, which logs and histories would keep"
    )]
    Query,
    #[error("there is nothing here")]
    Nothing,
    #[error("another method is needed")]
    Method,
    #[error(
        "the token is missing or wrong: it stands behind `#token=` in the address that the agent printed at its start"
    )]
    Token,
}

impl Refusal {
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::Host | Refusal::Origin => StatusCode::FORBIDDEN,
            Refusal::Query => StatusCode::BAD_REQUEST,
            Refusal::Nothing => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Token => StatusCode::UNAUTHORIZED,
        }
    }
}

/// Looks at a request that came to `address`.
pub(super) fn check<B>(
    request: &Request<B>,
    address: SocketAddr,
    token: &Token,
) -> Result<Wanted, Refusal> {
    let headers = request.headers();
    let host = only(headers, HOST.as_str()).filter(|host| is_ours(host, address));
    let host = host.ok_or(Refusal::Host)?;
    // A form of the target with an authority could say something else than `Host`.
    if request.uri().authority().is_some() {
        return Err(Refusal::Host);
    }
    same_origin(headers, host)?;
    if request.uri().query().is_some() {
        return Err(Refusal::Query);
    }
    let (wanted, method) = match request.uri().path() {
        "/api/status" => (Wanted::Status, Method::GET),
        "/api/transactions" => (Wanted::Transactions, Method::POST),
        path => (
            Wanted::Asset(assets::find(path).ok_or(Refusal::Nothing)?),
            Method::GET,
        ),
    };
    if *request.method() != method {
        return Err(Refusal::Method);
    }
    match wanted {
        Wanted::Asset(_) => Ok(wanted),
        Wanted::Status | Wanted::Transactions if authorized(headers, token) => Ok(wanted),
        Wanted::Status | Wanted::Transactions => Err(Refusal::Token),
    }
}

/// The value of a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// A name of loopback, with the port of the page.
fn is_ours(host: &str, address: SocketAddr) -> bool {
    let Some((name, port)) = host.rsplit_once(':') else {
        return false;
    };
    let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let loopback = |name: &str| name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let known = name.eq_ignore_ascii_case("localhost")
        || match literal {
            Some(v6) => v6.contains(':') && loopback(v6),
            None => !name.contains(':') && loopback(name),
        };
    known && port.parse() == Ok(address.port())
}

/// A browser says where a request comes from; programs say nothing.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN) {
        let origin = only(headers, ORIGIN.as_str()).and_then(|o| o.strip_prefix("http://"));
        if !origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host)) {
            return Err(Refusal::Origin);
        }
    }
    if headers.contains_key("sec-fetch-site") {
        let site = only(headers, "sec-fetch-site");
        if !matches!(site, Some("same-origin" | "none")) {
            return Err(Refusal::Origin);
        }
    }
    Ok(())
}

fn authorized(headers: &HeaderMap, token: &Token) -> bool {
    let presented = only(headers, AUTHORIZATION.as_str());
    let presented = presented.and_then(|value| value.strip_prefix("Bearer "));
    presented.is_some_and(|presented| token.is(presented.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "127.0.0.1:10002";

    /// The answer to a request with these headers beside `Host`, which is given first.
    fn ask(method: &str, target: &str, host: &str, headers: &[(&str, &str)]) -> Option<Refusal> {
        let token = Token::new().expect("random");
        let bearer = format!("Bearer {}", token.expose());
        let mut request = Request::builder().method(method).uri(target);
        request = request.header("host", host);
        for (name, value) in headers {
            let value = value.replace("TOKEN", &bearer);
            request = request.header(*name, value);
        }
        let request = request.body(()).expect("a request");
        check(&request, ADDRESS.parse().expect("an address"), &token).err()
    }

    const TOKEN: (&str, &str) = ("authorization", "TOKEN");

    #[test]
    fn the_page_itself_needs_no_token_and_what_was_captured_does() {
        assert_eq!(ask("GET", "/", ADDRESS, &[]), None);
        assert_eq!(ask("GET", "/page.js", ADDRESS, &[]), None);
        for (method, path) in [("GET", "/api/status"), ("POST", "/api/transactions")] {
            assert_eq!(ask(method, path, ADDRESS, &[]), Some(Refusal::Token));
            assert_eq!(ask(method, path, ADDRESS, &[TOKEN]), None);
            for wrong in ["Bearer x", "Basic x", "TOKEN ", "TOKENx"] {
                let told = ask(method, path, ADDRESS, &[("authorization", wrong)]);
                assert_eq!(told, Some(Refusal::Token), "{wrong}");
            }
            let told = ask(method, path, ADDRESS, &[TOKEN, TOKEN]);
            assert_eq!(told, Some(Refusal::Token), "twice");
        }
    }

    #[test]
    fn only_names_of_loopback_with_the_port_are_the_host() {
        for host in [
            "localhost:10002",
            "LOCALHOST:10002",
            "127.0.0.1:10002",
            "127.9.9.9:10002",
            "[::1]:10002",
        ] {
            assert_eq!(ask("GET", "/", host, &[]), None, "{host}");
        }
        for host in [
            "evil.example:10002",
            "localhost",
            "localhost:10001",
            "127.0.0.1",
            "127.0.0.1.evil.example:10002",
            "localhost.evil.example:10002",
            "10.0.0.1:10002",
            "::1:10002",
            "[127.0.0.1]:10002",
            "",
            "[::1]",
            "0.0.0.0:10002",
        ] {
            let told = ask("GET", "/", host, &[TOKEN]);
            assert_eq!(told, Some(Refusal::Host), "{host}");
        }
        let told = ask("GET", "/", ADDRESS, &[("host", "evil.example")]);
        assert_eq!(told, Some(Refusal::Host), "twice");
        let told = ask("GET", "http://evil.example/", ADDRESS, &[]);
        assert_eq!(told, Some(Refusal::Host), "absolute form");
    }

    #[test]
    fn another_origin_may_not_ask_even_with_the_token() {
        for headers in [
            [("origin", "http://evil.example")],
            [("origin", "null")],
            [("origin", "https://127.0.0.1:10002")],
            [("origin", "http://127.0.0.1:10003")],
            // The very page under its other name.
            [("origin", "http://localhost:10002")],
            [("sec-fetch-site", "cross-site")],
            [("sec-fetch-site", "same-site")],
        ] {
            let [header] = headers;
            let told = ask("POST", "/api/transactions", ADDRESS, &[TOKEN, header]);
            assert_eq!(told, Some(Refusal::Origin), "{header:?}");
        }
        let own = ("origin", "http://127.0.0.1:10002");
        let told = ask(
            "POST",
            "/api/transactions",
            ADDRESS,
            &[TOKEN, own, ("sec-fetch-site", "same-origin")],
        );
        assert_eq!(told, None);
    }

    #[test]
    fn nothing_goes_in_the_query() {
        for target in ["/?token=a", "/api/status?token=a", "/?", "/page.js?x"] {
            let told = ask("GET", target, ADDRESS, &[TOKEN]);
            assert_eq!(told, Some(Refusal::Query), "{target}");
        }
    }

    #[test]
    fn what_is_not_there_and_other_methods_are_refused() {
        assert_eq!(
            ask("GET", "/etc/passwd", ADDRESS, &[TOKEN]),
            Some(Refusal::Nothing)
        );
        assert_eq!(
            ask("GET", "/../page.js", ADDRESS, &[]),
            Some(Refusal::Nothing)
        );
        assert_eq!(ask("POST", "/", ADDRESS, &[TOKEN]), Some(Refusal::Method));
        assert_eq!(
            ask("GET", "/api/transactions", ADDRESS, &[TOKEN]),
            Some(Refusal::Method)
        );
    }
}
