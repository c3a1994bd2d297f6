//! The demo's output: permanent lines, and below them, on a terminal, steps in progress and a region that is
//! redrawn. It does not know what it shows. `indicatif` redraws, `console` knows the terminal.

use std::{
    fmt::Display,
    io::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use console::{Style, Term};
use elpio_cluster::progress::{self, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::text::{truncate, wrap};

/// How often the elapsed time of a step is redrawn.
const TICK: Duration = Duration::from_millis(250);
/// How often a step's progress is printed where nothing is redrawn.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// Columns of a step's name.
const STEP_NAME: usize = 16;
/// Columns before a step's result.
const STEP_RESULT: usize = 2 + 2 + STEP_NAME + 1 + 8 + 1;
/// The least that a step's result has.
const MIN_RESULT: usize = 40;

/// The meaning of a colour.
#[derive(Clone, Copy)]
pub enum Tone {
    /// Ready.
    Good,
    /// Failed.
    Bad,
    /// In progress.
    Waiting,
    /// Secondary.
    Dim,
    /// A heading.
    Strong,
}

pub struct Terminal {
    term: Term,
    color: bool,
    bars: MultiProgress,
    state: Mutex<State>,
}

struct State {
    /// The steps in progress.
    steps: Vec<ProgressBar>,
    /// The redrawn region.
    region: Option<ProgressBar>,
    /// When progress was last printed.
    last_progress: Instant,
}

impl Terminal {
    /// Writes to stdout; shows the harness's progress and panics, too.
    pub fn open() -> Arc<Self> {
        let term = Term::stdout();
        let color = term.is_term() && console::colors_enabled();
        let target = if term.is_term() { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        let state = State { steps: Vec::new(), region: None, last_progress: Instant::now() };
        let bars = MultiProgress::with_draw_target(target);
        let terminal = Arc::new(Self { term, color, bars, state: Mutex::new(state) });
        let for_progress = Arc::clone(&terminal);
        progress::set_handler(move |progress| for_progress.show_progress(progress));
        let for_panics = Arc::clone(&terminal);
        std::panic::set_hook(Box::new(move |panic| {
            let reason = panic.payload_as_str().unwrap_or("unknown error").to_owned();
            let terminal = Arc::clone(&for_panics);
            // On another thread, because `indicatif` draws nothing on one that panics.
            let _ = std::thread::spawn(move || terminal.failure(&reason)).join();
        }));
        terminal
    }

    pub fn color(&self) -> bool {
        self.color
    }

    /// Whether steps and the region are redrawn; otherwise the output is a file or a pipe.
    pub fn is_live(&self) -> bool {
        self.term.is_term()
    }

    /// The columns of a line; without a limit in a file or a pipe.
    pub fn width(&self) -> usize {
        if self.is_live() { usize::from(self.term.size().1) } else { usize::MAX }
    }

    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        let style = match tone {
            Tone::Good => Style::new().green(),
            Tone::Bad => Style::new().red(),
            Tone::Waiting => Style::new().yellow(),
            Tone::Dim => Style::new().dim(),
            Tone::Strong => Style::new().bold(),
        };
        style.force_styling(self.color).apply_to(text).to_string()
    }

    pub fn heading(&self, text: &str) {
        let lines = wrap(text, self.width().saturating_sub(1));
        let lines: Vec<String> = lines.iter().map(|line| self.paint(Tone::Strong, line)).collect();
        self.print(&format!("\n{}\n", lines.join("\n")));
    }

    /// An indented line, cut to the terminal's width.
    pub fn short_line(&self, text: &str) {
        self.line(&truncate(text, self.width().saturating_sub(3)));
    }

    /// An indented line.
    pub fn line(&self, text: &str) {
        self.print(&format!("  {text}"));
    }

    /// Indented lines of secondary text, wrapped at the terminal's width.
    pub fn paragraph(&self, text: &str, indent: usize) {
        for line in wrap(text, self.width().min(120).saturating_sub(indent + 3)) {
            self.line(&format!("{:indent$}{}", "", self.paint(Tone::Dim, line)));
        }
    }

    /// An error.
    pub fn failure(&self, reason: &str) {
        self.line(&self.paint(Tone::Bad, format!("✗ {reason}")));
    }

    /// A remark about a step.
    pub fn note(&self, name: &str, text: &str) {
        let mark = self.paint(Tone::Waiting, "!");
        self.result_lines(&format!("{mark} {name:<STEP_NAME$} {:>8}", ""), text);
    }

    /// Prints permanent text above the steps and the region.
    pub fn print(&self, text: &str) {
        if self.is_live() {
            // A closed stdout is no reason to fail.
            let _ = self.bars.println(text);
        } else {
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    }

    /// Replaces the region.
    pub fn show_region(&self, lines: &[String]) {
        let mut state = self.state();
        let region = state.region.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{msg}").expect("a valid template");
            self.bars.add(ProgressBar::new_spinner().with_style(style))
        });
        region.set_message(lines.join("\n"));
        region.tick();
    }

    /// Removes the region.
    pub fn clear_region(&self) {
        if let Some(region) = self.state().region.take() {
            region.finish_and_clear();
        }
    }

    /// Removes the steps in progress and makes the region permanent.
    pub fn abandon(&self) {
        let (steps, region) = {
            let mut state = self.state();
            (std::mem::take(&mut state.steps), state.region.take())
        };
        steps.iter().for_each(ProgressBar::finish_and_clear);
        if let Some(region) = region {
            let text = region.message();
            region.finish_and_clear();
            self.print(&text);
        }
    }

    /// Runs a step and shows its elapsed time; then prints its duration and the text of its result.
    pub async fn step<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<(String, T), String>>,
    ) -> Result<T, String> {
        let start = Instant::now();
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(step_style()).with_prefix(name));
        bar.enable_steady_tick(TICK);
        self.state().steps.push(bar.clone());
        let result = work.await;
        bar.finish_and_clear();
        self.state().steps.retain(|step| !step.is_finished());
        self.finish_step(name, start, result)
    }

    /// Runs a step during which another program writes to the terminal.
    pub async fn foreign_step<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<(String, T), String>>,
    ) -> Result<T, String> {
        self.finish_step(name, Instant::now(), work.await)
    }

    fn finish_step<T>(
        &self,
        name: &str,
        start: Instant,
        result: Result<(String, T), String>,
    ) -> Result<T, String> {
        let seconds = format!("{:.1} s", start.elapsed().as_secs_f64());
        let (mark, text) = match &result {
            Ok((text, _)) => (self.paint(Tone::Good, "✓"), text.as_str()),
            Err(_) => (self.paint(Tone::Bad, "✗"), ""),
        };
        self.result_lines(&format!("{mark} {name:<STEP_NAME$} {seconds:>8}"), text);
        result.map(|(_, value)| value)
    }

    fn result_lines(&self, head: &str, text: &str) {
        let width = self.width().saturating_sub(STEP_RESULT + 1).max(MIN_RESULT);
        let lines = wrap(text, width);
        let first = lines.first().map(String::as_str).unwrap_or_default();
        self.line(format!("{head} {}", self.paint(Tone::Dim, first)).trim_end());
        for line in lines.iter().skip(1) {
            self.line(&format!("{:1$}{2}", "", STEP_RESULT - 2, self.paint(Tone::Dim, line)));
        }
    }

    fn show_progress(&self, progress: Progress<'_>) {
        match progress {
            Progress::Line(text) => {
                self.short_line(&self.paint(Tone::Dim, format!("  · {}", text.trim())));
            }
            Progress::Update(text) if self.is_live() => {
                if let Some(step) = self.state().steps.last() {
                    step.set_message(text.trim().to_owned());
                }
            }
            Progress::Update(text) => {
                let is_due = self.state().last_progress.elapsed() >= PROGRESS_INTERVAL;
                if is_due {
                    self.state().last_progress = Instant::now();
                    self.show_progress(Progress::Line(text));
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has reported why.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn step_style() -> ProgressStyle {
    let seconds = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.1} s", state.elapsed().as_secs_f64());
    };
    ProgressStyle::with_template("  … {prefix:16} {seconds:>8} {wide_msg}")
        .expect("a valid template")
        .with_key("seconds", seconds)
}
