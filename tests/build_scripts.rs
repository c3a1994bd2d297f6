//! The scripts of a build, run by `sh` as a step would run them: with git for real, and with a stand-in for
//! `curl` that copies a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

const FETCH: &str = include_str!("../src/render/function/fetch.sh");
const DIGEST: &str = include_str!("../src/render/function/digest.sh");

/// A folder of its own for each test; gone with it.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("elpio-build-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("workspace")).unwrap();
        fs::create_dir_all(path.join("bin")).unwrap();
        Self(path)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a command in a folder; it must succeed.
    fn run(&self, folder: &str, command: &str, args: &[&str]) -> String {
        let output = Command::new(command)
            .args(args)
            .current_dir(self.path(folder))
            .envs(GIT_IDENTITY)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs the fetch script. `https://git.test/` leads git to this room, and `curl` copies the file
    /// `archive`.
    fn fetch(&self, variables: &[(&str, &str)]) -> Output {
        self.write(
            "bin/curl",
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$CURL_LOG\"\nwhile [ \"$1\" != --output ]; do shift; done\ncp \"$CURL_FILE\" \"$2\"\n",
        );
        fs::set_permissions(self.path("bin/curl"), fs::Permissions::from_mode(0o755)).unwrap();
        let empty = ["SOURCE_URL", "SOURCE_REVISION", "SOURCE_SUBPATH", "SOURCE_ARCHIVE", "ENTRYPOINT"]
            .map(|name| (name, ""));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-c", FETCH])
            .current_dir(&self.0)
            .envs(empty)
            .envs([("RUNTIME", "go"), ("GROUP", "1000"), ("PATH", path.as_str())])
            .env("WORKSPACE", self.path("workspace"))
            .env("CURL_LOG", self.path("curl.log"))
            .env("CURL_FILE", self.path("archive"))
            .envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_VALUE_0", "https://git.test/")])
            .env("GIT_CONFIG_KEY_0", format!("url.{}/.insteadOf", self.0.display()))
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    fn fetched(&self, variables: &[(&str, &str)]) {
        let output = self.fetch(variables);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn refused(&self, variables: &[(&str, &str)], message: &str) {
        let output = self.fetch(variables);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(message), "{said}");
    }

    /// A repository with two commits on main, the tag v1 on the first, and a folder.
    fn repository(&self) -> (String, String) {
        self.write("repo/main.go", "one");
        self.write("repo/cmd/tool/tool.go", "tool");
        self.run("repo", "git", &["init", "--quiet", "--initial-branch=main"]);
        let commit = |message| {
            self.run("repo", "git", &["add", "."]);
            self.run("repo", "git", &["commit", "--quiet", "-m", message]);
            self.run("repo", "git", &["rev-parse", "HEAD"])
        };
        let first = commit("first");
        self.run("repo", "git", &["tag", "v1"]);
        self.write("repo/main.go", "two");
        (first, commit("second"))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const GIT_IDENTITY: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "test"),
    ("GIT_AUTHOR_EMAIL", "test@example.com"),
    ("GIT_COMMITTER_NAME", "test"),
    ("GIT_COMMITTER_EMAIL", "test@example.com"),
];

const URL: (&str, &str) = ("SOURCE_URL", "https://git.test/repo");

#[test]
fn a_branch_a_tag_and_a_commit_are_fetched() {
    let room = Room::new("revisions");
    let (first, second) = room.repository();
    for (revision, text) in
        [("main", "two"), ("v1", "one"), (first.as_str(), "one"), (&second[..9], "two"), (&first[..9], "one")]
    {
        room.fetched(&[URL, ("SOURCE_REVISION", revision)]);
        assert_eq!(room.read("workspace/app/main.go"), text, "{revision}");
        assert!(
            !room.path("workspace/app/.git").exists(),
            "the history, and an URL's password in it, is no part of the image"
        );
        assert!(!room.path("workspace/fetched").exists());
    }
    assert_eq!(room.read("workspace/platform/env/RUNTIME"), "go");
    assert!(!room.path("workspace/app/Procfile").exists());
}

#[test]
fn a_folder_of_the_source_is_all_that_is_built() {
    let room = Room::new("folder");
    room.repository();
    room.fetched(&[URL, ("SOURCE_REVISION", "main"), ("SOURCE_SUBPATH", "cmd/tool")]);
    assert_eq!(room.read("workspace/app/tool.go"), "tool");
    assert!(!room.path("workspace/app/main.go").exists());
    room.refused(
        &[URL, ("SOURCE_REVISION", "main"), ("SOURCE_SUBPATH", "cmd/none")],
        "there is no folder cmd/none",
    );
}

#[test]
fn a_link_does_not_lead_out_of_the_source() {
    let room = Room::new("link");
    room.write("secret/key", "secret");
    fs::create_dir_all(room.path("repo")).unwrap();
    symlink(room.path("secret"), room.path("repo/out")).unwrap();
    room.repository();
    room.refused(&[URL, ("SOURCE_REVISION", "main"), ("SOURCE_SUBPATH", "out")], "leads out of the source");
    assert!(!room.path("workspace/app/key").exists());
}

#[test]
fn what_is_not_there_fails_and_says_so() {
    let room = Room::new("absent");
    room.repository();
    room.refused(&[URL, ("SOURCE_REVISION", "nowhere")], "there is no revision nowhere");
    room.refused(&[("SOURCE_URL", "https://git.test/none"), ("SOURCE_REVISION", "main")], "none");
}

/// A user's text never becomes a command or an option.
#[test]
fn text_of_users_is_only_text() {
    let room = Room::new("text");
    room.repository();
    let nasty = format!("run '$(touch {0})' `touch {0}`; touch {0} \"\\n %s", room.path("pwned").display());
    room.write("repo/Procfile", "web: old");
    room.run("repo", "git", &["add", "."]);
    room.run("repo", "git", &["commit", "--quiet", "-m", "third"]);
    room.fetched(&[URL, ("SOURCE_REVISION", "main"), ("ENTRYPOINT", &nasty), ("RUNTIME", &nasty)]);
    assert_eq!(room.read("workspace/app/Procfile"), format!("web: {nasty}\n"));
    assert_eq!(room.read("workspace/platform/env/RUNTIME"), nasty);
    room.refused(&[("SOURCE_URL", &nasty), ("SOURCE_REVISION", &nasty)], "");
    room.refused(&[URL, ("SOURCE_REVISION", "main"), ("SOURCE_SUBPATH", &nasty)], "there is no folder");
    room.refused(&[("SOURCE_URL", "--upload-pack=touch pwned"), ("SOURCE_REVISION", "main")], "");
    assert!(!room.path("pwned").exists());
}

#[test]
fn every_sort_of_archive_is_unpacked() {
    let room = Room::new("archives");
    room.write("src/fn/app.py", "app");
    room.write("src/fn/lib/.hidden", "hidden");
    room.write("src/fn/lib/x.py", "x");
    let sorts: [(&str, &[&str]); 4] =
        [("tar", &["-cf"]), ("gzip", &["-czf"]), ("bzip2", &["-cjf"]), ("xz", &["-cJf"])];
    for (sort, flags) in sorts {
        for (from, item) in [("src", "fn"), ("src/fn", ".")] {
            let file = room.path("archive");
            room.run(from, "tar", &[flags, &[file.to_str().unwrap(), item]].concat());
            room.fetched(&[("SOURCE_ARCHIVE", "https://files.test/fn")]);
            assert_eq!(room.read("workspace/app/app.py"), "app", "{sort} of {item}");
            assert_eq!(room.read("workspace/app/lib/.hidden"), "hidden", "{sort} of {item}");
            assert!(!room.path("workspace/archive").exists());
        }
    }
    let asked = room.read("curl.log");
    assert!(
        asked.ends_with("--\nhttps://files.test/fn\n")
            && asked.contains("--proto\n=https\n--proto-redir\n=https\n"),
        "{asked}"
    );
}

/// A zip file is known by its first bytes; `unzip` itself is stood in for, since not every machine has it.
#[test]
fn a_zip_file_is_given_to_unzip() {
    let room = Room::new("zip");
    room.write("archive", "PK\u{3}\u{4}rest");
    room.write("bin/unzip", "#!/bin/sh\n[ \"$1 $3\" = '-q -d' ] && head -c 2 \"$2\" >\"$4/seen\"\n");
    fs::set_permissions(room.path("bin/unzip"), fs::Permissions::from_mode(0o755)).unwrap();
    room.fetched(&[("SOURCE_ARCHIVE", "https://files.test/fn.zip")]);
    assert_eq!(room.read("workspace/app/seen"), "PK");
}

#[test]
fn an_empty_archive_is_no_source() {
    let room = Room::new("empty");
    fs::create_dir_all(room.path("src")).unwrap();
    room.run("src", "tar", &["-cf", room.path("archive").to_str().unwrap(), "."]);
    room.refused(&[("SOURCE_ARCHIVE", "https://files.test/fn.tar")], "the archive is empty");
}

/// The builder's user is another one, of the same group.
#[test]
fn the_group_may_write_the_source() {
    let room = Room::new("group");
    room.repository();
    fs::set_permissions(room.path("repo/main.go"), fs::Permissions::from_mode(0o600)).unwrap();
    room.fetched(&[URL, ("SOURCE_REVISION", "main")]);
    let mode = |path: &str| fs::metadata(room.path(path)).unwrap().permissions().mode();
    assert_eq!(mode("workspace/app/main.go") & 0o060, 0o060);
    assert_eq!(mode("workspace/app/cmd") & 0o070, 0o070);
    assert_eq!(mode("workspace/app/main.go") & 0o111, 0, "what was no program has not become one");
}

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

/// The scripts that were run here are those that are sent.
#[test]
fn the_golden_runs_hold_these_scripts() {
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/function/git-minimal.children.yaml");
    let first = fs::read_to_string(golden).unwrap().split("\n---\n").next().unwrap().to_owned();
    let run: serde_json::Value = serde_saphyr::from_str(&first).unwrap();
    let script = |task: usize, step: usize| {
        run["spec"]["pipelineSpec"]["tasks"][task]["taskSpec"]["steps"][step]["script"].clone()
    };
    assert_eq!(script(0, 0), FETCH);
    assert_eq!(script(1, 1), DIGEST);
}
