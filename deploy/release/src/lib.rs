//! What a release is made of: archives, an OCI image, a list of components. The same inputs give the same
//! bytes; it builds and sends nothing.

pub mod archive;
pub mod image;
pub mod oci;
pub mod sbom;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// SHA-256 as 64 hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
