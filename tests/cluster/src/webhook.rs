//! A validating admission webhook that refuses what it is told to: how a test makes the real API server answer 409, 422, 429 or 503.
use std::time::Duration;

/// What is refused.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Plural, `*` for any; `elpioservices/status` for a subresource.
    pub resource: String,
    /// `CREATE`, `UPDATE`, `DELETE`, `*`
    pub operation: String,
    /// The HTTP status code of the answer; 0: allowed (with `delay`).
    pub code: u16,
    pub message: String,
    pub retry_after: Option<u32>,
    /// Only the first so many.
    pub times: Option<usize>,
    pub delay: Duration,
}

/// A request that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub group: String,
    pub resource: String,
    pub operation: String,
    pub name: String,
    pub user: String,
    pub refused: bool,
}

/// Sees every write in one namespace.
pub struct Webhook {}

impl Webhook {
    pub async fn start(client: kube::Client, namespace: &str) -> Self {
        todo!()
    }
    pub fn refuse(&self, resource: &str, code: u16, message: &str) {
        todo!()
    }
    pub fn add(&self, rule: Rule) {
        todo!()
    }
    pub fn clear(&self) {
        todo!()
    }
    pub fn seen(&self) -> Vec<Seen> {
        todo!()
    }
    /// Removes its configuration.
    pub async fn stop(self) {
        todo!()
    }
}
