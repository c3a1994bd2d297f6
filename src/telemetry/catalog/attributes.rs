//! The closed sets of attribute values that telemetry itself owns; it holds words, no behaviour.

/// Declares an enum whose values are the words of an attribute.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: [$name; Self::VALUES.len()] = [$($name::$variant),+];
            /// Every word, in the order of declaration.
            pub const VALUES: &'static [&'static str] = &[$($word),+];

            /// The word as it stands on a label or an attribute.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The kind of object that is reconciled.
    Kind {
        /// An `ElpioService`.
        ElpioService = "ElpioService",
        /// An `ElpioFunction`.
        ElpioFunction = "ElpioFunction",
    }
}

words! {
    /// Why the operator failed to do its work now (`error.type`).
    ErrorType {
        /// The spec cannot be rendered.
        InvalidSpec = "invalid_spec",
        /// A child's name belongs to somebody else.
        NameConflict = "name_conflict",
        /// A write lost against another writer (HTTP 409).
        Conflict = "conflict",
        /// The API server said 401 or 403.
        Forbidden = "forbidden",
        /// Another project's API is not installed.
        DependencyMissing = "dependency_missing",
        /// What was asked for is not there (and should be).
        NotFound = "not_found",
        /// The API server or a webhook said 4xx.
        Rejected = "rejected",
        /// HTTP 429.
        Throttled = "throttled",
        /// The call or the server's own deadline ran out.
        Timeout = "timeout",
        /// No connection, or 5xx that says "later".
        Unavailable = "unavailable",
        /// Everything else: a fault of ours.
        Internal = "internal",
    }
}

words! {
    /// What caused a reconcile.
    Trigger {
        /// The object's own spec or metadata changed.
        Spec = "spec",
        /// A child changed.
        Child = "child",
        /// The run before failed.
        Retry = "retry",
        /// Time passed.
        Resync = "resync",
        /// Something that is not a child, but is needed, changed.
        Dependency = "dependency",
    }
}

words! {
    /// A step of a reconcile.
    ReconcileStep {
        /// What is there is looked up.
        Observe = "observe",
        /// The spec is checked.
        Validate = "validate",
        /// The children are made up.
        Render = "render",
        /// The status is written.
        Status = "status",
        /// Events are written.
        Event = "event",
    }
}

words! {
    /// A step of a reconcile for one child.
    ChildStep {
        /// It is written.
        Apply = "apply",
        /// It is deleted.
        Delete = "delete",
    }
}

words! {
    /// What a reconcile came to.
    ReconcileOutcome {
        /// The object is ready.
        Ready = "ready",
        /// All is written; something is not ready.
        Waiting = "waiting",
        /// An engine still holds what is wanted no more.
        Pruning = "pruning",
        /// The spec cannot be rendered.
        Invalid = "invalid",
        /// The operator failed to do its work.
        Failed = "failed",
        /// The object changed meanwhile.
        Overtaken = "overtaken",
    }
}

words! {
    /// What applying a child did.
    ApplyOutcome {
        /// Written, and different from before.
        Changed = "changed",
        /// Nothing to do.
        Unchanged = "unchanged",
        /// No longer wanted, and deleted.
        Deleted = "deleted",
    }
}

words! {
    /// What became of an Event.
    EventOutcome {
        /// A new API object.
        Created = "created",
        /// Counted on an API object that was there.
        Aggregated = "aggregated",
        /// Not sent: too many.
        Dropped = "dropped",
        /// Refused by the API server.
        Failed = "failed",
    }
}

words! {
    /// A signal of OpenTelemetry.
    Signal {
        /// Spans.
        Traces = "traces",
        /// Metrics.
        Metrics = "metrics",
        /// Log records.
        Logs = "logs",
    }
}
