//! How the demo looks: lines that stay, and below them, on a terminal, a region that is drawn anew in place.
//! Knows nothing of what is told.

use std::{
    convert::Infallible,
    fmt::Display,
    io::IsTerminal as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use elpio_cluster::report::{self, Told};
use tokio::signal::unix::{SignalKind, signal};

use crate::screen::{STEP, Screen, Step, USUAL, fit, size, wrapped};

/// How often elapsed times move.
const TICK: Duration = Duration::from_millis(250);
/// How often progress is told to those who only read lines.
const SELDOM: Duration = Duration::from_secs(10);

/// Columns before a step's remark, and what it has at least.
const REMARK: usize = STEP + 14;
const LEAST: usize = 40;

/// Colours by their use.
#[derive(Clone, Copy)]
pub enum Tone {
    /// Good news.
    Good,
    /// Bad news.
    Bad,
    /// Not yet decided.
    Waiting,
    /// Beside the point.
    Dim,
    /// Headings.
    Strong,
}

pub struct Terminal {
    color: bool,
    live: bool,
    screen: Mutex<Screen>,
}

impl Terminal {
    /// The terminal, which from now on tells what the harness does, too.
    pub fn open() -> Arc<Self> {
        let live = std::io::stdout().is_terminal();
        let color = live && std::env::var_os("NO_COLOR").is_none();
        let (rows, columns) = if live { size() } else { USUAL };
        let screen = Screen {
            rows,
            columns,
            drawn: 0,
            region: Vec::new(),
            steps: Vec::new(),
            progress: String::new(),
            progress_told: Instant::now(),
        };
        let terminal = Arc::new(Self { color, live, screen: Mutex::new(screen) });
        let hearing = Arc::clone(&terminal);
        report::hear(move |told| hearing.hear(told));
        let panicking = Arc::clone(&terminal);
        std::panic::set_hook(Box::new(move |panic| {
            let why = panic.payload_as_str().unwrap_or("something went wrong");
            panicking.line(&panicking.paint(Tone::Bad, format!("✗ {why}")));
        }));
        terminal
    }

    /// Follows the window's size for ever.
    pub async fn follow_size(&self) -> Infallible {
        let mut changed = signal(SignalKind::window_change()).expect("a signal can be listened to");
        loop {
            changed.recv().await;
            if !self.live {
                continue;
            }
            let (rows, columns) = size();
            let mut screen = self.screen();
            (screen.rows, screen.columns) = (rows, columns);
        }
    }

    pub fn color(&self) -> bool {
        self.color
    }

    /// Whether there is a region that is drawn in place.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Characters of a line.
    pub fn width(&self) -> usize {
        self.screen().columns
    }

    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Waiting => 33,
            Tone::Dim => 2,
            Tone::Strong => 1,
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub fn heading(&self, text: &str) {
        self.put(&format!("\n{}\n", self.paint(Tone::Strong, text)));
    }

    /// An indented line, of a window's width at most.
    pub fn short_line(&self, text: &str) {
        let room = if self.live { self.width().saturating_sub(3) } else { usize::MAX };
        self.line(&fit(text, room));
    }

    /// An indented line.
    pub fn line(&self, text: &str) {
        self.put(&format!("  {text}"));
    }

    pub fn note(&self, name: &str, text: &str) {
        let sign = self.paint(Tone::Waiting, if name.is_empty() { " " } else { "!" });
        self.line(&format!("{sign} {name:<STEP$}          {}", self.paint(Tone::Dim, text)));
    }

    /// Text that stays, above the region.
    pub fn put(&self, text: &str) {
        let mut screen = self.screen();
        screen.write(text, self.live);
    }

    /// What the region shows from now on.
    pub fn show(&self, region: Vec<String>) {
        let mut screen = self.screen();
        screen.region = region;
        screen.draw(self.live);
    }

    /// What the region shows stays as it is, and no step goes on.
    pub fn leave(&self) {
        let mut screen = self.screen();
        screen.steps.clear();
        screen.draw(self.live);
        screen.region.clear();
        screen.drawn = 0;
    }

    /// Runs a step, with its elapsed time; then says that it is done, how long it took, and the remark that
    /// it gives.
    pub async fn step<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<(String, T), String>>,
    ) -> Result<T, String> {
        let start = Instant::now();
        self.screen().steps.push(Step { name, start });
        let mut tick = tokio::time::interval(TICK);
        let mut work = std::pin::pin!(work);
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                _ = tick.tick() => self.screen().draw(self.live),
            }
        };
        {
            let mut screen = self.screen();
            screen.steps.retain(|step| step.start != start || step.name != name);
            screen.progress.clear();
        }
        self.done(name, start, ended)
    }

    /// A step that another program writes about on this terminal.
    pub async fn step_of_another<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<(String, T), String>>,
    ) -> Result<T, String> {
        self.done(name, Instant::now(), work.await)
    }

    fn done<T>(&self, name: &str, start: Instant, ended: Result<(String, T), String>) -> Result<T, String> {
        let took = format!("{:.1} s", start.elapsed().as_secs_f64());
        let (sign, remark) = match &ended {
            Ok((remark, _)) => (self.paint(Tone::Good, "✓"), remark.as_str()),
            Err(_) => (self.paint(Tone::Bad, "✗"), ""),
        };
        let room = if self.live { self.width().saturating_sub(REMARK + 1).max(LEAST) } else { usize::MAX };
        let lines = wrapped(remark, room);
        let first = self.paint(Tone::Dim, &lines[0]);
        self.line(format!("{sign} {name:<STEP$} {took:>8} {first}").trim_end());
        lines[1..]
            .iter()
            .for_each(|line| self.line(&format!("{:1$}{2}", "", REMARK - 2, self.paint(Tone::Dim, line))));
        ended.map(|(_, result)| result)
    }

    fn hear(&self, told: Told<'_>) {
        match told {
            Told::Line(text) => self.short_line(&self.paint(Tone::Dim, format!("  · {}", text.trim()))),
            Told::Progress(text) if self.live => text.trim().clone_into(&mut self.screen().progress),
            Told::Progress(text) => {
                let due = self.screen().progress_told.elapsed() >= SELDOM;
                if due {
                    self.screen().progress_told = Instant::now();
                    self.hear(Told::Line(text));
                }
            }
        }
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        // Whoever panicked has said why.
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
