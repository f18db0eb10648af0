//! Summaries of repeated measurements.

/// A summary of repeated measurements, in the unit that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// The middle value; the mean of the two middle ones for an even count.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The sample standard deviation (divided by `n - 1`); 0 for one value.
    pub stdev: f64,
    /// How many values there were.
    pub n: usize,
}

impl Stats {
    /// Summarises the values; `None` where there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let (&min, &max) = (values.first()?, values.last()?);
        let median = (values[(n - 1) / 2] + values[n / 2]) / 2.0;
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let stdev = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
        Some(Self { median, min, max, stdev, n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_values_have_no_summary() {
        assert_eq!(Stats::of([]), None);
    }

    #[test]
    fn one_value_has_no_spread() {
        let stats = Stats::of([3.5]).expect("there is a value");
        assert_eq!(stats, Stats { median: 3.5, min: 3.5, max: 3.5, stdev: 0.0, n: 1 });
    }

    #[test]
    fn order_of_the_values_does_not_matter() {
        let stats = Stats::of([9.0, 2.0, 4.0, 5.0, 4.0, 5.0, 7.0, 4.0]).expect("there are values");
        assert_eq!((stats.median, stats.min, stats.max, stats.n), (4.5, 2.0, 9.0, 8));
        // The squares of the differences from the mean, 5, add up to 32.
        assert!((stats.stdev - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn an_odd_count_takes_the_middle_value() {
        assert_eq!(Stats::of([10.0, 1.0, 2.0]).map(|stats| stats.median), Some(2.0));
    }
}
