//! Parses Prometheus's exposition formats into series. It knows no metric by name. (`prometheus-parse` was
//! considered: it does not read OpenMetrics.)

use std::collections::BTreeMap;

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name with suffix: `elpio_reconcile_duration_seconds_bucket`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Series {
    /// A label's value; empty if the label is missing.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All series of a scrape, in text format or `OpenMetrics`, without exemplars.
#[must_use]
pub fn series(text: &str) -> Vec<Series> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(parse).collect()
}

/// The sum of the series with this name and (at least) these labels; `None` without series.
#[must_use]
pub fn sample(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    series(text)
        .into_iter()
        .filter(|series| series.name == name && labels.iter().all(|(key, value)| series.label(key) == *value))
        .map(|series| series.value)
        .reduce(|sum, value| sum + value)
}

fn parse(line: &str) -> Option<Series> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.trim_start_matches([',', ' ']).split_once("=\"")?;
            let (value, after) = unquote(after)?;
            labels.insert(key.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// The unescaped text up to the closing quote, and the rest.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        "# TYPE a counter\n",
        "a_total{kind=\"X\",result=\"error\"} 2\n",
        "a_total{kind=\"X\",result=\"success\"} 40 # {trace_id=\"1\"} 0.1\n",
        "a_total{other_kind=\"X\"} 7\n",
        "plain 1.5\n",
        "odd{path=\"a}b\\\"c\\\\\\n, d=\"} +Inf\n",
    );

    #[test]
    fn samples_are_summed_over_the_other_labels() {
        assert_eq!(sample(TEXT, "a_total", &[("kind", "X")]), Some(42.0));
        assert_eq!(sample(TEXT, "a_total", &[("kind", "X"), ("result", "error")]), Some(2.0));
        assert_eq!(sample(TEXT, "plain", &[]), Some(1.5));
        assert_eq!(sample(TEXT, "a_total", &[("kind", "Y")]), None);
        assert_eq!(sample(TEXT, "a", &[]), None);
    }

    #[test]
    fn label_values_are_unescaped() {
        let odd = series(TEXT).pop().unwrap();
        assert_eq!(odd.label("path"), "a}b\"c\\\n, d=");
        assert!(odd.value.is_infinite());
    }
}
