//! A small test runner for programs that have to do something before any test runs, which libtest cannot.
//! Knows nothing of what is tested.
//!
//! Arguments as libtest's: words that a test's name must contain one of, `--exact`, `--skip WORD`, `--list`,
//! `--test-threads N`; others are ignored.

use std::{
    collections::VecDeque,
    fmt::Display,
    io::Write as _,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::report::say;

/// Tests wait more than they compute.
const THREADS: usize = 4;

type Body = Box<dyn FnOnce() + Send>;

struct Test {
    name: &'static str,
    body: Body,
}

/// Tests, each on a thread and a runtime of its own.
#[derive(Default)]
pub struct Suite {
    tests: Vec<Test>,
}

impl Suite {
    /// One without tests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One test more; it fails by panicking.
    ///
    /// # Panics
    /// Never here: in the test's own thread, when there is no runtime to be had.
    #[must_use]
    pub fn test(mut self, name: &'static str, test: impl AsyncFnOnce() + Send + 'static) -> Self {
        let body = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(test());
        };
        self.tests.push(Test { name, body: Box::new(body) });
        self
    }

    /// Runs those that the program's arguments ask for, after `before` (which is not called to list them).
    pub fn run<E: Display>(self, before: impl FnOnce() -> Result<(), E>) -> ExitCode {
        let wanted = Wanted::read(std::env::args().skip(1));
        let tests: VecDeque<Test> = self.tests.into_iter().filter(|test| wanted.takes(test.name)).collect();
        if wanted.list {
            let mut out = std::io::stdout().lock();
            // Nobody reads it any more: nothing is lost.
            let _ = tests.iter().try_for_each(|test| writeln!(out, "{}: test", test.name));
            return ExitCode::SUCCESS;
        }
        if tests.is_empty() {
            return ExitCode::SUCCESS;
        }
        if let Err(error) = before() {
            say(format_args!("\nerror: {error}"));
            return ExitCode::FAILURE;
        }
        say(format_args!("\nrunning {} tests", tests.len()));
        report(&run_all(tests, wanted.threads))
    }
}

/// How long each part of a test took, for who reads its output.
pub struct Clock {
    test: &'static str,
    last: Instant,
}

impl Clock {
    /// Begins now.
    #[must_use]
    pub fn start(test: &'static str) -> Self {
        Self { test, last: Instant::now() }
    }

    /// Says how long this took, and begins anew.
    pub fn step(&mut self, what: &str) {
        say(format_args!("  {:>6.2} s  {}: {what}", self.last.elapsed().as_secs_f32(), self.test));
        self.last = Instant::now();
    }
}

struct Outcome {
    name: &'static str,
    passed: bool,
    took: Duration,
}

fn run_all(tests: VecDeque<Test>, threads: usize) -> Vec<Outcome> {
    let (queue, outcomes) = (Mutex::new(tests), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(test) = next(&queue) {
                    let outcome = run_one(test);
                    say(format_args!(
                        "test {} ... {} ({:.1} s)",
                        outcome.name,
                        if outcome.passed { "ok" } else { "FAILED" },
                        outcome.took.as_secs_f32()
                    ));
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn next(queue: &Mutex<VecDeque<Test>>) -> Option<Test> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// On a thread with the test's name, which stands in the message of a panic.
fn run_one(test: Test) -> Outcome {
    let start = Instant::now();
    let passed = thread::Builder::new()
        .name(test.name.to_owned())
        .spawn(test.body)
        .is_ok_and(|thread| thread.join().is_ok());
    Outcome { name: test.name, passed, took: start.elapsed() }
}

fn report(outcomes: &[Outcome]) -> ExitCode {
    let failed: Vec<&str> =
        outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| outcome.name).collect();
    say(format_args!(
        "\ntest result: {} passed, {} failed: {failed:?}",
        outcomes.len() - failed.len(),
        failed.len()
    ));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the arguments ask for.
#[derive(Debug)]
struct Wanted {
    words: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

impl Wanted {
    fn read(mut args: impl Iterator<Item = String>) -> Self {
        let mut wanted =
            Self { words: Vec::new(), skip: Vec::new(), exact: false, list: false, threads: THREADS };
        while let Some(arg) = args.next() {
            let (name, value) = arg
                .split_once('=')
                .map_or((arg.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
            match name {
                "--exact" => wanted.exact = true,
                "--list" => wanted.list = true,
                "--skip" => wanted.skip.extend(value.or_else(|| args.next())),
                "--test-threads" => {
                    let given = value.or_else(|| args.next()).and_then(|count| count.parse().ok());
                    wanted.threads = given.filter(|count| *count > 0).unwrap_or(THREADS);
                }
                "--format" | "--color" | "-Z" => drop(value.or_else(|| args.next())),
                _ if name.starts_with('-') => {}
                _ => wanted.words.push(arg),
            }
        }
        wanted
    }

    fn takes(&self, name: &str) -> bool {
        let means = |word: &String| if self.exact { name == word } else { name.contains(word.as_str()) };
        (self.words.is_empty() || self.words.iter().any(means)) && !self.skip.iter().any(means)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(args: &[&str]) -> Wanted {
        Wanted::read(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn arguments_choose_as_libtests_do() {
        assert!(wanted(&[]).takes("a::b") && wanted(&["--nocapture", "-q"]).takes("a::b"));
        assert!(wanted(&["x", "a:"]).takes("a::b") && !wanted(&["x"]).takes("a::b"));
        assert!(!wanted(&["a", "--exact"]).takes("a::b") && wanted(&["--exact", "a::b"]).takes("a::b"));
        assert!(!wanted(&["--skip", "b"]).takes("a::b") && !wanted(&["--skip=b"]).takes("a::b"));
        assert_eq!(
            (wanted(&["--test-threads=1"]).threads, wanted(&["--test-threads", "0"]).threads),
            (1, THREADS)
        );
    }

    #[test]
    fn a_panic_fails_its_test_alone() {
        let fail = Test { name: "fail", body: Box::new(|| panic!("as it should")) };
        let pass = Test { name: "pass", body: Box::new(|| ()) };
        assert!(!run_one(fail).passed && run_one(pass).passed);
    }
}
