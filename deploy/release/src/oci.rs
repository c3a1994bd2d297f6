//! An image as an OCI layout (OCI Image Format 1.1): blobs by their digests, and an index. It runs no engine.

use std::{collections::BTreeMap, fs, io, path::Path};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    archive::{self, Member, Members},
    image::USER,
    sha256,
};

/// What the image is called and made of.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// The version.
    pub version: String,
    /// The revision that it was built from.
    pub revision: String,
    /// `amd64`, `arm64`: Go's words, as OCI has them.
    pub architecture: &'static str,
    /// Seconds since 1970 of everything in it.
    pub time: u64,
}

/// A layout: its files by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciLayout {
    /// The files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The manifest's digest, which is the image's.
    pub digest: String,
}

struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob; its descriptor.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = sha256(&bytes);
        let descriptor =
            json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()});
        self.0.insert(format!("blobs/sha256/{digest}"), bytes);
        descriptor
    }
}

/// The image of one layer.
///
/// # Errors
/// When the layer cannot be archived.
pub fn layout(members: &Members, config: &ImageConfig) -> io::Result<OciLayout> {
    let created = i64::try_from(config.time).ok().and_then(|time| Timestamp::from_second(time).ok());
    let created = created.unwrap_or_default().to_string();
    let mut blobs = Blobs(BTreeMap::new());
    let tar = archive::tar(members, config.time)?;
    let diff_id = format!("sha256:{}", sha256(&tar));
    let layer = blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", archive::gzip(&tar)?);
    let labels = json!({
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.description": "Elpio: a private serverless platform on Kubernetes",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.revision": config.revision,
        "org.opencontainers.image.title": "elpio-operator",
        "org.opencontainers.image.version": config.version,
    });
    let image = json!({
        "architecture": config.architecture,
        "config": {
            "Entrypoint": ["/usr/local/bin/elpio-operator"],
            "Env": ["PATH=/usr/local/bin"],
            "ExposedPorts": {"8081/tcp": {}, "9095/tcp": {}},
            "Labels": labels,
            "User": USER,
            "WorkingDir": "/",
        },
        "created": created,
        "history": [{"created": created, "created_by": "elpio-release"}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let image = blobs.add("application/vnd.oci.image.config.v1+json", image.to_string().into_bytes());
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": image,
        "layers": [layer],
        "annotations": labels,
    });
    let mut manifest = blobs.add(manifest_type, manifest.to_string().into_bytes());
    let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
    manifest["platform"] = json!({"architecture": config.architecture, "os": "linux"});
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": config.version});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });
    let mut files = blobs.0;
    files.insert("index.json".to_owned(), index.to_string().into_bytes());
    files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    Ok(OciLayout { files, digest })
}

impl OciLayout {
    /// Writes it into a folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, bytes)?;
        }
        Ok(())
    }

    /// All of it as a tar archive, as `skopeo` and `crane` take it.
    ///
    /// # Errors
    /// When it cannot be archived.
    pub fn to_tar(&self, time: u64) -> io::Result<Vec<u8>> {
        let member = |(path, bytes): (&String, &Vec<u8>)| (path.clone(), Member::File(0o644, bytes.clone()));
        archive::tar(&self.files.iter().map(member).collect(), time)
    }
}
