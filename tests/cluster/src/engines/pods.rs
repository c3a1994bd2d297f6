//! Stands in for the network between simulated pods: the cluster's DNS, and what a pod answers. Only inside
//! [`crate::netns`], where every address of a pod is loopback's.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// The address of every Service.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
const DNS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 53);
const HTTP: (Ipv4Addr, u16) = (ADDRESS, 80);
/// The pause after an error, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// What a pod answers.
pub const ANSWER: &str = "a pod answers";

/// Answers until it is dropped: names of the form SERVICE.NAMESPACE by DNS, and HTTP on port 80 of every
/// Service. Other names do not exist, so that nothing finds more than without it.
#[derive(Debug)]
pub struct PodNetwork {
    _servers: JoinSet<()>,
}

impl PodNetwork {
    /// Starts to answer.
    ///
    /// # Errors
    /// When a port is taken, or this is no namespace of ours.
    pub async fn start() -> io::Result<Self> {
        let (names, pods) = (UdpSocket::bind(DNS).await?, TcpListener::bind(HTTP).await?);
        let mut servers = JoinSet::new();
        servers.spawn(async move {
            let mut query = [0; 512];
            loop {
                match names.recv_from(&mut query).await {
                    Ok((length, from)) => reply(&names, &query[..length], from).await,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        servers.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                match pods.accept().await {
                    Ok((stream, _)) => drop(connections.spawn(serve(stream))),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        Ok(Self { _servers: servers })
    }
}

async fn reply(socket: &UdpSocket, query: &[u8], from: SocketAddr) {
    if let Some(answer) = answer(query) {
        // Who asked has gone: nothing is lost.
        let _ = socket.send_to(&answer, from).await;
    }
}

/// The answer to a query with one question (RFC 1035, 4.1).
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const A: [u8; 4] = [0, 1, 0, 1];
    let (mut end, mut labels) = (HEADER, 0);
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
        labels += 1;
    }
    let question = query.get(HEADER..end + 5)?;
    let found = labels == 2;
    let wanted = found && question.ends_with(&A);
    let mut answer = query[..2].to_vec();
    // A response, recursion available; "no such name" for all others.
    answer.extend([0x81, if found { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(wanted), 0, 0, 0, 0]);
    answer.extend(question);
    if wanted {
        // The name is that of the question; type and class, a second to live, four bytes.
        answer.extend([0xC0, 0x0C].into_iter().chain(A).chain([0, 0, 0, 1, 0, 4]).chain(ADDRESS.octets()));
    }
    Some(answer)
}

/// One request, one answer.
async fn serve(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(count) if count > 0 => head.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{ANSWER}", ANSWER.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        query
    }

    #[test]
    fn a_service_has_an_address_and_others_do_not_exist() {
        let found = answer(&query("cart.shop", 1)).unwrap();
        assert_eq!(
            (&found[..4], &found[found.len() - 4..]),
            (&[7, 9, 0x81, 0x80][..], &ADDRESS.octets()[..])
        );
        assert_eq!(found[7], 1, "one answer");
        let sixth = answer(&query("cart.shop", 28)).unwrap();
        assert_eq!((sixth[3], sixth[7]), (0x80, 0), "there, without an address of that kind");
        let other = answer(&query("cart.shop.svc.cluster.local", 1)).unwrap();
        assert_eq!((other[3], other[7]), (0x83, 0));
        assert_eq!(answer(&[1, 2, 3]), None);
    }
}
