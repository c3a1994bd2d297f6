//! The parts of Markdown that the tests need: code blocks, links, headings. (pulldown-cmark was considered: the
//! comment before a block and GitHub's anchors would remain to be done by hand.)

/// A fenced block, with the comments directly before it.
#[derive(Debug)]
pub struct Block {
    pub language: String,
    pub comments: Vec<String>,
    pub text: String,
    /// The line of its first fence, from 1.
    pub line: usize,
}

/// The fenced blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut open, mut comments) = (false, Vec::new());
    for (index, line) in page.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            open = !open;
            if open {
                let language = language.trim().to_owned();
                let comments = std::mem::take(&mut comments);
                blocks.push(Block { language, comments, text: String::new(), line: index + 1 });
            }
        } else if open {
            let block = blocks.last_mut().unwrap();
            block.text.push_str(line);
            block.text.push('\n');
        } else if let Some(comment) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            comments.push(comment.to_owned());
        } else {
            comments.clear();
        }
    }
    assert!(!open, "a block is not closed");
    blocks
}

/// The lines outside of code blocks, without inline code.
pub fn prose(page: &str) -> Vec<String> {
    let mut open = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        } else if !open {
            lines.push(line.split('`').step_by(2).collect::<Vec<_>>().join("``"));
        }
    }
    lines
}

/// The targets of links and pictures.
pub fn links(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(page) {
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let (target, after) = after.split_once(')').unwrap_or((after, ""));
            targets.push(target.to_owned());
            rest = after;
        }
    }
    targets
}

/// The anchors of a page's headings, as GitHub makes them.
pub fn anchors(page: &str) -> Vec<String> {
    let mut slugs: Vec<String> = Vec::new();
    let mut anchors = Vec::new();
    let mut open = false;
    for line in page.lines() {
        open ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if open || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let slug = slug(heading.trim());
        let same = slugs.iter().filter(|other| **other == slug).count();
        anchors.push(if same == 0 { slug.clone() } else { format!("{slug}-{same}") });
        slugs.push(slug);
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn markdown_is_read_as_it_is_written() {
    let page = "# A `b`: c\ntext [x](y.md#z) `[no](no)` ![p](p.svg)\n\n<!-- not run: why -->\n```sh\n[a](b)\n```\n## A b c\n# A b c\n";
    assert_eq!(links(page), ["y.md#z", "p.svg"]);
    assert_eq!(anchors(page), ["a-b-c", "a-b-c-1", "a-b-c-2"]);
    let found = blocks(page);
    assert_eq!((found.len(), found[0].language.as_str(), found[0].line), (1, "sh", 5));
    assert_eq!(found[0].comments, ["not run: why"]);
}
