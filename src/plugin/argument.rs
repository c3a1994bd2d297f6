//! The object named on the command line. Pure.

use kube::core::ApiResource;

use crate::api::{ElpioFunction, ElpioService};

/// Elpio's kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnKind {
    /// `ElpioFunction`.
    Function,
    /// `ElpioService`.
    Service,
}

/// The object named by the user: `NAME`, or `KIND/NAME` with any name of the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectArgument {
    /// The kind, if given.
    pub kind: Option<OwnKind>,
    /// The name.
    pub name: String,
}

impl ObjectArgument {
    /// Parses an argument.
    ///
    /// # Errors
    /// If the kind is not one of Elpio's, or the name is empty.
    pub fn parse(argument: &str) -> Result<Self, String> {
        let (kind, name) = match argument.split_once('/') {
            None => (None, argument),
            Some((kind, name)) => (Some(kind), name),
        };
        let kind = match kind.map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("service" | "services" | "esvc" | "elpioservice" | "elpioservices") => {
                Some(OwnKind::Service)
            }
            Some("function" | "functions" | "efn" | "elpiofunction" | "elpiofunctions") => {
                Some(OwnKind::Function)
            }
            Some(other) => return Err(format!("unknown kind {other}: use service or function")),
        };
        if name.is_empty() || name.contains('/') {
            return Err(format!("invalid name {argument:?}: expected NAME, service/NAME or function/NAME"));
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

impl OwnKind {
    /// The resource for kube's dynamic API.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Function => ApiResource::erase::<ElpioFunction>(&()),
            Self::Service => ApiResource::erase::<ElpioService>(&()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse = |text: &str| ObjectArgument::parse(text).map(|found| (found.kind, found.name));
        assert_eq!(parse("web"), Ok((None, "web".to_owned())));
        assert_eq!(parse("esvc/web"), Ok((Some(OwnKind::Service), "web".to_owned())));
        assert_eq!(parse("Function/web"), Ok((Some(OwnKind::Function), "web".to_owned())));
        for wrong in ["pod/web", "service/", "", "service/a/b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
