//! Progress lines for whoever waits. Written past the test runner's capture, because a build of minutes has to be seen while it runs.

use std::fmt::Arguments;
use std::io::Write as _;

/// One line to stderr.
pub(crate) fn say(line: Arguments<'_>) {
    // Nobody reads stderr any more: nothing is lost.
    let _ = writeln!(std::io::stderr(), "{line}");
}
