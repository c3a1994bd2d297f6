//! A validating admission webhook with rules that refuse or delay writes: it makes the real API server answer
//! 409, 422, 429 or 503. It changes no object.

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
    chaos::admission_server,
    control_plane::pki::Authority,
    eventually,
    process::{free_port, unique},
};

/// The object whose dry-run creation shows that the webhook is called.
const PROBE_NAME: &str = "elpio-webhook-probe";

/// Which requests to refuse or delay, and how.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The plural, `services.serving.knative.dev` with the group, `elpioservices/status` for a subresource,
    /// `*` for all resources.
    pub resource: String,
    /// `CREATE`, `UPDATE`, `DELETE`, or `*`. A server-side apply is a `CREATE` or an `UPDATE`.
    pub operation: String,
    /// The HTTP status code of the API server's response; 0 admits the request.
    pub code: u16,
    /// The `reason` of the response's Status, such as `Conflict`; may be empty.
    pub reason: String,
    /// The message, which follows `admission webhook "…" denied the request: `.
    pub message: String,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u32>,
    /// How often the rule applies; `None`: until [`Webhook::clear`].
    pub times: Option<usize>,
    /// How long to wait before responding. The API server waits for at most 30 s.
    pub delay: Duration,
}

impl Rule {
    /// Refuses writes of `resource` with `code`.
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

    /// Delays writes of `resource`.
    #[must_use]
    pub fn delay(resource: &str, delay: Duration) -> Self {
        Self { delay, ..Self::refuse(resource, 0, "") }
    }

    /// Limits the rule to the next `times` requests.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    pub(crate) fn matches(&self, request: &ReviewedRequest) -> bool {
        request.is_of(&self.resource) && (self.operation == "*" || self.operation == request.operation)
    }
}

/// A request that the API server sent to the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewedRequest {
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
    /// The user.
    pub user: String,
    /// The status code with which it was refused.
    pub refused: Option<u16>,
}

impl ReviewedRequest {
    /// Whether it is of this resource: `PLURAL`, `PLURAL.GROUP` or `*`, each also with `/SUBRESOURCE`.
    #[must_use]
    pub fn is_of(&self, resource: &str) -> bool {
        let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let group = format!("{}.{}", self.resource, self.group);
        subresource == self.subresource && (plural == "*" || plural == self.resource || plural == group)
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) rules: Vec<Rule>,
    pub(crate) requests: Vec<ReviewedRequest>,
}

/// A webhook for all writes in one namespace.
pub struct Webhook {
    client: kube::Client,
    name: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Webhook {
    /// Registers the webhook, and waits until the API server calls it.
    ///
    /// # Panics
    /// If the API server rejects the configuration.
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
        webhook.wait_until_called(namespace).await;
        webhook
    }

    /// Refuses writes of `resource` with this HTTP status code until [`Webhook::clear`]. The last rule added
    /// is tried first.
    pub fn refuse(&self, resource: &str, code: u16, message: &str) {
        self.add(Rule::refuse(resource, code, message));
    }

    /// Adds a rule in front of the others.
    pub fn add(&self, rule: Rule) {
        self.state().rules.insert(0, rule);
    }

    /// Removes all rules; the recorded requests stay.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<ReviewedRequest> {
        self.state().requests.clone()
    }

    /// The number of requests refused so far.
    #[must_use]
    pub fn refused(&self) -> usize {
        let state = self.state();
        state.requests.iter().filter(|request| request.refused.is_some()).count()
    }

    /// Unregisters the webhook.
    ///
    /// # Panics
    /// If the API server rejects it.
    pub async fn stop(self) {
        let api: Api<admission::ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        api.delete(&self.name, &DeleteParams::default()).await.expect("the configuration is removed");
    }

    async fn wait_until_called(&self, namespace: &str) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let probe = ConfigMap {
            metadata: ObjectMeta { name: Some(PROBE_NAME.to_owned()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let what = "the API server calls the webhook";
        eventually(what, Duration::from_secs(30), async || {
            let answer = api.create(&dry_run, &probe).await;
            if self.state().requests.is_empty() {
                return Err(format!("{answer:?}"));
            }
            Ok(())
        })
        .await;
        self.state().requests.clear();
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
