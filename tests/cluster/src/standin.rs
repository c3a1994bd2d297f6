//! The engines' part, played: writes the status that a real engine would.
use std::time::Duration;

/// What is played, and how.
#[derive(Clone, Debug)]
pub struct Play {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// How long each object stays not ready.
    pub delay: Duration,
    /// Deployments are real (kube-controller-manager runs): play the node, and make their pods ready.
    pub pods: bool,
    /// Make what engines make beside it: Knative's placeholder Service, the HTTP add-on's ScaledObject.
    pub companions: bool,
}

/// What the engine says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ready,
    NotReady {
        reason: String,
        message: String,
    },
    /** Says nothing at all. */
    Hold,
}

pub struct StandInEngine {}

impl StandInEngine {
    pub async fn start(client: kube::Client, play: Play) -> Self {
        todo!()
    }
    /// From now on this is said of objects of this kind and name (`"*"`: any), until said otherwise. Images with `broken` in them are never ready.
    pub fn say(&self, kind: &str, name: &str, verdict: Verdict) {
        todo!()
    }
    pub fn hold_all(&self) {
        todo!()
    }
    pub fn release_all(&self) {
        todo!()
    }
}
