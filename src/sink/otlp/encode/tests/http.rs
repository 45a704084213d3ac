//! HTTP attributes (1.2 of the table).

use super::*;

#[test]
fn known_methods_are_exact_and_case_counts() {
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
    ] {
        let c = with(Role::Client, |c| request(c).method = method.into());
        assert_eq!(attr(&c, "http.request.method"), text(method));
        assert_eq!(attr(&c, "http.request.method_original"), None);
    }
    for method in ["get", "PROPFIND", "Get"] {
        let c = with(Role::Client, |c| request(c).method = method.into());
        assert_eq!(attr(&c, "http.request.method"), text("_OTHER"));
        assert_eq!(attr(&c, "http.request.method_original"), text(method));
    }
}

#[test]
fn the_list_of_known_methods_can_be_replaced() {
    let options = EncodeOptions {
        known_methods: KnownMethods::parse(" PROPFIND,, GET "),
    };
    for (method, name) in [("PROPFIND", "PROPFIND"), ("GET", "GET"), ("POST", "_OTHER")] {
        let c = with(Role::Client, |c| request(c).method = method.into());
        let span = span(&c, None, &options);
        assert_eq!(find(&span.attributes, "http.request.method"), text(name));
    }
    assert_eq!(KnownMethods::parse(" , "), KnownMethods::default());
}

#[test]
fn url_full_is_absolute_and_on_clients_alone() {
    assert_eq!(
        attr(&client(), "url.full"),
        text("https://example.com/a/b?c=d")
    );
    assert_eq!(attr(&server(), "url.full"), None);
    let url = |change: fn(&mut Capture)| attr(&with(Role::Client, change), "url.full");
    let plain = url(|c| {
        c.transaction.connection.tls = None;
        c.transaction.connection.tls_info = None;
        c.facts.host = Some("example.com:8080".into());
    });
    assert_eq!(plain, text("http://example.com:8080/a/b?c=d"));
    let absolute = url(|c| request(c).target = b"http://other.org:81/x?y".to_vec());
    assert_eq!(absolute, text("http://other.org:81/x?y"));
    let connect = url(|c| {
        request(c).method = b"CONNECT".to_vec();
        request(c).target = b"other.org:443".to_vec();
    });
    assert_eq!(connect, text("https://other.org:443"));
    let asterisk = url(|c| request(c).target = b"*".to_vec());
    assert_eq!(asterisk, text("https://example.com"));
    let by_sni = url(|c| c.facts.host = None);
    assert_eq!(by_sni, text("https://sni.example.com/a/b?c=d"));
    let by_peer = url(|c| {
        c.facts.host = None;
        c.transaction.connection.tls_info = None;
        c.transaction.connection.remote = Some("[2001:db8::1]:8443".parse().expect("an address"));
    });
    assert_eq!(by_peer, text("https://[2001:db8::1]:8443/a/b?c=d"));
    let nowhere = url(|c| {
        c.facts.host = None;
        c.transaction.connection.tls_info = None;
        c.transaction.connection.remote = None;
    });
    assert_eq!(nowhere, None);
}

#[test]
fn url_scheme_is_the_first_proxys_else_the_connections() {
    assert_eq!(attr(&server(), "url.scheme"), text("https"));
    let scheme = |change: fn(&mut Capture)| attr(&with(Role::Server, change), "url.scheme");
    let by_header = scheme(|c| c.facts.x_forwarded_proto = Some("HTTP, https".into()));
    assert_eq!(by_header, text("http"));
    let by_forwarded = scheme(|c| {
        c.facts.x_forwarded_proto = Some("https".into());
        c.facts.forwarded = Some("for=1.2.3.4;proto=http".into());
    });
    assert_eq!(by_forwarded, text("http"));
    let nonsense = scheme(|c| c.facts.x_forwarded_proto = Some("<script>".into()));
    assert_eq!(nonsense, text("https"));
    // A client's own proxy headers say nothing of how it asked.
    let of_client = with(Role::Client, |c| {
        c.facts.x_forwarded_proto = Some("http".into());
    });
    assert_eq!(attr(&of_client, "url.scheme"), text("https"));
}

#[test]
fn url_path_and_query_are_on_servers_and_query_only_where_there_was_one() {
    assert_eq!(attr(&server(), "url.path"), text("/a/b"));
    assert_eq!(attr(&server(), "url.query"), text("c=d"));
    assert_eq!(attr(&client(), "url.path"), None);
    assert_eq!(attr(&client(), "url.query"), None);
    let bare = with(Role::Server, |c| request(c).target = b"/a".to_vec());
    assert_eq!(attr(&bare, "url.query"), None);
}

#[test]
fn server_address_and_port_of_a_client_are_those_of_the_url() {
    let of = |change: fn(&mut Capture)| {
        let c = with(Role::Client, change);
        (attr(&c, "server.address"), attr(&c, "server.port"))
    };
    let pair = |host, port: u16| (text(host), Some(json!(port)));
    assert_eq!(of(|_| {}), pair("example.com", 443));
    assert_eq!(
        of(|c| c.facts.host = Some("example.com:8443".into())),
        pair("example.com", 8443)
    );
    assert_eq!(
        of(|c| request(c).target = b"http://other.org/".to_vec()),
        pair("other.org", 80)
    );
    assert_eq!(
        of(|c| {
            c.facts.host = None;
            c.transaction.connection.tls_info = None;
        }),
        pair("10.0.0.2", 443)
    );
}

