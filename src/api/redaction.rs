//! Texts of other programs as they may be shown: without what may be secret in a URL or a header. It knows no
//! program's messages.

use std::borrow::Cow;

/// Signs that close what a message put round a URL.
const CLOSING: [char; 11] = ['"', '\'', '`', ')', '>', ']', '}', ',', '.', ':', ';'];

/// What stands for credentials that are left out.
const LEFT_OUT: &str = "[redacted]";

/// A text without user names, passwords, queries and fragments of URLs, and without the credentials that
/// follow `Basic` and `Bearer`.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    if !["://", "basic ", "bearer "].iter().any(|sign| lower.contains(sign)) {
        return Cow::Borrowed(text);
    }
    let mut follows_scheme = false;
    let words = text.split_inclusive(char::is_whitespace).map(|word| {
        let shown = if follows_scheme && is_token(word) {
            let end =
                word.trim_end_matches(|sign: char| sign.is_whitespace() || CLOSING.contains(&sign)).len();
            format!("{LEFT_OUT}{}", &word[end..])
        } else {
            redact_word(word)
        };
        let name = word.trim().trim_start_matches(['"', '\'']);
        follows_scheme = ["basic", "bearer"].iter().any(|scheme| name.eq_ignore_ascii_case(scheme));
        shown
    });
    Cow::Owned(words.collect())
}

/// Whether it can be base64 or a token, and is no word of a sentence.
fn is_token(word: &str) -> bool {
    let word = word.trim().trim_end_matches(CLOSING);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_.~-".contains(&byte);
    let is_odd = |byte: u8| !byte.is_ascii_lowercase() && byte != b'-';
    word.len() >= 4 && word.bytes().all(is_part) && word.bytes().skip(1).any(is_odd)
}

/// A word without what may be secret in the URLs of it. What follows a query cannot be told from it.
fn redact_word(word: &str) -> String {
    let mut parts = word.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        shown.push_str(without_userinfo(part));
    }
    let start = shown.find("://").unwrap_or(shown.len());
    let Some(query) = shown[start..].find(['?', '#']) else { return shown };
    let (head, tail) = shown.split_at(start + query);
    let kept = tail.trim_end_matches(|sign: char| sign.is_whitespace() || CLOSING.contains(&sign)).len();
    format!("{head}{}", &tail[kept..])
}

/// What follows `://` without the user. A password may hold what would end the authority: then its port is no
/// number.
fn without_userinfo(rest: &str) -> &str {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let has_port = |port: &str| port.trim_end_matches(CLOSING).bytes().all(|byte| byte.is_ascii_digit());
    let is_host = authority.rsplit_once(':').is_none_or(|(_, port)| has_port(port));
    let searched = if authority.contains('@') || is_host { authority } else { rest };
    searched.rfind('@').map_or(rest, |at| &rest[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn texts_of_others_show_no_secret() {
        for (text, shown) in [
            ("exit code 128", "exit code 128"),
            ("git@example.com: no", "git@example.com: no"),
            ("see https://example.com/a@b, or ask me@b.c", "see https://example.com/a@b, or ask me@b.c"),
            ("GET https://r.test:5000/v2/: no", "GET https://r.test:5000/v2/: no"),
            ("unable to access 'https://u:p@git.test/a/': no", "unable to access 'https://git.test/a/': no"),
            ("bad https://user:p/w@git.test/a", "bad https://git.test/a"),
            ("\"https://a.test/x?sig=a&b=c\" (refused)", "\"https://a.test/x\" (refused)"),
            ("Get \"https://u@a.test/x?t=c\": EOF", "Get \"https://a.test/x\": EOF"),
            ("{\"url\":\"https://a.test/?t=c\",\"b\":\"c\"} rest", "{\"url\":\"https://a.test/\"} rest"),
            ("from https://u:p@a.test\nto http://q@b.test?x=1\n", "from https://a.test\nto http://b.test\n"),
            ("https://a.test?to=https://u:p@b.test", "https://a.test"),
            ("Authorization: Basic dXNlcjpwYXNz, retry", "Authorization: Basic [redacted], retry"),
            ("{\"authorization\": \"Bearer eyJh.eyJz_-\"}", "{\"authorization\": \"Bearer [redacted]\"}"),
            ("bearer eyJhbGciOi.eyJzdWIi", "bearer [redacted]"),
            ("basic authentication is required", "basic authentication is required"),
        ] {
            assert_eq!(redact(text), shown);
        }
    }
}
