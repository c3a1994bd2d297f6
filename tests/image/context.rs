//! The Dockerfile's context: what `.dockerignore` lets in is what cargo needs, and no more. No engine builds it
//! here; cargo reads a copy of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use elpio_cluster::{process::TempDir, repository_root};

/// Copies what the last matching line of `.dockerignore` lets in; its patterns here are `*`, paths, `PATH/*`.
fn copy_context(to: &Path) -> Vec<PathBuf> {
    let top = repository_root();
    let rules = fs::read_to_string(top.join(".dockerignore")).unwrap();
    let rules: Vec<&str> =
        rules.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let listed =
        Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(&top).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let mut copied = Vec::new();
    for path in listed.lines() {
        let mut is_in = true;
        for rule in &rules {
            let (pattern, admits) = rule.strip_prefix('!').map_or((*rule, false), |pattern| (pattern, true));
            let parent = pattern.strip_suffix('*').unwrap_or(pattern).trim_end_matches('/');
            if parent.is_empty() || Path::new(path).starts_with(parent) {
                is_in = admits;
            }
        }
        if is_in && top.join(path).is_file() {
            let target = to.join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(top.join(path), target).unwrap();
            copied.push(PathBuf::from(path));
        }
    }
    copied
}

#[test]
fn what_the_dockerfile_copies_is_what_cargo_needs() {
    let dir = TempDir::new("context");
    let copied = copy_context(dir.path());
    assert!(copied.iter().any(|path| path == Path::new("src/main.rs")));
    let foreign = copied.iter().filter(|path| path.starts_with(".git") || path.starts_with("target"));
    assert_eq!(foreign.count(), 0);
    let cargo = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(dir.path())
            .env("CARGO_TARGET_DIR", dir.path().join("target"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let metadata = cargo(&["metadata", "--offline", "--locked", "--format-version=1", "--no-deps"]);
    assert!(metadata.contains("elpio-operator"));
    // The command of the Dockerfile, as far as it can fail without compiling.
    cargo(&["tree", "--offline", "--locked", "--package", "elpio-operator", "--edges", "normal,build"]);
    // Every file that the sources include is there.
    for path in
        copied.iter().filter(|path| path.starts_with("src") && path.extension().is_some_and(|e| e == "rs"))
    {
        let text = fs::read_to_string(dir.path().join(path)).unwrap();
        for included in text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let target = dir.path().join(path).with_file_name(included);
            assert!(target.is_file(), "{} includes {included}", path.display());
        }
    }
    let dockerfile = fs::read_to_string(repository_root().join("deploy/Dockerfile")).unwrap();
    assert!(dockerfile.contains("--locked --package elpio-operator --bin elpio-operator"));
}