#[test]
fn server_address_and_port_of_a_server_are_what_the_first_client_asked_for() {
    let of = |change: fn(&mut Capture)| {
        let c = with(Role::Server, change);
        (attr(&c, "server.address"), attr(&c, "server.port"))
    };
    let pair = |host, port: u16| (text(host), Some(json!(port)));
    assert_eq!(of(|_| {}), pair("example.com", 443));
    assert_eq!(
        of(|c| c.facts.x_forwarded_host = Some("shop.org:8443, inner".into())),
        pair("shop.org", 8443)
    );
    assert_eq!(
        of(|c| {
            c.facts.x_forwarded_host = Some("shop.org".into());
            c.facts.x_forwarded_port = Some("444".into());
        }),
        pair("shop.org", 444)
    );
    assert_eq!(
        of(|c| {
            c.facts.x_forwarded_host = Some("no.org".into());
            c.facts.forwarded = Some("host=\"shop.org:1\"".into());
        }),
        pair("shop.org", 1)
    );
    assert_eq!(of(|c| c.facts.host = None), (None, None));
}

#[test]
fn client_address_is_the_first_client_that_proxies_name_else_the_peer() {
    let of = |change: fn(&mut Capture)| attr(&with(Role::Server, change), "client.address");
    assert_eq!(of(|_| {}), text("10.0.0.1"));
    assert_eq!(
        of(|c| c.facts.x_forwarded_for = Some("1.2.3.4, 5.6.7.8".into())),
        text("1.2.3.4")
    );
    assert_eq!(
        of(|c| c.facts.forwarded = Some("for=\"[2001:db8::1]:4711\"".into())),
        text("2001:db8::1")
    );
    assert_eq!(
        of(|c| c.facts.forwarded = Some("for=unknown".into())),
        text("10.0.0.1")
    );
    assert_eq!(attr(&client(), "client.address"), None);
}

#[test]
fn network_peer_and_local_are_the_sockets_whatever_the_headers_say() {
    for (role, peer, port, local) in [
        (Role::Client, "10.0.0.2", 443, "10.0.0.1"),
        (Role::Server, "10.0.0.1", 50000, "10.0.0.2"),
    ] {
        let c = with(role, |c| {
            c.facts.x_forwarded_for = Some("1.2.3.4".into());
            c.facts.host = Some("elsewhere.org".into());
        });
        assert_eq!(attr(&c, "network.peer.address"), text(peer));
        assert_eq!(attr(&c, "network.peer.port"), Some(json!(port)));
        assert_eq!(attr(&c, "network.local.address"), text(local));
    }
    let mapped = with(Role::Server, |c| {
        c.transaction.connection.remote = Some("[::ffff:10.1.2.3]:9".parse().expect("an address"));
    });
    assert_eq!(attr(&mapped, "network.peer.address"), text("10.1.2.3"));
    let unknown = with(Role::Client, |c| c.transaction.connection.remote = None);
    assert_eq!(attr(&unknown, "network.peer.address"), None);
    assert_eq!(attr(&unknown, "network.peer.port"), None);
}

#[test]
fn protocol_version_is_there_and_the_name_http_is_not() {
    for (protocol, version) in [
        (Protocol::Http10, "1.0"),
        (Protocol::Http11, "1.1"),
        (Protocol::Http2, "2"),
    ] {
        let c = with(Role::Client, |c| c.transaction.protocol = protocol);
        assert_eq!(attr(&c, "network.protocol.version"), text(version));
        assert_eq!(attr(&c, "network.protocol.name"), None);
    }
}

#[test]
fn status_code_is_there_where_a_response_is() {
    assert_eq!(
        attr(&client(), "http.response.status_code"),
        Some(json!(200))
    );
    let none = with(Role::Client, |c| c.transaction.response = None);
    assert_eq!(attr(&none, "http.response.status_code"), None);
}

#[test]
fn user_agent_is_on_servers_always_and_on_clients_from_level_headers() {
    for (role, level, there) in [
        (Role::Server, Level::Summary, true),
        (Role::Server, Level::Headers, true),
        (Role::Client, Level::Summary, false),
        (Role::Client, Level::Headers, true),
    ] {
        let c = with(role, |c| c.decision.level = level);
        let seen = attr(&c, "user_agent.original");
        assert_eq!(seen, there.then(|| json!("curl/8")), "{role:?} {level:?}");
    }
}

#[test]
fn sizes_are_bytes_on_the_wire() {
    let c = with(Role::Client, |c| request(c).body = body(b"abc"));
    assert_eq!(attr(&c, "http.request.body.size"), Some(json!(3)));
    assert_eq!(attr(&c, "http.response.body.size"), Some(json!(5)));
    assert_eq!(attr(&c, "http.request.size"), Some(json!(80)));
    assert_eq!(attr(&c, "http.response.size"), Some(json!(69)));
}

#[test]
fn tls_is_told_where_there_was_tls() {
    assert_eq!(attr(&client(), "tls.protocol.name"), text("tls"));
    assert_eq!(attr(&client(), "tls.protocol.version"), text("1.3"));
    let plain = with(Role::Client, |c| {
        c.transaction.connection.tls = None;
        c.transaction.connection.tls_info = None;
    });
    assert_eq!(attr(&plain, "tls.protocol.name"), None);
}

#[test]
fn peer_service_is_on_clients_whose_request_had_no_trace_context() {
    for name in ["peer.service", "service.peer.name"] {
        assert_eq!(attr(&client(), name), text("example.com"));
        assert_eq!(attr(&server(), name), None);
        let traced = with(Role::Client, |c| c.transaction.context = Some(context()));
        assert_eq!(attr(&traced, name), None);
    }
}

#[test]
fn deprecated_names_are_never_there() {
    for c in [client(), server()] {
        for kv in of(&c).attributes {
            let old = ["http.method", "http.status_code", "http.url", "net."];
            assert!(!old.iter().any(|o| kv.key.starts_with(o)), "{}", kv.key);
        }
    }
}
