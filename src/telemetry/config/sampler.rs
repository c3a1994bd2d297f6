//! `OTEL_TRACES_SAMPLER` and its argument. It samples nothing: `trace/sampler.rs` does, and lists every decision.

use crate::telemetry::config::env::EnvReader;

/// The argument of a sampler that takes one.
pub(in crate::telemetry) const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// A standard sampler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::telemetry) struct SamplerChoice {
    pub(in crate::telemetry) parent_based: bool,
    /// How root spans are sampled.
    pub(in crate::telemetry) root: RootSampler,
}

/// The sampler of root spans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::telemetry) enum RootSampler {
    On,
    Off,
    Ratio(f64),
}

pub(in crate::telemetry) fn sampler(env: &mut EnvReader<'_>) -> SamplerChoice {
    const DEFAULT: SamplerChoice = SamplerChoice { parent_based: true, root: RootSampler::On };
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let Some(name) = env.text(NAME) else { return DEFAULT };
    let lower = name.to_ascii_lowercase();
    let (parent_based, rest) =
        lower.strip_prefix("parentbased_").map_or((false, lower.as_str()), |rest| (true, rest));
    let root = match rest {
        "always_on" => RootSampler::On,
        "always_off" => RootSampler::Off,
        "traceidratio" => RootSampler::Ratio(ratio(env)),
        _ => {
            let known = "expected always_on, always_off, traceidratio, or one of them after parentbased_";
            env.warn(NAME, &name, known, "parentbased_always_on");
            return DEFAULT;
        }
    };
    SamplerChoice { parent_based, root }
}

fn ratio(env: &mut EnvReader<'_>) -> f64 {
    let Some(value) = env.text(SAMPLER_ARG) else { return 1.0 };
    value.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or_else(|| {
        env.warn(SAMPLER_ARG, &value, "not a number from 0 to 1", "1");
        1.0
    })
}
