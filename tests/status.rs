//! Statuses and Events as stories: each step hands the last status, what was achieved and what the children
//! say to the pure code; what comes out is compared with a golden file, line by line. `UPDATE_GOLDEN=1`
//! writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::too_many_lines)]

use std::{fmt::Write as _, path::Path, sync::Arc};

use elpio_operator::{
    api::{ElpioServiceSpec, ElpioServiceStatus, RolloutStatus, condition::reason, label},
    foreign::ChildKind,
    render::{
        ChildId, Defaults, Desired, Owner,
        applied::{Applied, ChildFailure, ChildOutcome, LiveChildren},
        render, validate,
    },
    status::{Observation, StatusInput, service},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};

const OWNER: Owner<'static> = Owner {
    api_version: "elpio.io/v1alpha1",
    kind: "ElpioService",
    namespace: "shop",
    name: "web",
    uid: "u",
    label: (label::SERVICE, "web"),
    build: None,
};

/// One service through time.
struct Story {
    status: Option<ElpioServiceStatus>,
    rollout: Option<RolloutStatus>,
    second: i64,
    transcript: String,
}

/// What applying a child came to, when it is not that it was written.
type Fate = (ChildKind, ChildOutcome);

impl Story {
    fn new() -> Self {
        Self { status: None, rollout: None, second: 0, transcript: String::new() }
    }

    /// One reconcile, ten seconds after the last one.
    fn step(
        &mut self,
        what: &str,
        generation: i64,
        spec: &Value,
        children: &[Value],
        fates: &[Fate],
        retried: bool,
    ) -> &mut Self {
        self.second += 10;
        let now = Timestamp::from_second(1_800_000_000 + self.second).unwrap();
        let began = self.rollout.as_ref().is_none_or(|rollout| rollout.generation != generation);
        if began {
            self.rollout = Some(RolloutStatus {
                generation,
                started_at: Some(MicroTime(now)),
                ..RolloutStatus::default()
            });
        }
        let first_observation = self.status.as_ref().and_then(|s| s.observed_generation) != Some(generation);
        let deadline = SignedDuration::from_mins(10);
        let input = StatusInput {
            generation,
            now,
            is_retry: retried,
            rollout_started: began,
            first_observation,
            rollout: self.rollout.clone().unwrap(),
            deadline,
            contended: false,
            republish_since: None,
        };
        let spec: ElpioServiceSpec = serde_json::from_value(spec.clone()).unwrap();
        let defaults = Defaults::default();
        let assessed = match validate("web", &spec, None, &defaults) {
            Err(faults) => service::compute(
                &OWNER,
                self.status.as_ref(),
                Observation::Invalid(&faults),
                &input,
                &defaults,
            ),
            Ok(valid) => {
                let desired = render(&OWNER, &valid, &defaults);
                let (applied, live) = (applied(&desired, fates), live(children));
                let seen =
                    Observation::Applied { valid: &valid, desired: &desired, applied: &applied, live: &live };
                service::compute(&OWNER, self.status.as_ref(), seen, &input, &defaults)
            }
        };
        self.record(what, &assessed.status);
        for event in &assessed.events {
            let about =
                event.related.as_ref().map(|r| format!(" [{} {}]", r.kind, r.name)).unwrap_or_default();
            writeln!(
                self.transcript,
                "  Event {} {} {}{about}: {}",
                event.type_, event.reason, event.action, event.note
            )
            .unwrap();
        }
        let ended = |rollout: &Option<RolloutStatus>| rollout.as_ref().is_some_and(|r| r.ended_at.is_some());
        if ended(&assessed.status.rollout) && !ended(&self.rollout) {
            writeln!(
                self.transcript,
                "  rollout ended: {:?}",
                assessed.status.rollout.as_ref().unwrap().outcome.unwrap()
            )
            .unwrap();
        }
        self.rollout.clone_from(&assessed.status.rollout);
        self.status = Some(assessed.status);
        self
    }

