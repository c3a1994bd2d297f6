//! The `CustomResourceDefinitions` of other projects, from the Go module cache, and Elpio's own. It copies
//! nothing into the checkout.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Client,
    api::{Api, DeleteParams},
};

use crate::{
    components::{BuildError, module_dir},
    eventually, repository_root,
};

const TIMEOUT: Duration = Duration::from_mins(3);

/// The CRDs of one project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crds {
    /// The project.
    pub project: &'static str,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Module {
        path: &'static str,
        version: &'static str,
        dir: &'static str,
    },
    /// A directory of this repository.
    Repository(&'static str),
}

impl Crds {
    /// Knative Serving.
    pub const KNATIVE: Self =
        module("Knative Serving", "knative.dev/serving", "v0.48.0", "config/core/300-resources");
    /// The kinds that Knative Serving creates: Ingress, Certificate, …
    pub const KNATIVE_NETWORKING: Self = module(
        "Knative networking",
        "knative.dev/networking",
        "v0.0.0-20260120131110-a7cdca238a0d",
        "config",
    );
    /// Knative's Image kind.
    pub const KNATIVE_CACHING: Self =
        module("Knative caching", "knative.dev/caching", "v0.0.0-20260120130310-f1fc03b7f5ee", "config");
    /// KEDA.
    pub const KEDA: Self = module("KEDA", "github.com/kedacore/keda/v2", "v2.21.0", "config/crd/bases");
    /// The KEDA HTTP add-on.
    pub const HTTP_ADD_ON: Self =
        module("the KEDA HTTP add-on", "github.com/kedacore/http-add-on", "v0.12.0", "config/crd/bases");
    /// cert-manager.
    pub const CERT_MANAGER: Self =
        module("cert-manager", "github.com/cert-manager/cert-manager", "v1.21.2", "deploy/crds");
    /// External Secrets Operator.
    pub const EXTERNAL_SECRETS: Self = module(
        "External Secrets",
        "github.com/external-secrets/external-secrets",
        "v1.3.2",
        "config/crds/bases",
    );
    /// Tekton Pipelines.
    pub const TEKTON: Self =
        module("Tekton Pipelines", "github.com/tektoncd/pipeline", "v1.0.0", "config/300-crds");
    /// Elpio's own.
    pub const ELPIO: Self = Self { project: "Elpio", source: Source::Repository("deploy/crds") };
    /// All that the operator uses.
    pub const ALL: [Self; 7] = [
        Self::KNATIVE,
        Self::KEDA,
        Self::HTTP_ADD_ON,
        Self::CERT_MANAGER,
        Self::EXTERNAL_SECRETS,
        Self::TEKTON,
        Self::ELPIO,
    ];

    /// Applies them, and waits until all versions are served.
    ///
    /// # Panics
    /// If the module cannot be downloaded, or the API server rejects one.
    pub async fn apply(&self, client: &Client) {
        let documents = self.documents().await;
        let applied = documents.iter().map(|document| self.apply_document(client, document));
        let applied = futures::future::join_all(applied).await;
        futures::future::join_all(applied.iter().map(|crd| wait_until_served(client, crd))).await;
    }

