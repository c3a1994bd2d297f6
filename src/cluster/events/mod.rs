//! Events: the object, its series, and the recorder that publishes it. It does not decide what is worth an
//! Event.

pub mod object;
pub mod recorder;
mod series;
mod state;
mod write;
