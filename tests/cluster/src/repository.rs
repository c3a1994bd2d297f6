//! Where the checkout is. It reads nothing.

use std::path::{Path, PathBuf};

/// The root of the checkout.
#[must_use]
pub fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
