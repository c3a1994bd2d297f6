//! How the demo looks: steps, headings, colours where a terminal is. Knows nothing of what is told.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::time::Instant;

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
}

impl Terminal {
    pub fn new() -> Self {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { color }
    }

    pub fn color(&self) -> bool {
        self.color
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

    pub fn title(&self, name: &str, what: &str) {
        println!("\n{}  {}\n", self.paint(Tone::Strong, name), self.paint(Tone::Dim, what));
    }

    pub fn heading(&self, text: &str) {
        println!("\n{}\n", self.paint(Tone::Strong, text));
    }

    pub fn note(&self, name: &str, text: &str) {
        println!("  {} {name:<16}          {}", self.paint(Tone::Waiting, "!"), self.paint(Tone::Dim, text));
    }

    /// Runs a step, then says that it is done, how long it took, and the remark that it gives.
    pub async fn step<T>(&self, name: &str, work: impl Future<Output = Result<(String, T), String>>) -> Result<T, String> {
        let start = Instant::now();
        let (remark, result) = work.await.inspect_err(|_| println!("  {} {name}", self.paint(Tone::Bad, "✗")))?;
        let took = format!("{:.1} s", start.elapsed().as_secs_f64());
        println!("  {} {name:<16} {took:>8} {}", self.paint(Tone::Good, "✓"), self.paint(Tone::Dim, remark));
        Ok(result)
    }
}

/// An indented line.
pub fn line(text: &str) {
    println!("  {text}");
}
