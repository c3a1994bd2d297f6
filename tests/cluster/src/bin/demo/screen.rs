//! What is on the screen: the region below the lines that stay, drawn over itself in one piece, so that
//! nothing flickers.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    process::{Command, Stdio},
    time::Instant,
};

/// Where nothing says how large the window is.
pub const USUAL: (usize, usize) = (24, 100);
/// Columns of a step's name.
pub const STEP: usize = 16;

pub struct Screen {
    pub rows: usize,
    pub columns: usize,
    /// Lines of the region that are drawn.
    pub drawn: usize,
    pub region: Vec<String>,
    pub steps: Vec<Step>,
    pub progress: String,
    pub progress_told: Instant,
}

pub struct Step {
    pub name: &'static str,
    pub start: Instant,
}

impl Screen {
    /// Draws the region, where there is one.
    pub fn draw(&mut self, live: bool) {
        if live {
            self.paint(None);
        }
    }

    /// Text that stays.
    pub fn write(&mut self, text: &str, live: bool) {
        if live {
            self.paint(Some(text));
        } else {
            give(&format!("{text}\n"));
        }
    }

    /// `above` in place of the region, and the region below it; in one piece, so that nothing flickers.
    fn paint(&mut self, above: Option<&str>) {
        let mut out = String::new();
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A", self.drawn);
        }
        for line in above.into_iter().flat_map(|text| text.split('\n')) {
            let _ = writeln!(out, "{line}\x1b[K");
        }
        let lines: Vec<String> =
            self.steps.iter().map(|step| self.running(step)).chain(self.region.iter().cloned()).collect();
        // More than the window holds could not be drawn over again.
        self.drawn = lines.len().min(self.rows.saturating_sub(1));
        for line in lines.iter().take(self.drawn) {
            let _ = writeln!(out, "{}\x1b[K", fit(line, self.columns.saturating_sub(1)));
        }
        out.push_str("\x1b[J");
        give(&out);
    }

    fn running(&self, step: &Step) -> String {
        let took = format!("{:.1} s", step.start.elapsed().as_secs_f64());
        format!("  … {:<STEP$} {took:>8} {}", step.name, self.progress)
    }
}

fn give(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads it any more: nothing is lost.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// At most so wide; escapes take no room.
pub fn fit(text: &str, width: usize) -> String {
    let (mut fitted, mut room, mut escape) = (String::new(), width, false);
    let visible = |text: &str| {
        text.split('\x1b')
            .enumerate()
            .map(|(at, part)| part.chars().count() - if at > 0 { codes(part) } else { 0 })
            .sum::<usize>()
    };
    if visible(text) <= width {
        return text.to_owned();
    }
    for char in text.chars() {
        if char == '\x1b' || escape {
            escape = char != 'm';
            fitted.push(char);
        } else if room > 1 {
            room -= 1;
            fitted.push(char);
        } else if room == 1 {
            room = 0;
            fitted.push('…');
        }
    }
    fitted
}

/// Its words on lines of at most that width.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

/// The characters of a colour's code, which begins here.
fn codes(part: &str) -> usize {
    part.find('m').map_or(0, |end| end + 1)
}

/// Rows and columns, as the terminal says.
pub fn size() -> (usize, usize) {
    let asked = File::open("/dev/tty")
        .and_then(|tty| Command::new("stty").arg("size").stdin(tty).stderr(Stdio::null()).output());
    let said = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut numbers =
        said.split_whitespace().filter_map(|number| number.parse().ok()).filter(|number| *number > 0);
    numbers.next().zip(numbers.next()).unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_and_colours_take_no_room() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        let red = "\x1b[31mabcdef\x1b[0m";
        assert_eq!(fit(red, 6), red);
        assert_eq!(fit("\x1b[31mabcdefg\x1b[0m", 6), "\x1b[31mabcde…\x1b[0m");
        assert_eq!(fit("├─ äöü", 4), "├─ …");
        assert_eq!(wrapped("a bc  def", 4), ["a bc", "def"]);
    }
}
