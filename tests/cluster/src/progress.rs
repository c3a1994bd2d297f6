//! Progress messages of long operations, such as builds of several minutes. They bypass the test runner's
//! output capture, so that they are visible while a test runs.

use std::{fmt::Arguments, io::Write as _, sync::OnceLock, time::Duration};

/// Seconds between two updates when there is no handler.
const UPDATE_INTERVAL: u64 = 10;

/// A progress message.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A line to keep.
    Line(&'a str),
    /// The state of a running operation, sent every second; it replaces the previous one.
    Update(&'a str),
}

type Handler = Box<dyn Fn(Progress<'_>) + Send + Sync>;

static HANDLER: OnceLock<Handler> = OnceLock::new();

/// Sends all progress to `handler` instead of stderr. Only the first call has an effect.
pub fn set_handler(handler: impl Fn(Progress<'_>) + Send + Sync + 'static) {
    let _ = HANDLER.set(Box::new(handler));
}

/// Reports one line.
pub fn print(line: Arguments<'_>) {
    match HANDLER.get() {
        Some(handler) => handler(Progress::Line(&line.to_string())),
        // A closed stderr is no reason to fail.
        None => drop(writeln!(std::io::stderr(), "{line}")),
    }
}

/// Reports the state of an operation that has been running for `elapsed`; call it every second.
pub(crate) fn update(elapsed: Duration, line: Arguments<'_>) {
    match HANDLER.get() {
        Some(handler) => handler(Progress::Update(&line.to_string())),
        None if elapsed.as_secs().is_multiple_of(UPDATE_INTERVAL) => print(line),
        None => (),
    }
}
