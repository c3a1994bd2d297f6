//! A minimal third kind: compiles what `docs/adding-a-kind.md` describes. It uses no cluster.
#![allow(clippy::unwrap_used)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::{
    api::{
        Engine,
        condition::{Condition, kind, reason},
        label,
    },
    render::{
        Child, ChildId,
        applied::{Applied, ChildOutcome},
        child::ChildBuilder,
    },
    status::{
        common_conditions,
        conditions::{is_true, set_conditions},
        rollout,
    },
};

/// A name in the cluster's DNS for something that runs elsewhere.
#[derive(Clone, Debug, CustomResource, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(group = "elpio.io", version = "v1alpha1", kind = "ElpioAlias", namespaced, status = "AliasStatus")]
#[serde(rename_all = "camelCase")]
struct ElpioAliasSpec {
    /// The other name.
    external_name: String,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct AliasStatus {
    observed_generation: Option<i64>,
    conditions: Vec<Condition>,
    rollout: Option<RolloutStatus>,
}

impl SpecOf for ElpioAliasSpec {
    type Kind = ElpioAlias;
}

impl StatusParts for AliasStatus {
    fn observed_generation(&self) -> Option<i64> {
        self.observed_generation
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn rollout(&self) -> Option<&RolloutStatus> {
        self.rollout.as_ref()
    }

    fn engine(&self) -> Option<Engine> {
        None
    }
}

/// The children of an alias: `render` does not compile if it omits one.
struct AliasChildren {
    service: Child,
}

impl AliasChildren {
    fn in_order(self) -> Vec<Child> {
        let Self { service } = self;
        vec![service]
    }
}

struct Alias;

impl Kind for Alias {
    type Spec = ElpioAliasSpec;
    type Status = AliasStatus;
    type Valid = String;

    // A real kind would add a variant to the enum: metrics have no other values.
    const KIND: telemetry::Kind = telemetry::Kind::ElpioService;
    const OWNER_LABEL: &'static str = label::SERVICE;
    const CHILD_KINDS: &'static [ChildKind] = &[ChildKind::Service];

    fn validate(
        _: &str,
        spec: &Self::Spec,
        _: &BTreeMap<String, String>,
        _: Option<&Self::Status>,
        _: &Defaults,
    ) -> Result<Self::Valid, Vec<FieldError>> {
        if spec.external_name.is_empty() {
            let (path, message) = ("spec.externalName".to_owned(), "must not be empty".to_owned());
            return Err(vec![FieldError { path, message }]);
        }
        Ok(spec.external_name.clone())
    }

    fn render(ctx: &ReconcileContext<'_>, _: Option<&Self::Status>, valid: &Self::Valid) -> Desired {
        let spec = json!({"type": "ExternalName", "externalName": valid});
        let service = ChildBuilder::new(ChildId::new(ChildKind::Service, ctx.owner.name), spec);
        let children = AliasChildren { service: service.build(&ctx.owner) };
        Desired { children: children.in_order(), ..Desired::default() }
    }

    fn compute_status(
        _: &ReconcileContext<'_>,
        previous: Option<&Self::Status>,
        observation: Observation<'_, Self::Valid>,
        input: &StatusInput,
    ) -> StatusUpdate<Self::Status> {
        let before = previous.map_or_else(Vec::new, |status| status.conditions.clone());
        let new_conditions = match observation {
            Observation::Invalid(errors) => common_conditions::invalid(&before, errors, &[]),
            Observation::Applied { valid, applied, .. } => {
                let reconciled = common_conditions::reconciled(applied, format!("an alias of {valid}"));
                let ready = common_conditions::ready(&reconciled, &[], || format!("resolves to {valid}"));
                vec![ready, reconciled]
            }
        };
        let conditions = set_conditions(&before, new_conditions, input.generation, input.now);
        let is_ready = is_true(&conditions, kind::READY);
        let rollout = rollout::advance(&input.rollout, is_ready, input.now, input.rollout_timeout);
        let observed_generation = Some(input.generation);
        let status = AliasStatus { observed_generation, conditions, rollout: Some(rollout) };
        StatusUpdate { status, events: Vec::new(), recheck_at: None }
    }
}

/// The reconciler's steps for any kind, without I/O: every child counts as written.
fn reconcile<K: Kind>(spec: &K::Spec, previous: Option<&K::Status>) -> (Vec<ChildId>, K::Status) {
    let owner = Owner {
        api_version: "elpio.io/v1alpha1",
        kind: "ElpioAlias",
        namespace: "shop",
        name: "db",
        uid: "1",
        label: (K::OWNER_LABEL, "db"),
        build: None,
    };
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let (live, rollout, defaults) = (LiveChildren::new(), RolloutStatus::default(), Defaults::default());
    let ctx = ReconcileContext {
        owner,
        live: &live,
        grandchildren: &live,
        rollout: &rollout,
        defaults: &defaults,
        now,
    };
    let input = StatusInput {
        generation: 1,
        now,
        is_retry: false,
        rollout_started: previous.is_none(),
        first_observation: previous.is_none(),
        rollout: rollout.clone(),
        rollout_timeout: SignedDuration::from_mins(10),
        contended: false,
        republish_since: None,
    };
    match K::validate(owner.name, spec, &BTreeMap::new(), previous, &defaults) {
        Err(errors) => {
            let update = K::compute_status(&ctx, previous, Observation::Invalid(&errors), &input);
            (Vec::new(), update.status)
        }
        Ok(valid) => {
            let desired = K::render(&ctx, previous, &valid);
            let outcomes = desired.children.iter().map(|c| (c.id.clone(), ChildOutcome::Changed)).collect();
            let applied = Applied { outcomes, ..Applied::default() };
            let observation =
                Observation::Applied { valid: &valid, desired: &desired, applied: &applied, live: &live };
            let update = K::compute_status(&ctx, previous, observation, &input);
            (desired.children.iter().map(|child| child.id.clone()).collect(), update.status)
        }
    }
}

#[test]
fn a_third_kind_is_validated_rendered_and_reported() {
    let spec = |name: &str| ElpioAliasSpec { external_name: name.to_owned() };
    let (children, status) = reconcile::<Alias>(&spec("db.example.com"), None);
    assert_eq!(children, [ChildId::new(ChildKind::Service, "db")]);
    assert!(is_true(&status.conditions, kind::READY), "{status:?}");

    let (children, status) = reconcile::<Alias>(&spec(""), Some(&status));
    assert!(children.is_empty());
    assert!(status.conditions.iter().all(|condition| condition.reason == reason::INVALID_SPEC), "{status:?}");
}

/// An invalid object of a new kind is reported like those of the others.
#[test]
fn a_third_kind_is_read_leniently() {
    let object: Object<Alias> =
        serde_json::from_value(json!({"metadata": {"name": "db"}, "spec": {"externalName": 1}})).unwrap();
    assert_eq!(object.spec.unwrap_err().path, "spec.externalName");
}
