//! Progress lines for whoever waits. Written past the test runner's capture, because a build of minutes has
//! to be seen while it runs.

use std::{fmt::Arguments, io::Write as _, sync::OnceLock, time::Duration};

/// How often progress is told to those who only read lines.
const SELDOM: u64 = 10;

/// What is told.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// News that stays.
    Line(&'a str),
    /// How it stands, told every second; the next takes its place.
    Progress(&'a str),
}

type Listener = Box<dyn Fn(Told<'_>) + Send + Sync>;

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// From now on this is told everything, in place of stderr. The first one stays.
pub fn hear(listener: impl Fn(Told<'_>) + Send + Sync + 'static) {
    let _ = LISTENER.set(Box::new(listener));
}

/// One line to stderr.
pub(crate) fn say(line: Arguments<'_>) {
    match LISTENER.get() {
        Some(listener) => listener(Told::Line(&line.to_string())),
        // Nobody reads stderr any more: nothing is lost.
        None => drop(writeln!(std::io::stderr(), "{line}")),
    }
}

/// How it stands after this time; to be called every second.
pub(crate) fn progress(elapsed: Duration, line: Arguments<'_>) {
    match LISTENER.get() {
        Some(listener) => listener(Told::Progress(&line.to_string())),
        None if elapsed.as_secs().is_multiple_of(SELDOM) => say(line),
        None => (),
    }
}
