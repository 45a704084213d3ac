//! Configurations of rustls before 0.22.

use crate::tokio_rustls::rustls::client::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use crate::tokio_rustls::rustls::version::{TLS12, TLS13};
use crate::tokio_rustls::rustls::{
    self, ALL_CIPHER_SUITES, ALL_KX_GROUPS, Certificate, ClientConfig, DigitallySignedStruct,
    PrivateKey, ServerConfig, ServerName, SupportedCipherSuite, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

type Failure = Box<dyn Error + Send + Sync>;

/// What is spoken.
#[derive(Clone)]
pub struct How {
    suites: Vec<SupportedCipherSuite>,
    version: &'static SupportedProtocolVersion,
    /// HTTP/2.
    pub http2: bool,
    /// A client asks for new keys again and again.
    pub renew: bool,
}

impl How {
    pub fn parse(text: &str) -> Result<How, Failure> {
        let mut words = text.split(',');
        let mut next = || words.next().unwrap_or_default();
        if next() != "ring" {
            return Err("built with ring alone".into());
        }
        let version = match next() {
            "1.2" => &TLS12,
            "1.3" => &TLS13,
            other => return Err(format!("no TLS {other}").into()),
        };
        let http2 = next() == "2";
        let last = next();
        let cipher = match last {
            "chacha" => "CHACHA20",
            "" | "renew" => "AES",
            other => return Err(format!("no cipher {other}").into()),
        };
        let suites = ALL_CIPHER_SUITES.iter().copied();
        Ok(How {
            suites: suites
                .filter(|suite| format!("{:?}", suite.suite()).contains(cipher))
                .collect(),
            version,
            http2,
            renew: last == "renew",
        })
    }

    fn protocols(&self) -> Vec<Vec<u8>> {
        let name: &[u8] = if self.http2 { b"h2" } else { b"http/1.1" };
        vec![name.to_vec()]
    }

    pub fn server(&self, cert: &str, key: &str) -> Result<Arc<ServerConfig>, Failure> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert)?.collect();
        let chain = chain?.iter().map(|der| Certificate(der.to_vec())).collect();
        let key = PrivateKey(PrivateKeyDer::from_pem_file(key)?.secret_der().to_vec());
        let mut config = ServerConfig::builder()
            .with_cipher_suites(&self.suites)
            .with_kx_groups(&ALL_KX_GROUPS)
            .with_protocol_versions(&[self.version])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = self.protocols();
        Ok(Arc::new(config))
    }

    pub fn client(&self, cert: &str) -> Result<Arc<ClientConfig>, Failure> {
        let only = Certificate(CertificateDer::from_pem_file(cert)?.to_vec());
        let mut config = ClientConfig::builder()
            .with_cipher_suites(&self.suites)
            .with_kx_groups(&ALL_KX_GROUPS)
            .with_protocol_versions(&[self.version])?
            .with_custom_certificate_verifier(Arc::new(Only(only)))
            .with_no_client_auth();
        config.alpn_protocols = self.protocols();
        Ok(Arc::new(config))
    }
}

/// Takes one certificate, which may be self-signed, and no other.
struct Only(Certificate);

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &Certificate,
        _intermediates: &[Certificate],
        _server_name: &ServerName,
        _scts: &mut dyn Iterator<Item = &[u8]>,
        _ocsp_response: &[u8],
        _now: SystemTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another certificate".to_owned()))
        }
    }

    // What verifies signatures here takes no certificate that signs itself.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &Certificate,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &Certificate,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
}
