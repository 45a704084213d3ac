//! Export over TLS: who is trusted, who shows a certificate, and what is said where it does not work.

use super::*;
use crate::sink::otlp::client::Client;
use crate::sink::otlp::retry::Reply;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// When a certificate holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Now,
    NoMore,
    NotYet,
}

/// Files of a test authority, a server and a client.
pub struct Certificates {
    folder: tempfile::TempDir,
    server: rcgen::Certificate,
    server_key: KeyPair,
}

impl Certificates {
    pub fn new() -> Self {
        Self::of("localhost", Holds::Now)
    }

    fn of(server: &str, holds: Holds) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("write a file");
        };
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority of {server}");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let ca = params.self_signed(&ca_key).expect("an authority");
        write("ca.pem", &ca.pem());
        let issuer = Issuer::new(params, ca_key);
        let sign = |name: &str, holds: Holds| {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            match holds {
                Holds::Now => {}
                Holds::NoMore => params.not_after = rcgen::date_time_ymd(2020, 1, 1),
                Holds::NotYet => params.not_before = rcgen::date_time_ymd(4000, 1, 1),
            }
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            (certificate, key)
        };
        let (client, client_key) = sign("client", Holds::Now);
        write("client.pem", &client.pem());
        write("client.key", &client_key.serialize_pem());
        let (server, server_key) = sign(server, holds);
        Certificates {
            folder,
            server,
            server_key,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Trusts this authority.
    pub fn trust(&self) -> OtlpTls {
        OtlpTls {
            ca_file: Some(self.file("ca.pem")),
            ..OtlpTls::default()
        }
    }

    /// `tls` with this client's certificate.
    fn shown_in(&self, tls: OtlpTls) -> OtlpTls {
        OtlpTls {
            cert_file: Some(self.file("client.pem")),
            key_file: Some(self.file("client.key")),
            ..tls
        }
    }

    /// A server's side with these certificates; `mutual`: it takes clients of the authority alone.
    pub fn server(&self, mutual: bool) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if mutual {
            let mut roots = rustls::RootCertStore::empty();
            let ca = CertificateDer::from_pem_file(self.file("ca.pem")).expect("the authority");
            roots.add(ca).expect("a root");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivatePkcs8KeyDer::from(self.server_key.serialize_der());
        let mut config = builder
            .with_single_cert(vec![self.server.der().clone()], key.into())
            .expect("a server");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    pub fn collector(&self, mutual: bool) -> Collector {
        Collector::start_tls(otlp_sink::Tls {
            config: self.server(mutual),
        })
    }
}

/// What one attempt to send an empty request ends in.
pub fn attempt(endpoint: &OtlpEndpoint) -> Reply {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::new(Signal::Traces.service(), split::items, endpoint);
        client
            .unwrap_or_else(|e| panic!("{e}"))
            .send(bytes::Bytes::new())
            .await
    })
}

fn over_tls(url: &str, protocol: OtlpProtocol, tls: OtlpTls) -> Reply {
    let mut endpoint = endpoint(url, protocol, "/v1/traces");
    endpoint.tls = tls;
    attempt(&endpoint)
}

pub fn taken() -> Reply {
    Reply::Accepted {
        rejected: 0,
        message: String::new(),
    }
}

