//! Events: the object, its series, and the recorder that publishes it. Other modules decide what deserves an
//! Event.
//!
//! The first occurrence creates the Event and the second starts its series; later ones are counted and
//! written in batches:
//!
//! ```no_run
//! # use elpio_operator::{api::event::NewEvent, cluster::events::recorder::{Recorder, Regarding}};
//! # async fn example(recorder: Recorder, service: Regarding, not_ready: NewEvent) {
//! for _ in 0..1_000 {
//!     recorder.publish(&service, &not_ready).await; // at most three calls now
//! }
//! recorder.flush().await; // one more: the Event's series counts 1,000
//! # }
//! ```

mod background;
mod counts;
pub mod object;
mod published;
mod queue;
pub mod recorder;
mod request;
mod retry;
mod series;
mod state;
#[cfg(test)]
mod testing;
mod write;
