//! The rows, each with its test.

use super::clients::{self, Start};
use super::programs::{bun, debian, envoy, node16, none, openssl, said, version_in, version_of};
use super::{Association, End, Kind, Row, servers};
use crate::harness::venv;
use std::process::Command;

const LIBSSL: &str = "/libssl.so.3";
const GNUTLS: &str = "/libgnutls.so.30";

/// A client with a library of the system, which does its socket calls inside the TLS calls.
const fn client(program: &'static str, version: fn() -> String, start: Start) -> Row {
    Row {
        program,
        version,
        stack: "openssl",
        stack_version: openssl,
        library: LIBSSL,
        kind: Kind::Shared,
        http: start.program.http,
        end: End::Client(start),
        association: Association::Inside,
    }
}

const fn server(
    program: &'static str,
    version: fn() -> String,
    start: fn(&crate::harness::work::Work) -> crate::harness::servers::Server,
    header: &'static str,
) -> Row {
    Row {
        end: End::Server { start, header },
        ..client(program, version, clients::REQUESTS)
    }
}

/// The same with another implementation of TLS.
const fn over(
    row: Row,
    stack: &'static str,
    stack_version: fn() -> String,
    library: &'static str,
    kind: Kind,
) -> Row {
    Row {
        stack,
        stack_version,
        library,
        kind,
        ..row
    }
}

const fn beside(row: Row) -> Row {
    Row {
        association: Association::Beside,
        ..row
    }
}

const fn http2(row: Row) -> Row {
    Row { http: "2", ..row }
}

fn gnutls() -> String {
    debian("libgnutls30")
}

fn nss() -> String {
    debian("libnss3")
}

fn of_node(node: &str) -> String {
    version_in(&said(
        Command::new(node).args(["-p", "process.versions.openssl"]),
    ))
}

fn node_openssl() -> String {
    of_node("node")
}

fn node16_openssl() -> String {
    of_node(node16().to_str().expect("a path in UTF-8"))
}

fn node() -> String {
    version_in(said(Command::new("node").arg("--version")).trim_start_matches('v'))
}

fn node16_version() -> String {
    version_in(said(Command::new(node16()).arg("--version")).trim_start_matches('v'))
}

fn bun_version() -> String {
    version_in(&said(Command::new(bun()).arg("--version")))
}

fn envoy_version() -> String {
    let line = said(Command::new(envoy()).arg("--version"));
    // …/1.40.0/Clean/RELEASE/BoringSSL
    let part = line.split('/').find(|part| part.split('.').count() == 3);
    version_in(part.unwrap_or_else(|| panic!("no version in {line:?}")))
}

fn of_python(statement: &str) -> String {
    version_in(&said(
        Command::new(crate::harness::servers::PYTHON).args(["-c", statement]),
    ))
}

fn of_pycurl(statement: &str) -> String {
    let python = venv("bin/python");
    let statement = format!("import pycurl; print({statement})");
    version_in(&said(Command::new(python).args(["-c", &statement])))
}

fn pycurl() -> String {
    of_pycurl("pycurl.version_info()[1]")
}

fn pycurl_openssl() -> String {
    of_pycurl("pycurl.version_info()[5].split('/')[1]")
}

fn php() -> String {
    version_of("php", "--version")
}

fn ruby() -> String {
    version_of("ruby", "--version")
}

fn lwp() -> String {
    version_in(&said(Command::new("perl").args([
        "-MLWP",
        "-e",
        "print $LWP::VERSION",
    ])))
}

fn requests() -> String {
    of_python("import requests; print(requests.__version__)")
}

fn aiohttp() -> String {
    of_python("import aiohttp; print(aiohttp.__version__)")
}

fn uvicorn() -> String {
    of_python("import uvicorn; print(uvicorn.__version__)")
}

fn wget() -> String {
    debian("wget")
}

fn git() -> String {
    debian("git")
}

fn libcurl() -> String {
    debian("libcurl3-gnutls")
}

fn apache2() -> String {
    debian("apache2-bin")
}

fn haproxy() -> String {
    debian("haproxy")
}

fn puma() -> String {
    debian("puma")
}

/// A test for each row, and the list of all.
macro_rules! rows {
    ($($test:ident: $row:expr,)*) => {
        pub static ROWS: &[Row] = &[$($row,)*];
        enum Number { $($test,)* }
        $(
            #[test]
            fn $test() {
                crate::stacks::run(&ROWS[Number::$test as usize]);
            }
        )*
    };
}

