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
const NAME: usize = 14;
const REASON: usize = 13;

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
        // A function is ready with the service of its name.
        let expected = ["ElpioService", "ElpioFunction"].iter().flat_map(|kind| samples::names(samples, kind)).collect();
        Ok(Self {
            terminal,
            news: futures::stream::select_all([services.boxed(), functions.boxed(), events.boxed()]).boxed(),
            expected,
            services: BTreeMap::new(),
            told: BTreeMap::new(),
            events: BTreeSet::new(),
            start: Instant::now(),
        })
    }

    /// Tells until every sample is ready and its `Ready` Event has come.
    pub async fn until_ready(mut self) -> Result<BTreeMap<String, DynamicObject>, String> {
        self.start = Instant::now();
        while !self.is_over() {
            let left = BOUND.saturating_sub(self.start.elapsed());
            let Ok(Some(news)) = tokio::time::timeout(left, self.news.next()).await else {
                return Err(format!("not ready after {BOUND:?}: {}", self.waiting().join(", ")));
            };
            match news {
                Ok(News::Service(service)) => {
                    self.condition(&service, &service.name_any());
                    self.services.insert(service.name_any(), *service);
                }
                Ok(News::Function(function)) => self.condition(&function, &format!("{} (fn)", function.name_any())),
                Ok(News::Event(event)) => self.event(&event),
                // The watcher opens it again.
                Err(_) => (),
            }
        }
        Ok(self.services)
    }

    fn is_over(&self) -> bool {
        self.waiting().is_empty()
    }

    fn waiting(&self) -> Vec<String> {
        let done = |name: &String| self.services.get(name).is_some_and(is_ready) && self.events.contains(&format!("ready {name}"));
        self.expected.iter().filter(|name| !done(name)).cloned().collect()
    }

    /// Tells the `Ready` condition, when it is news.
    fn condition(&mut self, object: &DynamicObject, name: &str) {
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
        let shown = if regarding.kind.as_deref() == Some("ElpioFunction") { format!("{about} (fn)") } else { about.clone() };
        let reason = event.reason.clone().unwrap_or_default();
        let tone = if event.type_.as_deref() == Some("Warning") { Tone::Bad } else { Tone::Dim };
        let reason_column = self.reason(tone, &reason);
        let note = format!("Event: {}", event.note.clone().unwrap_or_default());
        self.tell(&shown, &format!("{reason_column} {}", self.terminal.paint(Tone::Dim, note)));
        if reason == "Ready" {
            self.events.insert(format!("ready {about}"));
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

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    Api::default_namespaced_with(client.clone(), &ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", kind)))
}

/// `Ready` is True, for the current generation.
pub fn is_ready(service: &DynamicObject) -> bool {
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
