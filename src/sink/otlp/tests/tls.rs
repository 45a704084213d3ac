//! Export over TLS: who is trusted, and who shows a certificate.

use super::*;

/// Files of a test authority, a server `localhost` and a client.
struct Certificates {
    folder: tempfile::TempDir,
    server: rcgen::Certificate,
    server_key: rcgen::KeyPair,
}

impl Certificates {
    fn new() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("write a file");
        };
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("an authority");
        write("ca.pem", &ca.pem());
        let issuer = Issuer::new(params, ca_key);
        let sign = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let certificate = CertificateParams::new(vec![name.to_owned()])
                .and_then(|p| p.signed_by(&key, &issuer))
                .expect("a certificate");
            (certificate, key)
        };
        let (client, client_key) = sign("client");
        write("client.pem", &client.pem());
        write("client.key", &client_key.serialize_pem());
        let (server, server_key) = sign("localhost");
        Certificates {
            folder,
            server,
            server_key,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A collector with these certificates; `mutual`: it takes clients of the authority alone.
    fn collector(&self, mutual: bool) -> Collector {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
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
        Collector::start_tls(otlp_sink::Tls {
            config: Arc::new(config),
        })
    }
}

fn with_tls(collector: &Collector, protocol: OtlpProtocol, tls: OtlpTls) -> OtelStore {
    let mut store = traces(&collector.http_endpoint(), protocol);
    if let Some(traces) = store.traces.as_mut() {
        traces.tls = tls;
    }
    store
}

/// Exports one span, with a short budget of retries; what became of it.
fn over_tls(collector: &Collector, protocol: OtlpProtocol, tls: OtlpTls) -> Counts {
    let mut options = quick();
    options.retry.budget = millis(300);
    let rig = Rig::new(&with_tls(collector, protocol, tls), options);
    rig.offer_many(0, 1);
    rig.settled()
}

#[test]
fn tls_trusts_the_ca_file_and_nothing_else() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let lost = SignalLost {
        retry_exhausted: 1,
        ..none_lost()
    };
    for protocol in PROTOCOLS {
        let collector = ours.collector(false);
        let with_ca = |c: &Certificates| OtlpTls {
            ca_file: Some(c.file("ca.pem")),
            ..OtlpTls::default()
        };
        let good = over_tls(&collector, protocol, with_ca(&ours));
        assert_eq!(good, counts(1, 1, none_lost()), "{protocol:?}");
        let wrong = over_tls(&collector, protocol, with_ca(&others));
        assert_eq!(wrong, counts(1, 0, lost.clone()), "{protocol:?}");
        let any = OtlpTls {
            insecure_skip_verify: true,
            ..OtlpTls::default()
        };
        let unverified = over_tls(&collector, protocol, any);
        assert_eq!(unverified, counts(1, 1, none_lost()), "{protocol:?}");
    }
}

#[test]
fn tls_shows_the_clients_certificate_where_there_is_one() {
    let certificates = Certificates::new();
    for protocol in PROTOCOLS {
        let collector = certificates.collector(true);
        let without = OtlpTls {
            ca_file: Some(certificates.file("ca.pem")),
            ..OtlpTls::default()
        };
        let with = OtlpTls {
            cert_file: Some(certificates.file("client.pem")),
            key_file: Some(certificates.file("client.key")),
            ..without.clone()
        };
        assert_eq!(over_tls(&collector, protocol, with).exported, 1);
        assert_eq!(over_tls(&collector, protocol, without).exported, 0);
    }
}
