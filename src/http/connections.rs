//! Accepts and serves connections within bounds, so that a client that opens many and asks nothing costs little
//! and keeps nobody else from an answer. It knows no route.

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

/// Of each server.
const MAX_CONNECTIONS: usize = 256;
/// Of each server from one address.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 16;
/// What the head of a request may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The least that hyper allows.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// How long nothing is accepted after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What the last answers may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until `stop` says true.
pub(super) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let (mut open, mut tasks) = (VecDeque::<(IpAddr, AbortHandle)>::new(), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Mostly no file descriptor is left: the next may be.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|(_, connection)| !connection.is_finished());
        let address = peer.ip().to_canonical();
        let addresses: Vec<IpAddr> = open.iter().map(|(address, _)| *address).collect();
        if let Some((_, connection)) = to_close(&addresses, address).and_then(|at| open.remove(at)) {
            connection.abort();
        }
        open.push_back((address, tasks.spawn(connection(stream, router.clone(), stop.clone()))));
    }
    let all_closed = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, all_closed).await;
}

/// Which of the open connections, oldest first, makes room for a new one from `address`: the oldest of that
/// address where it has its share, else the oldest of the address that has most.
fn to_close(open: &[IpAddr], address: IpAddr) -> Option<usize> {
    let count = |address: IpAddr| open.iter().filter(|other| **other == address).count();
    let oldest = |address: IpAddr| open.iter().position(|other| *other == address);
    if count(address) >= MAX_CONNECTIONS_PER_ADDRESS {
        return oldest(address);
    }
    if open.len() < MAX_CONNECTIONS {
        return None;
    }
    // Of equals the first, whose oldest connection is the oldest of all.
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

    /// A connection of each of these addresses, by their last number.
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
            assert_eq!(to_close(&before, IpAddr::from([10, 0, 0, new])), expected, "{what}");
        }
    }
}
