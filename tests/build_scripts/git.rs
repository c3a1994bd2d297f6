//! Every revision from every sort of server, and the error where that fails.

use std::{net::TcpListener, sync::Arc};

use crate::{
    room::Room,
    server::{Server, files, git, no_shallow, redirect, status},
};

const URL: (&str, &str) = ("SOURCE_URL", "https://git.test/repo");

/// Revisions and the text that `file` has there.
type Revisions = Vec<(String, &'static str)>;

/// A repository whose history has four commits, ready for servers without git.
fn repository(room: &Room) -> Revisions {
    let commit = |text: &str| {
        room.write("work/file", text);
        room.commit("work", text)
    };
    let one = commit("one");
    room.git("work", &["tag", "light"]);
    room.git("work", &["tag", "-a", "-m", "annotated", "v1"]);
    let two = commit("two");
    room.git("work", &["tag", "twin"]);
    room.git("work", &["checkout", "--quiet", "-b", "feature/login-#42"]);
    let three = commit("three");
    room.git("work", &["branch", "twin"]);
    // A branch's name may look like the short id of a commit.
    room.git("work", &["branch", "abad1dea"]);
    room.git("work", &["checkout", "--quiet", "--detach", "main"]);
    let pull = commit("pull");
    room.git("work", &["update-ref", "refs/pull/1/head", &pull]);
    room.git("work", &["checkout", "--quiet", "main"]);
    room.git(".", &["clone", "--quiet", "--mirror", "work", "repo"]);
    room.git("repo", &["update-server-info"]);
    let named = [
        ("main", "two"),
        ("heads/main", "two"),
        ("refs/heads/main", "two"),
        ("HEAD", "two"),
        ("feature/login-#42", "three"),
        ("refs/heads/feature/login-#42", "three"),
        ("abad1dea", "three"),
        ("light", "one"),
        ("v1", "one"),
        ("refs/tags/v1", "one"),
        ("twin", "two"),
        ("refs/heads/twin", "three"),
        ("refs/pull/1/head", "pull"),
        ("feature/login-#42~2", "one"),
    ];
    let tag = room.git("work", &["rev-parse", "v1"]);
    let mut revisions: Revisions = named.map(|(name, text)| (name.to_owned(), text)).into();
    revisions.extend([(two[..9].to_owned(), "two"), (one[..7].to_owned(), "one"), (tag, "one")]);
    revisions.extend([(one.to_uppercase(), "one"), (one, "one"), (two, "two"), (three, "three")]);
    revisions.push((pull, "pull"));
    revisions
}

/// A room whose repository `https://git.test/repo` is on a server of this sort.
fn served(name: &str, smart: bool, wrong: fn(usize) -> bool, code: u16) -> (Room, Server, Revisions) {
    let mut room = Room::new(name);
    let revisions = repository(&room);
    let server = if smart {
        Server::failing(wrong, code, git(room.path("")))
    } else {
        Server::failing(wrong, code, files(room.path("")))
    };
    room.git = server.url();
    (room, server, revisions)
}

fn every_revision(room: &Room, revisions: &Revisions) {
    for (revision, text) in revisions {
        room.fetched(&[URL, ("SOURCE_REVISION", revision)]);
        assert_eq!(room.read("workspace/app/file"), *text, "{revision}");
        assert!(!room.has("workspace/app/.git"), "the history is no part of the image");
    }
    for absent in ["nowhere", "feature", "abcdef1", "0000000000000000000000000000000000000007", "v1:file"] {
        room.refused(&[URL, ("SOURCE_REVISION", absent)], &[&format!("there is no revision {absent} in")]);
    }
}

#[test]
fn every_kind_of_revision_is_fetched_from_a_server_without_git() {
    let (room, server, revisions) = served("static", false, |_| false, 0);
    every_revision(&room, &revisions);
    assert!(server.asked().iter().any(|asked| asked.contains("/objects/")), "it was a server without git");
}

#[test]
fn every_kind_of_revision_is_fetched_from_a_git_server() {
    let (room, server, revisions) = served("smart", true, |_| false, 0);
    every_revision(&room, &revisions);
    assert!(server.asked().iter().all(|asked| !asked.contains("/objects/")));
}

#[test]
fn a_branch_and_a_tag_are_fetched_where_shallow_is_refused() {
    let mut room = Room::new("no-shallow");
    repository(&room);
    for code in [400, 500] {
        let server = Server::new(no_shallow(room.path(""), code));
        room.git = server.url();
        for (revision, text) in [("feature/login-#42", "three"), ("v1", "one")] {
            room.fetched(&[URL, ("SOURCE_REVISION", revision)]);
            assert_eq!(room.read("workspace/app/file"), text, "{code} {revision}");
        }
        room.git = room.path("").display().to_string();
    }
}

/// What the first answer is not, the second may be: whichever request it is that goes wrong.
#[test]
fn one_broken_answer_is_no_verdict() {
    for (smart, requests) in [(true, 5), (false, 4)] {
        let broken: [fn(usize) -> bool; 5] =
            [|at| at == 0, |at| at == 1, |at| at == 2, |at| at == 3, |at| at == 4];
        for (number, wrong) in broken.into_iter().enumerate().take(requests) {
            let (room, server, _) = served(&format!("broken-{smart}-{number}"), smart, wrong, 500);
            room.fetched(&[URL, ("SOURCE_REVISION", "feature/login-#42")]);
            assert_eq!(room.read("workspace/app/file"), "three");
            assert!(server.asked().len() > number);
        }
    }
}

#[test]
fn a_server_that_fails_is_not_a_revision_that_is_absent() {
    for (code, message) in [
        (500, "error: 500"),
        (503, "error: 503"),
        (403, "error: 403"),
        (404, "not found"),
        (401, "asks for a user name and a password"),
    ] {
        let (room, server, _) = served(&format!("status-{code}"), true, |_| true, code);
        let printed = room.refused(&[URL, ("SOURCE_REVISION", "main")], &[message, "git.test"]);
        assert!(!printed.contains("no revision"), "{printed}");
        let asked = if code < 500 { 1..=2 } else { 3..=3 };
        assert!(asked.contains(&server.asked().len()), "{code}: {:?}", server.asked());
    }
    let (room, _server, _) = served("later", true, |at| at > 1, 500);
    room.refused(&[URL, ("SOURCE_REVISION", "main")], &["the revision main", "error: 500"]);
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let mut room = Room::new("unreachable");
    repository(&room);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/repo");
    room.refused(&[("SOURCE_URL", &url), ("SOURCE_REVISION", "main")], &[&format!("cannot reach {closed}")]);
    // It takes the connection, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    room.git = format!("http://{}", silent.local_addr().unwrap());
    room.refused(&[URL, ("SOURCE_REVISION", "main")], &["cannot reach git.test", "too slow"]);
    let none = [("SOURCE_URL", "https://git.test/repo"), ("SOURCE_REVISION", "main")];
    room.git = room.path("none").display().to_string();
    room.refused(&none, &["cannot fetch the source from git.test", "does not"]);
}

#[test]
fn an_empty_repository_is_no_source() {
    let room = Room::new("bare");
    room.git(".", &["init", "--quiet", "--bare", "repo"]);
    room.refused(&[URL, ("SOURCE_REVISION", "main")], &["the repository at git.test is empty"]);
}

#[test]
fn a_redirect_leads_to_https_alone() {
    let other = Arc::new(Server::new(|_| status(500)));
    let to = format!("{}/elsewhere", other.url());
    let mut room = Room::new("redirect");
    let server = Server::new(move |_| redirect(&to));
    room.git = server.url();
    room.refused(&[URL, ("SOURCE_REVISION", "main")], &["not supported or disabled"]);
    assert_eq!(other.asked(), Vec::<String>::new());
}

/// A URL with credentials is refused long before; an older object may have one.
#[test]
fn credentials_are_never_printed() {
    for code in [401, 404] {
        let (room, server, _) = served(&format!("canary-{code}"), true, |_| true, code);
        for credentials in ["user-canary:pass-canary", "user-canary:pass@canary", "canary"] {
            let url = format!("http://{credentials}@{}/repo?token=query-canary", server.host());
            let printed =
                room.refused(&[("SOURCE_URL", &url), ("SOURCE_REVISION", "main")], &[&server.host()]);
            assert!(!printed.contains("canary"), "{printed}");
        }
    }
    let room = Room::new("canary-odd");
    for url in ["http://canary:8/canary@127.0.0.1:1/repo", "canary", "http://canary canary@127.0.0.1:1/x"] {
        let url = [("SOURCE_URL", url), ("SOURCE_REVISION", "main")];
        let printed = room.refused(&url, &["cannot"]);
        assert!(!printed.contains("canary@"), "{printed}");
    }
}

#[test]
fn a_repository_has_limits() {
    let mut room = Room::new("git-limits");
    room.write("repo/big", vec![b'x'; 3 << 20]);
    room.write("repo/small", "x");
    room.commit("repo", "first");
    let main = [URL, ("SOURCE_REVISION", "main")];
    room.fetched(&main);
    room.limit("max_entries", 1);
    room.refused(&main, &["the source is too big: it unpacks to more than 1 files"]);
    room.limit("max_entries", 9);
    room.limit("max_unpacked", 2 << 20);
    room.refused(&main, &["the source is too big: it unpacks to more than 2 MiB"]);
}
