//! The recorder where a webhook holds every Event of one namespace: those of the others are written all the same.

use std::sync::Arc;

use elpio_cluster::{Cluster, eventually};
use elpio_operator::{cluster::events::recorder::Regarding, telemetry::ObjectReference};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    fault_proxy::{Fault, status, writes_event},
    live_env::TIMEOUT,
    recorder_cases::{Setup, ready},
};

/// More than there are calls at a time.
const SERIES: usize = 400;

/// Publishes Events of so many objects in a namespace whose calls hang, after so many that are refused. Returns how
/// many calls were made.
async fn hang(setup: &Setup, refused: usize) -> Arc<Mutex<usize>> {
    let namespace = Cluster::shared().await.namespace("event-hanging").await;
    let (path, gate) = (format!("/namespaces/{namespace}/"), Arc::new(Semaphore::new(0)));
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    setup.proxy.set(move |parts| {
        if !writes_event(parts) || !parts.uri.path().contains(&path) {
            return None;
        }
        *counted.lock() += 1;
        let is_refused = *counted.lock() <= refused;
        Some(if is_refused { status(403, "Forbidden", "no") } else { Fault::Hold(Arc::clone(&gate)) })
    });
    enqueue(setup, &namespace);
    calls
}

/// Publishes an Event of each of [`SERIES`] objects.
fn enqueue(setup: &Setup, namespace: &str) {
    for n in 0..SERIES {
        let (namespace, uid) = (namespace.to_owned(), format!("{namespace}-{n}"));
        let object = ObjectReference { namespace, uid, ..(*setup.regarding.object).clone() };
        setup.recorder.enqueue(&Regarding { object: object.into(), ..setup.regarding.clone() }, &ready());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_whose_events_hang_does_not_delay_anothers() {
    for (what, refused) in [("retries", SERIES), ("first attempts", 0)] {
        let setup = Setup::new("event-isolated").await;
        let calls = hang(&setup, refused).await;
        eventually("calls hang", TIMEOUT, async || match *calls.lock() {
            made if made > refused => Ok(()),
            made => Err(format!("{made} calls")),
        })
        .await;
        setup.recorder.enqueue(&setup.regarding, &ready());
        eventually(&format!("an Event, while {what} hang elsewhere"), TIMEOUT, async || {
            if setup.events().await.len() == 1 { Ok(()) } else { Err("none") }
        })
        .await;
    }
}

/// While a reconcile runs, there is one call at a time: those that hang do not count.
#[tokio::test(flavor = "multi_thread")]
async fn beside_calls_that_hang_the_others_follow_each_other_at_once() {
    let setup = Setup::new("event-beside").await;
    let _active = setup.recorder.begin_reconcile();
    hang(&setup, 0).await;
    enqueue(&setup, &setup.regarding.object.namespace);
    eventually("all Events of the other namespace", TIMEOUT, async || match setup.events().await.len() {
        SERIES => Ok(()),
        written => Err(format!("{written} Events")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_shutdown_a_namespace_whose_events_hang_loses_no_other_its_own() {
    let mut setup = Setup::new("event-isolated-flush").await;
    setup.tasks.shutdown().await;
    hang(&setup, 0).await;
    setup.recorder.enqueue(&setup.regarding, &ready());
    setup.recorder.flush().await;
    assert_eq!(setup.events().await.len(), 1);
}
