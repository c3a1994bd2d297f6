//! Which of an owner's children to delete, and when: before the new ones are created or after all of them. Pure.

use crate::{
    foreign::ChildKind,
    render::{Child, ChildId, applied::LiveChildren},
};

/// Kinds that cannot both exist under one name: Knative creates a core Service with the name of its own
/// Service, and the HTTP add-on a `ScaledObject` with the name of its `HTTPScaledObject`.
const CLASHES: &[(ChildKind, ChildKind)] = &[
    (ChildKind::Service, ChildKind::KnativeService),
    (ChildKind::ScaledObject, ChildKind::HttpScaledObject),
];

/// The live children that are no longer desired, by when they may be deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Before the children that they clash with are created.
    pub blocking: Vec<ChildId>,
    /// Once every desired child is in place: the old children serve until the new ones are accepted.
    pub replaced: Vec<ChildId>,
    /// At any time, because nothing replaces them: the runs of a function.
    pub independent: Vec<ChildId>,
}

/// Sorts the live children that are not desired.
#[must_use]
pub fn plan_prune(live: &LiveChildren, desired: &[Child]) -> PrunePlan {
    let mut plan = PrunePlan::default();
    for id in live.keys().filter(|id| !desired.iter().any(|child| child.id == **id)) {
        let blocks = |child: &Child| !live.contains_key(&child.id) && clash(id, &child.id);
        let list = match id.kind {
            ChildKind::PipelineRun => &mut plan.independent,
            _ if desired.iter().any(blocks) => &mut plan.blocking,
            _ => &mut plan.replaced,
        };
        list.push(id.clone());
    }
    plan
}

/// Whether these two cannot coexist.
#[must_use]
pub fn clash(one: &ChildId, other: &ChildId) -> bool {
    let kinds =
        |pair: &&(ChildKind, ChildKind)| **pair == (one.kind, other.kind) || **pair == (other.kind, one.kind);
    one.name == other.name && CLASHES.iter().any(|pair| kinds(&pair))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use kube::core::DynamicObject;
    use serde_json::json;

    use super::*;
    use crate::render::WriteMode;

    use ChildKind::{
        Certificate, Deployment, DomainMapping, ElpioService, ExternalSecret, HttpScaledObject,
        KnativeService, PipelineRun, ScaledObject, Service,
    };

    fn live(ids: &[(ChildKind, &str)]) -> LiveChildren {
        let object = |kind: ChildKind, name: &str| -> DynamicObject {
            let object =
                json!({"apiVersion": kind.api_version(), "kind": kind.kind(), "metadata": {"name": name}});
            serde_json::from_value(object).unwrap()
        };
        ids.iter().map(|(kind, name)| (ChildId::new(*kind, *name), Arc::new(object(*kind, name)))).collect()
    }

    fn ids(ids: &[(ChildKind, &str)]) -> Vec<ChildId> {
        ids.iter().map(|(kind, name)| ChildId::new(*kind, *name)).collect()
    }

    /// Live, desired, and deleted before, after and at any time.
    type Row<'a> = (
        &'a str,
        &'a [(ChildKind, &'a str)],
        &'a [(ChildKind, &'a str)],
        &'a [(ChildKind, &'a str)],
        &'a [(ChildKind, &'a str)],
        &'a [(ChildKind, &'a str)],
    );

    #[test]
    fn only_what_clashes_is_deleted_before() {
        let rows: &[Row<'_>] = &[
            ("nothing changes", &[(KnativeService, "web")], &[(KnativeService, "web")], &[], &[], &[]),
            (
                "keda to knative",
                &[(Deployment, "web"), (Service, "web"), (HttpScaledObject, "web")],
                &[(KnativeService, "web")],
                &[(Service, "web")],
                &[(Deployment, "web"), (HttpScaledObject, "web")],
                &[],
            ),
            (
                "knative to keda",
                &[(Certificate, "x.org"), (KnativeService, "web"), (DomainMapping, "x.org")],
                &[(Deployment, "web"), (Service, "web"), (HttpScaledObject, "web")],
                &[(KnativeService, "web")],
                &[(Certificate, "x.org"), (DomainMapping, "x.org")],
                &[],
            ),
            (
                "concurrency to cpu",
                &[(Deployment, "web"), (Service, "web"), (HttpScaledObject, "web")],
                &[(Deployment, "web"), (Service, "web"), (ScaledObject, "web")],
                &[(HttpScaledObject, "web")],
                &[],
                &[],
            ),
            (
                "the new one is live already",
                &[(Service, "web"), (HttpScaledObject, "web"), (KnativeService, "web")],
                &[(KnativeService, "web")],
                &[],
                &[(Service, "web"), (HttpScaledObject, "web")],
                &[],
            ),
            (
                "another host",
                &[(KnativeService, "web"), (DomainMapping, "a.org")],
                &[(KnativeService, "web"), (DomainMapping, "b.org")],
                &[],
                &[(DomainMapping, "a.org")],
                &[],
            ),
            (
                "one name, kinds that do not clash",
                &[(ExternalSecret, "web")],
                &[(KnativeService, "web")],
                &[],
                &[(ExternalSecret, "web")],
                &[],
            ),
            (
                "runs replace nothing",
                &[(PipelineRun, "f-1"), (ElpioService, "f")],
                &[(PipelineRun, "f-2"), (ElpioService, "f")],
                &[],
                &[],
                &[(PipelineRun, "f-1")],
            ),
        ];
        for (what, before, desired, blocking, replaced, independent) in rows {
            let desired: Vec<Child> =
                ids(desired).into_iter().map(|id| Child::existing(id, WriteMode::Apply)).collect();
            let expected =
                PrunePlan { blocking: ids(blocking), replaced: ids(replaced), independent: ids(independent) };
            let sorted = |mut plan: PrunePlan| {
                plan.replaced.sort();
                plan
            };
            assert_eq!(sorted(plan_prune(&live(before), &desired)), sorted(expected), "{what}");
        }
    }
}
