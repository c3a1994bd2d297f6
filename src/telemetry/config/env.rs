//! Reads environment variables and collects a warning for each invalid one; it knows no variable by name.

use std::time::Duration;

/// The meaning of a timeout of 0 (OpenTelemetry specification, SDK environment variables): longer than any export.
pub(in crate::telemetry) const NO_LIMIT: Duration = Duration::from_hours(24);

/// Reads an environment and collects warnings.
pub struct EnvReader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    /// By variable: a variable shared by several signals causes one warning.
    warnings: Vec<(String, String)>,
}

impl<'a> EnvReader<'a> {
    /// Reads through `get`.
    #[must_use]
    pub fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { get, warnings: Vec::new() }
    }

    /// The warnings, in the order of reading.
    #[must_use]
    pub fn into_warnings(self) -> Vec<String> {
        self.warnings.into_iter().map(|(_, text)| text).collect()
    }

    fn push(&mut self, variable: &str, text: String) {
        if self.warnings.iter().all(|(other, _)| other != variable) {
            self.warnings.push((variable.to_owned(), text));
        }
    }

    /// The value; an empty one counts as unset (OpenTelemetry specification, environment variables).
    #[must_use]
    pub fn text(&self, variable: &str) -> Option<String> {
        (self.get)(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The first of these variables that is set, with its name.
    #[must_use]
    pub fn first<'v>(&self, variables: &[&'v str]) -> Option<(&'v str, String)> {
        variables.iter().find_map(|variable| self.text(variable).map(|value| (*variable, value)))
    }

    /// Adds a warning with the value and the one used instead.
    pub fn warn(&mut self, variable: &str, value: &str, why: &str, used: &str) {
        self.push(variable, format!("invalid value {variable}={value:?}: {why}; using {used}"));
    }

    /// Adds a remark about a variable whose value is used unchanged.
    pub(in crate::telemetry) fn note(&mut self, variable: &str, text: String) {
        self.push(variable, text);
    }

    /// Like [`Self::warn`], for a value that may be secret.
    pub(in crate::telemetry) fn warn_hidden(&mut self, variable: &str, why: &str, used: &str) {
        self.push(variable, format!("invalid value {variable} (not shown): {why}; using {used}"));
    }

    /// `true` or `false`, in any case.
    pub(in crate::telemetry) fn bool(&mut self, variable: &str, default: bool) -> bool {
        let Some(value) = self.text(variable) else { return default };
        match value.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.warn(variable, &value, "neither true nor false", if default { "true" } else { "false" });
                default
            }
        }
    }

    /// An integer of at least `least`.
    pub(in crate::telemetry) fn number(&mut self, variable: &str, least: usize) -> Option<usize> {
        let value = self.text(variable)?;
        let parsed = value.parse::<usize>().ok().filter(|number| *number >= least);
        if parsed.is_none() {
            self.warn(variable, &value, &format!("not an integer of at least {least}"), "the default");
        }
        parsed
    }

    /// Milliseconds; 0 means `zero`, or is invalid if `zero` is `None`.
    pub(in crate::telemetry) fn millis(
        &mut self,
        variable: &str,
        default: Duration,
        zero: Option<Duration>,
    ) -> Duration {
        let Some(value) = self.text(variable) else { return default };
        let found = match value.parse() {
            Ok(0) => zero,
            parsed => parsed.ok().map(Duration::from_millis),
        };
        if let Some(found) = found {
            return found;
        }
        self.warn(
            variable,
            &value,
            "not a number of milliseconds",
            &format!("the default of {}", default.as_millis()),
        );
        default
    }
}

/// Percent-decodes a text; `None` if an escape is invalid or the result is not UTF-8.
pub(in crate::telemetry) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (high, low) = (hex(*rest.first()?)?, hex(*rest.get(1)?)?);
            bytes.push(high * 16 + low);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Parses `key=value,key=value` with percent-encoded values (W3C Baggage without properties); `None`
/// deliberately does not say which member is invalid.
pub(in crate::telemetry) fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    list.split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .map(|member| {
            let (key, value) = member.split_once('=')?;
            let key = percent_decoded(key.trim()).filter(|key| !key.is_empty())?;
            Some((key, percent_decoded(value.trim())?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_percent_decoded_and_a_broken_list_is_refused_whole() {
        let decoded = pairs("a=b%2Cc, d = e=f ,,")
            .map(|list| list.into_iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>());
        assert_eq!(decoded, Some(vec!["a:b,c".to_owned(), "d:e=f".to_owned()]));
        for broken in ["a", "=b", "a=%2", "a=%zz", "a=%+1", "a=%ff"] {
            assert_eq!(pairs(broken), None, "{broken}");
        }
    }
}
