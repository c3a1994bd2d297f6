//! Explains the exit codes of the Cloud Native Buildpacks lifecycle. Pure; reads no object.

/// The meaning of a phase's exit code, if the lifecycle defines one.
///
/// Source: Platform API, "Exit codes"; lifecycle 0.21, `cmd/exit.go` and `platform/exit.go`.
#[must_use]
pub fn exit_code_meaning(step: &str, code: i64) -> Option<&'static str> {
    const PHASES: [&str; 5] = ["analyze", "detect", "restore", "build", "export"];
    let meaning = match (step, code) {
        ("detect", 20) => "no buildpack of the builder fits the source",
        ("detect", 21) => {
            "no buildpack of the builder fits the source, and some failed to detect: the step's log has their errors"
        }
        ("build", 51) => "a buildpack failed to build the source: the step's log has its error",
        (_, 11) => "the lifecycle of the builder does not support the Platform API that Elpio uses",
        (_, 12) => "the lifecycle of the builder does not support the Buildpack API of a buildpack",
        _ => return None,
    };
    PHASES.contains(&step).then_some(meaning)
}

#[cfg(test)]
mod tests {
    use super::exit_code_meaning;

    #[test]
    fn codes_have_a_meaning_only_in_the_phase_that_returns_them() {
        for (step, code, is_known) in [
            ("detect", 20, true),
            ("build", 20, false),
            ("build", 51, true),
            ("detect", 51, false),
            ("restore", 11, true),
            ("fetch", 11, false),
            ("export", 62, false),
        ] {
            assert_eq!(exit_code_meaning(step, code).is_some(), is_known, "{step} {code}");
        }
    }
}
