//! How much memory the stores take for each object, counted by the allocator. It starts nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod objects;

use std::alloc::System;

use cap::Cap;
use elpio_operator::{
    api::{LenientFunction, LenientService},
    cluster::store::{ObjectStore, Relist, StoredObject, compact::CompactObject},
};
use serde::de::DeserializeOwned;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const SERVICES: usize = 1_000;
const FUNCTIONS: usize = 200;
/// Requested bytes. What malloc adds and what lies free between is a quarter more, by the benchmark.
const SERVICE_BYTES: usize = 5 << 10;
const FUNCTION_BYTES: usize = 6 << 10;

fn read<K: DeserializeOwned>(text: &str) -> K {
    serde_json::from_str(text).expect("an object")
}

fn fill<K>(store: &ObjectStore<K>, count: usize, text: impl Fn(usize) -> String)
where
    K: StoredObject + DeserializeOwned,
{
    // In pages, as a list comes in.
    for n in 0..count {
        store.apply(read(&text(n)));
    }
}

/// The bytes that `build` leaves allocated, with what it made.
fn measure<T>(build: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATOR.allocated();
    let result = build();
    (ALLOCATOR.allocated().saturating_sub(before), result)
}

/// One test, since another thread's allocations would count.
#[test]
fn memory_by_object() {
    let (bytes, (services, children)) = measure(|| {
        let services = ObjectStore::<LenientService>::new(|_| None);
        let children = ObjectStore::new(CompactObject::owner);
        fill(&services, SERVICES, objects::service);
        fill(&children, SERVICES, objects::knative_service);
        (services, children)
    });
    let each = bytes / SERVICES;
    eprintln!(
        "{each} bytes a service with its child, of {} of JSON",
        objects::service(0).len() + objects::knative_service(0).len()
    );
    assert!(each <= SERVICE_BYTES, "{each} bytes a service with its child");
    assert_eq!(children.owned_by(&objects::uid("service", 7)).len(), 1);

    let (bytes, _functions) = measure(|| {
        let functions = ObjectStore::<LenientFunction>::new(|_| None);
        let runs = ObjectStore::new(CompactObject::owner);
        let tasks = ObjectStore::new(CompactObject::owner);
        fill(&functions, FUNCTIONS, objects::function);
        fill(&runs, FUNCTIONS, objects::pipeline_run);
        fill(&tasks, FUNCTIONS, objects::task_run);
        (functions, runs, tasks)
    });
    let each = bytes / FUNCTIONS;
    eprintln!("{each} bytes a function with its run and task");
    assert!(each <= FUNCTION_BYTES, "{each} bytes a function with its run and task");

    unchanged_relist(&children);
    cycles(&children);
    drop((services, children));
}

/// What a list of what is known already holds until its end.
fn unchanged_relist(children: &ObjectStore<CompactObject>) {
    let rest: usize = SERVICES * SERVICE_BYTES;
    let (staged, unchanged) = measure(|| {
        let mut unchanged = Vec::new();
        for n in 0..SERVICES {
            let object: CompactObject = read(&objects::knative_service(n));
            assert!(children.is_observed(&object));
            unchanged.push(object.key());
        }
        unchanged
    });
    eprintln!("{staged} bytes for a list of {SERVICES} unchanged children");
    assert!(staged * 5 <= rest, "{staged} bytes staged, {rest} at rest");
    let (grown, changes) = measure(|| {
        let list =
            Relist { scope: String::new(), objects: Vec::new(), unchanged, version: 9, rewound: false };
        children.replace(list).len()
    });
    assert_eq!((grown, changes), (0, 0));
}

/// Nothing is left of what was created and deleted.
fn cycles(children: &ObjectStore<CompactObject>) {
    let cycle = |n: usize| {
        let object: CompactObject = read(&objects::knative_service(SERVICES + n));
        children.apply(object.clone());
        children.delete(object);
    };
    // So many deletions are remembered.
    (0..2_000).for_each(cycle);
    let (grown, ()) = measure(|| (2_000..12_000).for_each(cycle));
    assert!(grown < 64 << 10, "{grown} bytes more after 10,000 cycles");
}
