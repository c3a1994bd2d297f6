//! Two samples that were taken side by side, and how far their percentiles are apart beyond chance. Pure.

/// Resamples for an interval.
const RESAMPLES: usize = 1000;

/// What was measured at the same time under the same load, in seconds.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// Of the one without the trouble.
    pub well: Vec<f64>,
    /// Of the one with it.
    pub ill: Vec<f64>,
}

/// A percentile of both.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Over all pairs.
    pub well: f64,
    /// Over all pairs.
    pub ill: f64,
    /// Of each pair's ratio the geometric mean: whatever the machine did while a pair was measured met both
    /// of it.
    pub ratio: f64,
    /// In 98 of 100 cases the true ratio lies between these.
    pub interval: (f64, f64),
}

impl Compared {
    /// More than `most`, and not by chance: drawn again, the pairs would hardly ever say that there is no
    /// difference at all.
    #[must_use]
    pub fn exceeds(&self, most: f64) -> bool {
        self.ratio > most && self.interval.0 > 1.0
    }
}

/// Compares; the interval is found by drawing as many pairs from these, again and again.
#[must_use]
pub fn compare(pairs: &[Pair], percent: usize) -> Compared {
    let percentile = |samples: &[f64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        at(&sorted, percent)
    };
    let pooled =
        |of: fn(&Pair) -> &[f64]| percentile(&pairs.iter().flat_map(of).copied().collect::<Vec<_>>());
    let logs: Vec<f64> =
        pairs.iter().map(|pair| (percentile(&pair.ill) / percentile(&pair.well)).ln()).collect();
    let count = f64::from(u32::try_from(logs.len()).unwrap_or(u32::MAX));
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut drawn: Vec<f64> = (0..RESAMPLES)
        .map(|_| (logs.iter().map(|_| logs[chance.below(logs.len())]).sum::<f64>() / count).exp())
        .collect();
    drawn.sort_unstable_by(f64::total_cmp);
    Compared {
        well: pooled(|pair| &pair.well),
        ill: pooled(|pair| &pair.ill),
        ratio: (logs.iter().sum::<f64>() / count).exp(),
        interval: (at(&drawn, 1), at(&drawn, 99)),
    }
}

/// Nearest rank.
fn at(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// `SplitMix64`, so that the same samples give the same interval.
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % count as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of 200 with some noise, the ill ones slower by a factor.
    fn pairs(factor: f64, slow_pairs: usize) -> Vec<Pair> {
        let mut chance = Chance(7);
        let mut one = |factor: f64| {
            (0..200)
                .map(|_| factor * (10.0 + f64::from(u8::try_from(chance.below(200)).unwrap()) / 40.0))
                .collect()
        };
        (0..12)
            .map(|pair| Pair { well: one(1.0), ill: one(if pair < slow_pairs { factor } else { 1.0 }) })
            .collect()
    }

    #[test]
    fn a_true_difference_is_seen_and_noise_is_not() {
        assert!(!compare(&pairs(1.0, 0), 99).exceeds(1.1));
        assert!(compare(&pairs(1.3, 12), 99).exceeds(1.1));
        assert!(compare(&pairs(1.3, 12), 50).exceeds(1.1));
        assert!(!compare(&pairs(1.05, 12), 99).exceeds(1.1), "less than what matters");
        let once = compare(&pairs(3.0, 1), 99);
        assert!(once.ratio > 1.05 && !once.exceeds(1.05), "one bad moment: {once:?}");
    }
}
