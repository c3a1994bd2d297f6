//! The smallest HTTP client that health checks and metrics pages need: loopback, no TLS.

use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The response to a request.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// Sends a GET on a new connection to loopback.
///
/// # Errors
/// If nothing listens there, or the response is not HTTP.
pub async fn get(port: u16, path: &str, accept: &str) -> io::Result<HttpResponse> {
    send(port, "GET", path, accept).await
}

/// The same with another method, and no body.
///
/// # Errors
/// As [`get`].
pub async fn send(port: u16, method: &str, path: &str, accept: &str) -> io::Result<HttpResponse> {
    send_body(port, method, path, accept, "").await
}

/// The same with a body.
///
/// # Errors
/// As [`get`].
pub async fn send_body(
    port: u16,
    method: &str,
    path: &str,
    accept: &str,
    body: &str,
) -> io::Result<HttpResponse> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        // With HTTP/1.0 the body ends where the connection does.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await??;
    let not_http = || io::Error::other(format!("not HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(not_http)?;
    let content_type = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    Ok(HttpResponse { status, content_type, body: body.to_owned() })
}
