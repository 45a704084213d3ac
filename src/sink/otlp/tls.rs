//! TLS towards a destination: one rustls configuration for gRPC and for HTTP.

use super::StartError;
use crate::config::OtlpTls;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Reads the files of `tls` into a client configuration.
///
/// # Errors
/// When a file cannot be read or holds no certificate or key, or no root is known.
pub fn client(tls: &OtlpTls) -> Result<ClientConfig, StartError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| StartError::Tls(e.to_string()))?;
    let verifier: Arc<dyn ServerCertVerifier> = if tls.insecure_skip_verify {
        Arc::new(AnyCertificate(provider))
    } else {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots(tls)?), provider)
            .build()
            .map_err(|e| StartError::Tls(format!("no usable root certificates: {e}")))?
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            let key_of_pem = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
            builder
                .with_client_auth_cert(certificates(cert)?, key_of_pem)
                .map_err(|e| {
                    let (cert, key) = (cert.display(), key.display());
                    StartError::Tls(format!("{cert} and {key} do not fit: {e}"))
                })
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(StartError::Tls(
            "tls.cert_file and tls.key_file: give both or neither".into(),
        )),
    }
}

fn roots(tls: &OtlpTls) -> Result<RootCertStore, StartError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &tls.ca_file {
        for certificate in certificates(file)? {
            roots
                .add(certificate)
                .map_err(|e| StartError::Tls(format!("{}: {e}", file.display())))?;
        }
        return Ok(roots);
    }
    let native = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        let errors: Vec<_> = native.errors.iter().map(ToString::to_string).collect();
        return Err(StartError::Tls(format!(
            "this host has no root certificates ({}): install ca-certificates, or name tls.ca_file",
            errors.join("; ")
        )));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable(file, &e))?;
    if certificates.is_empty() {
        let file = file.display();
        return Err(StartError::Tls(format!("{file}: no certificate in PEM")));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, error: &rustls::pki_types::pem::Error) -> StartError {
    StartError::Tls(format!("{}: {error}", file.display()))
}

/// What an error of TLS among the causes means, and what to do. `causes`: their text, for libraries that keep no more.
pub fn explain(error: &(dyn Error + 'static), causes: &str) -> Option<String> {
    use rustls::{CertificateError as Bad, InvalidMessage};
    let Some(found) = among_causes(error) else {
        let (_, alert) = causes.split_once("received fatal alert: ")?;
        let end = alert.find(|c: char| !c.is_ascii_alphanumeric());
        return Some(of_alert(&alert[..end.unwrap_or(alert.len())]));
    };
    Some(match found {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => {
                "the collector's certificate has expired: renew it, or set this host's clock".into()
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "the collector's certificate is not valid yet: is this host's clock right?".into()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "the collector's certificate is for another name: use one of its names in the endpoint".into()
            }
            // The latter: another authority, of the same name.
            Bad::UnknownIssuer | Bad::BadSignature => {
                "the collector's certificate is of no authority that is trusted: name it in tls.ca_file (OTEL_EXPORTER_OTLP_CERTIFICATE)".into()
            }
            other => format!("the collector's certificate cannot be used: {other}"),
        },
        rustls::Error::AlertReceived(alert) => of_alert(&format!("{alert:?}")),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what answers there speaks no TLS: is the endpoint's scheme http?".into()
        }
        _ => return None,
    })
}

/// What the other side says by an alert (RFC 8446 §6.2), by rustls' name of it.
fn of_alert(name: &str) -> String {
    match name {
        "CertificateRequired" | "NoCertificate" => {
            "the collector wants a client certificate: name one in tls.cert_file and tls.key_file"
                .into()
        }
        "UnknownCA" | "BadCertificate" | "UnsupportedCertificate" | "CertificateRevoked"
        | "CertificateExpired" | "CertificateUnknown" | "AccessDenied" | "DecryptError" => {
            "the collector does not take the client certificate of tls.cert_file".into()
        }
        "HandshakeFailure" => {
            "the collector refused the handshake: it may want a client certificate (tls.cert_file), or other versions of TLS".into()
        }
        other => format!("the collector ended TLS with {other}"),
    }
}

/// How libraries say that a connection ended before there was an answer, in small letters.
const ENDED: [&str; 7] = [
    "operation was canceled",
    "channel closed",
    "connection closed",
    "stream closed",
    "connection reset",
    "broken pipe",
    "end of file",
];

/// The error of a connection with TLS that gave no answer, with what may be behind it: in TLS 1.3 a server looks at the
/// client's certificate when the client is done already, and what it says then may be lost.
pub fn without_answer(error: String) -> String {
    let told = error.contains("tls.");
    let said = error.to_ascii_lowercase();
    if told || !ENDED.iter().any(|text| said.contains(text)) {
        return error;
    }
    format!(
        "the collector ended the connection: does it want a client certificate (tls.cert_file), or another one? ({error})"
    )
}

fn among_causes<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // Its `source` is that of what it holds, not what it holds.
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(found) = held.and_then(|held| among_causes(held)) {
            return Some(found);
        }
        at = error.source();
    }
    None
}

/// `insecure_skip_verify`: any certificate will do. Signatures are still checked, as they cost nothing to get right.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