    /// Deletes them and all their objects, and waits until they no longer exist.
    ///
    /// # Panics
    /// If the API server rejects it.
    pub async fn delete(&self, client: &Client) {
        let documents = self.documents().await;
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        for document in &documents {
            let deleted = api.delete(&document.name, &DeleteParams::default()).await;
            assert!(
                deleted.as_ref().is_ok() || deleted.as_ref().is_err_and(is_not_found),
                "{} {}: {deleted:?}",
                self.project,
                document.name
            );
        }
        for document in &documents {
            let what = format!("{} is deleted", document.name);
            eventually(&what, TIMEOUT, async || match api.get_opt(&document.name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        }
    }

    /// The names: `services.serving.knative.dev`, …
    ///
    /// # Panics
    /// If the module cannot be downloaded.
    pub async fn names(&self) -> Vec<String> {
        let documents = self.documents().await;
        documents.into_iter().map(|document| document.name).collect()
    }

    /// Downloads them if they are missing.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn fetch(&self) -> Result<(), BuildError> {
        self.dir().map(drop)
    }

    async fn documents(&self) -> Vec<Document> {
        let crds = *self;
        let read = tokio::task::spawn_blocking(move || crds.dir().map(|path| read(&path)));
        let documents =
            read.await.expect("not cancelled").unwrap_or_else(|error| panic!("{}: {error}", self.project));
        assert!(!documents.is_empty(), "{} has no CRDs", self.project);
        documents
    }

    fn dir(&self) -> Result<PathBuf, BuildError> {
        match self.source {
            Source::Repository(dir) => Ok(repository_root().join(dir)),
            Source::Module { path, version, dir } => Ok(module_dir(path, version)?.join(dir)),
        }
    }

    async fn apply_document(&self, client: &Client, document: &Document) -> CustomResourceDefinition {
        let url = format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}?fieldManager=elpio-cluster&force=true",
            document.name
        );
        // Unmodified YAML: the API server validates these files, and parses them faster.
        let request = http::Request::patch(url)
            .header("content-type", "application/apply-patch+yaml")
            .body(document.yaml.clone().into_bytes())
            .expect("a request");
        client
            .request(request)
            .await
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.project, document.name))
    }
}

const fn module(project: &'static str, path: &'static str, version: &'static str, dir: &'static str) -> Crds {
    Crds { project, source: Source::Module { path, version, dir } }
}

/// One CRD, as its project ships it.
struct Document {
    name: String,
    yaml: String,
}

fn read(dir: &Path) -> Vec<Document> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    files.iter().flat_map(|path| split(&fs::read_to_string(path).expect("a text file"))).collect()
}

/// The CRDs among the documents of a YAML file, which may contain kustomizations too.
fn split(text: &str) -> Vec<Document> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents
        .into_iter()
        .filter(|yaml| yaml.lines().any(|line| line.trim_end() == "kind: CustomResourceDefinition"))
        .map(|yaml| Document { name: name(&yaml).expect("a CRD has a name"), yaml })
        .collect()
}

fn name(yaml: &str) -> Option<String> {
    yaml.lines()
        .skip_while(|line| line.trim_end() != "metadata:")
        .skip(1)
        .take_while(|line| line.starts_with([' ', '#']))
        .find_map(|line| line.strip_prefix("  name:"))
        .map(|name| name.trim().trim_matches('"').to_owned())
}

/// The condition Established is not enough: the API server starts to serve slightly later, and lists the resource in
/// discovery later still.
async fn wait_until_served(client: &Client, crd: &CustomResourceDefinition) {
    let (group, plural) = (&crd.spec.group, &crd.spec.names.plural);
    for version in crd.spec.versions.iter().filter(|version| version.served) {
        let group_version = format!("{group}/{}", version.name);
        // Where no object is: one that a controller has created already may need a conversion webhook.
        let namespace = if crd.spec.scope == "Namespaced" { "namespaces/nobody-is-here/" } else { "" };
        let url = format!("/apis/{group_version}/{namespace}{plural}?limit=1");
        let what = format!("{} of {group_version} are served", crd.spec.names.kind);
        eventually(&what, TIMEOUT, async || {
            let request = http::Request::get(&url).body(Vec::new()).expect("a request");
            client.request_text(request).await.map_err(|error| error.to_string())?;
            let listed = client.list_api_group_resources(&group_version).await;
            let resources = listed.map_err(|error| error.to_string())?.resources;
            let is_listed = resources.iter().any(|resource| resource.name == *plural);
            is_listed.then_some(()).ok_or_else(|| format!("discovery lists no {plural}"))
        })
        .await;
    }
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_kustomization_and_two_crds_gives_two() {
        let text = "---\nkind: Kustomization\n---\nkind: CustomResourceDefinition\nmetadata:\n  annotations:\n    name: no\n  # why\n  name: a.b.c\nspec: {}\n---\n\
                    kind: CustomResourceDefinition\nmetadata:\n  name: \"d.e\"\n";
        let names: Vec<_> = split(text).into_iter().map(|document| document.name).collect();
        assert_eq!(names, ["a.b.c", "d.e"]);
    }
}
