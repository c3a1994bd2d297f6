//! The rules, each a function from sources to offences (`file:line: what is wrong`). It reads no files.

use std::path::Path;

use crate::source::Source;

/// What each module may import besides itself. `src/lib.rs` has the same as a table.
const LAYERS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("backoff", &[]),
    ("foreign", &[]),
    ("telemetry", &["api", "backoff", "foreign"]),
    ("render", &["api", "backoff", "foreign"]),
    ("status", &["api", "foreign", "render"]),
    ("cluster", &["api", "backoff", "foreign", "render", "telemetry"]),
    ("controller", &["api", "backoff", "foreign", "render", "status", "cluster", "telemetry", "config"]),
    ("config", &["api", "telemetry"]),
    ("http", &["config", "telemetry"]),
    ("runtime_info", &["telemetry"]),
    ("signals", &[]),
    (
        "operator",
        &[
            "api",
            "foreign",
            "telemetry",
            "render",
            "status",
            "cluster",
            "controller",
            "config",
            "http",
            "runtime_info",
        ],
    ),
    ("run", &["cluster", "config", "http", "runtime_info", "operator", "signals", "telemetry"]),
    ("terminal", &[]),
    ("command_line", &["cluster", "terminal"]),
    (
        "check",
        &["api", "foreign", "cluster", "command_line", "config", "runtime_info", "telemetry", "terminal"],
    ),
    ("plugin", &["api", "foreign", "cluster", "command_line", "telemetry", "terminal"]),
    ("main", &["api", "check", "plugin", "run"]),
    ("lib", &[]),
];

/// The half of telemetry that knows Elpio: it alone may use other layers. The rest could serve any operator.
const ELPIO_TELEMETRY: &[&str] = &[
    "src/telemetry/catalog/",
    "src/telemetry/trace/build_spans.rs",
    "src/telemetry/trace/event_records.rs",
    "src/telemetry/trace/rollout_context.rs",
];

/// What knows nothing of Elpio: every room of telemetry may use it.
const GENERIC: &[[&str; 2]] = &[
    ["api", "redaction"],
    ["api", "trace_parent"],
    ["api", "url"],
    ["backoff", "ExponentialBackoff"],
    ["backoff", "jittered"],
];

/// The longest that a file may be.
const LINES: usize = 300;

/// Files that may be longer, each with a reason that its reader would accept.
pub const LONGER: &[(&str, &str)] = &[(
    "src/telemetry/catalog/instruments.rs",
    "the one table of every instrument: a row is a row, and a second table would be a second truth",
)];

/// Module names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "shared"];

/// Words of the OpenTelemetry and Prometheus crates.
const TELEMETRY_CRATES: &[&str] = &["opentelemetry", "tracing_opentelemetry", "prometheus"];

fn offence(source: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", source.path)
}

/// The import rule.
pub fn layers(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        let layer = source.layer();
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            offences.push(offence(
                source,
                1,
                &format!("{layer} has no place in the import rule: give it one here and in src/lib.rs"),
            ));
            continue;
        };
        for found in source.uses() {
            let module = found.module.as_str();
            let what = match module {
                "*" => format!("{layer} may not use everything of the crate: name the module"),
                _ if module == layer || allowed.contains(&module) => continue,
                _ => format!("{layer} may not use {module} (it may use: {})", allowed.join(", ")),
            };
            offences.push(offence(source, found.line, &what));
        }
    }
    offences
}

/// The generic rooms of telemetry use no other layer.
pub fn telemetry_rooms(sources: &[Source]) -> Vec<String> {
    let generic = sources.iter().filter(|source| {
        source.layer() == "telemetry" && !ELPIO_TELEMETRY.iter().any(|own| source.path.starts_with(own))
    });
    generic
        .flat_map(|source| {
            let is_standard = |module: &str| {
                let mut paths = source.paths().into_iter().filter(|path| path[0] == module).peekable();
                paths.peek().is_some()
                    && paths.all(|path| {
                        GENERIC.iter().any(|standard| path.starts_with(&standard.map(str::to_owned)))
                    })
            };
            let others = source.uses().into_iter();
            let others =
                others.filter(move |found| found.module != "telemetry" && !is_standard(&found.module));
            others.map(move |found| {
                let what = format!("a generic room of telemetry may not use {}", found.module);
                offence(source, found.line, &what)
            })
        })
        .collect()
}

