//! Histograms of whole numbers, so that no sum is rounded.

use super::exponential::Exponential;

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

/// How values are put into buckets (SDK specification, "Aggregation").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The bounds of [`Scale`].
    #[default]
    Explicit,
    /// Base-2 exponential buckets, as narrow as their number allows.
    Exponential,
}

/// Counts of values by bucket, and their sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    scale: Scale,
    buckets: Buckets,
    sum: u64,
}

/// Counts of values.
#[derive(Debug, Clone, PartialEq)]
pub enum Buckets {
    /// By bucket; one bucket more than there are bounds. What is behind the last of the scale is not used.
    Explicit([u64; BUCKETS]),
    Exponential(Exponential),
}

impl Histogram {
    pub fn new(scale: Scale, aggregation: Aggregation) -> Histogram {
        let buckets = match aggregation {
            Aggregation::Explicit => Buckets::Explicit([0; BUCKETS]),
            Aggregation::Exponential => Buckets::Exponential(Exponential::default()),
        };
        Histogram {
            scale,
            buckets,
            sum: 0,
        }
    }

    /// Nanoseconds or bytes, by the scale. A bound is of the bucket below it.
    pub fn add(&mut self, value: u64) {
        match &mut self.buckets {
            Buckets::Explicit(counts) => {
                let bucket = self.scale.bounds().partition_point(|bound| *bound < value);
                if let Some(count) = counts.get_mut(bucket) {
                    *count += 1;
                }
            }
            Buckets::Exponential(exponential) => exponential.add(self.scale.shown(value)),
        }
        self.sum = self.sum.saturating_add(value);
    }

    pub fn scale(&self) -> Scale {
        self.scale
    }

    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// Values in each bucket of the scale's bounds; one bucket more than there are bounds. None: other buckets.
    pub fn explicit(&self) -> Option<&[u64]> {
        match &self.buckets {
            Buckets::Explicit(counts) => counts.get(..=self.scale.bounds().len()),
            Buckets::Exponential(_) => None,
        }
    }

    pub fn count(&self) -> u64 {
        match &self.buckets {
            Buckets::Explicit(counts) => counts.iter().sum(),
            Buckets::Exponential(exponential) => exponential.count(),
        }
    }

    /// Seconds or bytes.
    pub fn sum(&self) -> f64 {
        self.scale.shown(self.sum)
    }

    /// What came since it was `before`. Where that had other buckets: all of it.
    pub fn since(&self, before: &Histogram) -> Histogram {
        let buckets = match (&self.buckets, &before.buckets) {
            (Buckets::Explicit(now), Buckets::Explicit(then)) => {
                let mut counts = *now;
                for (count, then) in counts.iter_mut().zip(then) {
                    *count = count.saturating_sub(*then);
                }
                Buckets::Explicit(counts)
            }
            (Buckets::Exponential(now), Buckets::Exponential(then)) => {
                Buckets::Exponential(now.since(then))
            }
            _ => return self.clone(),
        };
        Histogram {
            scale: self.scale,
            buckets,
            sum: self.sum.saturating_sub(before.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it_and_what_is_above_all_to_the_last() {
        for scale in [Scale::Durations, Scale::Sizes] {
            for (bucket, bound) in scale.bounds().iter().enumerate() {
                let mut histogram = Histogram::new(scale, Aggregation::Explicit);
                histogram.add(*bound);
                histogram.add(bound + 1);
                assert_eq!(
                    histogram.explicit().expect("explicit")[bucket],
                    1,
                    "{scale:?} {bound}"
                );
                assert_eq!(
                    histogram.explicit().expect("explicit")[bucket + 1],
                    1,
                    "{scale:?} {bound}"
                );
            }
            let mut histogram = Histogram::new(scale, Aggregation::Explicit);
            histogram.add(u64::MAX);
            histogram.add(u64::MAX);
            assert_eq!(histogram.explicit().expect("explicit").last(), Some(&2));
            assert_eq!(
                histogram.explicit().expect("explicit").len(),
                scale.bounds().len() + 1
            );
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

    #[test]
    fn what_came_since_is_what_is_added_to_what_was() {
        for aggregation in [Aggregation::Explicit, Aggregation::Exponential] {
            let mut before = Histogram::new(Scale::Durations, aggregation);
            before.add(1_000_000);
            before.add(2_000_000_000);
            let mut now = before.clone();
            assert_eq!(now.since(&before).count(), 0);
            now.add(30_000_000);
            let since = now.since(&before);
            let mut wanted = Histogram::new(Scale::Durations, aggregation);
            wanted.add(30_000_000);
            assert_eq!((since.count(), since.sum()), (1, 0.03), "{aggregation:?}");
            assert_eq!(since.explicit(), wanted.explicit());
        }
        let explicit = Histogram::new(Scale::Sizes, Aggregation::Explicit);
        let mut other = Histogram::new(Scale::Sizes, Aggregation::Exponential);
        other.add(7);
        assert_eq!(other.since(&explicit), other);
    }
}
