//! What a query names: metrics, matchers, labels. It knows the words of `PromQL` and no metric.

/// Words that stand before labels in parentheses.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that name nothing.
const OPERATORS: [&str; 6] = ["and", "or", "unless", "offset", "bool", "atan2"];

#[derive(Debug, PartialEq)]
pub struct Matcher {
    pub label: String,
    /// `=`, `!=`, `=~`, `!~`
    pub sign: String,
    pub value: String,
}

#[derive(Debug, Default)]
pub struct Named {
    /// Each with the matchers behind it.
    pub metrics: Vec<(String, Vec<Matcher>)>,
    /// After `by` and its kin.
    pub labels: Vec<String>,
    /// Functions and aggregations.
    pub functions: Vec<String>,
    /// What stands in `[…]`.
    pub ranges: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Range(String),
    Sign(char),
}

/// # Errors
/// When it is no query, as far as this can see.
pub fn names(query: &str) -> Result<Named, String> {
    let tokens = tokens(query)?;
    let mut named = Named::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Token::Range(range) => named.ranges.push(range.clone()),
            Token::Word(word) if BEFORE_LABELS.contains(&word.as_str()) => {
                at = labels(&tokens, at, &mut named.labels);
            }
            Token::Word(word)
                if OPERATORS.contains(&word.as_str()) || word.starts_with(|c: char| c.is_ascii_digit()) => {}
            Token::Word(word) => match tokens.get(at) {
                Some(Token::Sign('(')) => named.functions.push(word.clone()),
                Some(Token::Word(next)) if BEFORE_LABELS.contains(&next.as_str()) => {
                    named.functions.push(word.clone());
                }
                Some(Token::Sign('{')) => {
                    let (matchers, end) =
                        matchers(&tokens, at + 1).ok_or_else(|| format!("{word}: matchers that are none"))?;
                    named.metrics.push((word.clone(), matchers));
                    at = end;
                }
                _ => named.metrics.push((word.clone(), Vec::new())),
            },
            // A variable of Grafana's: a time, behind `offset`.
            Token::Sign('$') => at += 1,
            Token::Quoted(_) | Token::Sign(_) => {}
        }
    }
    if named.metrics.is_empty() { Err(format!("no metric in {query}")) } else { Ok(named) }
}

fn labels(tokens: &[Token], mut at: usize, into: &mut Vec<String>) -> usize {
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Token::Word(label) => into.push(label.clone()),
            Token::Sign(')') => break,
            _ => {}
        }
    }
    at
}

fn matchers(tokens: &[Token], mut at: usize) -> Option<(Vec<Matcher>, usize)> {
    let mut all = Vec::new();
    loop {
        match tokens.get(at)? {
            Token::Sign('}') => return Some((all, at + 1)),
            Token::Sign(',') => at += 1,
            Token::Word(label) => {
                let mut sign = String::new();
                at += 1;
                while let Token::Sign(char) = tokens.get(at)? {
                    sign.push(*char);
                    at += 1;
                }
                let Token::Quoted(value) = tokens.get(at)? else { return None };
                all.push(Matcher { label: label.clone(), sign, value: value.clone() });
                at += 1;
            }
            _ => return None,
        }
    }
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let (mut all, mut rest) = (Vec::new(), query);
    while let Some(char) = rest.chars().next() {
        let end = match char {
            '"' => rest[1..].find('"').ok_or("a quote that does not end")? + 2,
            '[' => rest.find(']').ok_or("a range that does not end")? + 1,
            _ if is_of_word(char) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            _ => char.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        match char {
            '"' => all.push(Token::Quoted(token.trim_matches('"').to_owned())),
            '[' => all.push(Token::Range(token.trim_matches(['[', ']']).to_owned())),
            _ if is_of_word(char) => all.push(Token::Word(token.to_owned())),
            _ if char.is_whitespace() => {}
            _ => all.push(Token::Sign(char)),
        }
        rest = after;
    }
    Ok(all)
}

fn is_of_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | ':' | '.')
}

#[test]
fn what_is_named() {
    let query = "histogram_quantile(0.99, sum by (le, kind) (rate(a_bucket{job=~\"$job\",x!=\"\"}[5m]))) / ignoring (y) max without(z) (up) or b > 1.5e3";
    let named = names(query).unwrap();
    let metrics: Vec<&str> = named.metrics.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(metrics, ["a_bucket", "up", "b"]);
    assert_eq!(named.labels, ["le", "kind", "y", "z"]);
    assert_eq!(named.functions, ["histogram_quantile", "sum", "rate", "max"]);
    assert_eq!(named.ranges, ["5m"]);
    let matcher = |label: &str, sign: &str, value: &str| Matcher {
        label: label.into(),
        sign: sign.into(),
        value: value.into(),
    };
    assert_eq!(named.metrics[0].1, [matcher("job", "=~", "$job"), matcher("x", "!=", "")]);
    for wrong in ["a{", "a{b}", "a{b=c}", "sum(1)", "a[5m", "a{b=\"c}"] {
        assert!(names(wrong).is_err(), "{wrong}");
    }
}
