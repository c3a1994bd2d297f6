//! What a dashboard is made of, and its JSON as Grafana imports it. It holds no query.

use serde_json::{Value, json};

use crate::frame::{alert, annotations, links, query, variables};

/// Of Grafana's dashboard model (classic, v1).
pub const SCHEMA: u64 = 42;
/// Grafana's grid.
const COLUMNS: u64 = 24;
pub struct Board {
    pub file: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub rows: &'static [Row],
}

/// Panels under a heading.
pub struct Row(pub &'static str, pub &'static [Panel]);

/// Query and legend.
pub type Queries = &'static [(&'static str, &'static str)];

#[derive(Clone, Copy)]
pub struct Panel {
    kind: Kind,
    title: &'static str,
    unit: &'static str,
    description: &'static str,
    queries: Queries,
    width: u64,
    exemplars: bool,
    stacked: bool,
    colors: &'static [(Option<f64>, &'static str)],
    alerts: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stat,
    Graph,
    Heat,
    Text,
}

const fn panel(
    kind: Kind,
    title: &'static str,
    unit: &'static str,
    description: &'static str,
    queries: Queries,
    width: u64,
) -> Panel {
    Panel {
        kind,
        title,
        unit,
        description,
        queries,
        width,
        exemplars: false,
        stacked: false,
        colors: &[(None, "blue")],
        alerts: &[],
    }
}

/// One number, its legend beside it only when there are more.
pub const fn stat(
    title: &'static str,
    unit: &'static str,
    description: &'static str,
    queries: Queries,
) -> Panel {
    panel(Kind::Stat, title, unit, description, queries, 4)
}

/// Lines over time.
pub const fn graph(
    title: &'static str,
    unit: &'static str,
    description: &'static str,
    queries: Queries,
) -> Panel {
    panel(Kind::Graph, title, unit, description, queries, 8)
}

/// The buckets of a histogram over time.
pub const fn heat(
    title: &'static str,
    unit: &'static str,
    description: &'static str,
    queries: Queries,
) -> Panel {
    Panel { exemplars: true, ..panel(Kind::Heat, title, unit, description, queries, 8) }
}

/// Markdown: the text stands where a panel has its query.
pub const fn text(title: &'static str, description: &'static str, markdown: Queries) -> Panel {
    panel(Kind::Text, title, "", description, markdown, 12)
}

impl Panel {
    /// Columns of 24.
    pub const fn wide(self, width: u64) -> Self {
        Self { width, ..self }
    }

    /// Each point with a trace is shown, and leads to it.
    pub const fn exemplars(self) -> Self {
        Self { exemplars: true, ..self }
    }

    /// Parts of a whole.
    pub const fn stacked(self) -> Self {
        Self { stacked: true, ..self }
    }