    fn record(&mut self, what: &str, status: &ElpioServiceStatus) {
        writeln!(self.transcript, "{}s {what}", self.second).unwrap();
        for c in &status.conditions {
            let since = c.last_transition_time.0.as_second() - 1_800_000_000;
            let of = c.observed_generation.unwrap();
            writeln!(
                self.transcript,
                "  {}={} {} (generation {of}, since {since}s): {}",
                c.type_, c.status, c.reason, c.message
            )
            .unwrap();
        }
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        writeln!(
            self.transcript,
            "  ready={} url={} address={}",
            status.ready,
            word(&status.url),
            word(&status.address)
        )
        .unwrap();
        let children: Vec<String> = status
            .children
            .iter()
            .map(|c| {
                format!("{}/{} {}", c.kind, c.name, if c.ready { "ready".into() } else { word(&c.reason) })
            })
            .collect();
        writeln!(self.transcript, "  children: {}", children.join(", ")).unwrap();
    }

    fn compare(&self, name: &str) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/status").join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &self.transcript).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.transcript, golden, "{} differs; UPDATE_GOLDEN=1 writes it anew", path.display());
    }
}

fn applied(desired: &Desired, fates: &[Fate]) -> Applied {
    let fate = |kind| {
        fates.iter().find(|(of, _)| *of == kind).map_or(ChildOutcome::Changed, |(_, step)| step.clone())
    };
    Applied {
        outcomes: desired.children.iter().map(|c| (c.id.clone(), fate(c.id.kind))).collect(),
        ..Applied::default()
    }
}

fn failed(reason: &'static str, class: &'static str, message: &str) -> ChildOutcome {
    ChildOutcome::Failed(ChildFailure { reason, class, message: message.into() })
}

fn live(children: &[Value]) -> LiveChildren {
    let entry = |child: &Value| {
        let (api, kind) = (child["apiVersion"].as_str().unwrap(), child["kind"].as_str().unwrap());
        let kind = ChildKind::ALL.into_iter().find(|k| k.kind() == kind && k.api_version() == api).unwrap();
        (
            ChildId::new(kind, child["metadata"]["name"].as_str().unwrap()),
            Arc::new(serde_json::from_value(child.clone()).unwrap()),
        )
    };
    children.iter().map(entry).collect()
}

fn child(api: &str, kind: &str, name: &str, generation: i64, status: &Value) -> Value {
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "generation": generation}, "status": status})
}

fn ksvc(generation: i64, seen: i64, ready: &str, why: &str, message: &str) -> Value {
    let condition = json!({"type": "Ready", "status": ready, "reason": why, "message": message});
    let status = json!({"observedGeneration": seen, "conditions": [condition], "url": "http://web.shop.example.com", "address": {"url": "http://web.shop.svc.cluster.local"}});
    child("serving.knative.dev/v1", "Service", "web", generation, &status)
}

fn conditioned(api: &str, kind: &str, name: &str, ready: &str, why: &str, message: &str) -> Value {
    let condition =
        json!({"type": "Ready", "status": ready, "reason": why, "message": message, "observedGeneration": 1});
    child(
        api,
        kind,
        name,
        1,
        &json!({"observedGeneration": 1, "conditions": [condition], "url": format!("https://{name}")}),
    )
}

fn image(tag: &str) -> Value {
    json!({"image": {"repository": "example.com/web", "tag": tag}})
}