#[expect(non_camel_case_types, reason = "the names of tests")]
mod of_each {
    use super::*;

    rows! {
        wget_is_captured_as_client: over(client("wget", wget, clients::WGET), "gnutls", gnutls, GNUTLS, Kind::Shared),
        git_is_captured_as_client: Row { end: End::Git, ..over(client("git", git, clients::WGET), "gnutls", gnutls, GNUTLS, Kind::Shared) },
        libcurl_gnutls_is_captured_as_client: over(client("libcurl-gnutls", libcurl, clients::LIBCURL_GNUTLS), "gnutls", gnutls, GNUTLS, Kind::Shared),
        libcurl_nss_is_captured_as_client: over(client("libcurl-nss", libcurl, clients::LIBCURL_NSS), "nss", nss, "/libnspr4.so", Kind::Shared),
        pycurl_is_captured_as_client: over(client("pycurl", pycurl, clients::PYCURL), "openssl", pycurl_openssl, "pycurl.libs/libssl-", Kind::Bundled),
        pycurl_is_captured_as_client_of_http_2: over(client("pycurl", pycurl, clients::PYCURL_HTTP2), "openssl", pycurl_openssl, "pycurl.libs/libssl-", Kind::Bundled),
        php_curl_is_captured_as_client: client("PHP, curl", php, clients::PHP_CURL),
        php_streams_are_captured_as_client: client("PHP, streams", php, clients::PHP_STREAMS),
        ruby_is_captured_as_client: client("Ruby, net/http", ruby, clients::RUBY),
        perl_is_captured_as_client: client("Perl, LWP", lwp, clients::PERL),
        python_requests_is_captured_as_client: client("Python, requests", requests, clients::REQUESTS),
        python_aiohttp_is_captured_as_client: beside(client("Python, aiohttp", aiohttp, clients::AIOHTTP)),
        node_16_is_captured_as_client: beside(over(client("Node", node16_version, clients::NODE16), "openssl", node16_openssl, "/node", Kind::Static)),
        node_is_captured_as_client: beside(over(client("Node, https", node, clients::NODE), "openssl", node_openssl, "/node", Kind::Static)),
        node_http2_is_captured_as_client: beside(over(client("Node, http2", node, clients::NODE_HTTP2), "openssl", node_openssl, "/node", Kind::Static)),
        bun_is_captured_as_client: beside(over(client("Bun", bun_version, clients::BUN), "boringssl", none, "/bun", Kind::Stripped)),
        apache2_is_captured_as_server: server("apache2", apache2, servers::apache2, "apache2"),
        apache2_is_captured_as_server_of_http_2: http2(server("apache2", apache2, servers::apache2, "apache2")),
        puma_is_captured_as_server: server("puma", puma, servers::puma, "puma"),
        uvicorn_is_captured_as_server: beside(server("uvicorn", uvicorn, servers::uvicorn, "uvicorn-app")),
        node_16_is_captured_as_server: beside(over(server("Node", node16_version, servers::node16_server, "node"), "openssl", node16_openssl, "/node", Kind::Static)),
        bun_is_captured_as_server: beside(over(server("Bun", bun_version, servers::bun_server, "bun"), "boringssl", none, "/bun", Kind::Stripped)),
        haproxy_is_captured_on_both_sides: proxy("haproxy", haproxy, servers::haproxy, "haproxy", "1.1"),
        haproxy_is_captured_on_both_sides_with_http_2: http2(proxy("haproxy", haproxy, servers::haproxy, "haproxy", "1.1")),
        envoy_is_captured_on_both_sides: over(proxy("Envoy", envoy_version, servers::envoy_proxy, "envoy-proxy", "1.1"), "boringssl", none, "/envoy", Kind::Stripped),
        envoy_is_captured_on_both_sides_with_http_2: http2(over(proxy("Envoy", envoy_version, servers::envoy_proxy, "envoy-proxy", "1.1"), "boringssl", none, "/envoy", Kind::Stripped)),
    }
}
pub use of_each::ROWS;

const fn proxy(
    program: &'static str,
    version: fn() -> String,
    start: fn(&crate::harness::work::Work, u16) -> crate::harness::servers::Server,
    header: &'static str,
    behind: &'static str,
) -> Row {
    Row {
        end: End::Proxy {
            start,
            header,
            behind,
        },
        ..client(program, version, clients::REQUESTS)
    }
}
