//! Shapes and text of an SVG as a string. It decides about nothing.

use std::fmt::Write as _;

/// What every system has one of.
const FONT: &str = "-apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif";
/// Of a letter to its size: wide enough for the widest of these fonts.
const LETTER: f64 = 0.58;
/// For series, in this order: told apart by lightness too.
pub(super) const PALETTE: [&str; 10] = [
    "#2f6fde", "#e07b1f", "#2a9d6f", "#b0489c", "#8a6d3b", "#17a2b8", "#c9a400", "#6a5acd", "#7a8794",
    "#d4526e",
];
pub(super) const INK: &str = "#1f2933";
pub(super) const FAINT: &str = "#6b7783";
pub(super) const GRID: &str = "#e4e8ec";
pub(super) const RED: &str = "#d0342c";
pub(super) const BLUE: &str = PALETTE[0];

/// How a text looks.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub size: f64,
    pub color: &'static str,
    pub bold: bool,
    /// `start`, `middle`, `end`
    pub anchor: &'static str,
}

pub(super) const fn plain(size: f64, color: &'static str) -> Style {
    Style { size, color, bold: false, anchor: "start" }
}

impl Style {
    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) const fn anchor(self, anchor: &'static str) -> Self {
        Self { anchor, ..self }
    }
}

#[derive(Default)]
pub(super) struct Svg(String);

// Writing to a String cannot fail.
impl Svg {
    pub(super) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str, radius: f64) {
        let (x, y, width, height) = (short(x), short(y), short(width), short(height));
        let _ = writeln!(
            self.0,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\" fill=\"{fill}\"/>"
        );
    }

    /// A rectangle that is a border.
    pub(super) fn frame(&mut self, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let (x, y, width, height) = (short(x), short(y), short(width), short(height));
        let _ = writeln!(
            self.0,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#ffffff\" stroke=\"#d8dee4\"/>"
        );
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str) {
        let (x1, y1, x2, y2) = (short(from.0), short(from.1), short(to.0), short(to.1));
        let _ =
            writeln!(self.0, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{color}\"/>");
    }

    pub(super) fn curve(&mut self, points: &[(f64, f64)], color: &str) {
        let points = joined(points);
        let _ = writeln!(
            self.0,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.6\" stroke-linejoin=\"round\"/>"
        );
    }

    pub(super) fn area(&mut self, points: &[(f64, f64)], color: &str, opacity: f64) {
        let points = joined(points);
        let _ =
            writeln!(self.0, "<polygon points=\"{points}\" fill=\"{color}\" fill-opacity=\"{opacity}\"/>");
    }

    pub(super) fn dot(&mut self, (x, y): (f64, f64), radius: f64, color: &str) {
        let _ = writeln!(
            self.0,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{radius}\" fill=\"{color}\"/>",
            short(x),
            short(y)
        );
    }

    /// The point of a text's base line; where in the text that is, is the style's.
    pub(super) fn text(&mut self, (x, y): (f64, f64), style: Style, text: &str) {
        let weight = if style.bold { " font-weight=\"600\"" } else { "" };
        let _ = writeln!(
            self.0,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{}\"{weight}>{}</text>",
            short(x),
            short(y),
            style.size,
            style.color,
            style.anchor,
            escape(text)
        );
    }

    /// The picture, on white.
    pub(super) fn finish(self, title: &str, width: f64, height: f64) -> String {
        let (title, body) = (escape(title), self.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"{FONT}\" role=\"img\">\n<title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#f7f9fb\"/>\n{body}</svg>\n"
        )
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    points.iter().map(|(x, y)| format!("{},{}", short(*x), short(*y))).collect::<Vec<_>>().join(" ")
}

/// A tenth of a pixel is enough.
fn short(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// How wide a text is at most, as good as one can know it without its font.
pub(super) fn width(text: &str, size: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a line of text")]
    let letters = text.chars().count() as f64;
    letters * size * LETTER
}

/// The text, or its two ends, within so many pixels.
pub(super) fn fit(text: &str, room: f64, size: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let mut kept = letters.len();
    while kept > 2 && width("…", size) + width(&text.chars().take(kept).collect::<String>(), size) > room {
        kept -= 1;
    }
    let head = kept.div_ceil(2);
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - (kept - head)..]).collect()
}

/// For an element or an attribute. What XML cannot hold is left out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            char if char.is_control() || matches!(char, '\u{FFFE}' | '\u{FFFF}') => {}
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_would_read_is_escaped() {
        for (text, escaped) in [
            ("a<b> & \"c\"", "a&lt;b&gt; &amp; &quot;c&quot;"),
            ("it's", "it&#39;s"),
            ("a\u{0}b\u{1b}[1m\nc", "ab[1m c"),
            ("grün …", "grün …"),
        ] {
            assert_eq!(escape(text), escaped);
        }
        let mut svg = Svg::default();
        svg.text((0.0, 0.0), plain(12.0, INK), "</text><script>");
        assert!(!svg.finish("<&", 10.0, 10.0).contains("<script"));
    }

    #[test]
    fn a_text_that_is_too_wide_keeps_its_ends() {
        assert_eq!(fit("short", 100.0, 10.0), "short");
        let fitted = fit("PATCH /apis/elpio.io/v1alpha1/services/{name}/status", 120.0, 10.0);
        assert!(
            fitted.starts_with("PATCH") && fitted.ends_with("status") && width(&fitted, 10.0) <= 120.0,
            "{fitted}"
        );
    }
}
