//! Two samples that were taken side by side, and how far their percentiles are apart beyond chance. Pure.

/// Resamples for an interval.
const RESAMPLES: usize = 1000;

/// What was measured at the same time under the same load, in seconds.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    pub well: Vec<f64>,
    pub ill: Vec<f64>,
}

/// A percentile of both, over all pairs.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    pub well: f64,
    pub ill: f64,
    /// In 98 of 100 cases the true ratio lies between these.
    pub interval: (f64, f64),
}

impl Compared {
    pub fn ratio(&self) -> f64 {
        self.ill / self.well
    }

    /// More than `most`, and not by chance: with other samples of the same kind it would hardly ever be none at all.
    pub fn exceeds(&self, most: f64) -> bool {
        self.ratio() > most && self.interval.0 > 1.0
    }
}

/// Compares; the interval is found by drawing whole pairs again, since what the machine did meanwhile met all samples of a pair.
pub fn compare(pairs: &[Pair], percent: usize) -> Compared {
    let (well, ill) = pooled(&pairs.iter().collect::<Vec<_>>(), percent);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<&Pair> = pairs.iter().map(|_| &pairs[chance.below(pairs.len())]).collect();
            let (well, ill) = pooled(&drawn, percent);
            ill / well
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    Compared { well, ill, interval: (at(&ratios, 1), at(&ratios, 99)) }
}

fn pooled(pairs: &[&Pair], percent: usize) -> (f64, f64) {
    let percentile = |of: fn(&Pair) -> &Vec<f64>| {
        let mut all: Vec<f64> = pairs.iter().flat_map(|pair| of(pair)).copied().collect();
        all.sort_unstable_by(f64::total_cmp);
        at(&all, percent)
    };
    (percentile(|pair| &pair.well), percentile(|pair| &pair.ill))
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
        let mut one =
            |factor: f64| (0..200).map(|_| factor * (10.0 + f64::from(u8::try_from(chance.below(200)).unwrap()) / 40.0)).collect();
        (0..12).map(|pair| Pair { well: one(1.0), ill: one(if pair < slow_pairs { factor } else { 1.0 }) }).collect()
    }

    #[test]
    fn a_true_difference_is_seen_and_noise_is_not() {
        assert!(!compare(&pairs(1.0, 0), 99).exceeds(1.1));
        assert!(compare(&pairs(1.3, 12), 99).exceeds(1.1));
        assert!(compare(&pairs(1.3, 12), 50).exceeds(1.1));
        assert!(!compare(&pairs(1.05, 12), 99).exceeds(1.1), "less than what matters");
        let once = compare(&pairs(3.0, 1), 99);
        assert!(once.ratio() > 1.1 && !once.exceeds(1.1), "one bad moment: {once:?}");
    }
}
