//! The patterns of names, hosts and durations in the schema. `render::formats` checks the same forms again.

/// A DNS-1123 subdomain, which most names of objects are.
pub const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// An object's name where an empty one counts as none.
pub(super) const OPTIONAL_SUBDOMAIN: &str =
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$";

/// A DNS-1035 label.
pub const LABEL: &str = r"^[a-z]([-a-z0-9]*[a-z0-9])?$";

/// A label's value that is not empty.
pub(super) const LABEL_VALUE: &str = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";

/// A host: lower-case labels of at most 63 characters, two or more.
pub const HOST: &str = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$";

/// A Go duration, as External Secrets and Tekton read it.
pub const DURATION: &str = r"^(0|([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+)$";

/// A key in a Secret or `ConfigMap`.
pub const DATA_KEY: &str = r"^[-._a-zA-Z0-9]+$";

/// An environment variable's name: printable ASCII without `=`, as Kubernetes has it since 1.34.
pub const ENV_NAME: &str = r"^[ -<>-~]+$";

/// A prefix of environment variables' names.
pub const ENV_PREFIX: &str = r"^[ -<>-~]*$";

/// An image's tag.
pub const IMAGE_TAG: &str = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$";

/// An image's digest.
pub const IMAGE_DIGEST: &str = r"^sha256:[0-9a-f]{64}$";

/// An image's repository by the grammar of distribution references: `[host[:port]/]path`, no scheme, no tag,
/// no digest, no capitals in the path.
pub const REPOSITORY: &str = concat!(
    r"^(([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])",
    r"(:[0-9]+)?/)?[a-z0-9]+((__?|[.]|-+)[a-z0-9]+)*(/[a-z0-9]+((__?|[.]|-+)[a-z0-9]+)*)*$"
);
