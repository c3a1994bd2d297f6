//! Events: the object, and the recorder that publishes it. It decides nothing about what is worth an Event.

pub mod object;
pub mod recorder;
