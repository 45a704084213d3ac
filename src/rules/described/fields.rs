//! A transaction as fields of rules say it.

use super::DescribedError::{self, Derived, NeverKnown, NoField, Wrong};
use super::{Maker, protocol, scalar, texts, tls_version};
use crate::enrich::Tag;
use crate::event::Role;
use crate::rules::expr::{self, Field, FieldId, Known, Lookup, lookup};
use crate::transaction::Protocol;
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr};

impl Maker {
    /// Keys are fields, or beginnings of their names.
    pub(super) fn fields(
        &mut self,
        object: &Map<String, Value>,
        before: &str,
    ) -> Result<(), DescribedError> {
        for (key, value) in object {
            let name = format!("{before}{key}");
            match (lookup(&name), value) {
                (Lookup::Found(field) | Lookup::Former(field, _), value) if !value.is_object() => {
                    self.set(&field, value)?
                }
                (Lookup::Unknown(Some(meant)), value) if !value.is_object() => {
                    return Err(NoField {
                        name,
                        hint: format!("; did you mean `{meant}`?"),
                    });
                }
                (_, Value::Object(inner)) => self.fields(inner, &format!("{name}."))?,
                _ => {
                    return Err(NoField {
                        name,
                        hint: String::new(),
                    });
                }
            }
        }
        Ok(())
    }

