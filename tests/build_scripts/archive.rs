//! Archives that people have: every sort, odd names, tools that warn.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    bytes::{Entry, Zipped, entry, file, tar, zip, zipped},
    room::Room,
};

/// Its name tells nothing: the content does.
const URL: (&str, &str) = ("SOURCE_ARCHIVE", "https://files.test/download/7");

#[test]
fn every_sort_of_archive_is_unpacked() {
    let room = Room::new("archives");
    room.write("src/fn/app.py", "app");
    room.write("src/fn/lib/.hidden", "hidden");
    room.write("src/fn/lib/x.py", "x");
    let sorts: [(&str, &[&str]); 7] = [
        ("tar", &["-cf"]),
        ("old tar", &["--format=v7", "-cf"]),
        ("pax", &["--format=pax", "-cf"]),
        ("gzip", &["-czf"]),
        ("bzip2", &["-cjf"]),
        ("xz", &["-cJf"]),
        ("compress", &["--use-compress-program=gzip -9", "-cf"]),
    ];
    for (sort, flags) in sorts {
        for (from, item) in [("src", "fn"), ("src/fn", ".")] {
            let file = room.path("archive");
            room.run(from, "tar", &[flags, &[file.to_str().unwrap(), item]].concat());
            room.fetched(&[URL]);
            assert_eq!(room.read("workspace/app/app.py"), "app", "{sort} of {item}");
            assert_eq!(room.read("workspace/app/lib/.hidden"), "hidden", "{sort} of {item}");
        }
    }
    room.write("archive", zip(&[zipped("fn/app.py", "zip"), zipped("fn/lib/x.py", "x")]));
    room.fetched(&[URL, ("SOURCE_SUBPATH", "lib"), ("ENTRYPOINT", "serve")]);
    assert_eq!(room.read("workspace/app/x.py"), "x");
    assert_eq!(room.read("workspace/app/Procfile"), "web: serve\n");
    let asked = room.read("curl.log");
    assert!(
        asked.ends_with("--\nhttps://files.test/download/7\n")
            && asked.contains("--proto\n=https\n--proto-redir\n=https\n"),
        "{asked}"
    );
}

/// What lies in the source afterwards, each path with its text.
fn unpacked(room: &Room, archive: Vec<u8>) -> Vec<String> {
    room.write("archive", archive);
    room.fetched(&[URL]);
    let list = room.run("workspace/app", "find", &[".", "!", "-type", "d"]);
    let mut list: Vec<_> = list.lines().map(|path| path[2..].to_owned()).collect();
    list.sort();
    list
}

#[test]
fn archives_with_odd_names_are_unpacked() {
    let dos = |name| Zipped { name, data: b"x", ..Zipped::default() };
    let rows: [(&str, Vec<u8>, &[&str]); 15] = [
        ("zip made on DOS", zip(&[dos("app\\a.py"), dos("app\\lib\\b.py")]), &["a.py", "lib/b.py"]),
        ("zip of macOS", zip(&[zipped("app/a.py", "a"), zipped("__MACOSX/app/._a.py", "")]), &["a.py"]),
        (
            "tar of macOS",
            tar(&[file("./._app", ""), file("app/a.py", "a"), file(".DS_Store", "")]),
            &["a.py"],
        ),
        ("a name that begins so", tar(&[file("._rc", ""), file("app/a.py", "a")]), &["._rc", "app/a.py"]),
        ("a folder like an option", tar(&[entry("-rf app/", b'5', ""), file("-rf app/-x", "a")]), &["-x"]),
        ("files like options", zip(&[zipped("-x", "a"), zipped("--y", "a")]), &["--y", "-x"]),
        ("umlauts", tar(&[file("größe/übung.py", "a")]), &["übung.py"]),
        ("umlauts, zip", zip(&[zipped("größe/übung.py", "a")]), &["übung.py"]),
        ("dots", tar(&[file("app/a.py", "a"), file("..hid/b", "b")]), &["..hid/b", "app/a.py"]),
        ("dots alone", tar(&[file("..hid/...", "b")]), &["..."]),
        ("dots, zip", zip(&[zipped("app/..a", "a"), zipped("...", "b")]), &["...", "app/..a"]),
        ("blanks", tar(&[file("my app/a b -> c.py", "a"), file("my app/ x", "a")]), &[" x", "a b -> c.py"]),
        (
            "signs",
            zip(&[zipped("a[1]/{b,c}*?.py", "a"), zipped("a[1]/$(x);'", "")]),
            &["$(x);'", "{b,c}*?.py"],
        ),
        (
            "numbers",
            zip(&[zipped("9999999999", "a"), zipped("99999999999 x", "a")]),
            &["9999999999", "99999999999 x"],
        ),
        ("nothing to strip", tar(&[file("./a", "a"), file("./b/c", "c")]), &["a", "b/c"]),
    ];
    for (name, archive, there) in rows {
        let room = Room::new("odd");
        assert_eq!(unpacked(&room, archive), there, "{name}");
    }
}

