//! A folder of its own for each test, and the fetch script run in it as a step would run it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};

/// The script that is sent.
pub const FETCH: &str = include_str!("../../src/render/function/fetch.sh");

const GIT_IDENTITY: [(&str, &str); 7] = [
    ("GIT_AUTHOR_NAME", "test"),
    ("GIT_AUTHOR_EMAIL", "test@example.com"),
    ("GIT_COMMITTER_NAME", "test"),
    ("GIT_COMMITTER_EMAIL", "test@example.com"),
    ("GIT_CONFIG_COUNT", "1"),
    ("GIT_CONFIG_KEY_0", "protocol.file.allow"),
    ("GIT_CONFIG_VALUE_0", "always"),
];

/// Copies the file `archive`; with `CURL_TO`, the real curl, which asks that server for what lies at
/// `https://files.test/`. A redirect is still followed to https alone.
const CURL: &str = r#"#!/bin/sh
printf '%s\n' "$@" >"$CURL_LOG"
if [ -n "$CURL_TO" ]; then
  for word in "$@"; do
    shift
    case "$last $word" in
    '--proto =https') word='=http' ;;
    *' https://files.test/'*) word="$CURL_TO${word#https://files.test}" ;;
    esac
    last="$word"
    set -- "$@" "$word"
  done
  PATH="${PATH#*:}" exec curl "$@"
fi
while [ "$1" != --output ]; do shift; done
exec cp -- "$CURL_FILE" "$2"
"#;

/// A folder; gone with it.
pub struct Room {
    path: PathBuf,
    /// Where `https://git.test` is: this folder, or a server.
    pub git: String,
    /// Where `https://files.test` is; empty: the file `archive`.
    pub files: String,
    /// The script, for tests with lower limits.
    pub script: String,
}

impl Room {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("elpio-build-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("workspace")).unwrap();
        let git = path.display().to_string();
        let room = Self { path, git, files: String::new(), script: FETCH.to_owned() };
        room.program("curl", CURL);
        room
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A program that the script finds before any other.
    pub fn program(&self, name: &str, text: &str) {
        let path = format!("bin/{name}");
        self.write(&path, text);
        fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Runs a command in a folder; it must succeed.
    pub fn run(&self, folder: &str, command: &str, args: &[&str]) -> String {
        let output = Command::new(command)
            .args(args)
            .current_dir(self.path(folder))
            .envs(GIT_IDENTITY)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn git(&self, folder: &str, args: &[&str]) -> String {
        self.run(folder, "git", args)
    }

    /// Commits everything in a folder, which becomes a repository.
    pub fn commit(&self, folder: &str, message: &str) -> String {
        self.git(folder, &["init", "--quiet", "--initial-branch=main"]);
        self.git(folder, &["add", "."]);
        self.git(folder, &["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(folder, &["rev-parse", "HEAD"])
    }

    /// Lowers one of the script's limits.
    pub fn limit(&mut self, name: &str, value: u64) {
        let start = format!("\n{name}=");
        let (before, after) = self.script.split_once(&start).unwrap_or_else(|| panic!("no limit {name}"));
        let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
        self.script = format!("{before}{start}{value}{rest}");
    }

    /// Runs the script. The machine's own settings of git and its locale do not reach it.
    pub fn fetch(&self, variables: &[(&str, &str)]) -> Output {
        let empty = ["SOURCE_URL", "SOURCE_REVISION", "SOURCE_SUBPATH", "SOURCE_ARCHIVE", "ENTRYPOINT"]
            .map(|name| (name, ""));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-c", &self.script])
            .current_dir(&self.path)
            .env_remove("LANG")
            .env_remove("LC_ALL")
            .envs(empty)
            .envs([("RUNTIME", "go"), ("GROUP", "1000"), ("PATH", path.as_str())])
            .env("WORKSPACE", self.path("workspace"))
            .env("HOME", &self.path)
            .env("CAUSE", self.path("cause"))
            .env("CURL_LOG", self.path("curl.log"))
            .env("CURL_FILE", self.path("archive"))
            .env("CURL_TO", &self.files)
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_HTTP_LOW_SPEED_TIME", "1")])
            .envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_VALUE_0", "https://git.test/")])
            .env("GIT_CONFIG_KEY_0", format!("url.{}/.insteadOf", self.git))
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// It succeeds; what it printed.
    pub fn fetched(&self, variables: &[(&str, &str)]) -> String {
        let output = self.fetch(variables);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{variables:?}: {printed}");
        assert!(!self.has("workspace/fetched") && !self.has("workspace/archive"), "nothing is left behind");
        printed
    }

    /// It fails, and the last line of its log tells the cause in words that hold these; what it printed.
    pub fn refused(&self, variables: &[(&str, &str)], messages: &[&str]) -> String {
        let output = self.fetch(variables);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{variables:?} {messages:?} was not refused: {printed}");
        let last = printed.lines().last().unwrap_or_default();
        let cause = last.strip_prefix("elpio: ").unwrap_or_else(|| panic!("no cause: {printed}"));
        assert!(
            messages.iter().all(|message| cause.contains(message)),
            "{variables:?} {messages:?}: {printed}"
        );
        assert_eq!(cause, self.read("cause"));
        printed
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
