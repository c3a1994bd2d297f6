//! Accepts and serves connections within limits, so that a client with many idle connections costs little and
//! blocks nobody. It knows no routes.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// The limit per server.
const MAX_CONNECTIONS: usize = 256;
/// The limit per server and client address.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 16;
/// The timeout for a request's head, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The minimum that hyper allows.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The timeout for the last responses.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until `stop` is true.
pub(super) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let (mut open, mut tasks) = (VecDeque::<(IpAddr, AbortHandle)>::new(), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Usually out of file descriptors: one may be free by the next attempt.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|(_, connection)| !connection.is_finished());
        let address = peer.ip().to_canonical();
        let addresses: Vec<IpAddr> = open.iter().map(|(address, _)| *address).collect();
        if let Some((_, connection)) = connection_to_close(&addresses, address).and_then(|at| open.remove(at))
        {
            connection.abort();
        }
        open.push_back((address, tasks.spawn(connection(stream, router.clone(), stop.clone()))));
    }
    let all_closed = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, all_closed).await;
}

/// Which open connection (oldest first) to close for a new one from `address`: the oldest from that address
/// if it is at its limit, else the oldest from the address with the most connections.
fn connection_to_close(open: &[IpAddr], address: IpAddr) -> Option<usize> {
    let count = |address: IpAddr| open.iter().filter(|other| **other == address).count();
    let oldest = |address: IpAddr| open.iter().position(|other| *other == address);
    if count(address) >= MAX_CONNECTIONS_PER_ADDRESS {
        return oldest(address);
    }
    if open.len() < MAX_CONNECTIONS {
        return None;
    }
    // Among equals, the first one, whose oldest connection is the oldest of all.
    let most = open.iter().rev().max_by_key(|other| count(**other))?;
    oldest(*most)
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        _ = served.as_mut() => true,
        () = stopped => false,
    };
    if !ended {
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One connection from each of these addresses, given by their last octet.
    fn open(numbers: impl IntoIterator<Item = u8>) -> Vec<IpAddr> {
        numbers.into_iter().map(|number| IpAddr::from([10, 0, 0, number])).collect()
    }

    #[test]
    fn the_crowd_makes_room_for_the_others() {
        let sixteen = |number: u8| std::iter::repeat_n(number, MAX_CONNECTIONS_PER_ADDRESS);
        let full = || (1..=16).flat_map(sixteen);
        let apart = || (0..=255).map(|number: u8| number);
        for (what, before, new, expected) in [
            ("nothing is open", open([]), 1, None),
            ("one below its share", open(sixteen(1).skip(1)), 1, None),
            ("its share", open([2].into_iter().chain(sixteen(1))), 1, Some(1)),
            ("another has its share", open(sixteen(1)), 2, None),
            ("full, by one that has its share", open(full()), 3, Some(32)),
            ("full, by another", open(full()), 20, Some(0)),
            ("full, and one has most", open(apart().skip(2).chain([9, 9])), 1, Some(7)),
            ("full of single ones", open(apart()), 7, Some(0)),
        ] {
            assert_eq!(connection_to_close(&before, IpAddr::from([10, 0, 0, new])), expected, "{what}");
        }
    }
}
