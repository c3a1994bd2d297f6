//! Certificates for servers on loopback, issued by a certificate authority of this run. Nothing else trusts
//! it.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS#8).
    pub key: String,
}

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    /// If no key can be generated.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { issuer }
    }

    /// Its own certificate, PEM, for clients to trust.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server with these names or addresses.
    ///
    /// # Panics
    /// If a name is invalid.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        self.issue("server", names, vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// A certificate for a program that is both server, with these names or addresses, and client.
    ///
    /// # Panics
    /// If a name is invalid.
    #[must_use]
    pub fn peer(&self, names: &[&str]) -> Identity {
        self.issue(
            "peer",
            names,
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        )
    }

    /// A certificate for a client.
    ///
    /// # Panics
    /// If no key can be generated.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        self.issue(name, &[], vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(&self, name: &str, names: &[&str], usages: Vec<ExtendedKeyUsagePurpose>) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = usages;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A key pair for signing service account tokens: (private, public), PEM.
///
/// # Panics
/// If no key can be generated.
#[must_use]
pub fn signing_key() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    (key.serialize_pem(), key.public_key_pem())
}
