//! Archives that are refused, each with a message that says why.

use std::fs;

use crate::{
    bytes::{Entry, Zipped, entry, file, header, tar, zip, zipped},
    room::Room,
};

const URL: (&str, &str) = ("SOURCE_ARCHIVE", "https://files.test/download/7");

/// Each is refused, and nothing of it is where the builder looks.
fn all_refused(rows: &[(&str, Vec<u8>, &[&str])]) {
    let room = Room::new(&format!("refused-{}", rows[0].0));
    room.write("outside", "untouched");
    for (name, archive, messages) in rows {
        room.write("archive", archive);
        room.refused(&[URL, ("ROW", name)], messages);
        assert_eq!(fs::read_dir(room.path("workspace/app")).unwrap().count(), 0, "{name}");
        assert_eq!(room.read("outside"), "untouched", "{name}");
        assert!(!room.has("evil") && !room.has("workspace/evil"), "{name}");
    }
}

#[test]
fn entries_outside_of_the_source_are_refused() {
    let dos = |name| Zipped { name, data: b"x", ..Zipped::default() };
    let good = || file("app/a.py", "a");
    all_refused(&[
        ("absolute", tar(&[good(), file("/tmp/evil", "x")]), &["absolute path: /tmp/evil"]),
        ("up", tar(&[good(), file("../evil", "x")]), &["leads out of the source: ../evil"]),
        ("up later", tar(&[good(), file("app/b/../../../evil", "x")]), &["leads out of the source: app/b"]),
        ("a folder", tar(&[good(), entry("app/..", b'5', "")]), &["leads out of the source: app/.."]),
        ("zip absolute", zip(&[zipped("a", ""), zipped("/tmp/evil", "x")]), &["absolute path: /tmp/evil"]),
        ("zip up", zip(&[zipped("a", ""), zipped("b/../../evil", "x")]), &["leads out of the source: b/"]),
        ("zip of DOS up", zip(&[dos("b\\..\\..\\evil")]), &["leads out of the source: b"]),
        ("zip of DOS drive", zip(&[dos("C:\\evil")]), &["absolute path: C:"]),
    ]);
}

#[test]
fn links_out_of_the_source_are_refused() {
    let good = || file("app/a.py", "a");
    let link = |name, target| Zipped { unix: 0o120_777, ..zipped(name, target) };
    all_refused(&[
        ("link absolute", tar(&[good(), entry("app/l", b'2', "/etc/passwd")]), &["the link l leads out"]),
        ("up", tar(&[good(), entry("app/l", b'2', "../../outside")]), &["the link l leads out"]),
        ("beside", tar(&[good(), entry("app/l", b'2', "../platform")]), &["the link l leads out"]),
        (
            "by another",
            tar(&[
                good(),
                entry("app/d/", b'5', ""),
                entry("app/d/1", b'2', ".."),
                entry("app/2", b'2', "d/1/.."),
            ]),
            &["the link 2 leads out"],
        ),
        (
            "through a link",
            tar(&[good(), entry("app/l", b'2', "/tmp"), file("app/l/evil", "x")]),
            &["the archive is"],
        ),
        ("hard", tar(&[good(), entry("app/l", b'1', "../../outside")]), &["leads out of the source: app/l"]),
        (
            "hard absolute",
            tar(&[good(), entry("app/l", b'1', "/etc/passwd")]),
            &["leads out of the source: app/l"],
        ),
        ("zip", zip(&[zipped("app/a.py", ""), link("app/l", "/etc/passwd")]), &["the link l leads out"]),
        ("zip up", zip(&[zipped("app/a.py", ""), link("app/l", "../../x")]), &["the link l leads out"]),
        (
            "zip through a link",
            zip(&[zipped("app/a.py", ""), link("app/l", "../.."), zipped("app/l/evil", "x")]),
            &["the archive is"],
        ),
        (
            "hard link to a link",
            tar(&[good(), entry("app/l", b'2', "/etc/passwd"), entry("app/m", b'1', "app/l")]),
            &["leads out of the source"],
        ),
    ]);
}

#[test]
fn devices_and_pipes_are_refused() {
    let with = |kind| tar(&[file("app/a.py", "a"), entry("app/evil", kind, "")]);
    let odd = |unix| zip(&[zipped("app/a.py", ""), Zipped { unix, ..zipped("app/evil", "") }]);
    let rule: &[&str] = &["is a device or a pipe: ", "app/evil"];
    all_refused(&[
        ("character device", with(b'3'), rule),
        ("block device", with(b'4'), rule),
        ("pipe", with(b'6'), rule),
        ("zip pipe", odd(0o010_644), rule),
        ("zip socket", odd(0o140_755), rule),
        ("zip character device", odd(0o020_666), rule),
        ("zip block device", odd(0o060_660), rule),
    ]);
}

