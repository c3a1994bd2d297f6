//! Simulates cluster DNS and the pods' HTTP servers. It may run inside [`crate::netns`] only, where all pod
//! addresses are on loopback.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// The network of the Services' addresses.
const SERVICE_NETWORK: [u8; 2] = [10, 255];
const DNS_SERVER: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 53);
const HTTP_SERVER: (Ipv4Addr, u16) = (Ipv4Addr::UNSPECIFIED, 80);
/// How long to wait after an error, for example when file descriptors have run out.
const ERROR_RETRY: Duration = Duration::from_millis(50);
/// The body of a pod's response, after a line with the name of its Service.
pub const RESPONSE_BODY: &str = "a pod answers";

/// Running DNS and HTTP servers; they stop on drop. DNS resolves names of the form SERVICE.NAMESPACE and no
/// others, each to an address of its own; HTTP listens on port 80 of all Services.
#[derive(Debug)]
pub struct PodNetwork {
    _servers: JoinSet<()>,
}

/// The Services that were asked for, by address.
#[derive(Clone, Debug, Default)]
struct Addresses(Arc<Mutex<BTreeMap<Ipv4Addr, String>>>);

impl Addresses {
    /// The address of a Service, from the second one of the network on.
    fn of(&self, name: &str) -> Ipv4Addr {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(_, other)| *other == name).map(|(address, _)| *address);
        found.unwrap_or_else(|| {
            let number = u16::try_from(known.len() + 2).unwrap_or(u16::MAX).to_be_bytes();
            let ([a, b], [c, d]) = (SERVICE_NETWORK, number);
            let address = Ipv4Addr::new(a, b, c, d);
            known.insert(address, name.to_owned());
            address
        })
    }

    fn name(&self, address: IpAddr) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let IpAddr::V4(address) = address.to_canonical() else { return String::new() };
        known.get(&address).cloned().unwrap_or_default()
    }
}

impl PodNetwork {
    /// Starts the servers.
    ///
    /// # Errors
    /// If a port is taken, or the process is not inside the namespace.
    pub async fn start() -> io::Result<Self> {
        let (names, pods) = (UdpSocket::bind(DNS_SERVER).await?, TcpListener::bind(HTTP_SERVER).await?);
        let mut servers = JoinSet::new();
        let addresses = Addresses::default();
        let services = addresses.clone();
        servers.spawn(async move {
            let mut query = [0; 512];
            loop {
                match names.recv_from(&mut query).await {
                    Ok((length, from)) => reply(&names, &addresses, &query[..length], from).await,
                    Err(_) => tokio::time::sleep(ERROR_RETRY).await,
                }
            }
        });
        servers.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                match pods.accept().await {
                    Ok((stream, _)) => drop(connections.spawn(serve(stream, services.clone()))),
                    Err(_) => tokio::time::sleep(ERROR_RETRY).await,
                }
            }
        });
        Ok(Self { _servers: servers })
    }
}

async fn reply(socket: &UdpSocket, addresses: &Addresses, query: &[u8], from: SocketAddr) {
    if let Some(answer) = answer(query, addresses) {
        // The client may have closed its socket.
        let _ = socket.send_to(&answer, from).await;
    }
}

/// The response to a query with one question (RFC 1035, 4.1).
fn answer(query: &[u8], addresses: &Addresses) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const A: [u8; 4] = [0, 1, 0, 1];
    let (mut end, mut labels) = (HEADER, Vec::new());
    while *query.get(end)? != 0 {
        let next = end + usize::from(query[end]) + 1;
        labels.push(String::from_utf8_lossy(query.get(end + 1..next)?).to_lowercase());
        end = next;
    }
    let question = query.get(HEADER..end + 5)?;
    let found = labels.len() == 2;
    let has_address = found && question.ends_with(&A);
    let mut answer = query[..2].to_vec();
    // A response with recursion available, or NXDOMAIN.
    answer.extend([0x81, if found { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(question);
    if has_address {
        // A pointer to the question's name, type and class, a TTL of one second, four bytes.
        answer.extend(
            [0xC0, 0x0C]
                .into_iter()
                .chain(A)
                .chain([0, 0, 0, 1, 0, 4])
                .chain(addresses.of(&labels.join(".")).octets()),
        );
    }
    Some(answer)
}

/// Reads one request and answers it.
async fn serve(mut stream: TcpStream, services: Addresses) {
    let name = stream.local_addr().map(|address| services.name(address.ip())).unwrap_or_default();
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(count) if count > 0 => head.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
    let body = format!("{name}\n{RESPONSE_BODY}");
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
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
    fn a_service_has_an_ipv4_address_and_other_names_do_not_exist() {
        let addresses = Addresses::default();
        let answer = |query: &[u8]| super::answer(query, &addresses);
        let found = answer(&query("cart.shop", 1)).unwrap();
        assert_eq!((&found[..4], &found[found.len() - 4..]), (&[7, 9, 0x81, 0x80][..], &[10, 255, 0, 2][..]));
        assert_eq!(addresses.name(Ipv4Addr::new(10, 255, 0, 2).into()), "cart.shop");
        assert_eq!(addresses.of("cart.blog"), Ipv4Addr::new(10, 255, 0, 3));
        assert_eq!(addresses.of("cart.shop"), Ipv4Addr::new(10, 255, 0, 2), "it stays");
        assert_eq!(found[7], 1, "one answer");
        let ipv6 = answer(&query("cart.shop", 28)).unwrap();
        assert_eq!((ipv6[3], ipv6[7]), (0x80, 0), "the name exists, without an address of this type");
        let other = answer(&query("cart.shop.svc.cluster.local", 1)).unwrap();
        assert_eq!((other[3], other[7]), (0x83, 0));
        assert_eq!(answer(&[1, 2, 3]), None);
    }
}
