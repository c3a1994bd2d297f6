//! What needs no cluster, in tables and golden files: specs that are valid or not, the children that follow from
//! one, statuses and Events. `UPDATE_GOLDEN=1 cargo test --test pure` writes the golden files anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::too_many_lines, missing_docs)]

mod function_status;
mod golden;
mod plugin;
mod render;
mod render_function;
mod service_status;
mod story;
mod validate;
