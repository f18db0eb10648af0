//! The form that every suite's records keep.

use serde::{Deserialize, Serialize};

use crate::Stats;

/// One line of a record: one way of doing one case, measured `n` times.
///
/// A record is an array of rows. What a case has nothing to do with is left
/// out: `pages` and `local_pages` where there are no pages, `p50`, `p90` and
/// `p99` where no single calls were timed, `version` where the suite has no rivals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The suite, such as `page-init`.
    pub suite: String,
    /// The case within the suite, such as `base/1GiB/zero`.
    pub case: String,
    /// Who did the work: `firsttouch`, `serial`, or a rival's name.
    pub runtime: String,
    /// The most threads that could take part, the caller included.
    pub threads: usize,
    /// The unit of the four values that follow, such as `ms`.
    pub unit: String,
    /// The middle value.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The sample standard deviation; 0 for one repetition.
    pub stdev: f64,
    /// The number of repetitions.
    pub n: usize,
    /// Base pages that were touched in one repetition, and that the kernel names a node for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
    /// How many of them were local to the CPU that touched them, in the repetition where they were fewest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pages: Option<u64>,
    /// The runtime's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Half of the single calls took no longer; as the next two, the median over the repetitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// Nine in ten single calls took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90: Option<f64>,
    /// 99 in a hundred single calls took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

impl Row {
    /// The names of the fields, in order: the columns of a record kept as a table.
    pub const COLUMNS: [&str; 16] = [
        "suite",
        "case",
        "runtime",
        "threads",
        "unit",
        "median",
        "min",
        "max",
        "stdev",
        "n",
        "pages",
        "local_pages",
        "version",
        "p50",
        "p90",
        "p99",
    ];

    /// How many columns every table has; the later ones are left out where no row has them.
    pub const ALWAYS: usize = 12;

    /// Makes a row without anything that may be left out.
    #[must_use]
    pub fn new(
        suite: &str,
        case: String,
        runtime: &str,
        threads: usize,
        unit: &str,
        stats: Stats,
    ) -> Self {
        Self {
            suite: suite.to_owned(),
            case,
            runtime: runtime.to_owned(),
            threads,
            unit: unit.to_owned(),
            median: stats.median,
            min: stats.min,
            max: stats.max,
            stdev: stats.stdev,
            n: stats.n,
            pages: None,
            local_pages: None,
            version: None,
            p50: None,
            p90: None,
            p99: None,
        }
    }

    /// Returns the fields as text in the order of [`Row::COLUMNS`]; empty where there is none.
    #[must_use]
    pub fn cells(&self) -> [String; 16] {
        let optional = |count: Option<u64>| count.map_or_else(String::new, |n| n.to_string());
        let value = |value: Option<f64>| value.map_or_else(String::new, |n| n.to_string());
        [
            self.suite.clone(),
            self.case.clone(),
            self.runtime.clone(),
            self.threads.to_string(),
            self.unit.clone(),
            self.median.to_string(),
            self.min.to_string(),
            self.max.to_string(),
            self.stdev.to_string(),
            self.n.to_string(),
            optional(self.pages),
            optional(self.local_pages),
            self.version.clone().unwrap_or_default(),
            value(self.p50),
            value(self.p90),
            value(self.p99),
        ]
    }

    /// Says what contradicts itself in the row; `None` for a sound one.
    ///
    /// A reader of records asks this before it believes them.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        let values = [self.median, self.min, self.max, self.stdev];
        if values.iter().any(|value| !value.is_finite() || *value < 0.0) {
            return Some("a value is negative or not a number".to_owned());
        }
        if !(self.min <= self.median && self.median <= self.max) {
            return Some("min, median and max do not ascend".to_owned());
        }
        if self.n == 0 || self.threads == 0 {
            return Some("nothing was measured: n or threads is 0".to_owned());
        }
        match (self.p50, self.p90, self.p99) {
            (None, None, None) => {}
            (Some(p50), Some(p90), Some(p99)) if 0.0 <= p50 && p50 <= p90 && p90 <= p99 => {}
            _ => return Some("p50, p90 and p99 are not all there, or do not ascend".to_owned()),
        }
        match (self.pages, self.local_pages) {
            (Some(pages), Some(local)) if local > pages => {
                Some(format!("{local} local pages of {pages}"))
            }
            (None, Some(_)) => Some("local_pages without pages".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let stats = Stats { median: 2.0, min: 1.0, max: 4.5, stdev: 0.5, n: 3 };
        Row::new("page-init", "base/1GiB/zero".to_owned(), "serial", 1, "ms", stats)
    }

    #[test]
    fn a_row_leaves_out_the_keys_of_what_it_has_nothing_to_do_with() {
        let json = serde_json::to_value(row()).expect("a row is plain data");
        let expected = serde_json::json!({
            "suite": "page-init", "case": "base/1GiB/zero", "runtime": "serial", "threads": 1,
            "unit": "ms", "median": 2.0, "min": 1.0, "max": 4.5, "stdev": 0.5, "n": 3,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_full_row_has_exactly_the_named_columns_in_order() {
        let row = Row {
            pages: Some(8),
            local_pages: Some(7),
            version: Some("1.12.0".to_owned()),
            p50: Some(2.0),
            p90: Some(3.0),
            p99: Some(4.0),
            ..row()
        };
        let json = serde_json::to_string(&row).expect("a row is plain data");
        let places: Vec<_> =
            Row::COLUMNS.iter().map(|key| json.find(&format!("\"{key}\":"))).collect();
        assert!(places.iter().all(Option::is_some), "{json}");
        assert!(places.is_sorted(), "{json}");
        assert_eq!(json.matches("\":").count(), Row::COLUMNS.len(), "{json}");
        assert_eq!(serde_json::from_str::<Row>(&json).expect("it was just written"), row);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let json = serde_json::to_string(&row()).expect("a row is plain data");
        let json = json.replacen('{', "{\"speed\":1,", 1);
        assert!(serde_json::from_str::<Row>(&json).is_err());
    }

    #[test]
    fn cells_follow_the_columns_and_leave_absent_ones_empty() {
        let cells = row().cells();
        let expected =
            ["page-init", "base/1GiB/zero", "serial", "1", "ms", "2", "1", "4.5", "0.5", "3"];
        assert_eq!(cells[..10], expected);
        assert!(cells[10..].iter().all(String::is_empty), "{cells:?}");
    }

    #[test]
    fn contradictions_are_found() {
        assert_eq!(row().contradiction(), None);
        let wrong = [
            Row { pages: Some(3), local_pages: Some(4), ..row() },
            Row { local_pages: Some(4), ..row() },
            Row { median: 0.5, ..row() },
            Row { stdev: f64::NAN, ..row() },
            Row { n: 0, ..row() },
            Row { p50: Some(1.0), p90: Some(2.0), ..row() },
            Row { p50: Some(3.0), p90: Some(2.0), p99: Some(4.0), ..row() },
        ];
        for row in wrong {
            assert!(row.contradiction().is_some(), "{row:?}");
        }
    }
}
