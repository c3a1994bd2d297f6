//! What happens, line by line: the services' Ready conditions as they change, and the Events as they come. Only watches.

use crate::terminal::{Terminal, Tone, line};
use elpio_cluster::samples;
use futures::stream::{BoxStream, StreamExt as _};
use k8s_openapi::api::events::v1::Event;
use kube::api::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// With a stand-in that takes seconds, something is wrong after this.
const BOUND: Duration = Duration::from_mins(1);
const NAME: usize = 17;
const REASON: usize = 14;

enum News {
    Service(Box<DynamicObject>),
    Function(Box<DynamicObject>),
    Event(Box<Event>),
}

pub struct Story<'a> {
    terminal: &'a Terminal,
    news: BoxStream<'static, Result<News, watcher::Error>>,
    expected: BTreeSet<String>,
    services: BTreeMap<String, DynamicObject>,
    /// What is ready now, as it is shown.
    ready: BTreeSet<String>,
    told: BTreeMap<String, String>,
    /// Names of Events that were told, and "ready NAME" of objects whose `Ready` Event was.
    events: BTreeSet<String>,
    start: Instant,
}

impl<'a> Story<'a> {
    /// Opens the watches, before anything is applied.
    pub async fn begin(client: &Client, terminal: &'a Terminal, samples: &[DynamicObject]) -> Result<Self, String> {
        let services = api(client, "ElpioService");
        services.list(&kube::api::ListParams::default().limit(1)).await.map_err(|error| format!("ElpioServices: {error}"))?;
        let services = watcher(services, watcher::Config::default()).applied_objects();
        let services = services.map(|object| object.map(|object| News::Service(Box::new(object))));
        let functions = watcher(api(client, "ElpioFunction"), watcher::Config::default()).applied_objects();
        let functions = functions.map(|object| object.map(|object| News::Function(Box::new(object))));
        let events: Api<Event> = Api::default_namespaced(client.clone());
        let events = watcher(events, watcher::Config::default()).applied_objects();
        let events = events.map(|event| event.map(|event| News::Event(Box::new(event))));
        let mut expected: BTreeSet<String> = samples::names(samples, "ElpioService").into_iter().collect();
        expected.extend(samples::names(samples, "ElpioFunction").iter().map(|name| function(name)));
        Ok(Self {
            terminal,
            news: futures::stream::select_all([services.boxed(), functions.boxed(), events.boxed()]).boxed(),
            expected,
            services: BTreeMap::new(),
            ready: BTreeSet::new(),
            told: BTreeMap::new(),
            events: BTreeSet::new(),
            start: Instant::now(),
        })
    }

    /// Tells until every sample is ready and its `Ready` Event has come; the services, then.
    pub async fn until_ready(&mut self) -> Result<BTreeMap<String, DynamicObject>, String> {
        self.start = Instant::now();
        while !self.is_over() {
            let left = BOUND.saturating_sub(self.start.elapsed());
            if tokio::time::timeout(left, self.next()).await.is_err() {
                return Err(format!("not ready after {BOUND:?}: {}", self.waiting().join(", ")));
            }
        }
        Ok(self.services.clone())
    }

    /// Tells for ever.
    pub async fn go_on(&mut self) {
        loop {
            self.next().await;
        }
    }

    async fn next(&mut self) {
        match self.news.next().await {
            Some(Ok(News::Service(service))) => {
                self.condition(&service, &service.name_any());
                self.services.insert(service.name_any(), *service);
            }
            Some(Ok(News::Function(object))) => self.condition(&object, &function(&object.name_any())),
            Some(Ok(News::Event(event))) => self.event(&event),
            // The watcher opens it again.
            Some(Err(_)) | None => (),
        }
    }

    fn is_over(&self) -> bool {
        self.waiting().is_empty()
    }

    fn waiting(&self) -> Vec<String> {
        let done = |name: &String| self.ready.contains(name) && self.events.contains(&format!("ready {name}"));
        self.expected.iter().filter(|name| !done(name)).cloned().collect()
    }

    /// Tells the `Ready` condition, when it is news.
    fn condition(&mut self, object: &DynamicObject, name: &str) {
        if is_ready(object) {
            self.ready.insert(name.to_owned());
        } else {
            self.ready.remove(name);
        }
        let ready = ready(object);
        let told = match text(&ready, "status").as_str() {
            "" => return,
            "True" => format!("{} {}", self.reason(Tone::Good, "Ready"), place(&object.data["status"])),
            status => {
                let tone = if status == "False" { Tone::Waiting } else { Tone::Dim };
                format!("{} {}", self.reason(tone, &text(&ready, "reason")), text(&ready, "message"))
            }
        };
        if self.told.get(name) != Some(&told) {
            self.tell(name, &told);
            self.told.insert(name.to_owned(), told);
        }
    }

    fn event(&mut self, event: &Event) {
        if event.reporting_controller.as_deref() != Some("elpio.io/operator") || !self.events.insert(event.name_any()) {
            return;
        }
        let regarding = event.regarding.clone().unwrap_or_default();
        let about = regarding.name.unwrap_or_default();
        let shown = if regarding.kind.as_deref() == Some("ElpioFunction") { function(&about) } else { about };
        let reason = event.reason.clone().unwrap_or_default();
        let tone = if event.type_.as_deref() == Some("Warning") { Tone::Bad } else { Tone::Dim };
        let reason_column = self.reason(tone, &reason);
        let note = format!("Event: {}", event.note.clone().unwrap_or_default());
        self.tell(&shown, &format!("{reason_column} {}", self.terminal.paint(Tone::Dim, note)));
        if reason == "Ready" {
            self.events.insert(format!("ready {shown}"));
        }
    }

    fn reason(&self, tone: Tone, reason: &str) -> String {
        self.terminal.paint(tone, format!("{reason:<REASON$}"))
    }

    fn tell(&self, name: &str, what: &str) {
        let time = format!("{:>6.2} s", self.start.elapsed().as_secs_f64());
        line(&format!("{}  {name:<NAME$} {what}", self.terminal.paint(Tone::Dim, time)));
    }
}

/// A function is shown apart from the service of its name.
fn function(name: &str) -> String {
    format!("{name} (fn)")
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    Api::default_namespaced_with(client.clone(), &ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", kind)))
}

/// `Ready` is True, for the current generation.
fn is_ready(service: &DynamicObject) -> bool {
    let current = service.data["status"]["observedGeneration"].as_i64() == service.metadata.generation;
    current && ready(service)["status"] == "True"
}

/// The `Ready` condition; null when there is none.
pub fn ready(service: &DynamicObject) -> Value {
    let conditions = service.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default()
}

/// Where it serves: for those outside, else for those inside.
fn place(status: &Value) -> String {
    match (text(status, "url"), text(status, "address")) {
        (url, address) if url.is_empty() && !address.is_empty() => format!("{address} (inside the cluster)"),
        (url, _) => url,
    }
}

/// A field as text; empty when it is not there.
pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}
