//! A validating admission webhook that refuses what it is told to: how a test makes the real API server
//! answer 409, 422, 429 or 503.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1 as admission, core::v1::ConfigMap},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    admission_server,
    pki::Authority,
    process::{free_port, unique},
    wait::eventually,
};

/// The name of the object by which the start is noticed.
const PROBE: &str = "elpio-webhook-probe";

/// What is answered to which request.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The plural, `services.serving.knative.dev` to name its group, `elpioservices/status` for a
    /// subresource, `*` for any object itself.
    pub resource: String,
    /// `CREATE`, `UPDATE`, `DELETE`, or `*`. A server-side apply is one of the first two.
    pub operation: String,
    /// The HTTP status code that the API server then answers; 0 lets the request pass.
    pub code: u16,
    /// The reason word of the answer, such as `Conflict`; may be empty.
    pub reason: String,
    /// What the answer says (behind `admission webhook "…" denied the request: `).
    pub message: String,
    /// Sent as `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// Only so many requests; `None`: until [`Webhook::clear`].
    pub times: Option<usize>,
    /// How long the answer takes. The API server waits for 30 s at most.
    pub delay: Duration,
}

impl Rule {
    /// Refuses writes of `resource` with `code`, until told otherwise.
    #[must_use]
    pub fn refuse(resource: &str, code: u16, message: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            operation: "*".to_owned(),
            code,
            reason: String::new(),
            message: message.to_owned(),
            retry_after: None,
            times: None,
            delay: Duration::ZERO,
        }
    }

    /// Lets writes of `resource` pass, but late.
    #[must_use]
    pub fn delay(resource: &str, delay: Duration) -> Self {
        Self { delay, ..Self::refuse(resource, 0, "") }
    }

    /// Only the next `times` requests.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    pub(crate) fn concerns(&self, seen: &Seen) -> bool {
        let (plural, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let group = format!("{}.{}", seen.resource, seen.group);
        subresource == seen.subresource
            && (plural == "*" || plural == seen.resource || plural == group)
            && (self.operation == "*" || self.operation == seen.operation)
    }
}

/// A request that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The API group; empty for core.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// `CREATE`, `UPDATE`, `DELETE`.
    pub operation: String,
    /// The object's name.
    pub name: String,
    /// Who asked.
    pub user: String,
    /// The code it was refused with.
    pub refused: Option<u16>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) rules: Vec<Rule>,
    pub(crate) seen: Vec<Seen>,
}

/// Sees every write in one namespace.
pub struct Webhook {
    client: kube::Client,
    name: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Webhook {
    /// Registers it; the API server asks it about every write in that namespace when this returns.
    ///
    /// # Panics
    /// When the API server does not take it.
    pub async fn start(client: kube::Client, namespace: &str) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let authority = Authority::new("elpio-webhook");
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a free port");
        let acceptor = admission_server::acceptor(&authority);
        let server = tokio::spawn(admission_server::serve(listener, acceptor, Arc::clone(&state)));
        let name = format!("elpio-test-{}", unique());
        let configuration = configuration(&name, namespace, port, &authority);
        let api: Api<admission::ValidatingWebhookConfiguration> = Api::all(client.clone());
        api.create(&PostParams::default(), &configuration).await.expect("a webhook configuration");
        let webhook = Self { client, name, state, server };
        webhook.wait_until_asked(namespace).await;
        webhook
    }

    /// Refuses writes of `resource` with that HTTP status code, until [`Webhook::clear`]. The rules added
    /// last come first.
    pub fn refuse(&self, resource: &str, code: u16, message: &str) {
        self.add(Rule::refuse(resource, code, message));
    }

    /// Adds a rule before those that are there.
    pub fn add(&self, rule: Rule) {
        self.state().rules.insert(0, rule);
    }

    /// Drops every rule: all is allowed again. What was seen stays.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// Every request so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How many requests were refused so far.
    #[must_use]
    pub fn refused(&self) -> usize {
        let state = self.state();
        state.seen.iter().filter(|seen| seen.refused.is_some()).count()
    }

    /// Removes its configuration, so that writes pass without it.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn stop(self) {
        let api: Api<admission::ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        api.delete(&self.name, &DeleteParams::default()).await.expect("the configuration is removed");
    }

    async fn wait_until_asked(&self, namespace: &str) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let probe = ConfigMap {
            metadata: ObjectMeta { name: Some(PROBE.to_owned()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let what = "the API server asks the webhook";
        eventually(what, Duration::from_secs(30), async || {
            let answer = api.create(&dry_run, &probe).await;
            if self.state().seen.is_empty() {
                return Err(format!("{answer:?}"));
            }
            Ok(())
        })
        .await;
        self.state().seen.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn configuration(
    name: &str,
    namespace: &str,
    port: u16,
    authority: &Authority,
) -> admission::ValidatingWebhookConfiguration {
    let all = || Some(vec!["*".to_owned()]);
    let selector = [("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())];
    let webhook = admission::ValidatingWebhook {
        name: "test.elpio.io".to_owned(),
        admission_review_versions: vec!["v1".to_owned()],
        side_effects: "None".to_owned(),
        failure_policy: Some("Fail".to_owned()),
        timeout_seconds: Some(30),
        namespace_selector: Some(LabelSelector {
            match_labels: Some(selector.into()),
            ..LabelSelector::default()
        }),
        client_config: admission::WebhookClientConfig {
            url: Some(format!("https://127.0.0.1:{port}/")),
            ca_bundle: Some(ByteString(authority.certificate().into_bytes())),
            ..admission::WebhookClientConfig::default()
        },
        rules: Some(vec![admission::RuleWithOperations {
            api_groups: all(),
            api_versions: all(),
            operations: all(),
            resources: Some(vec!["*/*".to_owned()]),
            scope: Some("Namespaced".to_owned()),
        }]),
        ..admission::ValidatingWebhook::default()
    };
    admission::ValidatingWebhookConfiguration {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        webhooks: Some(vec![webhook]),
    }
}
