//! What kstatus, Argo CD's Lua and Flux's CEL make of every status in the golden files, by their own
//! libraries. It needs no cluster.

use std::{collections::BTreeMap, fs};

use elpio_cluster::components::clients::GITOPS;
use elpio_operator::api::{GROUP, condition};
use serde_json::{Value, json};

use crate::{program, read, top};

/// One step of a golden file: the object as a delivery tool would read it.
struct State {
    name: String,
    object: Value,
}

impl State {
    fn condition(&self, kind: &str) -> Option<&Value> {
        self.object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
    }

    /// What all three have to make of it, in kstatus's words.
    fn expected(&self) -> &'static str {
        let is_true = |kind| self.condition(kind).is_some_and(|condition| condition["status"] == "True");
        match (is_true("Ready"), is_true("Stalled")) {
            (true, _) => "Current",
            (_, true) => "Failed",
            _ => "InProgress",
        }
    }
}

/// `  Ready=False InvalidSpec (generation 2, since 20s): message`, of a function without the parentheses.
fn condition(line: &str) -> Option<Value> {
    let (head, message) = line.strip_prefix("  ")?.split_once(':')?;
    let (condition, rest) = head.split_once(" (generation ").unwrap_or((head, "1"));
    let (condition, reason) = condition.split_once(' ')?;
    let (kind, status) = condition.split_once('=')?;
    let generation: i64 = rest.split(',').next()?.parse().ok()?;
    let known = condition::kind::ALL.contains(&kind);
    known.then(|| json!({"type": kind, "status": status, "reason": reason, "message": message.trim(), "observedGeneration": generation}))
}

fn states() -> Vec<State> {
    let mut states = Vec::new();
    let mut files: Vec<_> =
        fs::read_dir(top().join("tests/golden/status")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        let story = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let kind = if story.starts_with("function") { "ElpioFunction" } else { "ElpioService" };
        let mut step = String::new();
        let mut conditions: Vec<Value> = Vec::new();
        let text = read(&file);
        for line in text.lines().chain(["end"]) {
            if !line.starts_with(' ') {
                if !conditions.is_empty() {
                    states.push(state(kind, &format!("{story}: {step}"), &std::mem::take(&mut conditions)));
                }
                line.clone_into(&mut step);
            } else if let Some(condition) = condition(line) {
                conditions.push(condition);
            }
        }
    }
    states
}

fn state(kind: &str, name: &str, conditions: &[Value]) -> State {
    let generation =
        conditions.iter().find(|c| c["type"] == "Ready").map(|c| c["observedGeneration"].clone());
    let status = json!({"observedGeneration": generation, "conditions": conditions});
    let metadata = json!({"name": "x", "namespace": "default", "generation": generation});
    let object = json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": kind, "metadata": metadata, "status": status});
    State { name: name.to_owned(), object }
}

type Answer = [String; 3];

/// The answers of kstatus, Argo CD and Flux.
fn answers(objects: &[(String, Value)]) -> Vec<Answer> {
    let file = |name: &str| top().join("deploy/gitops").join(name).display().to_string();
    let input: Vec<Value> =
        objects.iter().map(|(name, object)| json!({"name": name, "object": object})).collect();
    let args = [file("argocd-health.lua"), file("flux-healthchecks.yaml")];
    let output =
        program(GITOPS).output(&args.each_ref().map(String::as_str), &Value::from(input).to_string());
    let rows: Vec<Value> = serde_json::from_str(&output).unwrap();
    rows.iter()
        .map(|row| ["kstatus", "argocd", "flux"].map(|tool| row[tool].as_str().unwrap().to_owned()))
        .collect()
}

fn argocd(kstatus: &str) -> &'static str {
    match kstatus {
        "Current" => "Healthy",
        "Failed" => "Degraded",
        _ => "Progressing",
    }
}

#[test]
fn kstatus_argocd_and_flux_agree_on_every_golden_status() {
    let states = states();
    let objects: Vec<(String, Value)> =
        states.iter().map(|state| (state.name.clone(), state.object.clone())).collect();
    let mut table: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (state, answer) in states.iter().zip(answers(&objects)) {
        let kstatus = state.expected();
        let expected = [kstatus, argocd(kstatus), kstatus].map(str::to_owned);
        if answer != expected {
            wrong.push(format!("{}: {answer:?}, not {expected:?}", state.name));
        }
        let reason = state.condition("Ready").map_or("-", |ready| ready["reason"].as_str().unwrap());
        let kind = state.object["kind"].as_str().unwrap();
        *table
            .entry(format!("{kind:<14} {reason:<20} {:<11} {:<12} {}", answer[0], answer[1], answer[2]))
            .or_default() += 1;
    }
    println!("{:<14} {:<20} {:<11} {:<12} Flux", "kind", "Ready's reason", "kstatus", "Argo CD");
    for (row, count) in &table {
        println!("{row:<72} × {count}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(states.len() >= 30 && table.len() >= 14, "{} states in {} rows", states.len(), table.len());
    for kind in ["ElpioService", "ElpioFunction"] {
        for tool in ["Current", "Failed", "InProgress"] {
            assert!(
                table.keys().any(|row| row.starts_with(kind) && row.contains(tool)),
                "no {kind} is {tool}"
            );
        }
    }
}

/// What the operator has not seen yet must not read as ready; kstatus alone cannot know that without a status.
#[test]
fn an_object_that_the_operator_has_not_seen_is_not_ready() {
    let object = |generation: i64, status: &Value| json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ElpioService", "metadata": {"name": "x", "generation": generation}, "status": status});
    let ready = json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Reconciled", "message": "serves"}]});
    let mut new = object(1, &Value::Null);
    new.as_object_mut().unwrap().remove("status");
    let objects = [
        ("new".to_owned(), new),
        ("empty status".to_owned(), object(1, &json!({}))),
        ("edited".to_owned(), object(2, &ready)),
    ];
    let answers = answers(&objects);
    assert_eq!(answers[0], ["Current", "Progressing", "Unknown"]);
    assert_eq!(answers[1], ["Current", "Progressing", "InProgress"]);
    assert_eq!(answers[2], ["InProgress", "Progressing", "InProgress"]);
}
