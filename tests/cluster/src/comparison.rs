//! Compares two samples that were measured side by side: how far their percentiles differ, and whether by
//! more than chance. Pure. (Criterion and `statrs` were considered: neither bootstraps ratios of paired
//! samples.)

/// Bootstrap resamples for the confidence interval.
const RESAMPLES: usize = 1000;
/// The same samples always give the same interval.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Durations in seconds, measured at the same time under the same load.
#[derive(Clone, Debug, Default)]
pub struct PairedSamples {
    /// Without the fault.
    pub healthy: Vec<f64>,
    /// With the fault.
    pub faulty: Vec<f64>,
}

/// One percentile of both.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// Over all pairs, without the fault.
    pub healthy: f64,
    /// Over all pairs, with the fault.
    pub faulty: f64,
    /// Geometric mean of the pairs' ratios, faulty to healthy: load on the machine affects both sides of a
    /// pair.
    pub ratio: f64,
    /// 98 % confidence interval of the ratio.
    pub interval: (f64, f64),
}

impl Comparison {
    /// Whether the ratio is above `limit`, and its confidence interval above 1.
    #[must_use]
    pub fn exceeds(&self, limit: f64) -> bool {
        self.ratio > limit && self.interval.0 > 1.0
    }
}

/// Compares one percentile of the pairs; the interval is found by bootstrapping them.
#[must_use]
pub fn compare(pairs: &[PairedSamples], percent: usize) -> Comparison {
    let percentile = |samples: &[f64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        nearest_rank(&sorted, percent)
    };
    let pooled = |side: fn(&PairedSamples) -> &[f64]| {
        percentile(&pairs.iter().flat_map(side).copied().collect::<Vec<_>>())
    };
    let logs: Vec<f64> =
        pairs.iter().map(|pair| (percentile(&pair.faulty) / percentile(&pair.healthy)).ln()).collect();
    let count = f64::from(u32::try_from(logs.len()).unwrap_or(u32::MAX));
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| (logs.iter().map(|_| logs[random.usize(..logs.len())]).sum::<f64>() / count).exp())
        .collect();
    resampled.sort_unstable_by(f64::total_cmp);
    Comparison {
        healthy: pooled(|pair| &pair.healthy),
        faulty: pooled(|pair| &pair.faulty),
        ratio: (logs.iter().sum::<f64>() / count).exp(),
        interval: (nearest_rank(&resampled, 1), nearest_rank(&resampled, 99)),
    }
}

fn nearest_rank(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve pairs of 200 noisy samples; in the first `slow_pairs` the faulty side is slower by `factor`.
    fn pairs(factor: f64, slow_pairs: usize) -> Vec<PairedSamples> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut samples =
            |factor: f64| (0..200).map(|_| factor * (10.0 + f64::from(random.u8(..200)) / 40.0)).collect();
        (0..12)
            .map(|pair| PairedSamples {
                healthy: samples(1.0),
                faulty: samples(if pair < slow_pairs { factor } else { 1.0 }),
            })
            .collect()
    }

    #[test]
    fn a_real_difference_is_found_and_noise_is_not() {
        assert!(!compare(&pairs(1.0, 0), 99).exceeds(1.1));
        assert!(compare(&pairs(1.3, 12), 99).exceeds(1.1));
        assert!(compare(&pairs(1.3, 12), 50).exceeds(1.1));
        assert!(!compare(&pairs(1.05, 12), 99).exceeds(1.1), "below the limit");
        let once = compare(&pairs(3.0, 1), 99);
        assert!(once.ratio > 1.05 && !once.exceeds(1.05), "a single outlier: {once:?}");
    }
}
