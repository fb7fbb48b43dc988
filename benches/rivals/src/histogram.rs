//! Latencies in nanoseconds, sorted into sixteen buckets for every power of two (an error of 6 % at most).

use serde::{Deserialize, Serialize};

const SUB_BITS: u32 = 4;
const SUB_COUNT: usize = 1 << SUB_BITS;
const BUCKET_COUNT: usize = (64 - SUB_BITS as usize + 1) * SUB_COUNT;

#[derive(Clone, Serialize, Deserialize)]
pub struct Histogram {
    counts: Vec<u64>,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKET_COUNT], max: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.max = self.max.max(nanoseconds);
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The upper end of the bucket in which that share of all latencies is reached.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return upper_end(bucket).min(self.max);
            }
        }
        self.max
    }

    /// For each power of two from the first to the last that occurs: it, and how many latencies are below its double.
    pub fn octaves(&self) -> Vec<(u64, u64)> {
        let mut octaves = [0; 64];
        for (bucket, count) in self.counts.iter().enumerate() {
            octaves[upper_end(bucket).max(1).ilog2() as usize] += count;
        }
        let first = octaves.iter().position(|&count| count > 0).unwrap_or(0);
        let last = octaves.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        (first..last).map(|octave| (1 << octave, octaves[octave])).collect()
    }

    /// The share of latencies above each bucket that holds any: the points of a tail plot.
    pub fn tail(&self) -> Vec<(u64, f64)> {
        let total = self.count();
        let mut seen = 0;
        let occupied = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let share_above = |(bucket, count): (usize, &u64)| {
            seen += count;
            (upper_end(bucket).min(self.max), (total - seen) as f64 / total as f64)
        };
        occupied.map(share_above).collect()
    }
}

fn bucket(value: u64) -> usize {
    if value < SUB_COUNT as u64 {
        return value as usize;
    }
    let exponent = value.ilog2();
    let sub = (value >> (exponent - SUB_BITS)) as usize % SUB_COUNT;
    (exponent - SUB_BITS + 1) as usize * SUB_COUNT + sub
}

fn upper_end(bucket: usize) -> u64 {
    if bucket < SUB_COUNT {
        return bucket as u64;
    }
    let shift = (bucket / SUB_COUNT - 1) as u32;
    let start = ((SUB_COUNT + bucket % SUB_COUNT) as u64) << shift;
    start + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_whose_end_is_near_it() {
        for value in (0..60).flat_map(|shift| [1_u64 << shift, (1 << shift) + 1, (1 << shift) * 3 / 2]) {
            let end = upper_end(bucket(value));
            assert!(end >= value && end as f64 <= value as f64 * 1.0625 + 1.0, "{value} is in a bucket that ends at {end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKET_COUNT - 1);
    }

    #[test]
    fn quantiles_and_the_maximum_are_found() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.record(value));
        assert!((500..=531).contains(&histogram.quantile(0.5)));
        assert!((990..=1000).contains(&histogram.quantile(0.99)));
        assert_eq!((histogram.quantile(1.0), histogram.max(), histogram.count()), (1000, 1000, 1000));
        assert_eq!(histogram.octaves().iter().map(|octave| octave.1).sum::<u64>(), 1000);
    }
}
