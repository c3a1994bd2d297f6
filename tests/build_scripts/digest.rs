//! The script that reports the digest of the pushed image.

use std::{fs, process::Command};

use crate::room::Room;

/// The script that is sent.
pub const DIGEST: &str = include_str!("../../src/render/function/digest.sh");

fn reported(room: &Room, report: &str) -> String {
    room.write("report.toml", report);
    let script = DIGEST.replace("$(results.IMAGE_DIGEST.path)", room.path("result").to_str().unwrap());
    let status =
        Command::new("sh").args(["-c", &script]).env("REPORT", room.path("report.toml")).status().unwrap();
    assert!(status.success());
    fs::read_to_string(room.path("result")).unwrap()
}

#[test]
fn the_digest_is_reported_without_a_newline() {
    let room = Room::new("digest");
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let image =
        |line: &str| format!("[build]\n\n[image]\ntags = [\"r:latest\"]\n{line}\nmanifest-size = 1\n");
    assert_eq!(reported(&room, &image(&format!("digest = \"{digest}\""))), digest);
    assert_eq!(reported(&room, &image(&format!("  digest=\"{digest}\" # pushed"))), digest);
    assert_eq!(reported(&room, &image("image-id = \"abc\"")), "", "a daemon reports an id, no digest");
    assert_eq!(reported(&room, &image("digest = \"sha256:short\"")), "");
}
