//! Text for terminals: optional colours, aligned columns, and no control characters from outside. Pure; it
//! writes nothing.

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// The values of `--color`.
    pub const WORDS: [&'static str; 3] = ["auto", "always", "never"];

    /// Parses a value of `--color`.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "always" => Self::Always,
            "never" => Self::Never,
            _ => Self::Auto,
        }
    }

    /// The palette; `no_color`: whether `NO_COLOR` is set and not empty (<https://no-color.org>).
    #[must_use]
    pub fn palette(self, is_terminal: bool, no_color: bool) -> Palette {
        let color = match self {
            Self::Auto => is_terminal && !no_color,
            Self::Always => true,
            Self::Never => false,
        };
        Palette { color }
    }
}

/// The meaning of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Neutral.
    #[default]
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// Success.
    Good,
    /// Failure.
    Bad,
    /// Worth attention.
    Warning,
}

/// Paints text, or leaves it plain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    color: bool,
}

impl Palette {
    /// The text in this tone.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Dim => "2",
            Tone::Bold => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warning => "33",
        };
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A single line without terminal control: shows control characters and those that change the text direction
/// as code points, line breaks and tabs as spaces.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\r' | '\t' => line.push(' '),
            _ if char.is_control() || is_invisible(char) => line.extend(char.escape_unicode()),
            _ => line.push(char),
        }
    }
    line.trim().to_owned()
}

/// Direction marks and zero-width characters (Unicode, Bidirectional Algorithm), line and paragraph separators.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text of a table cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in this tone; control characters are made visible.
    #[must_use]
    pub fn new(tone: Tone, text: &str) -> Self {
        Self { text: printable(text), tone }
    }

    /// A plain text.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// Aligned columns, two spaces apart, each as wide as its widest cell; the last column is not padded.
#[must_use]
pub fn columns(rows: &[Vec<Cell>], palette: Palette) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or_default();
        for (cell, width) in row.iter().zip(&widths).take(last + 1) {
            let padding = width.saturating_sub(cell.text.chars().count()) + 2;
            line.push_str(&palette.paint(cell.tone, &cell.text));
            line.push_str(&" ".repeat(padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_not_sent() {
        assert_eq!(
            printable("a\x1b[2Jb\u{9b}31mc\u{202e}d\u{200b}"),
            "a\\u{1b}[2Jb\\u{9b}31mc\\u{202e}d\\u{200b}"
        );
        assert_eq!(printable("two\nlines\tand a bell\x07"), "two lines and a bell\\u{7}");
        assert_eq!(printable("für 日本"), "für 日本");
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let painted = |choice: &str, terminal, no_color| {
            let palette = ColorChoice::parse(choice).palette(terminal, no_color);
            palette.paint(Tone::Bad, "x") != "x"
        };
        for (choice, terminal, no_color, expected) in [
            ("auto", true, false, true),
            ("auto", true, true, false),
            ("auto", false, false, false),
            ("always", false, true, true),
            ("never", true, false, false),
        ] {
            assert_eq!(painted(choice, terminal, no_color), expected, "{choice} {terminal} {no_color}");
        }
    }

    #[test]
    fn columns_are_aligned_whatever_is_painted() {
        let row = |tone, first: &str, second: &str| vec![Cell::new(tone, first), Cell::plain(second)];
        let rows = [row(Tone::Good, "ok", "a"), row(Tone::Bad, "longer", "b"), row(Tone::Dim, "", "")];
        assert_eq!(columns(&rows, Palette::default()), "ok      a\nlonger  b\n\n");
        assert_eq!(
            columns(&rows, Palette { color: true }),
            "\x1b[32mok\x1b[0m      a\n\x1b[31mlonger\x1b[0m  b\n\n"
        );
    }
}
