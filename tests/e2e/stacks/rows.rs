//! The rows, each with its test.

use super::clients::{self, Start};
use super::programs::{
    bun, cmake, cmake_old, debian, deno, envoy, node16, none, openssl, openssl_in, package,
    rustls_in, rustls_peer, said, unpacked, uv, version_in, version_of,
};
use super::rustls::{v20, v21, v22, with_symbols};
use super::{Association, End, Kind, Row, java, servers};
use crate::harness::plan::Client;
use crate::harness::servers::{Server, caddy, go, go_program, nginx, nginx_http2};
use crate::harness::venv;
use crate::harness::work::Work;
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

/// A JVM, which the agent gives a library.
const fn java(row: Row, association: Association) -> Row {
    Row {
        association,
        ..over(row, "jsse", none, "/libplainspan-jsse.so", Kind::Given)
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

fn deno_version() -> String {
    version_in(&said(Command::new(deno()).arg("--version")))
}

fn deno_rustls() -> String {
    rustls_in(&deno())
}

fn uv_version() -> String {
    version_in(&said(Command::new(uv()).arg("--version")))
}

fn uv_rustls() -> String {
    rustls_in(&uv())
}

fn peer_rustls() -> String {
    rustls_in(&rustls_peer())
}

/// A program of ours, over hyper and tokio.
const fn rustls(program: &'static str, row: Row) -> Row {
    Row {
        program,
        version: none,
        ..beside(over(
            row,
            "rustls",
            peer_rustls,
            "/target/rustls/peer",
            Kind::Stripped,
        ))
    }
}

/// The same with another build, of another version.
const fn rustls_of(version: fn() -> String, file: &'static str, row: Row) -> Row {
    Row {
        stack_version: version,
        library: file,
        ..row
    }
}

const fn of_deno(row: Row) -> Row {
    beside(over(row, "rustls", deno_rustls, "/deno", Kind::Stripped))
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

fn of_psycopg2(statement: &str) -> String {
    let statement = format!("import psycopg2; {statement}");
    version_in(&said(
        Command::new(venv("bin/python")).args(["-c", &statement]),
    ))
}

fn psycopg2() -> String {
    of_psycopg2("print(psycopg2.__version__)")
}

fn psycopg2_openssl() -> String {
    of_psycopg2(
        "import ctypes, glob, os; \
         at = os.path.dirname(os.path.dirname(psycopg2.__file__)) + '/psycopg2_binary.libs/libcrypto-*'; \
         version = ctypes.CDLL(glob.glob(at)[0]).OpenSSL_version; \
         version.restype = ctypes.c_char_p; print(version(0).decode())",
    )
}

fn psycopg2_old() -> String {
    let package = unpacked("psycopg2_binary/psycopg2_binary-2.7.7.dist-info");
    version_in(&package.display().to_string().replace('/', " "))
}

fn psycopg2_old_openssl() -> String {
    openssl_in(&unpacked(
        "psycopg2_binary/psycopg2/.libs/libssl-c0c2ede4.so.1.0.2q",
    ))
}

fn pyopenssl() -> String {
    let print = "import OpenSSL; print(OpenSSL.__version__)";
    version_in(&said(&mut clients::python_openssl(&[
        "-W", "ignore", "-c", print,
    ])))
}

fn pyopenssl_openssl() -> String {
    openssl_in(&unpacked(
        "cryptography/cryptography/hazmat/bindings/_openssl.abi3.so",
    ))
}

fn cmake_version() -> String {
    version_in(&said(Command::new(cmake()).arg("--version")))
}

fn cmake_openssl() -> String {
    openssl_in(&cmake())
}

fn cmake_old_version() -> String {
    version_in(&said(Command::new(cmake_old()).arg("--version")))
}

fn cmake_old_openssl() -> String {
    openssl_in(&cmake_old())
}

fn dotnet() -> String {
    let package = unpacked("dotnetcore2").join("dotnetcore2-3.1.23.dist-info");
    version_in(&package.display().to_string().replace('/', " "))
}

fn dotnet_openssl() -> String {
    openssl_in(&unpacked("openssl_1_1/libcrypto.so.1.1"))
}

/// It takes a libssl of the system; that of Debian is too new for it.
const fn of_dotnet(row: Row) -> Row {
    Row {
        association: Association::Apart,
        ..over(
            row,
            "openssl",
            dotnet_openssl,
            "/libssl-dbe77c63.so.1.1.1g",
            Kind::Shared,
        )
    }
}

fn curl() -> String {
    version_of("curl", "--version")
}

fn nginx_version() -> String {
    debian("nginx")
}

fn caddy_version() -> String {
    let line = said(Command::new(venv("bin/caddy")).arg("version"));
    version_in(line.trim_start_matches('v'))
}

/// The version of Go that built a program.
fn go_in(program: &std::path::Path) -> String {
    let mut go = Command::new(package("go/bin/go"));
    let line = said(go.arg("version").arg(program));
    version_in(&line.replace(" go1", " 1"))
}

fn caddy_go() -> String {
    go_in(&venv("bin/caddy"))
}

fn new_go() -> String {
    go_in(&go_program("new"))
}

fn old_go() -> String {
    go_in(&go_program("old"))
}

const fn curl_row(client: Client, http: &'static str) -> Row {
    Row {
        end: End::Known { client, idle: None },
        http,
        ..self::client("curl", curl, clients::REQUESTS)
    }
}

/// Our own program, without symbols.
const fn go_client(
    version: fn() -> String,
    client: Client,
    idle: fn(&Work) -> Server,
    http: &'static str,
) -> Row {
    let row = Row {
        end: End::Known {
            client,
            idle: Some(idle),
        },
        http,
        ..self::client("Go, net/http", version, clients::REQUESTS)
    };
    over(row, "go", version, "/target/go/", Kind::Stripped)
}

const fn go_server(version: fn() -> String, start: fn(&Work) -> Server, http: &'static str) -> Row {
    let row = Row {
        http,
        ..server("Go, net/http", version, start, "go")
    };
    over(row, "go", version, "/target/go/", Kind::Stripped)
}

fn new_go_server(work: &Work) -> Server {
    go(work, "new", None)
}

fn old_go_server(work: &Work) -> Server {
    go(work, "old", None)
}

fn nginx_2(work: &Work) -> Server {
    nginx_http2(work, "https")
}

const fn of_caddy(row: Row) -> Row {
    over(row, "go", caddy_go, "/caddy", Kind::Stripped)
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

fn python() -> String {
    version_of(crate::harness::servers::PYTHON, "--version")
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
        curl_is_captured_as_client: curl_row(Client::Curl, "1.1"),
        curl_is_captured_as_client_of_http_2: curl_row(Client::CurlHttp2, "2"),
        wget_is_captured_as_client: over(client("wget", wget, clients::WGET), "gnutls", gnutls, GNUTLS, Kind::Shared),
        git_is_captured_as_client: Row { end: End::Git, ..over(client("git", git, clients::WGET), "gnutls", gnutls, GNUTLS, Kind::Shared) },
        libcurl_gnutls_is_captured_as_client: over(client("libcurl-gnutls", libcurl, clients::LIBCURL_GNUTLS), "gnutls", gnutls, GNUTLS, Kind::Shared),
        libcurl_nss_is_captured_as_client: over(client("libcurl-nss", libcurl, clients::LIBCURL_NSS), "nss", nss, "/libnspr4.so", Kind::Shared),
        pycurl_is_captured_as_client: over(client("pycurl", pycurl, clients::PYCURL), "openssl", pycurl_openssl, "pycurl.libs/libssl-", Kind::Bundled),
        pycurl_is_captured_as_client_of_http_2: over(client("pycurl", pycurl, clients::PYCURL_HTTP2), "openssl", pycurl_openssl, "pycurl.libs/libssl-", Kind::Bundled),
        psycopg2s_libssl_is_captured_as_client: over(client("psycopg2-binary", psycopg2, clients::PSYCOPG2), "openssl", psycopg2_openssl, "psycopg2_binary.libs/libssl-", Kind::Bundled),
        psycopg2s_old_libssl_is_captured_as_client: over(client("psycopg2-binary", psycopg2_old, clients::PSYCOPG2_OLD), "openssl", psycopg2_old_openssl, "psycopg2/.libs/libssl-", Kind::Bundled),
        cmake_3_22_is_captured_as_client: Row { end: End::Cmake(cmake_old), ..over(client("CMake", cmake_old_version, clients::REQUESTS), "openssl", cmake_old_openssl, "/cmake", Kind::Stripped) },
        openssl_1_1_0_is_captured_as_client: over(client("pyOpenSSL, OpenSSL 1.1.0", pyopenssl, clients::PYOPENSSL), "openssl", pyopenssl_openssl, "/_openssl.abi3.so", Kind::Bundled),
        cmake_is_captured_as_client: Row { end: End::Cmake(cmake), ..over(client("CMake", cmake_version, clients::REQUESTS), "openssl", cmake_openssl, "/cmake", Kind::Stripped) },
        dotnet_is_captured_as_client: of_dotnet(client(".NET, HttpClient", dotnet, clients::DOTNET)),
        dotnet_is_captured_as_client_of_http_2: of_dotnet(client(".NET, HttpClient", dotnet, clients::DOTNET_HTTP2)),
        php_curl_is_captured_as_client: client("PHP, curl", php, clients::PHP_CURL),
        php_streams_are_captured_as_client: client("PHP, streams", php, clients::PHP_STREAMS),
        ruby_is_captured_as_client: client("Ruby, net/http", ruby, clients::RUBY),
        perl_is_captured_as_client: client("Perl, LWP", lwp, clients::PERL),
        python_requests_is_captured_as_client: client("Python, requests", requests, clients::REQUESTS),
        python_aiohttp_is_captured_as_client: beside(client("Python, aiohttp", aiohttp, clients::AIOHTTP)),
        python_with_tls_and_sockets_on_different_threads_is_captured_as_client: Row { association: Association::Apart, ..client("Python, threads", python, clients::THREADS) },
        node_16_is_captured_as_client: beside(over(client("Node", node16_version, clients::NODE16), "openssl", node16_openssl, "/node", Kind::Static)),
        node_is_captured_as_client: beside(over(client("Node, https", node, clients::NODE), "openssl", node_openssl, "/node", Kind::Static)),
        node_http2_is_captured_as_client: beside(over(client("Node, http2", node, clients::NODE_HTTP2), "openssl", node_openssl, "/node", Kind::Static)),
        node_fetch_is_captured_as_client: beside(over(client("Node, fetch", node, clients::NODE_FETCH), "openssl", node_openssl, "/node", Kind::Static)),
        bun_is_captured_as_client: beside(over(client("Bun", bun_version, clients::BUN), "boringssl", none, "/bun", Kind::Stripped)),
        go_is_captured_as_client: go_client(new_go, Client::Go("new", "1.1"), new_go_server, "1.1"),
        go_is_captured_as_client_of_http_2: go_client(new_go, Client::Go("new", "2"), new_go_server, "2"),
        old_go_is_captured_as_client: go_client(old_go, Client::Go("old", "1.1"), old_go_server, "1.1"),
        old_go_is_captured_as_client_of_http_2: go_client(old_go, Client::Go("old", "2"), old_go_server, "2"),
        nginx_is_captured_as_server: server("nginx", nginx_version, nginx, "nginx"),
        nginx_is_captured_as_server_of_http_2: http2(server("nginx", nginx_version, nginx_2, "nginx")),
        go_is_captured_as_server: go_server(new_go, new_go_server, "1.1"),
        go_is_captured_as_server_of_http_2: go_server(new_go, new_go_server, "2"),
        old_go_is_captured_as_server: go_server(old_go, old_go_server, "1.1"),
        old_go_is_captured_as_server_of_http_2: go_server(old_go, old_go_server, "2"),
        caddy_is_captured_as_server: of_caddy(server("Caddy", caddy_version, caddy, "caddy")),
        caddy_is_captured_as_server_of_http_2: http2(of_caddy(server("Caddy", caddy_version, caddy, "caddy"))),
        apache2_is_captured_as_server: server("apache2", apache2, servers::apache2, "apache2"),
        apache2_is_captured_as_server_of_http_2: http2(server("apache2", apache2, servers::apache2, "apache2")),
        puma_is_captured_as_server: server("puma", puma, servers::puma, "puma"),
        uvicorn_is_captured_as_server: beside(server("uvicorn", uvicorn, servers::uvicorn, "uvicorn-app")),
        node_16_is_captured_as_server: beside(over(server("Node", node16_version, servers::node16_server, "node"), "openssl", node16_openssl, "/node", Kind::Static)),
        bun_is_captured_as_server: beside(over(server("Bun", bun_version, servers::bun_server, "bun"), "boringssl", none, "/bun", Kind::Stripped)),
        grpcio_is_captured_on_both_sides: Row { end: End::Grpcio, association: Association::Apart, ..http2(over(client("grpcio", crate::stacks::grpcio::version, clients::REQUESTS), "boringssl", none, "/cygrpc.", Kind::Stripped)) },
        rustls_with_aws_lc_is_captured_as_client: rustls("hyper, aws-lc, TLS 1.3", client("", none, clients::RUSTLS_AWS_LC)),
        rustls_whose_keys_are_renewed_is_captured_as_client: rustls("hyper, aws-lc, TLS 1.3, new keys", client("", none, clients::RUSTLS_RENEW)),
        rustls_with_aws_lc_is_captured_as_client_of_tls_1_2: rustls("hyper, aws-lc, TLS 1.2 AES", client("", none, clients::RUSTLS_AWS_LC_12)),
        rustls_with_ring_is_captured_as_client: rustls("hyper, ring, TLS 1.3", client("", none, clients::RUSTLS_RING)),
        rustls_with_ring_is_captured_as_client_of_tls_1_2: rustls("hyper, ring, TLS 1.2 ChaCha20", client("", none, clients::RUSTLS_RING_12)),
        rustls_with_aws_lc_is_captured_as_server: rustls("hyper, aws-lc, TLS 1.3", http2(server("", none, servers::rustls_aws_lc, "rustls"))),
        rustls_with_aws_lc_is_captured_as_server_of_tls_1_2: rustls("hyper, aws-lc, TLS 1.2 ChaCha20", server("", none, servers::rustls_aws_lc_12, "rustls")),
        rustls_with_ring_is_captured_as_server: rustls("hyper, ring, TLS 1.3", server("", none, servers::rustls_ring, "rustls")),
        rustls_with_ring_is_captured_as_server_of_tls_1_2: rustls("hyper, ring, TLS 1.2 AES", http2(server("", none, servers::rustls_ring_12, "rustls"))),
        rustls_with_symbols_is_captured_as_server: Row { kind: Kind::Static, ..rustls_of(with_symbols::rustls, with_symbols::FILE, rustls("hyper, ring, TLS 1.3, with symbols", http2(server("", none, with_symbols::server, "rustls")))) },
        rustls_0_22_is_captured_as_client: rustls_of(v22::rustls, v22::FILE, rustls("hyper, rustls 0.22, aws-lc, TLS 1.3", client("", none, v22::CLIENT))),
        rustls_0_22_is_captured_as_client_of_http_2: rustls_of(v22::rustls, v22::FILE, rustls("hyper, rustls 0.22, ring, TLS 1.2 AES", client("", none, v22::CLIENT_HTTP2))),
        rustls_0_22_is_captured_as_server: rustls_of(v22::rustls, v22::FILE, rustls("hyper, rustls 0.22, ring, TLS 1.2 ChaCha20", server("", none, v22::server, "rustls"))),
        rustls_0_22_is_captured_as_server_of_http_2: rustls_of(v22::rustls, v22::FILE, rustls("hyper, rustls 0.22, aws-lc, TLS 1.3", http2(server("", none, v22::server_http2, "rustls")))),
        rustls_0_21_is_captured_as_client: rustls_of(v21::rustls, v21::FILE, rustls("hyper, rustls 0.21, ring, TLS 1.3", client("", none, v21::CLIENT))),
        rustls_0_21_is_captured_as_client_of_http_2: rustls_of(v21::rustls, v21::FILE, rustls("hyper, rustls 0.21, ring, TLS 1.2 AES", client("", none, v21::CLIENT_HTTP2))),
        rustls_0_21_is_captured_as_server: rustls_of(v21::rustls, v21::FILE, rustls("hyper, rustls 0.21, ring, TLS 1.2 ChaCha20", server("", none, v21::server, "rustls"))),
        rustls_0_21_is_captured_as_server_of_http_2: rustls_of(v21::rustls, v21::FILE, rustls("hyper, rustls 0.21, ring, TLS 1.3", http2(server("", none, v21::server_http2, "rustls")))),
        rustls_0_20_is_captured_as_client: rustls_of(v20::rustls, v20::FILE, rustls("hyper, rustls 0.20, ring, TLS 1.3", client("", none, v20::CLIENT))),
        rustls_0_20_is_captured_as_client_of_http_2: rustls_of(v20::rustls, v20::FILE, rustls("hyper, rustls 0.20, ring, TLS 1.2 AES", client("", none, v20::CLIENT_HTTP2))),
        rustls_0_20_is_captured_as_server: rustls_of(v20::rustls, v20::FILE, rustls("hyper, rustls 0.20, ring, TLS 1.2 ChaCha20", server("", none, v20::server, "rustls"))),
        rustls_0_20_is_captured_as_server_of_http_2: rustls_of(v20::rustls, v20::FILE, rustls("hyper, rustls 0.20, ring, TLS 1.3", http2(server("", none, v20::server_http2, "rustls")))),
        deno_is_captured_as_client: of_deno(client("Deno", deno_version, clients::DENO)),
        deno_is_captured_as_client_of_http_2: of_deno(client("Deno", deno_version, clients::DENO_HTTP2)),
        deno_is_captured_as_server: of_deno(server("Deno", deno_version, servers::deno_server, "deno")),
        deno_is_captured_as_server_of_http_2: http2(of_deno(server("Deno", deno_version, servers::deno_server, "deno"))),
        uv_is_captured_as_client: Row { end: End::Uv, ..beside(over(client("uv", uv_version, clients::REQUESTS), "rustls", uv_rustls, "/uv", Kind::Stripped)) },
        java_http_client_is_captured_as_client: java(client("Java, HttpClient", java::version_17, java::HTTP_CLIENT), Association::Apart),
        java_http_client_is_captured_as_client_of_http_2: java(client("Java, HttpClient", java::version_17, java::HTTP_CLIENT_2), Association::Apart),
        java_url_connection_is_captured_as_client: java(client("Java, HttpsURLConnection", java::version_17, java::URL_CONNECTION), Association::Beside),
        java_is_captured_as_server: java(server("Java, HttpsServer", java::version_17, java::server_17, "java"), Association::Beside),
        java_11_http_client_is_captured_as_client_of_http_2: java(client("Java, HttpClient", java::version_11, java::HTTP_CLIENT_2_OF_11), Association::Apart),
        java_11_url_connection_is_captured_as_client: java(client("Java, HttpsURLConnection", java::version_11, java::URL_CONNECTION_OF_11), Association::Beside),
        java_21_http_client_is_captured_as_client_of_http_2: java(client("Java, HttpClient", java::version_21, java::HTTP_CLIENT_2_OF_21), Association::Apart),
        java_21_is_captured_as_server: java(server("Java, HttpsServer", java::version_21, java::server_21, "java"), Association::Beside),
        java_25_http_client_is_captured_as_client_of_http_2: java(client("Java, HttpClient", java::version_25, java::HTTP_CLIENT_2_OF_25), Association::Apart),
        java_25_url_connection_is_captured_as_client: java(client("Java, HttpsURLConnection", java::version_25, java::URL_CONNECTION_OF_25), Association::Beside),
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
