//! What the receiver stores, and how it responds: the same for both protocols, of which it knows neither.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;

use crate::telemetry::otlp::model::{LogRecord, Span};

/// How the receiver responds.
#[derive(Clone, Debug, Default)]
pub enum ReceiverFault {
    /// Successfully.
    #[default]
    None,
    /// With this code; nothing is stored.
    Status(tonic::Code, String),
    /// With this code to one request, and successfully to those after it.
    StatusOnce(tonic::Code, String),
    /// Successfully, after this delay.
    Slow(Duration),
    /// Successfully, but so many items of each request are rejected, for this reason.
    Partial(i64, String),
}

/// What is rejected of a request that is accepted.
pub(crate) struct Rejected {
    pub(crate) items: i64,
    pub(crate) message: String,
}

/// An export request.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// `traces`, `metrics`, `logs`.
    pub signal: &'static str,
    /// `grpc` or `http`.
    pub protocol: &'static str,
    /// The request's headers.
    pub headers: BTreeMap<String, String>,
    /// Whether the response was a success.
    pub accepted: bool,
}

/// Headers by name; the values of one that is repeated are joined, as HTTP has it.
pub(crate) fn headers(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in pairs {
        headers.entry(name).and_modify(|known| *known = format!("{known}, {value}")).or_insert(value);
    }
    headers
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) spans: Vec<Span>,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) metrics: Vec<ResourceMetrics>,
    pub(crate) exports: Vec<ExportRequest>,
    pub(crate) fault: ReceiverFault,
}

/// The store, shared by the servers and the receiver.
#[derive(Clone, Default)]
pub(crate) struct SharedStore(Arc<Mutex<Store>>);

impl SharedStore {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the request. Saves its content if it is accepted, and returns what it rejects of it; otherwise
    /// returns the code and message to respond with.
    pub(crate) async fn receive(
        &self,
        mut export: ExportRequest,
        save: impl FnOnce(&mut Store),
    ) -> Result<Option<Rejected>, (tonic::Code, String)> {
        let fault = self.lock().fault.clone();
        if let ReceiverFault::Slow(delay) = fault {
            tokio::time::sleep(delay).await;
        }
        let mut store = self.lock();
        if let ReceiverFault::StatusOnce(..) = fault {
            store.fault = ReceiverFault::None;
        }
        export.accepted = !matches!(fault, ReceiverFault::Status(..) | ReceiverFault::StatusOnce(..));
        store.exports.push(export);
        if let ReceiverFault::Status(code, message) | ReceiverFault::StatusOnce(code, message) = fault {
            return Err((code, message));
        }
        save(&mut store);
        Ok(if let ReceiverFault::Partial(items, message) = fault {
            Some(Rejected { items, message })
        } else {
            None
        })
    }
}
