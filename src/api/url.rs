//! URLs as they may be shown; it parses no more of them than that needs.

/// A URL without what is before its host: that may be a token, and messages are read by many.
#[must_use]
pub fn redact_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// A URL without user name, password, query and fragment: each may hold a token.
#[must_use]
pub fn public_url(url: &str) -> String {
    let shown = redact_userinfo(url);
    let end = if shown.contains("://") { shown.find(['?', '#']) } else { None };
    shown[..end.unwrap_or(shown.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{public_url, redact_userinfo};

    #[test]
    fn credentials_are_removed_and_nothing_else_is() {
        for (url, shown) in [
            ("https://example.com/a.git", "https://example.com/a.git"),
            ("https://user:token@example.com/a.git", "https://example.com/a.git"),
            ("https://user:t@ken@example.com/a.git", "https://example.com/a.git"),
            ("https://token@example.com", "https://example.com"),
            ("https://token@example.com?a=b@c", "https://example.com?a=b@c"),
            ("https://example.com/a@b", "https://example.com/a@b"),
            ("git@example.com:a.git", "git@example.com:a.git"),
        ] {
            assert_eq!(redact_userinfo(url), shown);
        }
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_left_out() {
        for (url, public) in [
            ("https://example.com/a.git", "https://example.com/a.git"),
            ("https://user:token@example.com/a.git", "https://example.com/a.git"),
            ("https://example.com/a.zip?X-Signature=abc", "https://example.com/a.zip"),
            ("https://example.com?token=a/b", "https://example.com"),
            ("https://example.com/a#token=b", "https://example.com/a"),
        ] {
            assert_eq!(public_url(url), public);
        }
    }
}
