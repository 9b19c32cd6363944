//! A histogram with a value per record rather than per batch.
//!
//! The exporter's own histograms keep every value, with its time, until they are folded into
//! buckets; at 40,000 records a second that is work and memory for nothing. Here a batch is
//! sorted into buckets on the lane's stack and added with one atomic per bucket.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A histogram of `N` buckets; what exceeds the last bound counts only in the total.
pub(super) struct RecordHistogram<const N: usize> {
    name: &'static str,
    help: &'static str,
    bounds: [f64; N],
    counts: [AtomicU64; N],
    total: AtomicU64,
    /// The bits of an f64.
    sum: AtomicU64,
}

impl<const N: usize> RecordHistogram<N> {
    /// An empty histogram; a value belongs to the first bound that is not below it.
    pub(super) const fn new(name: &'static str, help: &'static str, bounds: [f64; N]) -> Self {
        Self {
            name,
            help,
            bounds,
            counts: [const { AtomicU64::new(0) }; N],
            total: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Adds the values of one batch.
    pub(super) fn record(&self, values: impl Iterator<Item = f64>) {
        let (mut counts, mut total, mut sum) = ([0_u64; N], 0, 0.0);
        for value in values {
            // A score of 0.9 is a float of 32 bits, a hair off the bound it was meant to meet.
            let bucket = self.bounds.partition_point(|bound| value > bound + 1e-7);
            if let Some(count) = counts.get_mut(bucket) {
                *count += 1;
            }
            total += 1;
            sum += value;
        }
        for (kept, count) in self.counts.iter().zip(counts) {
            kept.fetch_add(count, Relaxed);
        }
        self.total.fetch_add(total, Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + sum).to_bits());
        // The closure never refuses, so this always succeeds.
        let _ = self.sum.fetch_update(Relaxed, Relaxed, add);
    }

    /// Appends the histogram in Prometheus's text format.
    pub(super) fn render(&self, page: &mut String) {
        let name = self.name;
        let mut below = 0;
        let mut lines = format!("# HELP {name} {}\n# TYPE {name} histogram\n", self.help);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count.load(Relaxed);
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        // A batch may be half added while the page is made; a count must not fall below its buckets.
        let total = self.total.load(Relaxed).max(below);
        let sum = f64::from_bits(self.sum.load(Relaxed));
        let _ = writeln!(lines, "{name}_bucket{{le=\"+Inf\"}} {total}");
        let _ = writeln!(lines, "{name}_sum {sum}\n{name}_count {total}\n");
        page.push_str(&lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_a_bound_count_below_it_and_values_beyond_the_last_count_in_the_total() {
        let histogram = RecordHistogram::new("h", "help", [0.5, 1.0]);
        histogram.record([0.5, 0.75, 7.0].into_iter());
        histogram.record([0.1].into_iter());
        let mut page = String::new();
        histogram.render(&mut page);
        assert_eq!(
            page,
            "# HELP h help\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 2\nh_bucket{le=\"1\"} 3\n\
             h_bucket{le=\"+Inf\"} 4\nh_sum 8.35\nh_count 4\n\n"
        );
    }
}
