//! Every instrument, span and attribute as data, and the pages generated from them. It emits nothing.

pub mod attributes;
pub mod definition;
pub mod instruments;
pub mod instruments_doc;
pub mod registry;
mod registry_notes;
pub mod resources;
pub mod span_definition;
pub mod spans;
pub mod spans_doc;
