//! The Prometheus page: renders what the registry gathers; it opens no socket.

/// The page; cheap to clone.
#[derive(Clone)]
pub struct Page {}

impl Page {
    /// Content type and body, by the `Accept` header.
    #[must_use]
    pub fn render(&self, accept: Option<&str>) -> (&'static str, Vec<u8>) {
        let _ = accept;
        todo!()
    }
}
