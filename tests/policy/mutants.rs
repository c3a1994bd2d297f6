//! Policies with one rule taken out, on a control plane of their own: the table must differ, in the cells of that
//! rule and in no other. It changes nothing that is shipped.

use elpio_cluster::{Cluster, ClusterOptions, Crds, eventually};
use elpio_support::report;
use kube::Client;
use serde_json::json;

use crate::{
    columns::{Column, Kind, columns},
    manifest::{self, Policy, path},
    policy_env::{self, TIMEOUT},
    row::{Outcome, Stored},
    table::expected,
    writers::{ELPIO_ONLY, OPERATOR, Writer},
};

const SHIPPED: &str = "policies/lent-rights.yaml";

/// What a policy that is not the shipped one lets happen.
struct Mutant {
    name: String,
    kind: Kind,
    policy: Policy,
    writer: Writer,
    /// The letters of a cell, given the column and those of the shipped policy.
    effect: Box<Effect>,
}

type Effect = dyn Fn(&Column, &str) -> String + Send + Sync;

impl Mutant {
    fn new(
        name: &str,
        kind: Kind,
        change: impl FnOnce(&mut Policy),
        effect: impl Fn(&Column, &str) -> String + Send + Sync + 'static,
    ) -> Self {
        let mut policy = manifest::policy(SHIPPED, kind.policy());
        change(&mut policy);
        let effect = Box::new(effect);
        Self { name: name.to_owned(), kind, policy, writer: ELPIO_ONLY, effect }
    }
}

/// Each validation of each policy, taken out.
fn without_a_validation() -> Vec<Mutant> {
    let paths = |kind: Kind| {
        let mut policy = manifest::policy(SHIPPED, kind.policy());
        policy.validations().iter().map(|validation| path(validation).to_owned()).collect::<Vec<_>>()
    };
    let one = |kind: Kind, at: usize, dropped: String| {
        let change = |policy: &mut Policy| drop(policy.validations().remove(at));
        Mutant::new(&format!("without {dropped}"), kind, change, move |column, letters| {
            if column.path == Some(dropped.as_str()) { "yyyyyy".to_owned() } else { letters.to_owned() }
        })
    };
    let each =
        |kind: Kind| paths(kind).into_iter().enumerate().map(move |(at, dropped)| one(kind, at, dropped));
    Kind::ALL.into_iter().flat_map(each).collect()
}

/// Other parts of a policy, changed.
fn otherwise_changed(kind: Kind) -> Vec<Mutant> {
    let lends = |column: &Column| column.path.is_some();
    let at_first = |policy: &mut Policy, operations: &[&str]| {
        policy.spec_mut()["matchConstraints"]["resourceRules"][0]["operations"] = json!(operations);
    };
    let only_create = Mutant::new(
        "CREATE only",
        kind,
        |p| at_first(p, &["CREATE"]),
        move |column, letters| {
            if lends(column) { "-yyyyy".to_owned() } else { letters.to_owned() }
        },
    );
    let only_update = Mutant::new(
        "UPDATE only",
        kind,
        |p| at_first(p, &["UPDATE"]),
        move |column, letters| {
            if lends(column) { "y--yyy".to_owned() } else { letters.to_owned() }
        },
    );
    let forget = |policy: &mut Policy| *policy.variable("old") = json!("dyn({})");
    let forgets = Mutant::new("no older object", kind, forget, move |column, letters| {
        match (column.path, column.name) {
            // The older host counts by itself.
            (Some(_), _) => "-----y".to_owned(),
            (None, _) => letters.to_owned(),
        }
    });
    let keda = |policy: &mut Policy| *policy.variable("defaultEngine") = json!("'keda'");
    let default_keda = Mutant::new("default engine keda", kind, keda, |column, letters| {
        if column.name == "ingress.host, default engine" { "yyyyyy".to_owned() } else { letters.to_owned() }
    });
    let all = |policy: &mut Policy| policy.spec_mut()["matchConditions"] = json!([]);
    let judged = Mutant::new("the operator judged, too", kind, all, move |column, letters| {
        if lends(column) { "---yyy".to_owned() } else { letters.to_owned() }
    });
    vec![only_create, only_update, forgets, default_keda, Mutant { writer: OPERATOR, ..judged }]
}

async fn judge(cluster: &Cluster, client: &Client, mutant: &Mutant) -> Vec<String> {
    let all = columns();
    let columns: Vec<Column> = all.into_iter().filter(|column| column.kind == mutant.kind).collect();
    let namespace = cluster.namespace("mutant").await;
    let stored = Stored::new(cluster, &columns, &namespace).await;
    cluster.apply_objects(&mutant.policy.clone().only_in(&namespace).objects()).await;
    let shipped: Vec<String> = columns.iter().map(|column| expected(&mutant.writer, column)).collect();
    let wanted: Vec<String> =
        columns.iter().zip(&shipped).map(|(column, letters)| (mutant.effect)(column, letters)).collect();
    // It is in force once the table is as it must be.
    let row = eventually(&format!("{} of {}", mutant.name, mutant.kind.name()), TIMEOUT, async || {
        let row = stored.row(client, &columns).await;
        let row: Vec<String> = row.iter().map(|cell| cell.iter().map(Outcome::letter).collect()).collect();
        if row == wanted { Ok(row) } else { Err(format!("\nwanted {wanted:?}\ngot    {row:?}")) }
    })
    .await;
    assert_ne!(row, shipped, "{} of {}: the table cannot see it", mutant.name, mutant.kind.name());
    let differs = columns.iter().zip(row.iter().zip(&shipped)).filter(|(_, (row, shipped))| row != shipped);
    let differs: Vec<&str> = differs.map(|(column, _)| column.name).collect();
    vec![
        mutant.kind.name().to_owned(),
        mutant.name.clone(),
        mutant.writer.name.to_owned(),
        differs.join(", "),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_without_one_of_its_rules_changes_the_table() {
    let crds = vec![Crds::ELPIO];
    let cluster = Cluster::start(ClusterOptions { crds, ..ClusterOptions::default() }).await;
    let roles = manifest::read("install.yaml").into_iter().filter(|object| {
        let kind = object.types.as_ref().map(|types| types.kind.as_str());
        matches!(kind, Some("Namespace" | "ServiceAccount" | "ClusterRole"))
    });
    cluster.apply_objects(&roles.collect::<Vec<_>>()).await;
    let elpio_only = policy_env::bind_everywhere(&cluster, "elpio-test-0").await;
    let operator = policy_env::bind_operator_everywhere(&cluster).await;
    let mut mutants = without_a_validation();
    mutants.extend(Kind::ALL.into_iter().flat_map(otherwise_changed));
    let mut rows = Vec::new();
    for mutant in &mutants {
        let client = if mutant.writer.identity == OPERATOR.identity { &operator } else { &elpio_only };
        rows.push(judge(&cluster, client, mutant).await);
    }
    let title = format!("{} changed policies, each seen by the table", rows.len());
    report::table(&title, &["policy of", "change", "writer", "columns that differ"], &rows);
}
