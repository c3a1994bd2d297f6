//! What every source becomes: one folder of it, a `Procfile`, the rights of the files.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use crate::room::Room;

const URL: (&str, &str) = ("SOURCE_URL", "https://git.test/repo");
const MAIN: (&str, &str) = ("SOURCE_REVISION", "main");

fn repository(room: &Room) {
    room.write("repo/main.go", "main");
    room.write("repo/cmd/tool/tool.go", "tool");
    room.commit("repo", "first");
}

#[test]
fn a_folder_of_the_source_is_all_that_is_built() {
    let room = Room::new("folder");
    repository(&room);
    room.fetched(&[URL, MAIN, ("SOURCE_SUBPATH", "cmd/tool")]);
    assert_eq!(room.read("workspace/app/tool.go"), "tool");
    assert!(!room.has("workspace/app/main.go"));
    room.refused(&[URL, MAIN, ("SOURCE_SUBPATH", "cmd/none")], &["there is no folder cmd/none"]);
}

#[test]
fn a_link_does_not_lead_out_of_the_source() {
    let room = Room::new("link");
    room.write("secret/key", "secret");
    fs::create_dir_all(room.path("repo")).unwrap();
    symlink(room.path("secret"), room.path("repo/out")).unwrap();
    repository(&room);
    room.refused(&[URL, MAIN, ("SOURCE_SUBPATH", "out")], &["out leads out of the source"]);
    assert!(!room.has("workspace/app/key"));
}

/// A user's text never becomes a command or an option.
#[test]
fn text_of_users_is_only_text() {
    let room = Room::new("text");
    let nasty = format!("run '$(touch {0})' `touch {0}`; touch {0} \"\\n %s", room.path("pwned").display());
    room.write("repo/Procfile", "web: old");
    repository(&room);
    room.fetched(&[URL, MAIN, ("ENTRYPOINT", &nasty), ("RUNTIME", &nasty)]);
    assert_eq!(room.read("workspace/app/Procfile"), format!("web: {nasty}\n"));
    assert_eq!(room.read("workspace/platform/env/RUNTIME"), nasty);
    for url in [nasty.as_str(), "--upload-pack=touch pwned", "ext::sh -c touch% pwned", "-c"] {
        room.refused(&[("SOURCE_URL", url), ("SOURCE_REVISION", &nasty)], &["from the server"]);
        room.refused(&[("SOURCE_URL", url), MAIN], &["from the server"]);
    }
    room.refused(&[URL, ("SOURCE_REVISION", &nasty)], &["there is no revision run '$(touch"]);
    room.refused(&[URL, ("SOURCE_REVISION", "--all")], &["there is no revision --all"]);
    room.refused(&[URL, MAIN, ("SOURCE_SUBPATH", &nasty)], &["there is no folder run"]);
    assert!(!room.has("pwned") && !room.has("workspace/fetched/pwned"));
}

#[test]
fn the_runtime_and_the_entrypoint_reach_the_builder() {
    let room = Room::new("procfile");
    room.write("repo/Procfile/web", "a folder");
    repository(&room);
    room.fetched(&[URL, MAIN]);
    assert_eq!(room.read("workspace/platform/env/RUNTIME"), "go");
    assert!(room.has("workspace/app/Procfile/web"), "without an entrypoint the source's own stays");
    room.fetched(&[URL, MAIN, ("ENTRYPOINT", "serve")]);
    assert_eq!(room.read("workspace/app/Procfile"), "web: serve\n");
}

/// The builder's user is another one, of the same group.
#[test]
fn the_group_may_write_the_source() {
    let room = Room::new("group");
    repository(&room);
    room.fetched(&[URL, MAIN]);
    let mode = |path: &str| fs::metadata(room.path(path)).unwrap().permissions().mode();
    assert_eq!(mode("workspace/app/main.go") & 0o060, 0o060);
    assert_eq!(mode("workspace/app/cmd") & 0o070, 0o070);
    assert_eq!(mode("workspace/app/main.go") & 0o111, 0, "what was no program has not become one");
}

/// A second attempt of the step finds what the first has left.
#[test]
fn the_workspace_may_hold_an_earlier_attempt() {
    let room = Room::new("again");
    repository(&room);
    for left in ["app/old", "fetched/old", "notes/old", "platform/env/OLD"] {
        room.write(&format!("workspace/{left}"), "old");
    }
    room.fetched(&[URL, MAIN]);
    assert_eq!(room.run("workspace", "find", &[".", "-iname", "old"]), "");
}
