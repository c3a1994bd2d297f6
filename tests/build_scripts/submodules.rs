//! Submodules, and files in Git LFS: they are there, or the error says why not.

use crate::{
    room::Room,
    server::{Server, files, git, status},
};

const MAIN: (&str, &str) = ("SOURCE_REVISION", "main");
const APP: (&str, &str) = ("SOURCE_URL", "https://git.test/app");

/// A git-lfs that is not there, whatever the machine has.
const NO_LFS: &str = "#!/bin/sh\nexit 1\n";

/// `app` has `lib` in `vendor/lib`, an older commit of it, and that has `base`; all by relative URLs.
fn nested(room: &Room) {
    room.write("base/base.txt", "base");
    room.commit("base", "base");
    room.write("lib/lib.txt", "old");
    room.commit("lib", "lib");
    room.git("lib", &["submodule", "--quiet", "add", "../base", "deep"]);
    let old = room.commit("lib", "old");
    room.write("lib/lib.txt", "new");
    room.commit("lib", "new");
    room.write("app/cmd/main.txt", "main");
    room.commit("app", "first");
    room.git("app", &["submodule", "--quiet", "add", "../lib", "cmd/vendor lib"]);
    room.git("app/cmd/vendor lib", &["checkout", "--quiet", &old]);
    room.commit("app", "second");
}

/// Mirrors in `served`, as a server without git wants them.
fn mirrors(room: &Room, names: &[&str]) {
    for name in names {
        let to = format!("served/{name}");
        room.git(".", &["clone", "--quiet", "--mirror", name, &to]);
        room.git(&to, &["update-server-info"]);
    }
}

fn all_there(room: &Room) {
    room.fetched(&[APP, MAIN]);
    assert_eq!(room.read("workspace/app/cmd/main.txt"), "main");
    assert_eq!(room.read("workspace/app/cmd/vendor lib/lib.txt"), "old");
    assert_eq!(room.read("workspace/app/cmd/vendor lib/deep/base.txt"), "base");
    assert_eq!(room.run("workspace", "find", &[".", "-name", ".git"]), "");
    room.fetched(&[APP, MAIN, ("SOURCE_SUBPATH", "cmd/vendor lib")]);
    assert_eq!(room.read("workspace/app/deep/base.txt"), "base");
}

#[test]
fn nested_submodules_are_fetched() {
    let mut room = Room::new("submodules");
    nested(&room);
    mirrors(&room, &["app", "lib", "base"]);
    room.git = room.path("served").display().to_string();
    all_there(&room);
    for smart in [true, false] {
        let folder = room.path("served");
        let server = if smart { Server::new(git(folder)) } else { Server::new(files(folder)) };
        room.git = server.url();
        all_there(&room);
    }
}

/// The requests of the submodule come after those of the source itself.
#[test]
fn submodules_are_fetched_from_a_server_that_fails_once() {
    for wrong in [4..5, 6..7, 7..8] {
        let mut room = Room::new(&format!("submodule-{}", wrong.start));
        nested(&room);
        mirrors(&room, &["app", "lib", "base"]);
        let answer = git(room.path("served"));
        let server = Server::failing(move |at| wrong.contains(&at), 500, answer);
        room.git = server.url();
        all_there(&room);
    }
}

/// A repository whose one submodule has this URL.
fn submodule_at(room: &Room, url: &str) {
    nested(room);
    let text = format!("[submodule \"x\"]\n\tpath = x\n\turl = {url}\n");
    let commit = room.git("lib", &["rev-parse", "HEAD"]);
    room.git("app", &["rm", "--quiet", "--cached", "cmd/vendor lib"]);
    room.write("app/.gitmodules", text);
    room.git("app", &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},x")]);
    room.git("app", &["add", ".gitmodules"]);
    room.git("app", &["commit", "--quiet", "-m", "third"]);
    mirrors(room, &["app", "lib", "base"]);
}

#[test]
fn a_submodule_that_cannot_be_fetched_is_named() {
    let secret = Room::new("submodule-secret");
    nested(&secret);
    let file = format!("file://{}", secret.path("lib").display());
    for (name, url, message) in [
        ("none", "../none", "not found"),
        ("closed", "http://127.0.0.1:1/lib", "Failed to connect to 127.0.0.1"),
        ("file", file.as_str(), "transport 'file' not allowed"),
        ("ssh", "git@elsewhere.test:lib", "transport 'ssh' not allowed"),
        ("ext", "ext::sh -c touch% pwned", "transport 'ext' not allowed"),
    ] {
        let mut room = Room::new(&format!("submodule-{name}"));
        submodule_at(&room, url);
        let server = Server::new(git(room.path("served")));
        room.git = server.url();
        room.refused(&[APP, MAIN], &["cannot fetch the submodule x: ", message]);
        assert!(!room.has("workspace/app/x/lib.txt") && !room.has("workspace/fetched/pwned"));
    }
}

