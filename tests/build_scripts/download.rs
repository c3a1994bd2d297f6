//! The download of an archive, by the real curl from a server on loopback.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use crate::{
    bytes::{file, tar},
    room::Room,
    server::{Response, Server, redirect, status},
};

fn archive() -> Response {
    let body = tar(&[file("app/a.py", "a")]);
    (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len()), body)
}

fn room(name: &str, server: &Server) -> Room {
    let mut room = Room::new(name);
    room.files = server.url();
    room
}

#[test]
fn odd_names_in_a_url_are_requested_as_they_are() {
    let server = Server::new(|_| archive());
    let room = room("urls", &server);
    for path in
        ["/app[1]-{final}.zip", "/{a,b}[1-2].tar", "/a%20b.tgz", "/x?file=[a-z]&v={1}", "/-o", "/@s/a:1"]
    {
        room.fetched(&[("SOURCE_ARCHIVE", &format!("https://files.test{path}"))]);
        assert_eq!(room.read("workspace/app/a.py"), "a");
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.trim_end_matches('?'), path, "the server was asked for what stands in the spec");
    }
    assert_eq!(server.asked().len(), 6, "one URL is one download");
}

#[test]
fn one_broken_download_is_repeated() {
    let server = Server::failing(|at| at == 0, 503, |_| archive());
    let room = room("download-again", &server);
    room.fetched(&[("SOURCE_ARCHIVE", "https://files.test/app.tar")]);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_download_that_fails_reports_the_reason_and_no_secret() {
    let other = Server::new(|_| archive());
    let to = format!("{}/canary", other.url());
    for (code, messages) in [
        (404, vec!["cannot download the archive from files.test", "error: 404"]),
        (403, vec!["files.test", "error: 403"]),
        (302, vec!["files.test", "not supported or disabled"]),
    ] {
        let to = to.clone();
        let server = Server::new(move |_| if code == 302 { redirect(&to) } else { status(code) });
        let room = room(&format!("download-{code}"), &server);
        let url = "https://files.test/a.tar?X-Amz-Signature=canary";
        let printed = room.refused(&[("SOURCE_ARCHIVE", url)], &messages);
        assert!(!printed.contains("canary"), "{printed}");
    }
    assert_eq!(other.asked(), Vec::<String>::new(), "a redirect leads to https alone");
    let room = Room::new("download-odd");
    room.program("curl", "#!/bin/sh\nprintf 'curl: (3) bad %s\\n' \"$*\" >&2\nexit 3\n");
    let url = "https://user:pass-canary@files.test/a.tar?token=canary";
    let printed = room.refused(&[("SOURCE_ARCHIVE", url)], &["from files.test: bad"]);
    assert!(printed.contains("https://files.test/a.tar") && !printed.contains("canary"), "{printed}");
}

#[test]
fn a_download_that_stalls_is_given_up() {
    let server = Server::new(|_| {
        let (head, _) = archive();
        (head, Vec::new())
    });
    let mut room = room("download-stalls", &server);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = [("SOURCE_ARCHIVE", "https://files.test/app.tar")];
    room.refused(&url, &["cannot download the archive from files.test"]);
    room.files = format!("http://{}", silent.local_addr().unwrap());
    let patient = "--speed-time 60 ";
    assert!(room.script.contains(patient));
    room.script = room.script.replace(patient, "--speed-time 1 ").replace("--retry 3 ", "--retry 0 ");
    room.refused(&url, &["cannot download the archive from files.test", "too slow"]);
}

/// Where the server says how long it is, and where it does not.
#[test]
fn an_archive_that_is_too_big_is_not_downloaded() {
    for announced in [true, false] {
        let server = Server::new(move |_| {
            let body = vec![b'x'; 3 << 20];
            let length =
                if announced { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
            (format!("HTTP/1.1 200 OK\r\n{length}"), body)
        });
        let mut room = room(&format!("download-big-{announced}"), &server);
        room.limit("max_archive", 1 << 20);
        let url = [("SOURCE_ARCHIVE", "https://files.test/app.tar")];
        room.refused(&url, &["the archive is too big: it has more than 1 MiB"]);
    }
}

/// 2 GiB of zeros, which lie nowhere; how much of it was taken.
fn endless(announced: bool) -> (String, thread::JoinHandle<u64>) {
    const SIZE: u64 = 2 << 30;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        let length = if announced { format!("Content-Length: {SIZE}\r\n") } else { String::new() };
        let head = format!("HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let (block, mut sent) = (vec![0; 1 << 20], 0);
        while sent < SIZE && stream.write_all(&block).is_ok() {
            sent += block.len() as u64;
        }
        sent
    });
    (url, sent)
}

/// At the limit that is sent: what is announced is not begun, what is not announced is cut off.
#[test]
fn two_gib_are_not_taken() {
    for (announced, most) in [(true, 16), (false, 600)] {
        let (url, sent) = endless(announced);
        let mut room = Room::new(&format!("download-2-gib-{announced}"));
        room.files = url;
        let archive = [("SOURCE_ARCHIVE", "https://files.test/app.tar")];
        room.refused(&archive, &["the archive is too big: it has more than 512 MiB"]);
        let taken = sent.join().unwrap() >> 20;
        assert!(taken < most, "{taken} MiB were taken, announced: {announced}");
    }
}