/// Bytes before or after the archive: gzip and unzip warn by their exit code.
#[test]
fn an_archive_whose_tool_only_warns_is_unpacked() {
    let room = Room::new("warn");
    room.write("src/a.py", "a");
    room.run("src", "tar", &["-czf", "../archive", "a.py"]);
    let mut bytes = fs::read(room.path("archive")).unwrap();
    bytes.extend(b"rest");
    assert_eq!(unpacked(&room, bytes), ["a.py"]);
    let mut bytes = b"#!/bin/sh\nexit\n".to_vec();
    bytes.extend(zip(&[zipped("a.py", "a")]));
    room.write("archive", bytes);
    room.fetched(&[("SOURCE_ARCHIVE", "https://files.test/a.ZIP?version=3#top")]);
    assert_eq!(room.read("workspace/app/a.py"), "a");
}

#[test]
fn rights_of_an_archive_lend_nobody_a_right() {
    let room = Room::new("rights");
    let with = |name, kind, mode| Entry { mode, data: b"x", ..entry(name, kind, "") };
    let folder = |name, mode| Entry { mode, ..entry(name, b'5', "") };
    let archive = tar(&[
        folder("app", 0o500),
        folder("app/d", 0o7777),
        with("app/d/root", b'0', 0o6755),
        with("app/closed", b'0', 0),
        with("app/run", b'0', 0o755),
    ]);
    assert_eq!(unpacked(&room, archive), ["closed", "d/root", "run"]);
    let mode = |path: &str| fs::metadata(room.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("workspace/app/d/root") & 0o7000, 0);
    assert_eq!(mode("workspace/app/d") & 0o7000, 0);
    assert_eq!(mode("workspace/app/closed") & 0o660, 0o660);
    assert_eq!(mode("workspace/app") & 0o770, 0o770);
    assert_eq!(mode("workspace/app/run") & 0o111, 0o111);
    let unix = 0o104_755;
    assert_eq!(unpacked(&room, zip(&[Zipped { unix, ..zipped("root", "x") }])), ["root"]);
    assert_eq!(mode("workspace/app/root") & 0o7000, 0);
}

#[test]
fn links_inside_of_the_source_are_kept() {
    let room = Room::new("links");
    let archive = tar(&[
        file("app/lib/x.py", "x"),
        entry("app/bin", b'2', "lib"),
        entry("app/lib/up", b'2', "../lib/./x.py"),
        entry("app/lib/here", b'2', "."),
        entry("app/later", b'2', "lib/none.py"),
        entry("app/hard", b'1', "app/lib/x.py"),
    ]);
    assert_eq!(unpacked(&room, archive), ["bin", "hard", "later", "lib/here", "lib/up", "lib/x.py"]);
    assert_eq!(room.read("workspace/app/lib/up"), "x");
    assert_eq!(room.read("workspace/app/hard"), "x");
    let link = Zipped { unix: 0o120_777, ..zipped("app/link", "x.py") };
    assert_eq!(unpacked(&room, zip(&[zipped("app/x.py", "x"), link])), ["link", "x.py"]);
    assert_eq!(room.read("workspace/app/link"), "x");
}
