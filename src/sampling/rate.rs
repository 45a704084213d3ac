//! Rates: buckets of tokens that fill with time, one for each endpoint or process.

use crate::config::Rate;
use crate::event::KernelTime;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Buckets at the most. Clients choose the names of endpoints: those beyond share one bucket.
const MAX: usize = 4096;

/// A bucket of tokens, and the weight of what it had none for.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: f64,
    filled: KernelTime,
    /// Transactions left out since the last that was kept, each as many as it stands for.
    pub left_out: f64,
}

impl Bucket {
    fn full(rate: Rate, now: KernelTime) -> Bucket {
        Bucket {
            tokens: burst(rate),
            filled: now,
            left_out: 0.0,
        }
    }

    fn fill(&mut self, rate: Rate, now: KernelTime) {
        // Transactions of different connections are not in the order of their ends.
        if now > self.filled {
            let seconds = now.since(self.filled) as f64 / 1e9;
            self.tokens = (self.tokens + seconds * per_second(rate)).min(burst(rate));
            self.filled = now;
        }
    }

    pub fn has_token(&self) -> bool {
        self.tokens >= 1.0
    }

    /// Takes a token; gives the weight of what was left out before.
    pub fn take(&mut self) -> f64 {
        self.tokens -= 1.0;
        std::mem::take(&mut self.left_out)
    }
}

fn per_second(rate: Rate) -> f64 {
    f64::from(rate.count) / rate.period.as_secs_f64()
}

/// What may come at once: a second's worth, and at least one.
fn burst(rate: Rate) -> f64 {
    per_second(rate).max(1.0)
}

/// The buckets of one kind.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    buckets: HashMap<K, Bucket>,
    /// Of those that there is no room for.
    others: Option<Bucket>,
}

impl<K: Hash + Eq> Limiter<K> {
    pub fn new(rate: Rate) -> Self {
        Limiter {
            rate,
            buckets: HashMap::new(),
            others: None,
        }
    }

    /// The bucket of `key`, filled up to now.
    pub fn bucket<Q>(&mut self, key: &Q, now: KernelTime) -> &mut Bucket
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let rate = self.rate;
        if !self.buckets.contains_key(key) {
            if self.buckets.len() >= MAX {
                self.forget_idle(now);
            }
            if self.buckets.len() < MAX {
                let bucket = Bucket::full(rate, now);
                self.buckets.insert(key.to_owned(), bucket);
            }
        }
        let bucket = match self.buckets.get_mut(key) {
            Some(bucket) => bucket,
            None => self.others.get_or_insert_with(|| Bucket::full(rate, now)),
        };
        bucket.fill(rate, now);
        bucket
    }

    /// A bucket that is full again is like a new one; what it left out is told by the next that is kept among the others.
    fn forget_idle(&mut self, now: KernelTime) {
        let rate = self.rate;
        let mut untold = 0.0;
        self.buckets.retain(|_, bucket| {
            bucket.fill(rate, now);
            let idle = bucket.tokens >= burst(rate);
            untold += if idle { bucket.left_out } else { 0.0 };
            !idle
        });
        if untold > 0.0 {
            let others = self.others.get_or_insert_with(|| Bucket::full(rate, now));
            others.left_out += untold;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rate(count: u32, seconds: u64) -> Rate {
        Rate {
            count,
            period: Duration::from_secs(seconds),
        }
    }

    fn kept(limiter: &mut Limiter<u32>, key: u32, at_ms: u64) -> bool {
        let bucket = limiter.bucket(&key, KernelTime(at_ms * 1_000_000));
        let has = bucket.has_token();
        match has {
            true => drop(bucket.take()),
            false => bucket.left_out += 1.0,
        }
        has
    }

    #[test]
    fn no_more_than_the_rate_passes_after_a_first_seconds_worth() {
        let mut limiter = Limiter::new(rate(100, 1));
        let passed = (0..10_000).filter(|ms| kept(&mut limiter, 1, *ms)).count();
        assert!((1090..=1100).contains(&passed), "{passed}");
        let mut slow = Limiter::new(rate(60, 3600));
        let passed = (0..600).filter(|s| kept(&mut slow, 1, s * 1000)).count();
        assert_eq!(passed, 10);
    }

    #[test]
    fn each_key_has_its_own_bucket_and_time_that_goes_back_fills_none() {
        let mut limiter = Limiter::new(rate(1, 1));
        assert!(kept(&mut limiter, 1, 5_000) && kept(&mut limiter, 2, 5_000));
        assert!(!kept(&mut limiter, 1, 1_000) && !kept(&mut limiter, 1, 5_500));
        assert!(kept(&mut limiter, 1, 6_000));
    }

    #[test]
    fn keys_beyond_the_bound_share_a_bucket_and_no_weight_is_forgotten() {
        let mut limiter = Limiter::new(rate(1, 1));
        for key in 0..MAX as u32 {
            assert!(kept(&mut limiter, key, 0));
            assert!(!kept(&mut limiter, key, 0));
        }
        assert!(kept(&mut limiter, 100_000, 0) && !kept(&mut limiter, 100_001, 0));
        assert_eq!(limiter.buckets.len(), MAX);
        // All are idle now, and forgotten when room is needed.
        assert!(kept(&mut limiter, 100_002, 10_000));
        assert_eq!(limiter.buckets.len(), 1);
        let others = limiter.others.expect("what was left out waits there");
        assert_eq!(others.left_out, MAX as f64 + 1.0);
    }
}
