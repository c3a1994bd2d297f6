//! The rules for names: one word means one thing, and verbs are the field's. It reads no files.

use std::collections::BTreeMap;

use crate::source::Source;

/// Verbs that say nothing about what code does. A word of an identifier, whatever stands beside it.
const BANNED: &[&str] = &[
    "heard", "hear", "look", "looked", "looks", "moment", "said", "say", "says", "scene", "seat", "seats",
    "tell", "tells", "told", "whoever",
];

/// Words that are banned alone: as a part of a longer name they are the field's.
const BANNED_ALONE: &[&str] = &["pass", "turn", "place", "gone", "ours", "verdict", "somebody", "nobody"];

/// Two types of one name, each pair with its reason.
pub const SAME_NAME: &[(&str, &str)] = &[
    ("TrafficTarget", "a field of the user's spec, and the same field of Knative's: both projects' own word"),
    (
        "Kind",
        "what the operator does with a kind, and the kind's word in telemetry: Kubernetes's word for both",
    ),
];

/// No two public types of one name.
pub fn type_names(sources: &[Source], allowed: &[(&str, &str)]) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.path.ends_with("_test.rs")) {
        let tokens = source.tokens();
        for (at, token) in tokens.iter().enumerate() {
            let is_type = matches!(token.text.as_str(), "struct" | "enum" | "trait");
            // `pub struct`, `pub(crate) struct`.
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            let is_public = before.is_some_and(|token| token.text == "pub" || token.text == ")");
            let name = if is_type && is_public {
                // That of a macro is none.
                tokens.get(at + 1).filter(|name| name.text != "$")
            } else if token.text == "attribute_values"
                && tokens.get(at + 1).is_some_and(|next| next.text == "!")
            {
                // `attribute_values! { #[derive(Default)] Engine {`
                let declared = tokens[at..].windows(2).skip(3).find(|pair| pair[1].text == "{");
                declared.map(|pair| &pair[0])
            } else {
                None
            };
            if let Some(name) = name {
                places.entry(&name.text).or_default().push(format!("{}:{}", source.path, name.line));
            }
        }
    }
    let is_allowed = |name: &str| allowed.iter().any(|(known, _)| *known == name);
    let twice = places.iter().filter(|(name, at)| at.len() > 1 && !is_allowed(name));
    let unused = allowed.iter().filter(|(name, _)| places.get(name).is_none_or(|at| at.len() < 2));
    twice
        .map(|(name, at)| format!("{}: {name} is the name of {} types", at.join(", "), at.len()))
        .chain(unused.map(|(name, _)| format!("{name} is one type only: take it off the list")))
        .collect()
}

/// No banned verb in an identifier.
pub fn banned_words(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        for token in source.tokens() {
            let is_name = token.text.starts_with(|c: char| c.is_alphabetic() || c == '_');
            if let Some(word) = words(&token.text).iter().find(|word| is_name && is_banned(word, &token.text))
            {
                let what = format!("{}: \"{word}\" says nothing about what it does", token.text);
                offences.push(format!("{}:{}: {what}", source.path, token.line));
            }
        }
    }
    offences
}

fn is_banned(word: &str, name: &str) -> bool {
    BANNED.contains(&word) || (BANNED_ALONE.contains(&word) && name.to_lowercase() == word)
}

/// The words of `snake_case`, `SCREAMING_CASE` and `CamelCase`, in lower case.
fn words(name: &str) -> Vec<String> {
    let is_upper = name.chars().all(|c| !c.is_lowercase());
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && !is_upper) {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut().filter(|_| c != '_') {
            last.extend(c.to_lowercase());
        }
    }
    words
}
