//! Reads the names in a PromQL expression, and holds them against the instrument table.

use std::collections::{BTreeMap, BTreeSet};

use elpio_operator::telemetry::instruments::{Form, TABLE, Values};

/// Labels that the scrape or Prometheus itself adds, and that of buckets.
const FOREIGN: &[&str] = &["namespace", "job", "instance", "pod", "le"];
/// Series of Prometheus itself, which are asked for with a selector.
const OWN: &[&str] = &["ALERTS", "up"];

/// The labels of every series on the page, with the values that they may have; no values: bounded by something else.
fn series() -> BTreeMap<String, BTreeMap<String, &'static [&'static str]>> {
    let mut all = BTreeMap::new();
    for row in TABLE {
        let values = |values: &Values| match values {
            Values::Closed(values) => *values,
            Values::Bounded(_) => &[],
        };
        let labels: BTreeMap<_, _> = row.attributes.iter().map(|a| (a.key.replace('.', "_"), values(&a.values))).collect();
        let suffixes: &[&str] = if row.form == Form::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        all.extend(suffixes.iter().map(|suffix| (format!("{}{suffix}", row.page), labels.clone())));
    }
    all
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Words, quoted texts, and single signs; comments and numbers are nothing.
fn tokens(expr: &str) -> Vec<Token> {
    let lines = expr.lines().map(|line| line.split_once(" #").map_or(line, |(before, _)| before));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut tokens = Vec::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        if first == '"' {
            let (quoted, behind) = rest[1..].split_once('"').unwrap();
            tokens.push(Token::Text(quoted.to_owned()));
            rest = behind;
        } else if word(first) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            if !first.is_ascii_digit() {
                tokens.push(Token::Word(rest[..end].to_owned()));
            }
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// The words of a list in brackets that begins here, and how long it is.
fn list(tokens: &[Token], close: char) -> (Vec<&str>, usize) {
    let end = tokens.iter().position(|token| *token == Token::Sign(close)).unwrap_or(tokens.len());
    let words = tokens[..end].iter().filter_map(|token| if let Token::Word(word) = token { Some(word.as_str()) } else { None });
    (words.collect(), end)
}

/// The labels of all `by (…)`.
pub fn grouped_by(expr: &str) -> BTreeSet<String> {
    let tokens = tokens(expr);
    let by = tokens.iter().enumerate().filter(|(_, token)| **token == Token::Word("by".into()));
    by.flat_map(|(at, _)| list(&tokens[at..], ')').0).filter(|word| *word != "by").map(str::to_owned).collect()
}

/// Whether every metric is in the table, with these labels, and these values of them.
pub fn check(expr: &str) -> Result<(), String> {
    let (tokens, series) = (tokens(expr), series());
    let mut labels: BTreeSet<String> = FOREIGN.iter().map(|&label| label.to_owned()).collect();
    let mut named = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1);
        match &tokens[at] {
            Token::Word(word) if ["by", "without", "on", "ignoring", "group_left", "group_right"].contains(&word.as_str()) => {
                let (words, length) = list(&tokens[at + 1..], ')');
                named.extend(words.into_iter().map(str::to_owned));
                at += length + 1;
            }
            Token::Word(word) if ["or", "and", "unless", "offset"].contains(&word.as_str()) => {}
            Token::Word(own) if OWN.contains(&own.as_str()) => at += list(&tokens[at..], '}').1,
            // A function, or an aggregation with its labels behind.
            Token::Word(_) if next == Some(&Token::Sign('(')) || next == Some(&Token::Word("by".into())) => {}
            Token::Word(metric) => {
                let of = series.get(metric).ok_or_else(|| format!("{metric} is not in the instrument table"))?;
                labels.extend(of.keys().cloned());
                if next == Some(&Token::Sign('{')) {
                    let (_, length) = list(&tokens[at + 1..], '}');
                    matchers(metric, of, &tokens[at + 2..at + 1 + length])?;
                    at += length + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    named.iter().find(|label| !labels.contains(*label)).map_or(Ok(()), |label| Err(format!("no metric here has the label {label}")))
}

/// Each `label="value"` of a selector; a regular expression may be a list of words.
fn matchers(metric: &str, of: &BTreeMap<String, &'static [&'static str]>, tokens: &[Token]) -> Result<(), String> {
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(label) = token else { continue };
        let Some(allowed) = of.get(label) else {
            if FOREIGN.contains(&label.as_str()) {
                continue;
            }
            return Err(format!("{metric} has no label {label}"));
        };
        let value = tokens[at..].iter().find_map(|token| if let Token::Text(text) = token { Some(text) } else { None });
        let values = value.into_iter().flat_map(|value| value.split('|')).filter(|value| !value.contains(['.', '*', '+', '$']));
        for value in values {
            if !allowed.is_empty() && !allowed.contains(&value) {
                return Err(format!("{metric} never has {label}=\"{value}\""));
            }
        }
    }
    Ok(())
}

#[test]
fn what_does_not_exist_is_found() {
    assert_eq!(check("sum by (kind) (rate(elpio_reconcile_total{result=\"error\"}[5m])) > 1"), Ok(()));
    assert_eq!(check("histogram_quantile(0.9, sum by (le) (rate(elpio_rollout_duration_seconds_bucket[5m])))"), Ok(()));
    for (expr, wrong) in [
        ("elpio_reconciles_total > 0", "elpio_reconciles_total is not"),
        ("elpio_rollout_duration_seconds > 0", "elpio_rollout_duration_seconds is not"),
        ("elpio_reconcile_total{kinds=\"x\"}", "no label kinds"),
        ("elpio_reconcile_total{result=~\"success|failure\"}", "never has result=\"failure\""),
        ("sum by (reason) (elpio_reconcile_total)", "label reason"),
    ] {
        let found = check(expr).unwrap_err();
        assert!(found.contains(wrong), "{expr}: {found}");
    }
}
