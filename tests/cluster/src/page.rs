//! A Prometheus page: fetched with a plain GET, and read. Knows no metric by name.

use std::{collections::BTreeMap, io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The answer to a GET.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// A GET of its own connection to loopback; a page of an idle server needs no HTTP client.
///
/// # Errors
/// When nothing listens there, or what answers speaks no HTTP.
pub async fn get(port: u16, path: &str, accept: &str) -> io::Result<Answer> {
    send(port, "GET", path, accept).await
}

/// The same with another method, and no body.
///
/// # Errors
/// As [`get`].
pub async fn send(port: u16, method: &str, path: &str, accept: &str) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        // HTTP/1.0: the answer comes in one piece, and its end is the connection's.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await??;
    let no_http = || io::Error::other(format!("no HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(no_http)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(no_http)?;
    let content_type = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    Ok(Answer { status, content_type, body: body.to_owned() })
}

/// One series of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// With its suffix: `elpio_reconcile_duration_seconds_bucket`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Series {
    /// A label; empty when it is not there.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Every series of a page, text or `OpenMetrics`; exemplars are left out.
#[must_use]
pub fn series(page: &str) -> Vec<Series> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(parse).collect()
}

/// The sum of the series of that name with (at least) these labels; `None` when there is none.
#[must_use]
pub fn sample(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    series(page)
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
            let (value, after) = quoted(after)?;
            labels.insert(key.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, unescaped, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
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

    const PAGE: &str = concat!(
        "# TYPE a counter\n",
        "a_total{kind=\"X\",result=\"error\"} 2\n",
        "a_total{kind=\"X\",result=\"success\"} 40 # {trace_id=\"1\"} 0.1\n",
        "a_total{other_kind=\"X\"} 7\n",
        "plain 1.5\n",
        "odd{path=\"a}b\\\"c\\\\\\n, d=\"} +Inf\n",
    );

    #[test]
    fn samples_are_summed_over_the_labels_that_were_not_asked_for() {
        assert_eq!(sample(PAGE, "a_total", &[("kind", "X")]), Some(42.0));
        assert_eq!(sample(PAGE, "a_total", &[("kind", "X"), ("result", "error")]), Some(2.0));
        assert_eq!(sample(PAGE, "plain", &[]), Some(1.5));
        assert_eq!(sample(PAGE, "a_total", &[("kind", "Y")]), None);
        assert_eq!(sample(PAGE, "a", &[]), None);
    }

    #[test]
    fn label_values_are_unescaped() {
        let odd = series(PAGE).pop().unwrap();
        assert_eq!(odd.label("path"), "a}b\"c\\\n, d=");
        assert!(odd.value.is_infinite());
    }
}