    /// Colour from each value on; the first has none.
    pub const fn colors(self, colors: &'static [(Option<f64>, &'static str)]) -> Self {
        Self { colors, ..self }
    }

    /// Alerts that are about what it shows: each leads here, and this leads to their runbooks.
    pub const fn alerts(self, alerts: &'static [&'static str]) -> Self {
        Self { alerts, ..self }
    }

    fn height(&self) -> u64 {
        if self.kind == Kind::Stat { 4 } else { 8 }
    }

    fn json(&self, id: u64, x: u64, y: u64) -> Value {
        let mut panel = json!({"id": id, "title": self.title, "description": self.description,
            "gridPos": {"h": self.height(), "w": self.width, "x": x, "y": y}});
        if !self.alerts.is_empty() {
            let links: Vec<Value> = self.alerts.iter().map(|name| alert(name)).collect();
            merge(&mut panel, json!({"links": links}));
        }
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        if self.kind == Kind::Text {
            let content = self.queries.iter().map(|(markdown, _)| *markdown).collect::<String>();
            merge(&mut panel, json!({"type": "text", "options": {"mode": "markdown", "content": content}}));
            return panel;
        }
        let letters = ["A", "B", "C", "D", "E"];
        let targets: Vec<Value> = self
            .queries
            .iter()
            .zip(letters)
            .map(|((expr, legend), letter)| self.target(expr, legend, letter))
            .collect();
        merge(&mut panel, json!({"datasource": source, "targets": targets}));
        merge(&mut panel, self.state());
        panel
    }

    fn target(&self, expr: &str, legend: &str, letter: &str) -> Value {
        let mut target = json!({"refId": letter, "datasource": {"type": "prometheus", "uid": "${datasource}"}, "editorMode": "code",
            "expr": query(expr), "legendFormat": legend});
        let over_the_range = expr.contains("$__range") || expr == "BUDGET_LEFT";
        merge(&mut target, json!({"instant": over_the_range, "range": !over_the_range}));
        if self.exemplars {
            merge(&mut target, json!({"exemplar": true}));
        }
        if self.kind == Kind::Heat {
            merge(&mut target, json!({"format": "heatmap"}));
        }
        target
    }

    fn state(&self) -> Value {
        let steps: Vec<Value> =
            self.colors.iter().map(|(value, color)| json!({"color": color, "value": value})).collect();
        let thresholds = json!({"mode": "absolute", "steps": steps});
        match self.kind {
            Kind::Stat => json!({"type": "stat",
                "fieldConfig": {"defaults": {"unit": self.unit, "color": {"mode": "thresholds"}, "thresholds": thresholds, "noValue": "none"}, "overrides": []},
                "options": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "colorMode": "value", "graphMode": "area",
                    "justifyMode": "auto", "orientation": "auto", "textMode": if self.queries.iter().any(|(_, legend)| legend.contains("{{")) { "name" } else { "value" }}}),
            Kind::Graph => {
                let stacking = if self.stacked { "normal" } else { "none" };
                json!({"type": "timeseries",
                    "fieldConfig": {"defaults": {"unit": self.unit, "min": 0, "color": {"mode": "palette-classic"},
                        "custom": {"drawStyle": "line", "lineWidth": 1, "fillOpacity": if self.stacked { 30 } else { 8 }, "showPoints": "auto",
                            "spanNulls": false, "stacking": {"mode": stacking, "group": "A"}}}, "overrides": []},
                    "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
                        "tooltip": {"mode": "multi", "sort": "desc"}}})
            }
            Kind::Heat => {
                json!({"type": "heatmap", "fieldConfig": {"defaults": {"custom": {}}, "overrides": []},
                "options": {"calculate": false, "cellGap": 1, "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "reverse": false, "exponent": 0.5},
                    "exemplars": {"color": "rgba(255,120,10,0.9)"}, "filterValues": {"le": 1e-9}, "legend": {"show": true},
                    "rowsFrame": {"layout": "auto"}, "tooltip": {"mode": "single", "yHistogram": false}, "yAxis": {"axisPlacement": "left", "unit": self.unit}}})
            }
            Kind::Text => Value::Null,
        }
    }
}

impl Board {
    /// In its address, and in links.
    pub fn uid(&self) -> String {
        format!("elpio-{}", self.file.trim_end_matches(".json"))
    }

    /// The file.
    pub fn render(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.json()).unwrap();
        text.push('\n');
        text
    }

    fn json(&self) -> Value {
        json!({"uid": self.uid(), "title": self.title, "description": self.description, "tags": ["elpio"], "schemaVersion": SCHEMA, "version": 1,
            "editable": true, "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
            "annotations": annotations(), "links": links(), "templating": {"list": variables()}, "panels": self.panels()})
    }

    fn panels(&self) -> Vec<Value> {
        let (mut all, mut id, mut y) = (Vec::new(), 0, 0);
        let mut next = || {
            id += 1;
            id
        };
        for Row(title, panels) in self.rows {
            all.push(json!({"id": next(), "type": "row", "title": title, "collapsed": false, "panels": [], "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y}}));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in *panels {
                if x + panel.width > COLUMNS {
                    (x, y, height) = (0, y + height, 0);
                }
                all.push(panel.json(next(), x, y));
                x += panel.width;
                height = height.max(panel.height());
            }
            y += height;
        }
        all
    }
}

pub fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
