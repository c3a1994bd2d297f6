//! Sources as text: read, freed of comments and literals, and asked for the paths into this crate. It judges
//! nothing.

use std::{fs, path::Path};

/// One file.
#[derive(Clone)]
pub struct Source {
    /// From the top of the repository.
    pub path: String,
    /// All of it.
    pub text: String,
    tokens: Vec<Token>,
}

/// A word or a sign, and its line.
#[derive(Clone, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path into this crate: its first segment.
pub struct Use {
    pub module: String,
    pub line: usize,
}

/// Every `.rs` file below a folder of this repository, in order.
pub fn read(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                sources.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), tokens: tokens(&code(text)) }
    }

    /// The layer: the first folder or file below `src`.
    pub fn layer(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Words and signs of the code, without comments and literals.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Every path that begins at the top of this crate, in `use` items and elsewhere.
    pub fn uses(&self) -> Vec<Use> {
        let mut uses = Vec::new();
        let mut open = Vec::new();
        let text = |at: usize| self.tokens.get(at).map_or("", |token| token.text.as_str());
        for (at, token) in self.tokens.iter().enumerate() {
            match token.text.as_str() {
                "{" => open.push(at >= 2 && text(at - 2) == "mod"),
                "}" => drop(open.pop()),
                _ => {}
            }
            let inside = at > 0 && text(at - 1) == "::";
            if inside || text(at + 1) != "::" {
                continue;
            }
            match token.text.as_str() {
                "crate" | "elpio_operator" => self.heads(at + 2, &mut uses),
                "super" => {
                    let supers = (at..).step_by(2).take_while(|at| text(*at) == "super").count();
                    // One `super` leads from src/render/mod.rs to the top, two from src/render/pod.rs, three
                    // from its `mod tests {`.
                    if supers == self.depth() + open.iter().filter(|of_module| **of_module).count() {
                        self.heads(at + 2 * supers, &mut uses);
                    }
                }
                _ => {}
            }
        }
        uses
    }

    /// Every path that begins with `crate`, whole, without what a group or an alias adds to it.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let text = |at: usize| self.tokens.get(at).map_or("", |token| token.text.as_str());
        let mut paths = Vec::new();
        for at in 0..self.tokens.len() {
            // `pub(in crate::…)` says who may see an item, and imports nothing.
            let after = if at == 0 { "" } else { text(at - 1) };
            if text(at) == "crate" && text(at + 1) == "::" && !["::", "in"].contains(&after) {
                self.tree(at + 2, &[], &mut paths);
            }
        }
        paths
    }

    /// The paths of a tree of imports that begins here; where it ends.
    fn tree(&self, at: usize, above: &[String], paths: &mut Vec<Vec<String>>) -> usize {
        let text = |at: usize| self.tokens.get(at).map_or("", |token| token.text.as_str());
        if text(at) != "{" {
            let path = [above, &[text(at).to_owned()]].concat();
            if text(at + 1) == "::" {
                return self.tree(at + 2, &path, paths);
            }
            paths.push(path);
            return at + 1;
        }
        let mut next = at + 1;
        while next < self.tokens.len() && text(next) != "}" {
            next = self.tree(next, above, paths);
            // An alias, and the comma.
            while !["}", ",", ""].contains(&text(next)) {
                next += 1;
            }
            next += usize::from(text(next) == ",");
        }
        next + 1
    }

    /// How many modules below the top this file's is.
    fn depth(&self) -> usize {
        // A file of tests is a module of the file that it tests.
        let own = usize::from(self.path.ends_with("_test.rs"));
        self.path.trim_end_matches("/mod.rs").matches('/').count() + own
    }

    /// The first segments at a place in the code: one, or those of a group.
    fn heads(&self, start: usize, uses: &mut Vec<Use>) {
        let mut depth = 0_usize;
        let mut expected = true;
        for token in self.tokens.iter().skip(start) {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                "," if depth == 1 => expected = true,
                word if expected => {
                    expected = false;
                    uses.push(Use { module: word.to_owned(), line: token.line });
                }
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

/// The text with comments and literals blanked out; every line stays where it is.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest, 0),
            'r' | 'b' | 'c' if !in_word => prefixed(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (removed, left) = rest.split_at(length);
            code.push(' ');
            code.extend(removed.chars().filter(|c| *c == '\n'));
            rest = left;
        }
    }
    code
}

/// The length of a comment that others may lie in.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let step = if rest.starts_with(b"/*") {
            depth += 1;
            2
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string whose opening quote is at `start`.
fn string(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at <= start) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a literal that begins with `r`, `b`, `c` or two of them; 0 when it is a word.
fn prefixed(text: &str) -> usize {
    let letters = text.chars().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let hashes = text[letters..].chars().take_while(|c| *c == '#').count();
    let quote = letters + hashes;
    if letters > 2 || !text[quote..].starts_with('"') {
        return 0;
    }
    if !text[..letters].contains('r') {
        return if hashes == 0 { string(text, quote) } else { 0 };
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[quote + 1..].find(&end).map_or(text.len(), |at| quote + 1 + at + end.len())
}

/// The length of a character literal; 0 when it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            text[after..].find('\'').map_or(0, |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => rest.chars().next().map_or(1, char::len_utf8),
                word => word,
            };
            tokens.push(Token { text: rest[..length].to_owned(), line });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}
