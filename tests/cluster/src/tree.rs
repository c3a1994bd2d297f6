//! A trace as text: a tree that is pleasant to read.
use crate::otlp::Span;

/// The spans as a tree; `color` for a terminal.
pub fn render(spans: &[Span], color: bool) -> String {
    todo!()
}
