//! What a benchmark leaves in files: records of rows, and a plot.

use std::path::PathBuf;

use anyhow::Context;
use firsttouch_benches::Row;

use super::place::Place;

/// Options that name files to write to.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// Write the rows to this file as one JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the rows to this file as comma-separated values.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Draw what was measured into this file, as SVG.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// The files of a command, found to be writable before anything is measured.
#[derive(Debug)]
pub(crate) struct Outputs {
    records: Vec<(Place, Format)>,
    plot: Option<Place>,
}

/// The form of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// One array of objects.
    Json,
    /// A line of column names, then a line per row.
    Csv,
}

impl Outputs {
    /// Prepares the files, no two of which may be the same.
    pub(crate) fn prepare(files: &Files) -> anyhow::Result<Self> {
        let named = [("--json", &files.json), ("--csv", &files.csv), ("--plot", &files.plot)];
        let mut places: Vec<(&str, Place)> = Vec::new();
        for (option, file) in named {
            let Some(file) = file else { continue };
            let place = Place::prepare(file)?;
            if let Some((other, _)) = places.iter().find(|(_, other)| other.replaces(&place)) {
                anyhow::bail!(
                    "{other} and {option} name the same file, of which one would be lost; name two"
                );
            }
            places.push((option, place));
        }
        let mut outputs = Self { records: Vec::new(), plot: None };
        for (option, place) in places {
            match option {
                "--json" => outputs.records.push((place, Format::Json)),
                "--csv" => outputs.records.push((place, Format::Csv)),
                _ => outputs.plot = Some(place),
            }
        }
        Ok(outputs)
    }

    /// Writes what was asked for; the plot is drawn only where it is wanted.
    pub(crate) fn write(
        self,
        rows: &[Row],
        draw: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        for (place, format) in self.records {
            place.write(&format.text(rows)?)?;
        }
        match self.plot {
            Some(place) => place.write(draw()?.as_bytes()),
            None => Ok(()),
        }
    }
}

impl Format {
    fn text(self, rows: &[Row]) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Json => {
                let mut text = serde_json::to_vec_pretty(rows)?;
                text.push(b'\n');
                Ok(text)
            }
            Self::Csv => {
                let mut writer = csv::Writer::from_writer(Vec::new());
                let cells: Vec<_> = rows.iter().map(Row::cells).collect();
                let filled = |column: usize| cells.iter().any(|row| !row[column].is_empty());
                let columns: Vec<_> = (0..Row::COLUMNS.len())
                    .filter(|&column| column < Row::ALWAYS || filled(column))
                    .collect();
                writer.write_record(columns.iter().map(|&column| Row::COLUMNS[column]))?;
                for row in &cells {
                    writer.write_record(columns.iter().map(|&column| &row[column]))?;
                }
                writer.into_inner().context("a record kept in memory is always written")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use firsttouch_benches::Stats;

    use super::*;

    fn rows() -> Vec<Row> {
        let stats = Stats::of([1.5, 2.5]).expect("there are values");
        let row = Row::new("page-init", "base/1GiB/zero".to_owned(), "serial", 1, "ms", stats);
        vec![row.clone(), Row { pages: Some(4), local_pages: Some(3), ..row }]
    }

    fn files(json: Option<PathBuf>, plot: Option<PathBuf>) -> Files {
        Files { json, csv: None, plot }
    }

    #[test]
    fn json_is_one_array_that_reads_back_as_the_same_rows() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("rows.json");
        let outputs = Outputs::prepare(&files(Some(file.clone()), None)).expect("room");
        outputs.write(&rows(), || unreachable!("no plot is wanted")).expect("room");
        let text = fs::read_to_string(&file).expect("it was just written");
        assert!(text.starts_with('[') && text.ends_with("]\n"), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Row>>(&text).expect("it is JSON"), rows());
    }

    #[test]
    fn csv_has_a_line_of_columns_and_one_per_row() {
        let text = Format::Csv.text(&rows()).expect("rows are plain data");
        let expected = "suite,case,runtime,threads,unit,median,min,max,stdev,n,pages,local_pages\n\
                        page-init,base/1GiB/zero,serial,1,ms,2,1.5,2.5,0.7071067811865476,2,,\n\
                        page-init,base/1GiB/zero,serial,1,ms,2,1.5,2.5,0.7071067811865476,2,4,3\n";
        assert_eq!(String::from_utf8(text).expect("it is text"), expected);
    }

    #[test]
    fn csv_has_later_columns_where_a_row_has_them() {
        let [first, _] = rows().try_into().expect("there are two rows");
        let row = Row { version: Some("1.12.0".to_owned()), ..first.clone() };
        let text = Format::Csv.text(&[row, first]).expect("rows are plain data");
        let text = String::from_utf8(text).expect("it is text");
        let ends: Vec<_> = text.lines().filter_map(|line| line.rsplit(',').next()).collect();
        assert_eq!(ends, ["version", "1.12.0", ""]);
    }

    #[test]
    fn a_plot_is_drawn_where_it_is_wanted_and_never_into_a_record() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("rows");
        let outputs = Outputs::prepare(&files(None, Some(file.clone()))).expect("room");
        outputs.write(&rows(), || Ok("<svg/>".to_owned())).expect("room");
        assert_eq!(fs::read_to_string(&file).expect("it was just written"), "<svg/>");
        let error = Outputs::prepare(&files(Some(file.clone()), Some(file))).expect_err("one file");
        assert!(error.to_string().starts_with("--json and --plot name the same"), "{error}");
    }
}
