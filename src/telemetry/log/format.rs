//! The format of a log line on stderr, JSON or human-readable; it adds the object of the current reconcile.
//!
//! `telemetry/reconcile/mod.rs` (`log_result`) logs the line of a reconcile.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::telemetry::{
    config::LogFormat,
    sources::error_chain::error_chain,
    trace::context::{current_reconcile, ids_if_kept},
};

/// Formats events; does not show spans.
pub(in crate::telemetry) struct LogFormatter {
    pub(in crate::telemetry) format: LogFormat,
    pub(in crate::telemetry) ansi: bool,
}

impl<S, N> FormatEvent<S, N> for LogFormatter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let line = self.line(event, &format!("{:.6}", jiff::Timestamp::now()));
        writeln!(writer, "{line}")
    }
}

impl LogFormatter {
    fn line(&self, event: &Event<'_>, now: &str) -> String {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.add_context();
        let meta = event.metadata();
        match self.format {
            LogFormat::Json => json(now, *meta.level(), meta.target(), &fields),
            LogFormat::Pretty => self.pretty(now, *meta.level(), meta.target(), &fields),
        }
    }

    fn pretty(&self, now: &str, level: Level, target: &str, fields: &Fields) -> String {
        let colour = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            _ => "34",
        };
        let mut line = if self.ansi {
            format!("\x1b[2m{now}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m \x1b[2m{target}\x1b[0m: ")
        } else {
            format!("{now} {level:>5} {target}: ")
        };
        line.push_str(&escape_control_chars(&fields.message));
        for (key, value) in &fields.others {
            let value = match value {
                Value::String(text) => escape_control_chars(text),
                other => other.to_string(),
            };
            // Writing to a String never fails.
            let _ = write!(line, " {key}={value}");
        }
        line
    }
}

fn json(now: &str, level: Level, target: &str, fields: &Fields) -> String {
    let first =
        [("timestamp", now), ("level", level.as_str()), ("target", target), ("message", &fields.message)];
    serde_json::to_string(&JsonLine { first, others: &fields.others }).unwrap_or_default()
}

/// A JSON line with the common fields. Other fields cannot override them.
struct JsonLine<'a> {
    first: [(&'static str, &'a str); 4],
    others: &'a [(&'static str, Value)],
}

impl Serialize for JsonLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.first {
            map.serialize_entry(key, value)?;
        }
        for (key, value) in self.others {
            if self.first.iter().all(|(first, _)| first != key) {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

/// Keeps control characters, which may come from users, off the terminal.
fn escape_control_chars(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// The fields of a line, in order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    /// Adds the object and the IDs; the event's own fields take precedence.
    fn add_context(&mut self) {
        if let Some(reconcile) = current_reconcile() {
            let object = reconcile.object;
            self.add("kind", object.kind.as_str().into());
            self.add("namespace", object.namespace.as_str().into());
            self.add("name", object.name.as_str().into());
            self.add("generation", reconcile.generation.into());
        }
        if let Some(ids) = ids_if_kept() {
            self.add("trace_id", ids.trace_id().into());
            self.add("span_id", ids.span_id().into());
        }
    }

    fn add(&mut self, key: &'static str, value: Value) {
        if self.get_mut(key).is_none() {
            self.others.push((key, value));
        }
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.others.iter_mut().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    fn set(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => match self.get_mut(name) {
                Some(known) => *known = value,
                None => self.others.push((name, value)),
            },
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.set(field, error_chain(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_none_takes_the_place_of_what_every_line_has() {
        let mut fields = Fields { message: "reconciled".to_owned(), others: Vec::new() };
        for (key, value) in [("name", "web"), ("level", "custom"), ("kind", "X"), ("name", "other")] {
            fields.add(key, value.into());
        }
        assert_eq!(
            json("now", Level::INFO, "elpio", &fields),
            r#"{"timestamp":"now","level":"INFO","target":"elpio","message":"reconciled","name":"web","kind":"X"}"#
        );
    }
}
