//! Configurations of rustls, since 0.22.

use crate::tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use crate::tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use crate::tokio_rustls::rustls::version::{TLS12, TLS13};
use crate::tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::error::Error;
use std::sync::Arc;

type Failure = Box<dyn Error + Send + Sync>;

/// What is spoken.
#[derive(Clone)]
pub struct How {
    provider: CryptoProvider,
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
        let mut provider = provider(next())?;
        let version = match next() {
            "1.2" => &TLS12,
            "1.3" => &TLS13,
            other => return Err(format!("no TLS {other}").into()),
        };
        let http2 = next() == "2";
        let last = next();
        match last {
            "chacha" => provider
                .cipher_suites
                .retain(|suite| format!("{suite:?}").contains("CHACHA20")),
            "" | "renew" => provider
                .cipher_suites
                .retain(|suite| format!("{suite:?}").contains("AES")),
            other => return Err(format!("no cipher {other}").into()),
        }
        Ok(How {
            provider,
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
        let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_protocol_versions(&[self.version])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = self.protocols();
        Ok(Arc::new(config))
    }

    pub fn client(&self, cert: &str) -> Result<Arc<ClientConfig>, Failure> {
        let only = Arc::new(Only {
            certificate: CertificateDer::from_pem_file(cert)?,
            algorithms: self.provider.signature_verification_algorithms,
        });
        let mut config = ClientConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_protocol_versions(&[self.version])?
            .dangerous()
            .with_custom_certificate_verifier(only)
            .with_no_client_auth();
        config.alpn_protocols = self.protocols();
        Ok(Arc::new(config))
    }
}

fn provider(name: &str) -> Result<CryptoProvider, Failure> {
    match name {
        "aws-lc" => Ok(rustls::crypto::aws_lc_rs::default_provider()),
        "ring" => Ok(rustls::crypto::ring::default_provider()),
        other => Err(format!("no cryptography of {other}").into()),
    }
}

/// Takes one certificate, which may be self-signed, and no other.
#[derive(Debug)]
struct Only {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
