//! One writer's requests for every column, all as dry runs, which admission judges as it does the others. It
//! knows nothing of what is expected.

use elpio_cluster::Cluster;
use futures::{StreamExt as _, stream};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::json;

use crate::{
    columns::{Column, merged},
    policy_env::{api, object},
};

/// How many requests are on their way at once.
const AT_ONCE: usize = 8;

/// What a cell shows, letter by letter.
pub const LEGEND: &str =
    "create with it | add it | change it | change something else | the same again | remove it";

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// 403 with a policy as its cause, whose message this is.
    Forbidden(String),
    /// Anything else, which no test expects.
    Other(String),
}

impl Outcome {
    pub fn letter(&self) -> char {
        match self {
            Self::Accepted => 'y',
            Self::Forbidden(_) => '-',
            Self::Other(_) => '?',
        }
    }

    pub fn of(answer: Result<DynamicObject, kube::Error>) -> Self {
        let status = match answer {
            Ok(_) => return Self::Accepted,
            Err(kube::Error::Api(status)) => status,
            Err(error) => return Self::Other(error.to_string()),
        };
        // RBAC's refusals have no cause.
        let causes = status.details.as_ref().map(|details| &details.causes);
        match causes.and_then(|causes| causes.first()) {
            Some(cause) if status.code == 403 && status.reason == "Forbidden" => {
                let (_, message) =
                    cause.message.split_once(" denied request: ").unwrap_or(("", &cause.message));
                Self::Forbidden(message.to_owned())
            }
            _ => Self::Other(format!("{} {}: {}", status.code, status.reason, status.message)),
        }
    }
}

/// Two stored objects for each column, without and with the field.
pub struct Stored {
    pub namespace: String,
    objects: Vec<[DynamicObject; 2]>,
}

impl Stored {
    /// Creates them as the administrator.
    pub async fn new(cluster: &Cluster, columns: &[Column], namespace: &str) -> Self {
        let admin = cluster.client().await;
        let create = async |column: &Column, name: String, spec| {
            let api = api(&admin, column.kind, namespace);
            api.create(&PostParams::default(), &object(column.kind, &name, spec)).await.unwrap()
        };
        let create = &create;
        let both = columns.iter().enumerate().map(|(at, column)| async move {
            let plain = create(column, format!("plain-{at}"), &column.plain).await;
            [plain, create(column, format!("with-{at}"), &column.with.0).await]
        });
        let objects = stream::iter(both).buffered(AT_ONCE).collect().await;
        Self { namespace: namespace.to_owned(), objects }
    }

    /// The six outcomes of each column, in [`LEGEND`]'s order.
    pub async fn row(&self, client: &Client, columns: &[Column]) -> Vec<[Outcome; 6]> {
        let cells = columns.iter().zip(&self.objects);
        let cells = cells.map(|(column, [plain, with])| self.cell(client, column, plain, with));
        stream::iter(cells).buffered(AT_ONCE).collect().await
    }

    async fn cell(
        &self,
        client: &Client,
        column: &Column,
        plain: &DynamicObject,
        with: &DynamicObject,
    ) -> [Outcome; 6] {
        let api = api(client, column.kind, &self.namespace);
        let other = merged(&column.with.0, &json!({"port": 9999}));
        [
            create(&api, column).await,
            replace(&api, plain, &column.with.0).await,
            replace(&api, with, &column.changed.0).await,
            replace(&api, with, &other).await,
            patch(&api, with, &column.with.0).await,
            replace(&api, with, &column.plain).await,
        ]
    }
}

/// The first letter of a cell.
pub async fn create(api: &Api<DynamicObject>, column: &Column) -> Outcome {
    let only_asked = PostParams { dry_run: true, ..PostParams::default() };
    Outcome::of(api.create(&only_asked, &object(column.kind, "new", &column.with.0)).await)
}

async fn replace(api: &Api<DynamicObject>, stored: &DynamicObject, spec: &serde_json::Value) -> Outcome {
    let only_asked = PostParams { dry_run: true, ..PostParams::default() };
    let mut object = stored.clone();
    object.data["spec"] = spec.clone();
    Outcome::of(api.replace(stored.metadata.name.as_ref().unwrap(), &only_asked, &object).await)
}

async fn patch(api: &Api<DynamicObject>, stored: &DynamicObject, spec: &serde_json::Value) -> Outcome {
    let only_asked = PatchParams { dry_run: true, ..PatchParams::default() };
    let name = stored.metadata.name.as_ref().unwrap();
    Outcome::of(api.patch(name, &only_asked, &Patch::Merge(json!({"spec": spec}))).await)
}