#[test]
fn what_is_no_whole_archive_is_refused() {
    let room = Room::new("whole");
    let text: String = (0..9000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string()).collect();
    let whole = tar(&[file("app/a.py", "a"), file("app/b.py", &text)]);
    room.write("whole.tar", &whole);
    let cut = |program: &str| {
        room.run(".", "sh", &["-c", &format!("{program} -c whole.tar >cut")]);
        let bytes = fs::read(room.path("cut")).unwrap();
        bytes[..bytes.len() * 2 / 3].to_vec()
    };
    room.write("text", "only text");
    room.run(".", "gzip", &["text"]);
    let compressed = fs::read(room.path("text.gz")).unwrap();
    let zipfile = zip(&[zipped("app/a.py", "a"), zipped("app/b.py", &text)]);
    let mut bad = zipfile.clone();
    bad[200] ^= 1;
    let unknown = zip(&[Zipped { method: 14, ..zipped("app/a.py", "lzma") }]);
    let encrypted = zip(&[Zipped { flags: 1, ..zipped("app/a.py", "twelve bytes and more") }]);
    let (damaged, none): (&[&str], &[&str]) = (&["the archive is damaged, cut short"], &["is no archive"]);
    all_refused(&[
        ("tar cut", whole[..4096].to_vec(), damaged),
        ("gzip cut", cut("gzip"), damaged),
        ("bzip2 cut", cut("bzip2"), damaged),
        ("xz cut", cut("xz"), damaged),
        ("zip cut", zipfile[..zipfile.len() / 2].to_vec(), damaged),
        ("zip damaged", bad, &["the archive is damaged", "CRC"]),
        ("zip unknown", unknown, &["a compression that unzip does not know"]),
        ("zip encrypted", encrypted, &["the archive is encrypted"]),
        (
            "a web page",
            b"\xef\xbb\xbf \r\n<!DOCTYPE html><html>Sign in</html>".to_vec(),
            &["files.test sent a web page"],
        ),
        ("a message", br#"{"message":"Not Found"}"#.to_vec(), none),
        ("compressed text", compressed, none),
        ("nothing", Vec::new(), &["files.test sent an empty file"]),
        ("an empty tar", tar(&[entry("./", b'5', "")]), &["the archive is empty"]),
        ("an empty zip", zip(&[]), &["the archive is"]),
        (
            "only what macOS adds",
            tar(&[file("__MACOSX/._a", "x"), file(".DS_Store", "x")]),
            &["the archive is empty"],
        ),
    ]);
}

/// A header may promise what never comes, a list may keep back what does.
#[test]
fn an_archive_has_limits() {
    let mut room = Room::new("limits");
    room.limit("max_unpacked", 2 << 20);
    room.limit("max_entries", 5);
    let size: &[&str] = &["the source is too big: it unpacks to more than 2 MiB"];
    let number: &[&str] = &["the source is too big: it unpacks to more than 5 files and folders"];
    let big = "x".repeat(3 << 20);
    room.write("zeros/big", vec![0; 64 << 20]);
    room.run("zeros", "tar", &["-czf", "../bomb", "big"]);
    room.write("sparse/big", "");
    fs::File::options().write(true).open(room.path("sparse/big")).unwrap().set_len(64 << 20).unwrap();
    room.run("sparse", "tar", &["-cSf", "../holes", "big"]);
    let names: Vec<_> = (0..6).map(|name| format!("app/{name}")).collect();
    let many: Vec<_> = names.iter().map(|name| file(name, "")).collect();
    let zipped_many: Vec<_> = names.iter().map(|name| zipped(name, "")).collect();
    let half = "x".repeat(3 << 19);
    let lie = Zipped { claimed: Some(1), ..zipped("big", &big) };
    let tar_bomb = |program: &str| {
        room.run("zeros", "tar", &["-cf", "../bomb.tar", "big"]);
        room.run(".", "sh", &["-c", &format!("{program} -c bomb.tar >packed")]);
        fs::read(room.path("packed")).unwrap()
    };
    let rows: [(&str, Vec<u8>, &[&str]); 11] = [
        ("a file", tar(&[file("big", &big)]), size),
        ("files", tar(&[file("1", &half), file("2", &half)]), size),
        ("a bomb", fs::read(room.path("bomb")).unwrap(), size),
        ("a bomb of bzip2", tar_bomb("bzip2"), size),
        ("a bomb of xz", tar_bomb("xz"), size),
        ("holes", fs::read(room.path("holes")).unwrap(), size),
        ("a promise", header(&file("big", ""), 7 << 30).to_vec(), size),
        ("many", tar(&many), number),
        ("zip", zip(&[zipped("1", &half), zipped("2", &half)]), size),
        ("zip with a lie", zip(&[lie]), size),
        ("many, zip", zip(&zipped_many), number),
    ];
    for (name, archive, messages) in rows {
        room.write("archive", archive);
        room.refused(&[URL, ("ROW", name)], messages);
        assert!(
            !room.has("workspace/fetched/big") && !room.has("workspace/fetched/1"),
            "{name} is on the disk"
        );
    }
    room.write("archive", tar(&many[..5]));
    room.fetched(&[URL]);
}

/// The limits that are sent: what they hold stands in the error.
#[test]
fn the_limits_that_are_sent() {
    let room = Room::new("limits-sent");
    for (limit, value) in [("max_archive", 512 << 20), ("max_unpacked", 1 << 30), ("max_entries", 200_000)] {
        assert!(room.script.contains(&format!("\n{limit}={value}\n")), "{limit}");
    }
    let Entry { data, .. } = file("x", "");
    assert!(data.is_empty());
    let archive = fs::File::create(room.path("archive")).unwrap();
    archive.set_len(2 << 30).unwrap();
    room.refused(&[URL], &["the archive is too big: it has more than 512 MiB"]);
}
