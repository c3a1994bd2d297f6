//! Temporary directories that are removed even when this process is killed. It decides nothing about their
//! contents. (The `tempfile` crate removes them on drop only.)

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::process::unique;

/// Removes the directory `$1` as soon as our end of its stdin is closed. It retries, because processes that
/// are being killed may still write there.
const CLEANUP: &str = r#"read -r _; for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.2; done"#;

/// A temporary directory, removed on drop and when this process ends. `ELPIO_KEEP=1` keeps it, with its logs.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    cleanup: Option<Child>,
}

impl TempDir {
    /// Creates `elpio-PURPOSE-UNIQUE` in the system's temporary directory.
    ///
    /// # Panics
    /// If that is not writable.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        let path = std::env::temp_dir().join(format!("elpio-{purpose}-{}", unique()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        let keep = std::env::var_os("ELPIO_KEEP").is_some();
        let cleanup = (!keep).then(|| {
            Command::new("sh")
                .args(["-c", CLEANUP, "cleanup"])
                .arg(&path)
                .stdin(Stdio::piped())
                .process_group(0)
                .spawn()
                .expect("sh can be started")
        });
        Self { path, cleanup }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Some(mut cleanup) = self.cleanup.take() {
            drop(cleanup.stdin.take());
            let _ = cleanup.wait();
        }
    }
}
