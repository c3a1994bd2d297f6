//! A small test runner for test binaries that need a set-up step before any test, which libtest does not
//! offer. It knows nothing about what is tested.
//!
//! It takes libtest's arguments: filters, `--exact`, `--skip FILTER`, `--list`, `--test-threads N`; others
//! are ignored. (libtest-mimic was considered: it takes one filter only, reports no durations, and would add
//! clap's derive and colour features to the operator's build.)
//!
//! ```no_run
//! # mod knative { pub async fn becomes_ready() {} }
//! use elpio_cluster::{suite::Suite, tests};
//!
//! Suite::new(tests![knative::becomes_ready]).run(|| Ok::<(), String>(()));
//! ```

use std::{
    collections::VecDeque,
    fmt::Display,
    io::Write as _,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::progress::print;

/// Tests wait more than they compute, so more of them than cores can run at once.
const THREADS: usize = 4;

/// The tests of these paths, each named by its path: `tests![knative::becomes_ready, keda::scales]`.
#[macro_export]
macro_rules! tests {
    ($($test:path),+ $(,)?) => {
        ::std::vec![$($crate::suite::Test::new(::std::stringify!($test), $test)),+]
    };
}

type Body = Box<dyn FnOnce() + Send>;

/// A named test; it fails by panicking. See [`tests!`].
pub struct Test {
    name: &'static str,
    body: Body,
}

impl Test {
    /// A test that runs on a runtime of its own.
    #[must_use]
    pub fn new(name: &'static str, test: impl AsyncFnOnce() + Send + 'static) -> Self {
        let body = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(test());
        };
        Self { name, body: Box::new(body) }
    }
}

/// Tests that share a set-up step. They start in the order in which they are listed.
pub struct Suite {
    tests: Vec<Test>,
}

impl Suite {
    /// A suite of these tests.
    #[must_use]
    pub fn new(tests: Vec<Test>) -> Self {
        Self { tests }
    }

    /// Runs the tests that the program's arguments select. `set_up` runs before the first test, and not at
    /// all if there is none or they are only listed.
    pub fn run<E: Display>(self, set_up: impl FnOnce() -> Result<(), E>) -> ExitCode {
        let arguments = Arguments::parse(std::env::args().skip(1));
        let tests: VecDeque<Test> =
            self.tests.into_iter().filter(|test| arguments.select(test.name)).collect();
        if arguments.list {
            let mut out = std::io::stdout().lock();
            // A closed stdout is no reason to fail.
            let _ = tests.iter().try_for_each(|test| writeln!(out, "{}: test", test.name));
            return ExitCode::SUCCESS;
        }
        if tests.is_empty() {
            return ExitCode::SUCCESS;
        }
        if let Err(error) = set_up() {
            print(format_args!("\nerror: {error}"));
            return ExitCode::FAILURE;
        }
        print(format_args!("\nrunning {} tests", tests.len()));
        let start = Instant::now();
        summarize(&run_all(tests, arguments.threads), start.elapsed())
    }
}

/// Prints how long each step of a test took.
pub struct StepTimer {
    test: &'static str,
    last: Instant,
}

impl StepTimer {
    /// Starts timing now.
    #[must_use]
    pub fn start(test: &'static str) -> Self {
        Self { test, last: Instant::now() }
    }

    /// Prints the time since the previous step.
    pub fn step(&mut self, what: &str) {
        print(format_args!("  {:>6.2} s  {}: {what}", self.last.elapsed().as_secs_f32(), self.test));
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
                    print(format_args!(
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

/// Runs the test on a thread with its name, which a panic message shows.
fn run_one(test: Test) -> Outcome {
    let start = Instant::now();
    let passed = thread::Builder::new()
        .name(test.name.to_owned())
        .spawn(test.body)
        .is_ok_and(|thread| thread.join().is_ok());
    Outcome { name: test.name, passed, took: start.elapsed() }
}

/// As libtest does.
fn summarize(outcomes: &[Outcome], took: Duration) -> ExitCode {
    let failed: Vec<&str> =
        outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| outcome.name).collect();
    if !failed.is_empty() {
        print(format_args!("\nfailures:\n    {}", failed.join("\n    ")));
    }
    print(format_args!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        outcomes.len() - failed.len(),
        failed.len(),
        took.as_secs_f32()
    ));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The command line.
#[derive(Debug)]
struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

impl Arguments {
    fn parse(mut args: impl Iterator<Item = String>) -> Self {
        let mut parsed =
            Self { filters: Vec::new(), skip: Vec::new(), exact: false, list: false, threads: THREADS };
        while let Some(arg) = args.next() {
            let (name, value) = arg
                .split_once('=')
                .map_or((arg.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
            match name {
                "--exact" => parsed.exact = true,
                "--list" => parsed.list = true,
                "--skip" => parsed.skip.extend(value.or_else(|| args.next())),
                "--test-threads" => {
                    let given = value.or_else(|| args.next()).and_then(|count| count.parse().ok());
                    parsed.threads = given.filter(|count| *count > 0).unwrap_or(THREADS);
                }
                "--format" | "--color" | "-Z" => drop(value.or_else(|| args.next())),
                _ if name.starts_with('-') => {}
                _ => parsed.filters.push(arg),
            }
        }
        parsed
    }

    fn select(&self, name: &str) -> bool {
        let matches =
            |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        (self.filters.is_empty() || self.filters.iter().any(matches)) && !self.skip.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Arguments {
        Arguments::parse(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn arguments_select_tests_as_in_libtest() {
        assert!(parse(&[]).select("a::b") && parse(&["--nocapture", "-q"]).select("a::b"));
        assert!(parse(&["x", "a:"]).select("a::b") && !parse(&["x"]).select("a::b"));
        assert!(!parse(&["a", "--exact"]).select("a::b") && parse(&["--exact", "a::b"]).select("a::b"));
        assert!(!parse(&["--skip", "b"]).select("a::b") && !parse(&["--skip=b"]).select("a::b"));
        assert_eq!(
            (parse(&["--test-threads=1"]).threads, parse(&["--test-threads", "0"]).threads),
            (1, THREADS)
        );
    }

    #[test]
    fn a_test_is_named_by_its_path() {
        mod engine {
            pub async fn starts() {}
        }
        let names: Vec<&str> = crate::tests![engine::starts].iter().map(|test| test.name).collect();
        assert_eq!(names, ["engine::starts"]);
    }

    #[test]
    fn a_panic_fails_only_its_own_test() {
        let fail = Test { name: "fail", body: Box::new(|| panic!("on purpose")) };
        let good = Test { name: "pass", body: Box::new(|| ()) };
        assert!(!run_one(fail).passed && run_one(good).passed);
    }
}
