//! The support matrix: the versions of Kubernetes and the engines that Elpio supports. A table; it does no
//! I/O.

use crate::foreign::ChildKind;

/// The major and minor version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MinorVersion(pub u32, pub u32);

impl MinorVersion {
    /// Parses `v1.35.4`, `1.21`, `v1.30.2+k3s1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end)?.parse().ok()
        };
        let mut parts = text.trim().trim_start_matches('v').split('.');
        Some(Self(digits(parts.next()?)?, digits(parts.next()?)?))
    }
}

impl std::fmt::Display for MinorVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The support for one project.
#[derive(Clone, Copy, Debug)]
pub struct SupportRow {
    /// The project, for display.
    pub project: &'static str,
    /// The kinds of the project that Elpio uses.
    pub kinds: &'static [ChildKind],
    /// The features that need it.
    pub needed_for: &'static str,
    /// The oldest supported version.
    pub oldest: MinorVersion,
    /// The version under test.
    pub tested: MinorVersion,
    /// The version since which the APIs that Elpio uses are deprecated, and the consequence.
    pub deprecated: Option<(MinorVersion, &'static str)>,
}

/// The support for a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is supported.
    Supported,
    /// Older than the oldest supported version.
    TooOld(MinorVersion),
    /// Newer than the tested version.
    Newer(MinorVersion),
    /// Deprecates the APIs that Elpio uses.
    Deprecated(&'static str),
}

impl SupportRow {
    /// The support for this version.
    #[must_use]
    pub fn support(&self, version: MinorVersion) -> Support {
        match self.deprecated {
            _ if version < self.oldest => Support::TooOld(self.oldest),
            Some((from, why)) if version >= from => Support::Deprecated(why),
            _ if version > self.tested => Support::Newer(self.tested),
            _ => Support::Supported,
        }
    }
}

/// Kubernetes itself.
pub const KUBERNETES: SupportRow = SupportRow {
    project: "Kubernetes",
    kinds: &[ChildKind::Deployment, ChildKind::Service],
    needed_for: "everything",
    oldest: MinorVersion(1, 32),
    tested: MinorVersion(1, 35),
    deprecated: None,
};

/// Every project whose kinds Elpio uses.
pub const ENGINES: [SupportRow; 6] = [
    SupportRow {
        project: "Knative Serving",
        kinds: &[ChildKind::KnativeService, ChildKind::DomainMapping],
        needed_for: "engine knative",
        oldest: MinorVersion(1, 16),
        tested: MinorVersion(1, 21),
        deprecated: None,
    },
    SupportRow {
        project: "KEDA",
        kinds: &[ChildKind::ScaledObject],
        needed_for: "engine keda",
        oldest: MinorVersion(2, 16),
        tested: MinorVersion(2, 21),
        deprecated: None,
    },
    SupportRow {
        project: "KEDA HTTP add-on",
        kinds: &[ChildKind::HttpScaledObject],
        needed_for: "engine keda, metrics concurrency and rps",
        oldest: MinorVersion(0, 10),
        tested: MinorVersion(0, 12),
        deprecated: Some((
            MinorVersion(0, 14),
            "HTTPScaledObject is deprecated there and will be removed before 1.0",
        )),
    },
    SupportRow {
        project: "Tekton Pipelines",
        kinds: &[ChildKind::PipelineRun, ChildKind::TaskRun],
        needed_for: "ElpioFunctions",
        oldest: MinorVersion(1, 0),
        tested: MinorVersion(1, 0),
        deprecated: None,
    },
    SupportRow {
        project: "cert-manager",
        kinds: &[ChildKind::Certificate],
        needed_for: "ingress.tls",
        oldest: MinorVersion(1, 12),
        tested: MinorVersion(1, 21),
        deprecated: None,
    },
    SupportRow {
        project: "External Secrets",
        kinds: &[ChildKind::ExternalSecret],
        needed_for: "externalSecrets",
        oldest: MinorVersion(0, 9),
        tested: MinorVersion(1, 3),
        deprecated: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_spelling() {
        for (text, expected) in [
            ("v1.35.4", Some(MinorVersion(1, 35))),
            ("1.21", Some(MinorVersion(1, 21))),
            ("v1.30.2+k3s1", Some(MinorVersion(1, 30))),
            ("1.30+", Some(MinorVersion(1, 30))),
            ("devel", None),
            ("v1", None),
            ("", None),
        ] {
            assert_eq!(MinorVersion::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_version_is_judged_by_its_row() {
        let add_on = ENGINES[2];
        assert_eq!(add_on.support(MinorVersion(0, 9)), Support::TooOld(MinorVersion(0, 10)));
        assert_eq!(add_on.support(MinorVersion(0, 12)), Support::Supported);
        assert_eq!(add_on.support(MinorVersion(0, 13)), Support::Newer(MinorVersion(0, 12)));
        assert!(matches!(add_on.support(MinorVersion(0, 14)), Support::Deprecated(_)));
        assert_eq!(KUBERNETES.support(MinorVersion(1, 31)), Support::TooOld(MinorVersion(1, 32)));
        assert_eq!(KUBERNETES.support(MinorVersion(1, 32)), Support::Supported);
    }

    #[test]
    fn every_kind_of_another_project_has_a_row() {
        let of_rows = |kind: &ChildKind| {
            std::iter::once(&KUBERNETES).chain(&ENGINES).filter(|row| row.kinds.contains(kind)).count()
        };
        for kind in ChildKind::ALL.iter().filter(|kind| **kind != ChildKind::ElpioService) {
            assert_eq!(of_rows(kind), 1, "{kind:?}");
        }
    }
}
