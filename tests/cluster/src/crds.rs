//! The CustomResourceDefinitions of real projects, from the Go module cache, and our own.

/// The CRDs of one project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crds {
    /// The project.
    pub project: &'static str,
}

impl Crds {
    pub const KNATIVE: Self = Self { project: "Knative Serving" };
    pub const KEDA: Self = Self { project: "KEDA" };
    pub const HTTP_ADD_ON: Self = Self { project: "KEDA HTTP add-on" };
    pub const CERT_MANAGER: Self = Self { project: "cert-manager" };
    pub const EXTERNAL_SECRETS: Self = Self { project: "External Secrets" };
    pub const TEKTON: Self = Self { project: "Tekton Pipelines" };
    pub const ELPIO: Self = Self { project: "Elpio" };
    pub const ALL: [Self; 7] =
        [Self::KNATIVE, Self::KEDA, Self::HTTP_ADD_ON, Self::CERT_MANAGER, Self::EXTERNAL_SECRETS, Self::TEKTON, Self::ELPIO];
    /// Applies them and waits until they are established.
    pub async fn apply(&self, client: &kube::Client) {
        todo!()
    }
    /// Deletes them and waits until they are gone.
    pub async fn delete(&self, client: &kube::Client) {
        todo!()
    }
}
