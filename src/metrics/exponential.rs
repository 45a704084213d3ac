//! Base-2 exponential buckets (OpenTelemetry metrics data model, "ExponentialHistogram").
//!
//! At scale `s` a bucket of index `i` holds what is above `2^(i / 2^s)`, and at most `2^((i + 1) / 2^s)`. The scale is as
//! high as the number of buckets allows: where a value would need one more, neighbours are joined and the scale sinks.

use std::collections::VecDeque;
use std::f64::consts::LOG2_E;

/// Buckets at the most, and the scale to begin with: defaults of the SDK specification, "Base2 Exponential Bucket
/// Histogram Aggregation".
const MAX_BUCKETS: usize = 160;
const MAX_SCALE: i8 = 20;
/// No value of 64 bits needs a lower one: at it there are two buckets for all above 0.
const MIN_SCALE: i8 = -10;

/// Counts of values that are not negative.
#[derive(Debug, Clone, PartialEq)]
pub struct Exponential {
    scale: i8,
    /// Index of the first bucket.
    offset: i32,
    counts: VecDeque<u64>,
    zeros: u64,
}

impl Default for Exponential {
    fn default() -> Self {
        Exponential {
            scale: MAX_SCALE,
            offset: 0,
            counts: VecDeque::new(),
            zeros: 0,
        }
    }
}

impl Exponential {
    pub fn scale(&self) -> i8 {
        self.scale
    }

    /// Values that were 0.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// Index of the first bucket.
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// Values by bucket, from the first on.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().copied()
    }

    pub fn count(&self) -> u64 {
        self.zeros + self.counts.iter().sum::<u64>()
    }

    /// Counts one value; one below 0 is taken for 0.
    pub fn add(&mut self, value: f64) {
        if value <= 0.0 {
            self.zeros += 1;
            return;
        }
        let mut index = index(value, self.scale);
        if let Some(last) = self.last() {
            let span = |low: i32, high: i32| high.abs_diff(low) as usize;
            let (mut low, mut high) = (index.min(self.offset), index.max(last));
            let mut steps = 0;
            while span(low, high) >= MAX_BUCKETS && self.scale - steps > MIN_SCALE {
                (low, high) = (low >> 1, high >> 1);
                steps += 1;
            }
            self.lower_scale(steps);
            index >>= steps;
        } else {
            self.offset = index;
        }
        self.add_at(index, 1);
    }

    fn last(&self) -> Option<i32> {
        let more = i32::try_from(self.counts.len()).ok()?.checked_sub(1)?;
        (more >= 0).then_some(self.offset + more)
    }

    /// Makes room up to `index`, which fits, and counts there.
    fn add_at(&mut self, index: i32, more: u64) {
        while index < self.offset {
            self.counts.push_front(0);
            self.offset -= 1;
        }
        let at = index.abs_diff(self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count += more;
        }
    }

    /// Joins neighbours: the index of a bucket at a scale lower by one is half of it, rounded down.
    fn lower_scale(&mut self, steps: i8) {
        if steps <= 0 {
            return;
        }
        let before = std::mem::take(&mut self.counts);
        let first = self.offset;
        self.scale -= steps;
        self.offset = first >> steps;
        for (index, count) in (first..).zip(before) {
            self.add_at(index >> steps, count);
        }
    }

    /// What came since it was `before`.
    pub fn since(&self, before: &Exponential) -> Exponential {
        let mut then = before.clone();
        then.lower_scale(before.scale.saturating_sub(self.scale));
        let mut since = Exponential {
            scale: self.scale,
            zeros: self.zeros.saturating_sub(before.zeros),
            ..Exponential::default()
        };
        let of_then = |index: i32| {
            // Before its first bucket it had counted nothing.
            let at = usize::try_from(i64::from(index) - i64::from(then.offset)).ok();
            at.and_then(|at| then.counts.get(at)).copied().unwrap_or(0)
        };
        for (index, count) in (self.offset..).zip(&self.counts) {
            let more = count.saturating_sub(of_then(index));
            if more > 0 {
                if since.counts.is_empty() {
                    since.offset = index;
                }
                since.add_at(index, more);
            }
        }
        since
    }
}

/// The bucket of a value above 0.
fn index(value: f64, scale: i8) -> i32 {
    let (mantissa, exponent) = parts(value);
    if scale <= 0 {
        // A power of two is the upper end of the bucket below it.
        let index = exponent - i32::from(mantissa == 1.0);
        return index >> -scale;
    }
    let per_octave = f64::from(1u32 << scale);
    if mantissa == 1.0 {
        return (exponent << scale) - 1;
    }
    let within = (mantissa.ln() * LOG2_E * per_octave).ceil() as i32 - 1;
    (exponent << scale) + within.clamp(0, (1 << scale) - 1)
}