    /// One arm for each field, so that none can be forgotten.
    fn set(&mut self, field: &Field, value: &Value) -> Result<(), DescribedError> {
        let name = field.name();
        let wrong = |wanted| Wrong {
            name: name.clone(),
            wanted,
        };
        if field.def.known == Known::Never {
            return Err(NeverKnown(name));
        }
        // Null stands for missing.
        if value.is_null() {
            return Ok(());
        }
        let text = || scalar(value).ok_or_else(|| wrong("a text"));
        let list = || texts(value).ok_or_else(|| wrong("a text or a list of texts"));
        let key = || field.key.to_string();
        let number = || {
            scalar(value)
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| wrong("a whole number"))
        };
        let small =
            || number().and_then(|n| u32::try_from(n).map_err(|_| wrong("a number of 32 bits")));
        let port = || number().and_then(|n| u16::try_from(n).map_err(|_| wrong("a port")));
        let size = || measured(value).ok_or_else(|| wrong("bytes, or a size such as `64KiB`"));
        let time = || measured(value).ok_or_else(|| wrong("a time such as `250ms`"));
        let address = || text().and_then(|t| t.parse().map_err(|_| wrong("an address")));
        let truth = || value.as_bool().ok_or_else(|| wrong("true or false"));
        match field.def.id {
            FieldId::Method => self.request().method = text()?.into_bytes(),
            FieldId::Path => {
                self.request();
                self.path = text()?;
            }
            FieldId::Query => {
                self.request();
                self.query = Some(text()?);
            }
            FieldId::QueryParameter => {
                for value in list()? {
                    self.parameter(&field.key, &value);
                }
            }
            FieldId::Host => {
                self.request();
                self.host = Some(text()?);
            }
            FieldId::Url => {
                let url = text()?;
                self.url(&url)
                    .ok_or_else(|| wrong("a URL such as `https://host/path?query`"))?;
            }
            FieldId::Scheme => match text()?.as_str() {
                "https" => {
                    self.tls();
                }
                "http" => {}
                _ => return Err(wrong("`http` or `https`")),
            },
            FieldId::RequestHeader | FieldId::ResponseHeader => {
                let values = list()?;
                let headers = match field.def.id {
                    FieldId::RequestHeader => &mut self.request().headers,
                    _ => &mut self.response().headers,
                };
                values
                    .iter()
                    .for_each(|value| headers.push(field.key.as_bytes(), value.as_bytes()));
            }
            FieldId::Cookie => {
                self.request();
                let values = list()?;
                self.cookies
                    .extend(values.iter().map(|value| format!("{}={value}", field.key)));
            }
            FieldId::RequestSize => self.request().body.push_missing(size()?),
            FieldId::ResponseSize => self.response().body.push_missing(size()?),
            FieldId::Status => {
                self.response().status = u16::try_from(number()?).map_err(|_| wrong("a status"))?
            }
            FieldId::Duration => self.duration = time()?,
            FieldId::Ttfb => self.ttfb = Some(time()?),
            FieldId::Version => {
                self.version =
                    Some(protocol(&text()?).ok_or_else(|| wrong("`1.0`, `1.1` or `2`"))?);
            }
            FieldId::Protocol => {
                let names = texts(value).ok_or_else(|| wrong("`http1`, `http2`, `grpc`"))?;
                for name in names {
                    match name.as_str() {
                        "http2" | "grpc" => self.version = Some(Protocol::Http2),
                        "http1" | "http" => {}
                        _ => return Err(wrong("`http1`, `http2`, `grpc`")),
                    }
                }
            }
            FieldId::GrpcService => self.grpc.0 = text()?,
            FieldId::GrpcMethod => self.grpc.1 = text()?,
            FieldId::GrpcStatus => {
                let status = number()?.to_string();
                self.response()
                    .trailers
                    .push(b"grpc-status", status.as_bytes());
            }
            FieldId::Direction => self
                .direction(&text()?)
                .ok_or_else(|| wrong("a direction"))?,
            FieldId::Transport => return Err(Derived(name)),
            FieldId::TlsEnabled => {
                if truth()? {
                    self.tls();
                }
            }
            FieldId::TlsVersion => {
                let version = scalar(value).as_deref().and_then(tls_version);
                self.tls().version =
                    Some(version.ok_or_else(|| wrong("a version from 1.0 to 1.3"))?);
            }
            FieldId::TlsSni => self.tls().sni = Some(text()?),
            FieldId::TlsAlpn => {
                self.tls().alpn_offered = texts(value).ok_or_else(|| wrong("a list of texts"))?
            }
            FieldId::SourceIp => self.local.0 = Some(address()?),
            FieldId::SourcePort => self.local.1 = Some(port()?),
            FieldId::DestinationIp => self.remote.0 = Some(address()?),
            FieldId::DestinationPort => self.remote.1 = Some(port()?),
            FieldId::DestinationDomain => return Err(Derived(name)),
            FieldId::ProcessPath => self.process.exe = Some(text()?),
            FieldId::ProcessBinary => self.process.name = Some(text()?),
            FieldId::ProcessPid => self.process.pid = small()?,
            FieldId::UserId => self.process.uid = Some(small()?),
            FieldId::UserName => self.process.owner = Some(text()?),
            FieldId::ContainerId => self.process.container_id = Some(text()?),
            FieldId::ProcessEnv => self.process.env.push((key(), text()?)),
            FieldId::ContainerName => self.process.container().name = Some(text()?),
            FieldId::ContainerImage => self.process.container().image = Some(text()?),
            FieldId::ContainerLabel => {
                self.process.container().labels.insert(key(), text()?);
            }
            FieldId::PodName => self.process.pod().name = text()?,
            FieldId::PodNamespace => self.process.pod().namespace = text()?,
            FieldId::PodLabel => {
                self.process.pod().labels.insert(key(), text()?);
            }
            FieldId::PodAnnotation => {
                self.process.pod().annotations.insert(key(), text()?);
            }
            FieldId::Tags => {
                let tags =
                    texts(value).and_then(|tags| tags.iter().map(|tag| Tag::parse(tag)).collect());
                self.process.tags = tags.ok_or_else(|| wrong("a list of `key:value`"))?;
            }
            FieldId::TraceId => {
                self.context.0 = Some(trace_id(&text()?).ok_or_else(|| wrong("32 hex digits"))?)
            }
            FieldId::TraceSampled => self.context.1 = truth()?,
            // Not known to this version: refused above.
            FieldId::ProcessHostname => return Err(NeverKnown(name)),
        }
        Ok(())
    }

    fn parameter(&mut self, name: &str, value: &str) {
        self.request();
        let encoded = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let pair = format!("{}={}", encoded(name), encoded(value));
        self.query = Some(match self.query.take() {
            Some(before) => format!("{before}&{pair}"),
            None => pair,
        });
    }

    fn url(&mut self, url: &str) -> Option<()> {
        let (scheme, rest) = url.split_once("://")?;
        match scheme {
            "https" => {
                self.tls();
            }
            "http" => {}
            _ => return None,
        }
        self.request();
        let (rest, query) = rest
            .split_once('?')
            .map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        self.host = Some(host.to_owned());
        self.path = path.to_owned();
        self.query = query.map(str::to_owned);
        Some(())
    }

    /// The address of the remote side decides over `internal` and `external`, where it is given.
    fn direction(&mut self, direction: &str) -> Option<()> {
        let (role, address) = match direction {
            "ingress" => (Role::Server, None),
            "egress" => (Role::Client, None),
            "egress-internal" => (Role::Client, Some(Ipv4Addr::new(10, 0, 0, 1))),
            // Of the block for documentation (RFC 5737).
            "egress-external" => (Role::Client, Some(Ipv4Addr::new(192, 0, 2, 1))),
            _ => return None,
        };
        self.role = Some(role);
        self.remote.0 = self.remote.0.or(address.map(IpAddr::V4));
        Some(())
    }
}

/// Nanoseconds or bytes: with a unit, or as a plain number.
fn measured(value: &Value) -> Option<u64> {
    let text = scalar(value)?;
    let value = match text.parse::<u64>() {
        Ok(plain) => return Some(plain),
        Err(_) => expr::measure(&text)?,
    };
    u64::try_from(value).ok()
}

fn trace_id(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 32)?;
    (number != 0).then(|| number.to_be_bytes())
}
