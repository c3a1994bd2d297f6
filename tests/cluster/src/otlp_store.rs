//! What the receiver keeps, and how it answers: the same for both protocols. Speaks neither.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;

use crate::signals::{Log, Span};

/// How the receiver answers.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    /// As it should.
    #[default]
    None,
    /// Refuses with this code; nothing is kept.
    Status(tonic::Code, String),
    /// Answers after this long.
    Slow(Duration),
}

/// One export request, kept or not.
#[derive(Clone, Debug)]
pub struct Export {
    /// `traces`, `metrics`, `logs`.
    pub signal: &'static str,
    /// `grpc` or `http`.
    pub protocol: &'static str,
    /// The request's headers.
    pub headers: BTreeMap<String, String>,
    /// Whether it was answered with success.
    pub accepted: bool,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) spans: Vec<Span>,
    pub(crate) logs: Vec<Log>,
    pub(crate) metrics: Vec<ResourceMetrics>,
    pub(crate) exports: Vec<Export>,
    pub(crate) fault: Fault,
}

/// The store, shared between the servers and whoever asks.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Store>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the request, and keeps the content when the answer is yes; else the code and message to answer
    /// with.
    pub(crate) async fn receive(
        &self,
        mut export: Export,
        keep: impl FnOnce(&mut Store),
    ) -> Result<(), (tonic::Code, String)> {
        let fault = self.lock().fault.clone();
        if let Fault::Slow(time) = fault {
            tokio::time::sleep(time).await;
        }
        let mut store = self.lock();
        export.accepted = !matches!(fault, Fault::Status(..));
        store.exports.push(export);
        if let Fault::Status(code, message) = fault {
            return Err((code, message));
        }
        keep(&mut store);
        Ok(())
    }
}
