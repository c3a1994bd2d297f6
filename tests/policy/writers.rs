//! Who writes, and which permissions each holds. Data only: nothing is created here.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Of every name.
pub const ANY: &str = "";
/// Stands for the `ClusterRole` of people who may write Elpio's kinds, and nothing else.
pub const ELPIO_EDIT: &str = "elpio's edit";
/// What the `edit` roles of External Secrets, cert-manager and Knative grant, as far as it matters here.
pub const ADD_ONS_EDIT: &str = "add-ons-edit";

/// A permission that Elpio could lend, in the namespace of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    CreateExternalSecrets,
    CreateCertificates,
    CreateDomainMappings,
    /// That name, or [`ANY`].
    Impersonate(&'static str),
    /// That name, or [`ANY`].
    GetSecrets(&'static str),
}

impl Permission {
    /// Whether who holds this one holds the other, too.
    pub fn covers(self, other: Self) -> bool {
        let same = std::mem::discriminant(&self) == std::mem::discriminant(&other);
        same && (self.object_name() == ANY || self.object_name() == other.object_name())
    }

    /// The name that it is restricted to, or [`ANY`].
    pub fn object_name(self) -> &'static str {
        match self {
            Self::Impersonate(name) | Self::GetSecrets(name) => name,
            _ => ANY,
        }
    }

    /// Verb, group and resource.
    pub fn parts(self) -> [&'static str; 3] {
        match self {
            Self::CreateExternalSecrets => ["create", "external-secrets.io", "externalsecrets"],
            Self::CreateCertificates => ["create", "cert-manager.io", "certificates"],
            Self::CreateDomainMappings => ["create", "serving.knative.dev", "domainmappings"],
            Self::Impersonate(_) => ["impersonate", "", "serviceaccounts"],
            Self::GetSecrets(_) => ["get", "", "secrets"],
        }
    }

    /// As a rule of a Role.
    pub fn rule(self) -> PolicyRule {
        let [verb, group, resource] = self.parts().map(|part| vec![part.to_owned()]);
        let names = (self.object_name() != ANY).then(|| vec![self.object_name().to_owned()]);
        PolicyRule {
            verbs: verb,
            api_groups: Some(group),
            resources: Some(resource),
            resource_names: names,
            ..PolicyRule::default()
        }
    }
}

/// How a writer is known to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A user of the control plane's list, by number.
    User(usize),
    /// A `ServiceAccount` of the namespace, by its real token.
    ServiceAccount(&'static str),
    /// The operator's, by its real token.
    Operator,
    /// A member of `system:masters`.
    Masters,
}

/// A row of the table.
#[derive(Debug)]
pub struct Writer {
    pub name: &'static str,
    pub identity: Identity,
    /// Bound in the namespace of the object.
    pub cluster_roles: &'static [&'static str],
    /// Granted by a Role of the namespace.
    pub granted: &'static [Permission],
    /// Bound in another namespace.
    pub elsewhere: &'static [&'static str],
    /// What all of that adds up to, as far as it matters here.
    pub held: &'static [Permission],
}

const NONE: &[Permission] = &[];
/// Kubernetes' own `edit` and `admin` hold these by themselves.
const OF_EDIT: &[Permission] = &[Permission::GetSecrets(ANY), Permission::Impersonate(ANY)];
const ALL: &[Permission] = &[
    Permission::CreateExternalSecrets,
    Permission::CreateCertificates,
    Permission::CreateDomainMappings,
    Permission::Impersonate(ANY),
    Permission::GetSecrets(ANY),
];

const fn with(name: &'static str, user: usize, granted: &'static [Permission]) -> Writer {
    Writer {
        name,
        identity: Identity::User(user),
        cluster_roles: &[ELPIO_EDIT],
        granted,
        elsewhere: &[],
        held: granted,
    }
}

const fn bound(
    name: &'static str,
    identity: Identity,
    cluster_roles: &'static [&'static str],
    held: &'static [Permission],
) -> Writer {
    Writer { name, identity, cluster_roles, granted: NONE, elsewhere: &[], held }
}

pub const ELPIO_ONLY: Writer = with("Elpio only", 0, NONE);
pub const OPERATOR: Writer = bound("the operator", Identity::Operator, &[ELPIO_EDIT], ALL);

/// The rows. `edit` and `admin` reach Elpio's kinds by aggregation alone, as in a cluster.
pub const WRITERS: &[Writer] = &[
    ELPIO_ONLY,
    with("+ create externalsecrets", 1, &[Permission::CreateExternalSecrets]),
    with("+ and get secrets", 2, &[Permission::CreateExternalSecrets, Permission::GetSecrets(ANY)]),
    with("+ create certificates", 3, &[Permission::CreateCertificates]),
    with("+ create domainmappings", 4, &[Permission::CreateDomainMappings]),
    with("+ impersonate serviceaccounts", 5, &[Permission::Impersonate(ANY)]),
    with("+ impersonate serviceaccounts/runner", 6, &[Permission::Impersonate("runner")]),
    with("+ get secrets", 7, &[Permission::GetSecrets(ANY)]),
    with("+ get secrets/s1", 8, &[Permission::GetSecrets("s1")]),
    Writer { elsewhere: &["admin", ADD_ONS_EDIT], ..with("admin of another namespace", 9, NONE) },
    bound("edit", Identity::User(10), &["edit"], OF_EDIT),
    bound("edit, add-ons installed", Identity::User(11), &["edit", ADD_ONS_EDIT], ALL),
    bound("admin, add-ons installed", Identity::User(12), &["admin", ADD_ONS_EDIT], ALL),
    bound("GitOps account, Elpio only", Identity::ServiceAccount("gitops"), &[ELPIO_EDIT], NONE),
    bound("GitOps account, edit", Identity::ServiceAccount("gitops-edit"), &["edit", ADD_ONS_EDIT], ALL),
    bound("account of the operator's name", Identity::ServiceAccount("elpio-operator"), &[ELPIO_EDIT], NONE),
    OPERATOR,
    bound("system:masters", Identity::Masters, &[], ALL),
];
