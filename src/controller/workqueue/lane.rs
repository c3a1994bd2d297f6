//! The lanes of the queue, which do not wait for each other. It knows no items.

use crate::api::Engine;

/// A part of the queue that no other part can block: its writes pass through other engines' webhooks.
pub type Lane = usize;

/// The number of lanes: one per engine.
pub const LANES: usize = Engine::ALL.len();