/// No files import each other in a circle.
pub fn circles(sources: &[Source]) -> Vec<String> {
    let names: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let imports: Vec<Vec<usize>> = sources.iter().map(|source| imports(source, &names)).collect();
    let mut offences = Vec::new();
    let mut done = vec![false; names.len()];
    for start in 0..names.len() {
        circle_from(start, &imports, &mut Vec::new(), &mut done, &mut |circle| {
            let files: Vec<&str> = circle.iter().map(|at| names[*at]).collect();
            offences.push(format!("{}:1: imports in a circle: {}", files[0], files.join(" → ")));
        });
    }
    offences
}

/// The files that a source imports, as indices.
fn imports(source: &Source, names: &[&str]) -> Vec<usize> {
    let file = |path: &[String]| {
        (1..=path.len()).rev().find_map(|length| {
            let module = path[..length].join("/");
            let candidates = [format!("src/{module}.rs"), format!("src/{module}/mod.rs")];
            names.iter().position(|name| candidates.iter().any(|candidate| candidate == name))
        })
    };
    let mut found: Vec<usize> = source.paths().iter().filter_map(|path| file(path)).collect();
    found.retain(|at| names[*at] != source.path);
    found.sort_unstable();
    found.dedup();
    found
}

/// Follows the imports from one file; what it has followed once it does not follow again.
fn circle_from(
    at: usize,
    imports: &[Vec<usize>],
    way: &mut Vec<usize>,
    done: &mut [bool],
    report: &mut dyn FnMut(&[usize]),
) {
    if let Some(first) = way.iter().position(|before| *before == at) {
        report(&way[first..]);
        return;
    }
    if done[at] {
        return;
    }
    way.push(at);
    for next in &imports[at] {
        circle_from(*next, imports, way, done, report);
    }
    way.pop();
    done[at] = true;
}

/// Nobody outside `src/telemetry` calls the crates behind it.
pub fn telemetry(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| source.layer() != "telemetry") {
        for token in source.tokens() {
            let of_crate = |name: &&&str| {
                token.text.strip_prefix(**name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            };
            if TELEMETRY_CRATES.iter().find(of_crate).is_some() {
                offences.push(offence(
                    source,
                    token.line,
                    &format!("{} is for src/telemetry alone", token.text),
                ));
            }
        }
    }
    offences
}

/// `render` and `status` decide, and do nothing.
pub fn purity(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| ["render", "status"].contains(&source.layer())) {
        for (at, token) in source.tokens().iter().enumerate() {
            let word = token.text.as_str();
            let clock = word == "now" && at > 0 && source.tokens()[at - 1].text == "::";
            if clock
                || ["async", "await", "tokio", "tracing", "Client", "Instant", "SystemTime"].contains(&word)
            {
                offences.push(offence(
                    source,
                    token.line,
                    &format!(
                        "`{word}` in {}, which is pure: no client, no clock, no tracing",
                        source.layer()
                    ),
                ));
            }
        }
    }
    offences
}

/// Every file opens with a sentence about its job.
pub fn openings(sources: &[Source]) -> Vec<String> {
    let has_text = |source: &&Source| {
        source
            .text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("//! "))
            .is_some_and(|reported| !reported.trim().is_empty())
    };
    let silent = sources.iter().filter(|source| !has_text(source));
    silent
        .map(|source| offence(source, 1, "the first line has to be `//! ` and what this module is for"))
        .collect()
}

/// No file is longer than [`LINES`], but those with a reason.
pub fn sizes(sources: &[Source], longer: &[(&str, &str)]) -> Vec<String> {
    let lines = |source: &Source| source.text.lines().count();
    let excused = |source: &Source| longer.iter().any(|(path, _)| *path == source.path);
    let too_long = sources.iter().filter(|source| lines(source) > LINES && !excused(source));
    let mut offences: Vec<String> = too_long
        .map(|source| {
            offence(
                source,
                lines(source),
                &format!("{} lines, more than {LINES}: split it by what it does", lines(source)),
            )
        })
        .collect();
    for (path, _) in longer {
        if !sources.iter().any(|source| source.path == *path && lines(source) > LINES) {
            offences.push(format!("{path}:1: no longer needs its exception: take it off the list"));
        }
    }
    offences
}

/// No module is called `utils`.
pub fn names(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        let path = Path::new(&source.path).with_extension("");
        if let Some(name) =
            path.iter().filter_map(|part| part.to_str()).find(|part| EMPTY_NAMES.contains(part))
        {
            offences.push(offence(source, 1, &format!("{name} is a name that says nothing")));
        }
        for pair in source.tokens().windows(2) {
            if pair[0].text == "mod" && EMPTY_NAMES.contains(&pair[1].text.as_str()) {
                offences.push(offence(
                    source,
                    pair[1].line,
                    &format!("{} is a name that says nothing", pair[1].text),
                ));
            }
        }
    }
    offences
}
