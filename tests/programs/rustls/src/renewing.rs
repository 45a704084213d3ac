//! A client's stream that asks for new keys of both directions again and again (RFC 8446, section 4.6.3).

use crate::tokio_rustls::client::TlsStream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// After so many writes.
const EVERY: u32 = 4;

pub struct Renewing {
    stream: TlsStream<TcpStream>,
    writes: u32,
}

impl Renewing {
    pub fn new(stream: TlsStream<TcpStream>) -> Renewing {
        Renewing { stream, writes: 0 }
    }
}

impl AsyncRead for Renewing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Renewing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        if self.writes.is_multiple_of(EVERY) {
            let (_, session) = self.stream.get_mut();
            session.refresh_traffic_keys().map_err(io::Error::other)?;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