/// People clone by ssh; a build has no key, and the same host serves https.
#[test]
fn a_submodule_by_ssh_on_the_source_s_own_host_is_fetched() {
    let room = Room::new("submodule-own");
    let server = Server::new(git(room.path("served")));
    submodule_at(&room, &format!("ssh://git@{}/lib", server.host()));
    room.fetched(&[("SOURCE_URL", &format!("{}/app", server.url())), MAIN]);
    assert_eq!(room.read("workspace/app/x/lib.txt"), "new");
}

#[test]
fn a_submodule_that_gitmodules_does_not_name_is_a_warning() {
    let room = Room::new("submodule-unnamed");
    nested(&room);
    room.git("app", &["rm", "--quiet", "--cached", ".gitmodules"]);
    room.git("app", &["commit", "--quiet", "-m", "third"]);
    let printed = room.fetched(&[APP, MAIN]);
    assert!(
        printed.contains("warning: .gitmodules is missing") && printed.contains("cmd/vendor lib"),
        "{printed}"
    );
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0123abcd\nsize 5\n";

/// `app` with one file in Git LFS.
fn with_lfs(room: &Room) {
    room.write("app/web/logo.png", POINTER);
    room.write("app/web/.gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n");
    room.write("app/cmd/main.txt", "main");
    room.git(".", &["init", "--quiet", "--initial-branch=main", "app"]);
    room.git("app", &["config", "filter.lfs.required", "false"]);
    room.commit("app", "first");
}

#[test]
fn files_in_git_lfs_are_not_built_as_pointers() {
    let room = Room::new("lfs-none");
    room.program("git-lfs", NO_LFS);
    with_lfs(&room);
    room.refused(&[APP, MAIN], &["1 files of the source are in Git LFS", "no git-lfs: web/logo.png"]);
    room.refused(&[APP, MAIN, ("SOURCE_SUBPATH", "web")], &["web/logo.png"]);
    room.fetched(&[APP, MAIN, ("SOURCE_SUBPATH", "cmd")]);
}

/// git-lfs is stood in for: what is asked of it is what its own documentation says.
#[test]
fn files_in_git_lfs_are_fetched_where_the_image_can() {
    let room = Room::new("lfs");
    with_lfs(&room);
    let pull = "#!/bin/sh\n[ \"$1\" != pull ] || printf image >web/logo.png\n";
    room.program("git-lfs", pull);
    room.fetched(&[APP, MAIN]);
    assert_eq!(room.read("workspace/app/web/logo.png"), "image");
    room.program("git-lfs", "#!/bin/sh\n[ \"$1\" != pull ] || { echo 'batch response: no' >&2; exit 2; }\n");
    room.refused(&[APP, MAIN], &["cannot fetch the files in Git LFS: batch response: no"]);
    room.program("git-lfs", "#!/bin/sh\n");
    room.refused(&[APP, MAIN], &["left 1 pointers: web/logo.png"]);
}

#[test]
fn pointers_without_an_attribute_cause_a_warning() {
    let room = Room::new("lfs-warning");
    room.program("git-lfs", NO_LFS);
    room.write("app/test/sample", POINTER);
    room.commit("app", "first");
    let printed = room.fetched(&[APP, MAIN]);
    assert!(printed.contains("warning: 1 files are Git LFS pointers, not their content: test/sample"));
    room.run("app", "tar", &["-cf", room.path("archive").to_str().unwrap(), "test"]);
    let printed = room.fetched(&[("SOURCE_ARCHIVE", "https://files.test/app.tar")]);
    assert!(
        printed.contains("warning: 1 files are Git LFS pointers, not their content: sample"),
        "{printed}"
    );
}

/// Without a server that answers, the source is not half there.
#[test]
fn a_source_is_whole_or_not_there() {
    let mut room = Room::new("half");
    nested(&room);
    let server = Server::new(|_| status(404));
    room.git = server.url();
    room.refused(&[APP, MAIN], &["not found"]);
    assert!(!room.has("workspace/app/cmd"));
}