/// From 1 to below 2, and the power of two. What is smaller than a normal number counts as the smallest of them (data
/// model, "Handle subnormal").
fn parts(value: f64) -> (f64, i32) {
    let bits = value.max(f64::MIN_POSITIVE).to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    (mantissa, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Exponential {
        let mut all = Exponential::default();
        for value in values {
            all.add(*value);
        }
        all
    }

    /// Lower and upper end of a bucket.
    fn ends(scale: i8, index: i32) -> (f64, f64) {
        let at = |index: f64| (index / f64::from(scale).exp2()).exp2();
        (at(index.into()), at(f64::from(index) + 1.0))
    }

    #[test]
    fn powers_of_two_are_the_upper_ends_of_their_buckets() {
        for scale in [0, 1, 3, 20, -1, -3] {
            for power in [-30, -2, -1, 0, 1, 5, 30] {
                let index = index(f64::from(power).exp2(), scale);
                let (low, high) = ends(scale, index);
                let value = f64::from(power).exp2();
                assert!(
                    low < value && value <= high,
                    "2^{power} at {scale}: {low} {high}"
                );
            }
        }
    }

    #[test]
    fn one_value_has_one_narrow_bucket_and_nothing_has_none() {
        let one = of(&[0.25]);
        assert_eq!((one.scale(), one.count(), one.zeros()), (MAX_SCALE, 1, 0));
        assert_eq!(one.counts().collect::<Vec<_>>(), [1]);
        let nothing = of(&[0.0, -1.0]);
        assert_eq!((nothing.count(), nothing.zeros()), (2, 2));
        assert_eq!(nothing.counts().count(), 0);
    }

    #[test]
    fn the_widest_range_still_fits() {
        let wide = of(&[f64::MIN_POSITIVE, 1e-300, 1.0, 1e300, f64::MAX]);
        assert_eq!(wide.count(), 5);
        assert!(wide.counts().count() <= MAX_BUCKETS);
    }

    proptest! {
        #[test]
        fn each_value_is_in_its_bucket_whatever_the_order(
            mut values in prop::collection::vec(1u64..u64::MAX, 1..60),
            nanos in any::<bool>(),
        ) {
            let shown = |values: &[u64]| -> Vec<f64> {
                let one = |value: &u64| if nanos { *value as f64 / 1e9 } else { *value as f64 };
                values.iter().map(one).collect()
            };
            let all = of(&shown(&values));
            prop_assert_eq!(all.count(), values.len() as u64);
            prop_assert!(all.counts().count() <= MAX_BUCKETS);
            values.sort_unstable();
            let sorted = shown(&values);
            // The same buckets, if not the same room around them.
            let filled = |of: &Exponential| -> Vec<(i32, u64)> {
                (of.offset()..).zip(of.counts()).filter(|(_, n)| *n > 0).collect()
            };
            prop_assert_eq!(filled(&of(&sorted)), filled(&all));
            let mut at = 0;
            for (index, count) in filled(&all) {
                let (low, high) = ends(all.scale(), index);
                for value in sorted.iter().skip(at).take(count as usize) {
                    // Ends are rounded as the value is.
                    prop_assert!(*value >= low * (1.0 - 1e-9) && *value <= high * (1.0 + 1e-9));
                }
                at += count as usize;
            }
        }

        #[test]
        fn what_came_since_is_what_was_added(
            before in prop::collection::vec(0u64..1 << 40, 0..30),
            more in prop::collection::vec(0u64..1 << 40, 0..30),
        ) {
            let shown = |values: &[u64]| -> Vec<f64> { values.iter().map(|v| *v as f64).collect() };
            let then = of(&shown(&before));
            let mut now = then.clone();
            let mut wanted = Exponential::default();
            for value in shown(&more) {
                now.add(value);
                wanted.add(value);
            }
            let since = now.since(&then);
            prop_assert_eq!((since.count(), since.zeros()), (more.len() as u64, wanted.zeros()));
            wanted.lower_scale(wanted.scale() - since.scale());
            prop_assert_eq!(since.counts().collect::<Vec<_>>(), wanted.counts().collect::<Vec<_>>());
            if wanted.counts().count() > 0 {
                prop_assert_eq!(since.offset(), wanted.offset());
            }
        }
    }
}