fn with(mut base: Value, more: &Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

#[test]
fn knative_from_nothing_to_ready_and_through_an_edit() {
    let mut story = Story::new();
    let (v1, v2) = (image("v1"), image("v2"));
    story
        .step(
            "created, the child has no status",
            1,
            &v1,
            &[child("serving.knative.dev/v1", "Service", "web", 1, &json!({}))],
            &[],
            false,
        )
        .step("Knative works on it", 1, &v1, &[ksvc(1, 1, "Unknown", "Deploying", "deploying")], &[], false)
        .step("Knative is ready", 1, &v1, &[ksvc(1, 1, "True", "", "")], &[], false)
        .step("a resync", 1, &v1, &[ksvc(1, 1, "True", "", "")], &[], false)
        .step("edited, Knative has not seen it", 2, &v2, &[ksvc(2, 1, "True", "", "")], &[], false)
        .step(
            "the new revision fails",
            2,
            &v2,
            &[ksvc(2, 2, "False", "RevisionFailed", "exit code 1")],
            &[],
            false,
        )
        .step("it still fails", 2, &v2, &[ksvc(2, 2, "False", "RevisionFailed", "exit code 1")], &[], false)
        .step(
            "it fails in another way",
            2,
            &v2,
            &[ksvc(2, 2, "False", "RevisionMissing", "no such image")],
            &[],
            false,
        )
        .step("it is ready after all", 2, &v2, &[ksvc(2, 2, "True", "", "")], &[], false)
        .step(
            "it falls without an edit",
            2,
            &v2,
            &[ksvc(2, 2, "False", "RevisionFailed", "out of memory")],
            &[],
            false,
        )
        .step("and rises", 2, &v2, &[ksvc(2, 2, "True", "", "")], &[], false);
    story.compare("knative");
}

#[test]
fn an_invalid_edit_keeps_what_is_known_of_the_parts() {
    let mut story = Story::new();
    let bad = with(image("v1"), &json!({"port": 8012, "scaling": {"minScale": 3, "maxScale": 2}}));
    story
        .step("ready", 1, &image("v1"), &[ksvc(1, 1, "True", "", "")], &[], false)
        .step("an edit that breaks two rules", 2, &bad, &[], &[], false)
        .step("found again by a start", 2, &bad, &[], &[], false)
        .step("mended", 3, &image("v1"), &[ksvc(1, 1, "True", "", "")], &[], false);
    story.compare("invalid");
}

#[test]
fn failures_are_reported_once_and_again_after_a_back_off() {
    let mut story = Story::new();
    let refused = [(
        ChildKind::KnativeService,
        failed(reason::APPLY_FAILED, "rejected", "failed to patch services.serving.knative.dev web: no"),
    )];
    let denied = [(
        ChildKind::KnativeService,
        failed(reason::FORBIDDEN, "forbidden", "failed to patch services.serving.knative.dev web: may not"),
    )];
    story
        .step("refused", 1, &image("v1"), &[], &refused, false)
        .step("found again by a start", 1, &image("v1"), &[], &refused, false)
        .step("refused again after a back-off", 1, &image("v1"), &[], &refused, true)
        .step("forbidden now", 1, &image("v1"), &[], &denied, false)
        .step("applied", 1, &image("v1"), &[ksvc(1, 0, "", "", "")], &[], true);
    story.compare("failures");
}

#[test]
fn a_domain_and_secrets_count_where_they_are_asked_for() {
    let mut story = Story::new();
    let asked = json!({"ingress": {"host": "web.example.org", "tls": true}, "externalSecrets": [{"name": "db", "storeRef": "vault", "data": [{"secretKey": "a", "remoteKey": "a"}]}]});
    let spec = with(image("v1"), &asked);
    let (ready, eso) = (ksvc(1, 1, "True", "", ""), "external-secrets.io/v1");
    let mapping = |ready: &str| {
        conditioned(
            "serving.knative.dev/v1beta1",
            "DomainMapping",
            "web.example.org",
            ready,
            "CertificateNotReady",
            "wait",
        )
    };
    let certificate = |ready: &str| {
        conditioned("cert-manager.io/v1", "Certificate", "web.example.org", ready, "DoesNotExist", "issuing")
    };
    let secret =
        |ready: &str| conditioned(eso, "ExternalSecret", "db", ready, "SecretSyncedError", "no such key");
    let missing = [
        (
            ChildKind::Certificate,
            failed(reason::DEPENDENCY_MISSING, "dependency_missing", "Certificate needs cert-manager"),
        ),
        (
            ChildKind::DomainMapping,
            ChildOutcome::Blocked { on: ChildId::new(ChildKind::Certificate, "web.example.org") },
        ),
    ];
    story
        .step("cert-manager is absent", 1, &spec, &[ready.clone(), secret("True")], &missing, false)
        .step(
            "it came",
            1,
            &spec,
            &[ready.clone(), secret("True"), certificate("False"), mapping("Unknown")],
            &[],
            false,
        )
        .step(
            "the secret cannot be synced",
            1,
            &spec,
            &[ready.clone(), secret("False"), certificate("True"), mapping("Unknown")],
            &[],
            false,
        )
        .step(
            "all is ready",
            1,
            &spec,
            &[ready, secret("True"), certificate("True"), mapping("True")],
            &[],
            false,
        );
    story.compare("domain-and-secrets");
}

#[test]
fn keda_waits_for_the_autoscaler_and_the_deployment() {
    let mut story = Story::new();
    let spec = with(
        image("v1"),
        &json!({"engine": "keda", "ingress": {"host": "web.example.org", "tls": true}, "scaling": {"concurrencyLimit": 5}}),
    );
    let edit = with(spec.clone(), &json!({"image": {"repository": "example.com/web", "tag": "v2"}}));
    let service = child("v1", "Service", "web", 1, &json!({}));
    let rollout = |generation: i64, seen: i64, replicas: i64, available: i64| {
        let complete = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
        let count = json!({"observedGeneration": seen, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": available});
        let mut object = child(
            "apps/v1",
            "Deployment",
            "web",
            generation,
            &with(count, &json!({"conditions": [complete]})),
        );
        object["spec"] = json!({"replicas": replicas});
        object
    };
    let deployment = |available: i64| {
        let mut object = rollout(1, 1, 1, available);
        object["status"].as_object_mut().unwrap().remove("conditions");
        object
    };
    let scaler = |ready: &str| {
        conditioned("http.keda.sh/v1alpha1", "HTTPScaledObject", "web", ready, "PendingCreation", "not yet")
    };
    let right = [(ChildKind::Deployment, ChildOutcome::Unchanged)];
    let held = [(
        ChildKind::Service,
        ChildOutcome::NameInUse { holder: "Service web of Route web, which is being deleted,".into() },
    )];
    story
        .step("Knative still holds the name", 1, &spec, &[deployment(0)], &held, false)
        .step("it let go", 1, &spec, &[deployment(0), service.clone(), scaler("Unknown")], &[], false)
        .step(
            "a replica is there",
            1,
            &spec,
            &[deployment(1), service.clone(), scaler("Unknown")],
            &[],
            false,
        )
        .step(
            "the autoscaler is ready",
            1,
            &spec,
            &[deployment(1), service.clone(), scaler("True")],
            &[],
            false,
        )
        .step(
            "it scales, which is not seen yet",
            1,
            &spec,
            &[rollout(2, 1, 1, 1), service.clone(), scaler("True")],
            &right,
            false,
        )
        .step(
            "replicas start beside the first",
            1,
            &spec,
            &[rollout(2, 2, 3, 1), service.clone(), scaler("True")],
            &right,
            false,
        )
        .step(
            "all are there",
            1,
            &spec,
            &[rollout(2, 2, 3, 3), service.clone(), scaler("True")],
            &right,
            false,
        )
        .step("one is gone", 1, &spec, &[rollout(2, 2, 3, 2), service.clone(), scaler("True")], &right, false)
        .step("it is back", 1, &spec, &[rollout(2, 2, 3, 3), service.clone(), scaler("True")], &right, false)
        .step(
            "we put something right, which is not seen yet",
            1,
            &spec,
            &[rollout(3, 2, 3, 3), service.clone(), scaler("True")],
            &[],
            false,
        )
        .step(
            "still not seen",
            1,
            &spec,
            &[rollout(3, 2, 3, 3), service.clone(), scaler("True")],
            &right,
            false,
        )
        .step("seen", 1, &spec, &[rollout(3, 3, 3, 3), service.clone(), scaler("True")], &right, false)
        .step(
            "an edit, which is not seen yet",
            2,
            &edit,
            &[rollout(4, 3, 3, 3), service.clone(), scaler("True")],
            &[],
            false,
        )
        .step("rolled out", 2, &edit, &[rollout(4, 4, 3, 3), service.clone(), scaler("True")], &right, false)
        .step(
            "all replicas are gone",
            2,
            &edit,
            &[rollout(4, 4, 3, 0), service, scaler("True")],
            &right,
            false,
        );
    story.compare("keda");
}

#[test]
fn a_rollout_that_is_late_is_not_given_up() {
    let mut story = Story::new();
    story.step("waits", 1, &image("v1"), &[ksvc(1, 1, "Unknown", "Deploying", "")], &[], false);
    story.second += 600;
    story.step("still waits", 1, &image("v1"), &[ksvc(1, 1, "Unknown", "Deploying", "")], &[], false).step(
        "ready, late",
        1,
        &image("v1"),
        &[ksvc(1, 1, "True", "", "")],
        &[],
        false,
    );
    story.compare("late");
}

/// The autoscaler's own work is no transition; a start that fails is one.
#[test]
fn a_start_from_zero_changes_nothing_until_it_fails() {
    let mut story = Story::new();
    let spec = with(image("v1"), &json!({"engine": "keda"}));
    let service = child("v1", "Service", "web", 1, &json!({}));
    let scaler = conditioned("http.keda.sh/v1alpha1", "HTTPScaledObject", "web", "True", "", "");
    let deployment = |desired: i64, available: i64, failure: Option<&str>| {
        let progressing =
            json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
        let is_available = json!({"type": "Available", "status": if available < desired { "False" } else { "True" },
            "reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability.",
            "lastTransitionTime": "2027-01-15T08:01:00Z"});
        let refused = failure.map(|message| json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}));
        let conditions: Vec<Value> = [progressing, is_available].into_iter().chain(refused).collect();
        let status = json!({"observedGeneration": 1, "replicas": desired, "updatedReplicas": desired,
            "availableReplicas": available, "conditions": conditions});
        let mut object = child("apps/v1", "Deployment", "web", 1, &status);
        object["spec"] = json!({"replicas": desired});
        object
    };
    let kept = [(ChildKind::Deployment, ChildOutcome::Unchanged)];
    let mut step = |what: &str, deployment: Value| {
        let children = [deployment, service.clone(), scaler.clone()];
        story.step(what, 1, &spec, &children, &kept, false);
    };
    step("ready", deployment(1, 1, None));
    step("it sleeps", deployment(0, 0, None));
    step("it wakes", deployment(1, 0, None));
    step("it is awake", deployment(1, 1, None));
    step("it sleeps again", deployment(0, 0, None));
    step("it wakes, and its pod is refused", deployment(1, 0, Some("pods is forbidden: exceeded quota")));
    step("it is awake after all", deployment(1, 1, None));
    step("it sleeps once more", deployment(0, 0, None));
    step("it wakes", deployment(1, 0, None));
    story.second += 600;
    let children = [deployment(1, 0, None), service, scaler];
    story.step("ten minutes later it is not awake", 1, &spec, &children, &kept, false);
    story.compare("waking");
}

/// Renewals are cert-manager's work; an issuance that failed has its own cause.
#[test]
fn a_certificate_is_renewed_and_refused() {
    let mut story = Story::new();
    let spec = with(image("v1"), &json!({"ingress": {"host": "web.example.org", "tls": true}}));
    let mapping =
        conditioned("serving.knative.dev/v1beta1", "DomainMapping", "web.example.org", "True", "", "");
    let certificate = |ready: &str, issuing: Option<(&str, &str, &str)>| {
        let ready = json!({"type": "Ready", "status": ready, "reason": "DoesNotExist", "message": "Issuing certificate as Secret does not exist"});
        let issuing = issuing.map(|(status, reason, message)| json!({"type": "Issuing", "status": status, "reason": reason, "message": message}));
        let conditions: Vec<Value> = issuing.into_iter().chain([ready]).collect();
        child("cert-manager.io/v1", "Certificate", "web.example.org", 1, &json!({"conditions": conditions}))
    };
    let mut step = |what: &str, certificate: Value| {
        let children = [ksvc(1, 1, "True", "", ""), certificate, mapping.clone()];
        story.step(what, 1, &spec, &children, &[], false);
    };
    let refused = Some((
        "False",
        "Failed",
        "The certificate request has failed to complete and will be retried: no such domain",
    ));
    step("its first moment", certificate("False", None));
    step("it is issued", certificate("False", Some(("True", "DoesNotExist", "Issuing certificate"))));
    step("the issuance failed", certificate("False", refused));
    step("it was issued", certificate("True", None));
    step("it is renewed", certificate("True", Some(("True", "Renewing", "Renewing certificate"))));
    step("the renewal failed", certificate("True", refused));
    step("it has expired", certificate("False", refused));
    story.compare("certificate");
}
