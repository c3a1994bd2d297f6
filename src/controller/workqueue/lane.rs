//! Which parts of the queue do not wait for each other. It knows no item.

use crate::api::Engine;

/// A part of what waits, that no other part holds up: what is written through other webhooks, by other engines.
pub type Lane = usize;

/// How many lanes there are: one for each engine.
pub const LANES: usize = Engine::ALL.len();
