//! OTLP over HTTP with protobuf bodies.

use super::client::{USER_AGENT, accepted, chain};
use super::compress::{self, compress};
use super::retry::{self, Reply};
use super::{StartError, tls};
use crate::config::{Compression, OtlpEndpoint, OtlpProxy};
use bytes::Bytes;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Response, Url, redirect};
use std::time::SystemTime;

/// Bytes of a reply that are read; the rest is left alone.
const MAX_REPLY: usize = 4 << 20;
/// Characters of an error reply that are shown.
const SHOWN: usize = 200;

pub struct Client {
    client: reqwest::Client,
    url: Url,
    compression: Compression,
}

impl Client {
    /// # Errors
    /// When URL, headers or TLS files cannot be used.
    pub fn new(target: &OtlpEndpoint) -> Result<Self, StartError> {
        let url = Url::parse(&target.url).map_err(|e| StartError::url(&target.url, e))?;
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .timeout(target.timeout)
            .default_headers(headers(target)?)
            // A redirect would take the headers, credentials among them, somewhere else.
            .redirect(redirect::Policy::none());
        builder = match &target.proxy {
            Some(proxy) => builder.proxy(proxied(proxy)?),
            // The configuration has read the environment.
            None => builder.no_proxy(),
        };
        let tls_to_proxy = target
            .proxy
            .as_ref()
            .is_some_and(|p| p.url.starts_with("https:"));
        if url.scheme() == "https" || tls_to_proxy {
            let mut config = tls::client(&target.tls)?;
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            builder = builder.tls_backend_preconfigured(config);
        }
        let client = builder
            .build()
            .map_err(|e| StartError::url(&target.url, chain(&e)))?;
        Ok(Client {
            client,
            url,
            compression: target.compression,
        })
    }

    pub async fn send(&self, message: Bytes) -> Reply {
        let body = match compress(self.compression, message) {
            Ok(body) => body,
            Err(error) => return Reply::refused(error),
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        if let Some(encoding) = compress::name(self.compression) {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return unsent(error),
        };
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        match read(response).await {
            Ok(reply) if status.is_success() => accepted(&reply),
            Ok(reply) => retry::of_http(
                status.as_u16(),
                retry_after.as_deref(),
                &shown(&reply),
                SystemTime::now(),
            ),
            Err(error) => unsent(error),
        }
    }
}

fn proxied(proxy: &OtlpProxy) -> Result<reqwest::Proxy, StartError> {
    let proxied = reqwest::Proxy::all(&proxy.url);
    let proxied = proxied.map_err(|e| StartError::url(&proxy.url, chain(&e)))?;
    let Some(authorization) = &proxy.authorization else {
        return Ok(proxied);
    };
    let mut value = HeaderValue::from_str(authorization.expose()).map_err(|_| {
        let name = "proxy-authorization".to_owned();
        StartError::Header { name }
    })?;
    value.set_sensitive(true);
    Ok(proxied.custom_http_auth(value))
}

/// No reply, or only a part of one.
fn unsent(error: reqwest::Error) -> Reply {
    let refused = error.is_builder();
    // The URL is in the warning already, without what may be secret in it.
    let error = chain(&error.without_url());
    match refused {
        true => Reply::refused(error),
        false => Reply::Later { error, after: None },
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut reply = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_REPLY - reply.len();
        reply.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if reply.len() == MAX_REPLY {
            break;
        }
    }
    Ok(reply)
}

/// The beginning of an error's text. Replies of OTLP servers are `google.rpc.Status`, whose message is readable as it is.
fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply)
        .chars()
        .filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER)
        .take(SHOWN)
        .collect()
}

fn headers(target: &OtlpEndpoint) -> Result<HeaderMap, StartError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &target.headers {
        let invalid = || StartError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}
