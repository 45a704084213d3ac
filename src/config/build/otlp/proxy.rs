//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals, else in small letters.
//!
//! The variables of curl, and of Go's `net/http` and gRPC, which the collectors use: the destination's scheme names the
//! variable, and `HTTPS_PROXY` is gRPC's, which needs CONNECT in any case. Loopback is never asked for through a proxy.

use super::{Picked, picked};
use crate::config::build::Builder;
use crate::config::model::{OtlpProtocol, OtlpProxy, Secret};
use crate::config::problem::quote;
use crate::config::sources::Origin;
use crate::config::tree::Mark;
use crate::rules::expr::Net;
use ::url::{Host, Url};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::net::IpAddr;

impl Builder<'_> {
    /// The proxy on the way to `destination`; None: there is none, or a problem was reported.
    pub(super) fn proxy(
        &mut self,
        destination: &Url,
        protocol: OtlpProtocol,
    ) -> Option<Picked<OtlpProxy>> {
        let of_scheme = match (protocol, destination.scheme()) {
            (OtlpProtocol::Http, "http") => "HTTP_PROXY",
            _ => "HTTPS_PROXY",
        };
        let (name, text) = self
            .either_case(of_scheme)
            .or_else(|| self.either_case("ALL_PROXY"))?;
        let spared = self.either_case("NO_PROXY").map_or("", |(_, list)| list);
        if is_spared(destination, spared) {
            return None;
        }
        let origin = Origin::Environment(name);
        match read(text) {
            Ok(proxy) => Some(Picked {
                origin,
                ..picked(proxy, Mark::default())
            }),
            Err(problem) => {
                self.complain(&origin, Mark::default(), &problem);
                self.problems
                    .hint("a destination that needs none is named in NO_PROXY");
                None
            }
        }
    }

    fn either_case(&self, name: &str) -> Option<(String, &str)> {
        [name.to_owned(), name.to_ascii_lowercase()]
            .into_iter()
            .find_map(|name| {
                let value = self.environment.get(&name)?.trim();
                Some((name, value))
            })
    }
}

/// The problem never shows the value: it may hold a password.
fn read(text: &str) -> Result<OtlpProxy, String> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url = Url::parse(&whole).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = quote(url.scheme());
        return Err(format!("has scheme {scheme}: use a proxy of http or https"));
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("has no host")?;
    let port = url.port_or_known_default().filter(|port| *port > 0);
    let port = port.ok_or("has a port that is not from 1 to 65535")?;
    let (user, password) = (url.username(), url.password());
    let authorization = match user.is_empty() && password.is_none() {
        true => None,
        false => {
            let pair = format!(
                "{}:{}",
                decoded(user)?,
                decoded(password.unwrap_or_default())?
            );
            Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
        }
    };
    Ok(OtlpProxy {
        url: format!("{}://{host}:{port}", url.scheme()),
        authorization,
    })
}

fn decoded(part: &str) -> Result<Cow<'_, str>, &'static str> {
    let part = percent_encoding::percent_decode_str(part).decode_utf8();
    part.map_err(|_| "has a user or a password that is not UTF-8 after percent-decoding")
}

/// Whether `destination` is on this host by its address, or by its name (RFC 6761 §6.3).
pub(super) fn is_loopback(destination: &Url) -> bool {
    let host = host(destination);
    match address(destination) {
        Some(address) => address.to_canonical().is_loopback(),
        None => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn address(destination: &Url) -> Option<IpAddr> {
    match destination.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

fn host(destination: &Url) -> &str {
    let host = destination.host_str().unwrap_or_default();
    host.trim_end_matches('.')
}

/// Whether a destination is loopback or in the list of `NO_PROXY`: hosts with everything below them, addresses,
/// networks, each with or without a port, or `*` for all.
fn is_spared(destination: &Url, list: &str) -> bool {
    let port = destination.port_or_known_default();
    let address = address(destination);
    let host = host(destination);
    let named = |item: &str| {
        if item == "*" {
            return true;
        }
        let (item, wanted) = split_port(item);
        let fits = match address {
            Some(address) => Net::parse(item).is_some_and(|net| net.contains(address)),
            None => is_below(host, item),
        };
        fits && wanted.is_none_or(|wanted| port == Some(wanted))
    };
    let items = list.split([',', ' ']).filter(|item| !item.is_empty());
    is_loopback(destination) || items.into_iter().any(named)
}

/// `host`, `host:port`, `[address]:port`, `address`, `network`.
fn split_port(item: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = item.strip_prefix('[').and_then(|i| i.split_once(']')) {
        let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
        return (address, port);
    }
    match item.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (item, None),
        },
        _ => (item, None),
    }
}

/// `host` is `domain` or below it; `.domain` and `*.domain` mean the same as `domain`.
fn is_below(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('*').unwrap_or(domain);
    let domain = domain.trim_matches('.').to_ascii_lowercase();
    match host.strip_suffix(&domain) {
        Some(rest) => !domain.is_empty() && (rest.is_empty() || rest.ends_with('.')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_domains_addresses_networks_and_ports() {
        for (list, destination, spared) in [
            ("", "https://collector.example", false),
            ("", "http://localhost:4317", true),
            ("", "http://a.localhost:4317", true),
            ("", "http://127.0.0.7:4317", true),
            ("", "http://[::1]:4317", true),
            ("*", "https://collector.example", true),
            ("collector.example", "https://collector.example", true),
            ("Collector.Example", "https://collector.example", true),
            ("example", "https://collector.example", true),
            (".example", "https://collector.example", true),
            ("*.example", "https://collector.example", true),
            ("ample", "https://collector.example", false),
            ("a.collector.example", "https://collector.example", false),
            ("x, collector.example ,y", "https://collector.example", true),
            ("collector.example:443", "https://collector.example", true),
            ("collector.example:4317", "https://collector.example", false),
            ("10.1.2.3", "http://10.1.2.3:4317", true),
            ("10.0.0.0/8", "http://10.1.2.3:4317", true),
            ("10.0.0.0/8", "http://11.1.2.3:4317", false),
            ("10.1.2.3:4317", "http://10.1.2.3:4317", true),
            ("10.1.2.3:1", "http://10.1.2.3:4317", false),
            ("fd00::/8", "http://[fd00::1]:4317", true),
            ("[fd00::1]:4317", "http://[fd00::1]:4317", true),
            ("fd00::1", "http://[fd00::1]:4317", true),
            (",", "https://collector.example", false),
        ] {
            let url = Url::parse(destination).expect(destination);
            assert_eq!(is_spared(&url, list), spared, "{list:?} {destination}");
        }
    }

    #[test]
    fn a_proxy_has_scheme_host_port_and_perhaps_a_user() {
        let shown = |text: &str| {
            let proxy = read(text)?;
            let user = proxy.authorization.map(|secret| secret.expose().to_owned());
            Ok::<_, String>((proxy.url, user))
        };
        let plain = |url: &str| Ok((url.to_owned(), None));
        assert_eq!(shown("proxy:3128"), plain("http://proxy:3128"));
        assert_eq!(shown("http://proxy"), plain("http://proxy:80"));
        assert_eq!(shown("https://proxy/"), plain("https://proxy:443"));
        assert_eq!(shown("http://[::1]:1"), plain("http://[::1]:1"));
        let with_user = ("http://p:1".to_owned(), Some("Basic YTpiOmM=".to_owned()));
        assert_eq!(shown("http://a:b%3Ac@p:1"), Ok(with_user));
        for wrong in ["socks5://p:1", "http://p:0", "http://", "http://a:%ff@p"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
