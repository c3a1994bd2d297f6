//! An image registry in memory, behind basic authentication: what was pushed, and what was refused. The
//! protocol is [`super::registry_api`]'s.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use k8s_openapi::ByteString;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::buildpacks::{STACK, registry_api};

/// What the registry holds.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// By repository and tag or digest: media type and content.
    pub manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    pub uploads: BTreeMap<String, Vec<u8>>,
    pub refused: usize,
}

/// A registry; it ends with the value.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    user: String,
    password: String,
    images: Arc<Mutex<Images>>,
    server: JoinHandle<()>,
}

/// The digest of a content, as registries write it.
#[must_use]
pub fn digest(content: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(content).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// In base64.
#[must_use]
pub fn base64(text: &str) -> String {
    let encoded = serde_json::to_value(ByteString(text.into())).expect("a string");
    encoded.as_str().expect("a string").to_owned()
}

impl Registry {
    /// Starts on loopback, with a run image `run` of the stack [`STACK`] in it, which everybody may pull.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let mut images = Images::default();
        push_run_image(&mut images);
        let images = Arc::new(Mutex::new(images));
        let authorization = format!("Basic {}", base64(&format!("{user}:{password}")));
        let server = tokio::spawn(registry_api::serve(listener, Arc::clone(&images), authorization));
        Self { port, user: user.to_owned(), password: password.to_owned(), images, server }
    }

    /// `host:port`, the beginning of its images' names.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A Docker configuration with the credentials.
    #[must_use]
    pub fn docker_config(&self) -> String {
        let auth = base64(&format!("{}:{}", self.user, self.password));
        let entry = json!({"username": self.user, "password": self.password, "auth": auth});
        json!({"auths": {self.host(): entry}}).to_string()
    }

    /// Each form in which the credentials may be written.
    #[must_use]
    pub fn secrets(&self) -> [String; 5] {
        let both = format!("{}:{}", self.user, self.password);
        [self.user.clone(), self.password.clone(), base64(&self.user), base64(&self.password), base64(&both)]
    }

    fn images(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of an image.
    #[must_use]
    pub fn digest_of(&self, repository: &str, tag: &str) -> Option<String> {
        let images = self.images();
        let (_, content) = images.manifests.get(&(repository.to_owned(), tag.to_owned()))?;
        Some(digest(content))
    }

    /// Every manifest and every blob, unpacked where it is compressed.
    #[must_use]
    pub fn contents(&self) -> Vec<Vec<u8>> {
        let images = self.images();
        let unpacked = |content: &Vec<u8>| {
            let mut plain = Vec::new();
            match GzDecoder::new(content.as_slice()).read_to_end(&mut plain) {
                Ok(_) => plain,
                Err(_) => content.clone(),
            }
        };
        let manifests = images.manifests.values().map(|(_, content)| content.clone());
        images.blobs.values().map(unpacked).chain(manifests).collect()
    }

    /// How many requests came without the right credentials.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.images().refused
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An image with one empty layer.
fn push_run_image(images: &mut Images) {
    let layer = vec![0; 1024];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&layer).expect("memory");
    let packed = encoder.finish().expect("memory");
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        "config": {"User": "1000:1000", "Labels": {"io.buildpacks.stack.id": STACK}}});
    let config = config.to_string().into_bytes();
    let part = |kind: &str, content: &[u8]| json!({"mediaType": format!("application/vnd.docker.{kind}"), "size": content.len(), "digest": digest(content)});
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": part("container.image.v1+json", &config),
        "layers": [part("image.rootfs.diff.tar.gzip", &packed)]});
    let manifest = manifest.to_string().into_bytes();
    for name in ["latest".to_owned(), digest(&manifest)] {
        images.manifests.insert(("run".to_owned(), name), (kind.to_owned(), manifest.clone()));
    }
    for content in [config, packed] {
        images.blobs.insert(digest(&content), content);
    }
}
