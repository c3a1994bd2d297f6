//! A service on Knative, its domain and its secrets, from nothing to ready and back.

use super::*;

#[test]
fn knative_from_nothing_to_ready_and_through_an_edit() {
    let mut story = Story::<ElpioServiceStatus>::default();
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
        .step("and rises", 2, &v2, &[ksvc(2, 2, "True", "", "")], &[], false)
        .step("edited, Knative was faster than the status", 3, &v1, &[ksvc(3, 3, "True", "", "")], &[], false)
        .step("a resync", 3, &v1, &[ksvc(3, 3, "True", "", "")], &[], false);
    story.compare("knative");
}

#[test]
fn an_invalid_edit_keeps_what_is_known_of_the_parts() {
    let mut story = Story::<ElpioServiceStatus>::default();
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
    let mut story = Story::<ElpioServiceStatus>::default();
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
    let mut story = Story::<ElpioServiceStatus>::default();
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
fn a_rollout_that_is_late_is_not_given_up() {
    let mut story = Story::<ElpioServiceStatus>::default();
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

/// Renewals are cert-manager's work; an issuance that failed has its own cause.
#[test]
fn a_certificate_is_renewed_and_refused() {
    let mut story = Story::<ElpioServiceStatus>::default();
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
