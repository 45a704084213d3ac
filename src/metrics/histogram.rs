//! Histograms with fixed buckets, of whole numbers, so that no sum is rounded.

/// Upper bounds of durations, in nanoseconds; each belongs to its bucket (semantic conventions v1.44, advice of
/// `http.server.request.duration`).
const DURATIONS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];
/// Upper bounds of sizes, in bytes. The conventions give no advice: these are the SDK specification's default, so that
/// they add up with what SDKs send.
const SIZES: [u64; 15] = [
    0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000,
];
/// The bounds and what is above them all.
const BUCKETS: usize = 16;

/// What a histogram is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Nanoseconds, shown as seconds.
    Durations,
    /// Bytes.
    Sizes,
}

impl Scale {
    fn bounds(self) -> &'static [u64] {
        match self {
            Scale::Durations => &DURATIONS,
            Scale::Sizes => &SIZES,
        }
    }

    /// A value as it is shown: seconds, or bytes.
    pub fn shown(self, value: u64) -> f64 {
        match self {
            Scale::Durations => value as f64 / 1e9,
            Scale::Sizes => value as f64,
        }
    }

    /// Upper bounds as they are shown.
    pub fn shown_bounds(self) -> impl Iterator<Item = f64> {
        self.bounds().iter().map(move |bound| self.shown(*bound))
    }
}

/// Counts of values by bucket, and their sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    scale: Scale,
    counts: [u64; BUCKETS],
    sum: u64,
}

impl Histogram {
    pub fn new(scale: Scale) -> Histogram {
        Histogram {
            scale,
            counts: [0; BUCKETS],
            sum: 0,
        }
    }

    /// Nanoseconds or bytes, by the scale. A bound is of the bucket below it.
    pub fn add(&mut self, value: u64) {
        let bucket = self.scale.bounds().partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(value);
    }

    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Values in each bucket; one bucket more than there are bounds.
    pub fn buckets(&self) -> &[u64] {
        let used = self.scale.bounds().len() + 1;
        self.counts.get(..used).unwrap_or(&self.counts)
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Seconds or bytes.
    pub fn sum(&self) -> f64 {
        self.scale.shown(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it_and_what_is_above_all_to_the_last() {
        for scale in [Scale::Durations, Scale::Sizes] {
            for (bucket, bound) in scale.bounds().iter().enumerate() {
                let mut histogram = Histogram::new(scale);
                histogram.add(*bound);
                histogram.add(bound + 1);
                assert_eq!(histogram.buckets()[bucket], 1, "{scale:?} {bound}");
                assert_eq!(histogram.buckets()[bucket + 1], 1, "{scale:?} {bound}");
            }
            let mut histogram = Histogram::new(scale);
            histogram.add(u64::MAX);
            histogram.add(u64::MAX);
            assert_eq!(histogram.buckets().last(), Some(&2));
            assert_eq!(histogram.buckets().len(), scale.bounds().len() + 1);
            assert_eq!(histogram.count(), 2);
        }
    }

    #[test]
    fn durations_have_the_bounds_of_the_conventions_in_seconds() {
        let bounds: Vec<f64> = Scale::Durations.shown_bounds().collect();
        assert_eq!(
            bounds,
            [
                0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0
            ]
        );
    }
}
