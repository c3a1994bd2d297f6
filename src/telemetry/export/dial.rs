//! Connects to a collector: directly, or through a proxy (a tunnel, or plain HTTP that the proxy forwards).
//! Sends no export data.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use crate::telemetry::config::proxy::Proxy;

/// How to use a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) enum ProxyMode {
    /// `CONNECT` to the collector.
    Tunnel,
    /// Send the request to the proxy, with the collector's absolute URL.
    Forward,
}

/// Opens connections.
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct Dialer {
    tcp: HttpConnector,
    proxy: Option<(Proxy, ProxyMode)>,
}

impl Dialer {
    pub(in crate::telemetry) fn new(proxy: Option<(Proxy, ProxyMode)>) -> Self {
        let mut tcp = HttpConnector::new();
        // A layer above adds TLS.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { tcp, proxy }
    }
}

impl Service<Uri> for Dialer {
    type Response = Dialed;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialed, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (mut tcp, proxy) = (self.tcp.clone(), self.proxy.clone());
        Box::pin(async move {
            let (io, is_forwarded) = match proxy {
                None => (tcp.call(to).await?, false),
                Some((proxy, ProxyMode::Forward)) => (tcp.call(proxy.uri).await?, true),
                Some((proxy, ProxyMode::Tunnel)) => {
                    let tunnel = Tunnel::new(proxy.uri, tcp);
                    let mut tunnel = match proxy.authorization {
                        Some(authorization) => tunnel.with_auth(authorization),
                        None => tunnel,
                    };
                    (tunnel.call(to).await?, false)
                }
            };
            Ok(Dialed { io, is_forwarded })
        })
    }
}

/// A connection.
#[derive(Debug)]
pub(in crate::telemetry) struct Dialed {
    io: TokioIo<TcpStream>,
    is_forwarded: bool,
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        // A forwarding proxy needs the absolute URL.
        self.io.connected().proxy(self.is_forwarded)
    }
}

impl Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl Write for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
