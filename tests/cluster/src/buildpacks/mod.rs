//! The real Cloud Native Buildpacks lifecycle as processes: its programs, a builder that holds them, a
//! registry for its images and the sandboxes that stand for containers. It knows no rendered object.

pub mod registry;
mod registry_api;
pub mod sandbox;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use crate::{
    components::{BuildError, Component},
    process::TempDir,
};

const LIFECYCLE: Component =
    Component::plain("lifecycle", "lifecycle", "github.com/buildpacks/lifecycle/cmd/lifecycle");
const LAUNCHER: Component =
    Component::plain("launcher", "lifecycle", "github.com/buildpacks/lifecycle/cmd/launcher");

/// The names by which the one program knows which phase it is.
const PHASES: [&str; 5] = ["analyzer", "detector", "restorer", "builder", "exporter"];

/// The stack of [`Builder`] and of its run image.
pub const STACK: &str = "test.elpio.io";

/// Builds what a [`Builder`] holds.
///
/// # Errors
/// See [`BuildError`].
pub fn fetch() -> Result<(), BuildError> {
    [LIFECYCLE, LAUNCHER].iter().try_for_each(|component| component.binary().map(drop))
}

/// The folder `/cnb` of a builder image with one buildpack.
#[derive(Debug)]
pub struct Builder {
    dir: TempDir,
}

impl Builder {
    /// A builder without the lifecycle and without a buildpack.
    #[must_use]
    pub fn empty() -> Self {
        Self { dir: TempDir::new("builder") }
    }

    /// A builder with the lifecycle, whose one buildpack has these scripts.
    ///
    /// # Panics
    /// If its folder cannot be written, or the lifecycle has not been built.
    #[must_use]
    pub fn new(run_image: &str, detect: &str, build: &str) -> Self {
        let builder = Self::empty();
        let lifecycle = builder.path().join("lifecycle");
        fs::create_dir_all(&lifecycle).expect("the directory is writable");
        for component in [LIFECYCLE, LAUNCHER] {
            let program = component.binary().unwrap_or_else(|error| panic!("{error}"));
            fs::copy(program, lifecycle.join(component.name)).expect("the directory is writable");
        }
        for phase in PHASES {
            symlink("lifecycle", lifecycle.join(phase)).expect("the directory is writable");
        }
        builder.write("stack.toml", &format!("[run-image]\nimage = \"{run_image}\"\n"));
        let order = "[[order]]\n[[order.group]]\nid = \"test/dump\"\nversion = \"0.0.1\"\n";
        builder.write("order.toml", order);
        let buildpack = "buildpacks/test_dump/0.0.1";
        let descriptor =
            "api = \"0.9\"\n[buildpack]\nid = \"test/dump\"\nversion = \"0.0.1\"\n[[stacks]]\nid = \"*\"\n";
        builder.write(&format!("{buildpack}/buildpack.toml"), descriptor);
        for (name, text) in [("detect", detect), ("build", build)] {
            let path = builder.write(&format!("{buildpack}/bin/{name}"), text);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the directory is writable");
        }
        builder
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a file in the folder")).expect("the directory is writable");
        fs::write(&path, text).expect("the directory is writable");
        path
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The variables that the builder's image sets.
    #[must_use]
    pub fn variables() -> [(&'static str, &'static str); 5] {
        [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("HOME", "/home/cnb"),
            ("CNB_USER_ID", "1000"),
            ("CNB_GROUP_ID", "1000"),
            ("CNB_STACK_ID", STACK),
        ]
    }
}
