//! Fits text into columns. Pure; `console` measures and cuts, `textwrap` wraps.

use std::borrow::Cow;

/// Cuts the text to the width, with an ellipsis; terminal escapes have no width.
pub fn truncate(text: &str, width: usize) -> Cow<'_, str> {
    console::truncate_str(text, width, "…")
}

/// Wraps the text at spaces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    textwrap::wrap(text, width).into_iter().map(Cow::into_owned).collect()
}

/// Cuts the start of the text instead of its end: paths differ at their ends.
pub fn truncate_start(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    format!("…{}", text.chars().skip(length + 1 - width).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_escapes_have_no_width() {
        assert_eq!(truncate("abcdef", 6), "abcdef");
        assert_eq!(truncate("abcdefg", 6), "abcde…");
        let red = "\x1b[31mabcdef\x1b[0m";
        assert_eq!(truncate(red, 6), red);
        assert_eq!(truncate("\x1b[31mabcdefg\x1b[0m", 6), "\x1b[31mabcde…\x1b[0m");
        assert_eq!(truncate_start("/apis/elpio.io", 9), "…elpio.io");
        assert_eq!(wrap("a bc  def", 4), ["a bc", "def"]);
    }
}
