//! The table: every writer, every field, every kind of request. It judges by who may do what, and by nothing
//! that the policies contain.

use elpio_cluster::{Cluster, eventually};
use elpio_support::report;

use crate::{
    columns::{Column, Kind, columns},
    policy_env::{self, TIMEOUT, api, installed},
    row::{self, LEGEND, Outcome, Stored},
    writers::{ELPIO_ONLY, Permission, WRITERS, Writer},
};

/// The six letters that the writer must get.
pub fn expected(writer: &Writer, column: &Column) -> String {
    let holds = |permission: &Permission| writer.held.iter().any(|held| held.covers(*permission));
    let letter = |needs: &[Permission]| if needs.iter().all(holds) { 'y' } else { '-' };
    let (with, changed) = (letter(&column.with.1), letter(&column.changed.1));
    [with, with, changed, 'y', 'y', 'y'].iter().collect()
}

fn letters(cell: &[Outcome; 6]) -> String {
    cell.iter().map(Outcome::letter).collect()
}

/// Waits until the policies of both kinds refuse what they must: they are in force a little after they are
/// written.
pub async fn in_force(cluster: &Cluster, columns: &[Column], namespace: &str) {
    let client = policy_env::client(cluster, &ELPIO_ONLY, namespace).await;
    for kind in Kind::ALL {
        let column = columns.iter().find(|column| column.kind == kind && column.path.is_some()).unwrap();
        eventually(
            &format!("the policy of {} is in force", kind.name()),
            TIMEOUT,
            async || match row::create(&api(&client, kind, namespace), column).await {
                Outcome::Forbidden(_) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_is_as_the_permissions_of_its_writer() {
    let cluster = installed().await;
    let columns = columns();
    let namespace = cluster.namespace("table").await;
    let stored = Stored::new(cluster, &columns, &namespace).await;
    in_force(cluster, &columns, &namespace).await;
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let titles: Vec<String> =
        columns.iter().enumerate().map(|(at, column)| format!("{at:>2} {}", column.title())).collect();
    for writer in WRITERS {
        let client = policy_env::client(cluster, writer, &namespace).await;
        let row = stored.row(&client, &columns).await;
        for (at, (cell, column)) in row.iter().zip(&columns).enumerate() {
            if letters(cell) != expected(writer, column) {
                let expected = expected(writer, column);
                wrong.push(format!("{}, {}: expected {expected}, got {cell:?}", writer.name, titles[at]));
            }
        }
        rows.push([writer.name.to_owned()].into_iter().chain(row.iter().map(letters)).collect::<Vec<_>>());
    }
    let numbers: Vec<String> = (0..columns.len()).map(|at| at.to_string()).collect();
    let head: Vec<&str> = ["writer"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    let judged = 6 * columns.len() * WRITERS.len();
    let refused: usize = rows.iter().flat_map(|row| &row[1..]).map(|cell| cell.matches('-').count()).sum();
    let title = format!(
        "{judged} requests judged, {refused} refused. {LEGEND}: y accepted, - 403\n{}\n",
        titles.join("\n")
    );
    report::table(&title, &head, &rows);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// 403 names the field, the writer, the verb, the resource and the namespace.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_field_verb_resource_and_namespace() {
    let cluster = installed().await;
    let columns = columns();
    let namespace = cluster.namespace("message").await;
    in_force(cluster, &columns, &namespace).await;
    let client = policy_env::client(cluster, &ELPIO_ONLY, &namespace).await;
    for column in columns.iter().filter(|column| column.path.is_some()) {
        let outcome = row::create(&api(&client, column.kind, &namespace), column).await;
        let Outcome::Forbidden(message) = outcome else { panic!("{}: {outcome:?}", column.title()) };
        let [verb, group, resource] = column.with.1[0].parts();
        let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let begin = format!("{}: elpio-test-0 may not ", column.path.unwrap());
        let end = format!(" in namespace {namespace}");
        let parts = [verb, &resource, column.with.1[0].object_name()];
        assert!(
            message.starts_with(&begin)
                && message.ends_with(&end)
                && parts.iter().all(|part| message.contains(part)),
            "{}: {message}",
            column.title()
        );
    }
}
