//! A W3C `traceparent`: parsed and written in this one place. It draws no ids and decides no sampling.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
    ops::Range,
    str::FromStr,
};

use crate::api::hex::write_hex;

/// A later version may be longer than this one; it is copied into the status.
const MAX_LENGTH: usize = 256;
/// What is written, but for the ids and flags.
const TEMPLATE: [u8; 55] = *b"00-00000000000000000000000000000000-0000000000000000-00";
const VERSION: Range<usize> = 0..2;
const TRACE_ID: Range<usize> = 3..35;
const SPAN_ID: Range<usize> = 36..52;
const FLAGS: Range<usize> = 53..55;

/// The flag of a trace that is sampled.
const SAMPLED: u8 = 0x01;
/// The flag of a trace whose id is random in its right-most seven bytes (W3C Trace Context, level 2).
const RANDOM: u8 = 0x02;

/// A span and its trace, as `traceparent` names them.
///
/// ```
/// use elpio_operator::api::TraceParent;
///
/// let parent: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
/// assert_eq!(parent.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert!("00-0-0-01".parse::<TraceParent>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: NonZeroU128,
    span_id: NonZeroU64,
    flags: u8,
}

/// The text is not a W3C `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// Where both ids are in the text of the header, with a hyphen between them.
    pub const IDS: Range<usize> = TRACE_ID.start..SPAN_ID.end;

    /// A `traceparent` of these ids; `None` where one of them is all zeros.
    #[must_use]
    pub fn new(trace_id: u128, span_id: u64, sampled: bool, random: bool) -> Option<Self> {
        let flags = if sampled { SAMPLED } else { 0 } | if random { RANDOM } else { 0 };
        Some(Self { trace_id: NonZeroU128::new(trace_id)?, span_id: NonZeroU64::new(span_id)?, flags })
    }

    /// The same for ids that are known to be valid; without a flag.
    #[must_use]
    pub fn from_ids(trace_id: NonZeroU128, span_id: NonZeroU64) -> Self {
        Self { trace_id, span_id, flags: 0 }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn with_span_id(self, span_id: NonZeroU64) -> Self {
        Self { span_id, ..self }
    }

    /// The same span, sampled or not.
    #[must_use]
    pub fn with_sampled(self, sampled: bool) -> Self {
        Self { flags: (self.flags & !SAMPLED) | if sampled { SAMPLED } else { 0 }, ..self }
    }

    /// The trace id, as it is in an `u128`.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.trace_id.get()
    }

    /// The span id, as it is in an `u64`.
    #[must_use]
    pub fn span_id(&self) -> u64 {
        self.span_id.get()
    }

    /// The trace id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id_hex(&self) -> String {
        self.part(TRACE_ID)
    }

    /// The span id, 16 hexadecimal digits.
    #[must_use]
    pub fn span_id_hex(&self) -> String {
        self.part(SPAN_ID)
    }

    fn part(&self, range: Range<usize>) -> String {
        as_text(&self.to_bytes()[range]).to_owned()
    }

    /// The text of the header. Formatting a `u128` is slow, and this is done for each request.
    #[must_use]
    pub fn to_bytes(self) -> [u8; TEMPLATE.len()] {
        let mut text = TEMPLATE;
        write_hex(&self.trace_id.get().to_be_bytes(), &mut text[TRACE_ID]);
        write_hex(&self.span_id.get().to_be_bytes(), &mut text[SPAN_ID]);
        write_hex(&[self.flags], &mut text[FLAGS]);
        text
    }

    /// Whether the trace is sampled.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Whether the trace id is random.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.flags & RANDOM != 0
    }

    /// Whether both are of one trace.
    #[must_use]
    pub fn is_same_trace(&self, other: &Self) -> bool {
        self.trace_id == other.trace_id
    }
}

/// Digits and hyphens are text.
fn as_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(as_text(&self.to_bytes()))
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// W3C Trace Context, section 3.2: lower-case hex, version not `ff`, neither id all zeros, nothing after
    /// the flags in version 00. Flags that this version does not know are left out.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        parse(text.as_bytes()).ok_or(InvalidTraceParent)
    }
}

fn parse(text: &[u8]) -> Option<TraceParent> {
    let (known, rest) = text.split_at_checked(TEMPLATE.len())?;
    let hyphens = [TRACE_ID.start, SPAN_ID.start, FLAGS.start].map(|start| known[start - 1]);
    let version = hex_digits(&known[VERSION])?;
    let ends = rest.is_empty() || (version != 0 && rest[0] == b'-');
    if text.len() > MAX_LENGTH || hyphens != [b'-'; 3] || version == 0xff || !ends {
        return None;
    }
    let (trace_id, span_id) = (hex_digits(&known[TRACE_ID])?, hex_digits(&known[SPAN_ID])?);
    let flags = hex_digits(&known[FLAGS])?;
    let is_set = |flag: u8| flags & u128::from(flag) != 0;
    TraceParent::new(trace_id, u64::try_from(span_id).ok()?, is_set(SAMPLED), is_set(RANDOM))
}

/// The number that lower-case digits stand for.
fn hex_digits(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn only_what_the_standard_allows_is_parsed() {
        for (text, valid) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), true),
            (format!("cc-{TRACE}-{SPAN}-01-of-a-later-version"), true),
            (format!("cc-{TRACE}-{SPAN}-01-{}", "x".repeat(200)), true),
            (format!("cc-{TRACE}-{SPAN}-01-{}", "x".repeat(201)), false),
            (format!("00-{TRACE}-{SPAN}-01-more"), false),
            (format!("ff-{TRACE}-{SPAN}-01"), false),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), false),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
            (format!("00-{TRACE}-{SPAN}"), false),
            (format!("00-{TRACE}-{SPAN}-+1"), false),
            (format!(" 00-{TRACE}-{SPAN}-01"), false),
            (String::new(), false),
        ] {
            assert_eq!(text.parse::<TraceParent>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn the_known_flags_are_kept_and_no_others() {
        for (given, kept) in [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03")] {
            let parsed: TraceParent = format!("00-{TRACE}-{SPAN}-{given}").parse().unwrap();
            assert_eq!(parsed.to_string(), format!("00-{TRACE}-{SPAN}-{kept}"));
            assert_eq!((parsed.is_sampled(), parsed.is_random()), (kept.ends_with(['1', '3']), kept >= "02"));
        }
    }
}