#[test]
fn tls_works_or_says_why_not() {
    let ours = Certificates::new();
    let namesake = Certificates::new();
    let others = Certificates::of("elsewhere.test", Holds::Now);
    let misnamed = Certificates::of("other.test", Holds::Now);
    let expired = Certificates::of("localhost", Holds::NoMore);
    let early = Certificates::of("localhost", Holds::NotYet);
    let any = OtlpTls {
        insecure_skip_verify: true,
        ..OtlpTls::default()
    };
    // The collector, whether it wants a client's certificate, what we have, what is said; nothing: it works.
    let rows: [(&str, &Certificates, bool, OtlpTls, &[&str]); 11] = [
        ("custom CA", &ours, false, ours.trust(), &[]),
        ("not verified", &ours, false, any.clone(), &[]),
        ("not verified, expired", &expired, false, any, &[]),
        ("mutual", &ours, true, ours.shown_in(ours.trust()), &[]),
        (
            "unknown CA",
            &ours,
            false,
            others.trust(),
            &["no authority that is trusted", "tls.ca_file"],
        ),
        (
            "unknown CA with the name of a known one",
            &ours,
            false,
            namesake.trust(),
            &["no authority that is trusted", "tls.ca_file"],
        ),
        (
            "wrong name",
            &misnamed,
            false,
            misnamed.trust(),
            &["for another name", "localhost", "other.test"],
        ),
        (
            "expired",
            &expired,
            false,
            expired.trust(),
            &["has expired"],
        ),
        ("not yet", &early, false, early.trust(), &["not valid yet"]),
        (
            "no client certificate",
            &ours,
            true,
            ours.trust(),
            &["want", "a client certificate", "tls.cert_file"],
        ),
        (
            "client of another CA",
            &ours,
            true,
            others.shown_in(ours.trust()),
            &["client certificate", "tls.cert_file"],
        ),
    ];
    let mut wrong = Vec::new();
    for (what, certificates, mutual, tls, said) in rows {
        let collector = certificates.collector(mutual);
        for protocol in PROTOCOLS {
            let reply = over_tls(&collector.http_endpoint(), protocol, tls.clone());
            let right = match &reply {
                reply if said.is_empty() => *reply == taken(),
                // Whoever runs the collector may mend it: it is asked again.
                Reply::Later { error, .. } => said.iter().all(|text| error.contains(text)),
                _ => false,
            };
            if !right {
                wrong.push(format!("{what}, {protocol:?}: {reply:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_collector_without_tls_is_named_as_such() {
    let collector = Collector::start();
    let url = format!("https://localhost:{}", collector.port());
    for protocol in PROTOCOLS {
        let ca = Certificates::new();
        match over_tls(&url, protocol, ca.trust()) {
            Reply::Later { error, .. } => assert!(error.contains("speaks no TLS"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_tls_costs_is_in_the_books() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let lost = SignalLost {
        retry_exhausted: 1,
        ..none_lost()
    };
    for protocol in PROTOCOLS {
        for (trust, wanted) in [
            (ours.trust(), counts(1, 1, none_lost())),
            (others.trust(), counts(1, 0, lost.clone())),
        ] {
            let collector = ours.collector(false);
            let mut store = traces(&collector.http_endpoint(), protocol);
            if let Some(traces) = store.traces.as_mut() {
                traces.tls = trust;
            }
            let mut options = quick();
            options.retry.budget = millis(300);
            let rig = Rig::new(&store, options);
            rig.offer_many(0, 1);
            assert_eq!(rig.settled(), wanted, "{protocol:?}");
        }
    }
}

#[test]
fn files_that_cannot_be_used_are_named_at_start() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let empty = ours.file("empty.pem");
    std::fs::write(&empty, "").expect("write a file");
    let missing = PathBuf::from("/nonexistent/file.pem");
    for (tls, said) in [
        (
            OtlpTls {
                ca_file: Some(missing.clone()),
                ..OtlpTls::default()
            },
            "/nonexistent/file.pem",
        ),
        (
            OtlpTls {
                ca_file: Some(empty),
                ..OtlpTls::default()
            },
            "no certificate in PEM",
        ),
        (
            OtlpTls {
                key_file: Some(others.file("client.key")),
                ..ours.shown_in(ours.trust())
            },
            "do not fit",
        ),
        (
            OtlpTls {
                key_file: Some(missing),
                ..ours.shown_in(ours.trust())
            },
            "/nonexistent/file.pem",
        ),
        (
            OtlpTls {
                key_file: None,
                ..ours.shown_in(ours.trust())
            },
            "give both or neither",
        ),
    ] {
        for protocol in PROTOCOLS {
            let mut store = traces("https://localhost:1", protocol);
            if let Some(traces) = store.traces.as_mut() {
                traces.tls = tls.clone();
            }
            let error = start_error(&store);
            assert!(error.contains(said), "{protocol:?}: {error}");
        }
    }
}
