//! What a dashboard is made of, and its JSON as Grafana imports it. It holds no query.

use serde_json::{Value, json};

/// Of Grafana's dashboard model (classic, v1).
pub const SCHEMA: u64 = 42;
/// Grafana's grid.
const COLUMNS: u64 = 24;
/// `@` in a query.
const SELECTOR: &str = "namespace=~\"$namespace\",job=~\"$job\",instance=~\"$instance\"";

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

    fn height(&self) -> u64 {
        if self.kind == Kind::Stat { 4 } else { 8 }
    }

    fn json(&self, id: u64, x: u64, y: u64) -> Value {
        let mut panel = json!({"id": id, "title": self.title, "description": self.description,
            "gridPos": {"h": self.height(), "w": self.width, "x": x, "y": y}});
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
            "expr": expr.replace('@', SELECTOR), "legendFormat": legend});
        let over_the_range = expr.contains("$__range");
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
            "annotations": {"list": []}, "links": links(), "templating": {"list": variables()}, "panels": self.panels()})
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

/// To the other dashboards, and from a trace id to its trace.
fn links() -> Value {
    let explore = |name: &str, query: &str| {
        json!({"type": "link", "title": format!("Trace in {name}"), "icon": "external link", "targetBlank": true, "asDropdown": false, "tags": [],
            "tooltip": "The trace whose id stands in the field above", "url": explore(name, query)})
    };
    json!([{"type": "dashboards", "title": "Elpio", "tags": ["elpio"], "asDropdown": true, "includeVars": true, "keepTime": true, "targetBlank": false},
        explore("Jaeger", ""), explore("Tempo", "\"queryType\":\"traceql\",")])
}

/// Grafana's Explore with that trace. Variables stay as they are, the rest is escaped.
fn explore(name: &str, query: &str) -> String {
    let kind = name.to_lowercase();
    let pane = format!(
        "{{\"trace\":{{\"datasource\":\"${{{kind}}}\",\"queries\":[{{\"refId\":\"A\",\"datasource\":{{\"type\":\"{kind}\",\"uid\":\"${{{kind}}}\"}},\
         {query}\"query\":\"${{trace_id}}\"}}],\"range\":{{\"from\":\"${{__from}}\",\"to\":\"${{__to}}\"}}}}}}"
    );
    let mut url = "/explore?schemaVersion=1&panes=".to_owned();
    let mut rest = pane.as_str();
    while let Some(char) = rest.chars().next() {
        if let Some(end) = rest.find('}').filter(|_| rest.starts_with("${")) {
            url.push_str(&rest[..=end]);
            rest = &rest[end + 1..];
            continue;
        }
        let escaped =
            if char.is_ascii_alphanumeric() { char.to_string() } else { format!("%{:02X}", u32::from(char)) };
        url.push_str(&escaped);
        rest = &rest[char.len_utf8()..];
    }
    url
}

fn variables() -> Value {
    let source = |name: &str, label: &str, kind: &str| {
        json!({"name": name, "label": label, "type": "datasource", "query": kind, "current": {}, "options": [], "hide": 0, "includeAll": false,
            "multi": false, "refresh": 1, "regex": ""})
    };
    // A job that has shown no Elpio is another program's; a namespace or an instance may have no label at
    // all.
    let values = |name: &str, label: &str, selector: &str, all: Option<&str>| {
        let query = format!("label_values(elpio_build_info{selector}, {name})");
        let mut variable = json!({"name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "definition": query,
            "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"}, "includeAll": true, "multi": true,
            "current": {"text": ["All"], "value": ["$__all"]}, "options": [], "hide": 0, "refresh": 2, "regex": "", "sort": 1});
        if let Some(all) = all {
            merge(&mut variable, json!({"allValue": all}));
        }
        variable
    };
    json!([
        source("datasource", "Prometheus", "prometheus"),
        values("namespace", "Namespace", "", Some(".*")),
        values("job", "Job", "{namespace=~\"$namespace\"}", None),
        values("instance", "Instance", "{namespace=~\"$namespace\",job=~\"$job\"}", Some(".*")),
        source("jaeger", "Jaeger", "jaeger"),
        source("tempo", "Tempo", "tempo"),
        json!({"name": "trace_id", "label": "Trace id", "type": "textbox", "query": "", "current": {"text": "", "value": ""},
            "options": [{"selected": true, "text": "", "value": ""}], "hide": 0}),
    ])
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
