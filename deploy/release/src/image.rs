//! The content of the image: one binary, the certificates that it trusts, its user, and what it was made of.
//! There is no shell and no library.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::archive::{Member, Members};

/// The user, by number: `runAsNonRoot` cannot be checked against a name.
pub const USER: &str = "65532:65532";
/// Where the binary lies.
pub const BINARY: &str = "usr/local/bin/elpio-operator";
/// Where the list of components lies.
pub const SBOM: &str = "usr/share/sbom/elpio-operator.cdx.json";
/// Where Linux programs look for certificates first.
pub const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
/// The binary under the name by which kubectl finds it.
const PLUGIN: &str = "usr/local/bin/kubectl-elpio";
/// Columns of base64 in PEM (RFC 7468).
const PEM_WIDTH: usize = 64;

/// The files of the image's only layer.
#[must_use]
pub fn members(binary: Vec<u8>, sbom: Vec<u8>) -> Members {
    let text = |text: &str| Member::File(0o644, text.as_bytes().to_vec());
    let all = [
        (BINARY, Member::File(0o755, binary)),
        (PLUGIN, Member::Link("elpio-operator".to_owned())),
        (CERTIFICATES, text(&certificates())),
        ("etc/passwd", text("root:x:0:0:root:/:/nonexistent\nelpio:x:65532:65532:Elpio:/:/nonexistent\n")),
        ("etc/group", text("root:x:0:\nelpio:x:65532:\n")),
        (SBOM, Member::File(0o644, sbom)),
    ];
    all.into_iter().map(|(path, member)| (path.to_owned(), member)).collect()
}

/// Mozilla's authorities, as PEM.
#[must_use]
pub fn certificates() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let encoded = STANDARD.encode(certificate);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in encoded.as_bytes().chunks(PEM_WIDTH) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}
