//! Records: rows in a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use firsttouch_benches::Row;
use tempfile::NamedTempFile;

/// The form of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One array of objects.
    Json,
    /// A line of column names, then a line per row.
    Csv,
}

/// A file that will hold rows once there are some.
#[derive(Debug)]
pub(crate) struct Record {
    /// No symbolic link, where it is replaced: a link stays, and what it leads to is replaced.
    file: PathBuf,
    format: Format,
    way: Way,
}

/// How rows get into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A new file takes the place of an old one.
    Replace,
    /// A device or a pipe is written to; no file must take its place.
    Open,
    /// It is standard output, wherever that goes, and may be a file that holds the table already.
    Print,
}

impl Record {
    /// Prepares the files that a command was given, which must be two.
    pub(crate) fn prepare_both(
        json: Option<&Path>,
        csv: Option<&Path>,
    ) -> anyhow::Result<(Option<Self>, Option<Self>)> {
        let json = json.map(|file| Self::prepare(file, Format::Json)).transpose()?;
        let csv = csv.map(|file| Self::prepare(file, Format::Csv)).transpose()?;
        if let (Some(json), Some(csv)) = (&json, &csv) {
            ensure!(
                !json.replaces(csv),
                "--json and --csv name the same file, of which one record would be lost; name two"
            );
        }
        Ok((json, csv))
    }

    /// Checks that the file can be written, and leaves it as it is.
    pub(crate) fn prepare(file: &Path, format: Format) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write to {}", file.display());
        let way = Way::to(file);
        match way {
            Way::Print => Ok(Self { file: file.to_owned(), format, way }),
            Way::Open => {
                OpenOptions::new().write(true).open(file).with_context(cannot)?;
                Ok(Self { file: file.to_owned(), format, way })
            }
            Way::Replace => {
                ensure!(!file.is_dir(), "{}: it is a folder", cannot());
                let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
                // A file that is made and removed again: nothing stays behind if the command is stopped.
                temporary_beside(&file).with_context(cannot)?;
                Ok(Self { file, format, way })
            }
        }
    }

    /// Whether one of the two records would take the place of the other.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        let place = |record: &Self| {
            let folder = fs::canonicalize(folder_of(&record.file)).ok()?;
            Some((folder, record.file.file_name()?.to_owned()))
        };
        self.way == Way::Replace && other.way == Way::Replace && place(self) == place(other)
    }

    /// Writes the rows, all or none: a reader never sees half a record.
    pub(crate) fn write(self, rows: &[Row]) -> anyhow::Result<()> {
        let cannot = || format!("cannot write to {}", self.file.display());
        let text = self.format.text(rows)?;
        match self.way {
            Way::Print => {
                let mut out = io::stdout().lock();
                out.write_all(&text).and_then(|()| out.flush()).with_context(cannot)?;
            }
            Way::Open => fs::write(&self.file, text).with_context(cannot)?,
            Way::Replace => {
                let mut temporary = temporary_beside(&self.file).with_context(cannot)?;
                temporary.write_all(&text).with_context(cannot)?;
                temporary.persist(&self.file).with_context(cannot)?;
            }
        }
        Ok(())
    }
}

impl Way {
    fn to(file: &Path) -> Self {
        let Ok(found) = fs::metadata(file) else { return Self::Replace };
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let stdout = stdout.and_then(|stdout| stdout.metadata());
        if stdout.is_ok_and(|stdout| (stdout.dev(), stdout.ino()) == (found.dev(), found.ino())) {
            return Self::Print;
        }
        if found.is_file() || found.is_dir() { Self::Replace } else { Self::Open }
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary_beside(file: &Path) -> io::Result<NamedTempFile> {
    // What the user's mask lets a new file have, as for any other output.
    let permissions = fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().permissions(permissions).tempfile_in(folder_of(file))
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
    use firsttouch_benches::Stats;

    use super::*;

    fn rows() -> Vec<Row> {
        let stats = Stats::of([1.5, 2.5]).expect("there are values");
        let row = Row::new("page-init", "base/1GiB/zero".to_owned(), "serial", 1, "ms", stats);
        vec![row.clone(), Row { pages: Some(4), local_pages: Some(3), ..row }]
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder can be made")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        entries
            .map(|entry| {
                entry.expect("it can be listed").file_name().to_string_lossy().into_owned()
            })
            .collect()
    }

    #[test]
    fn json_is_one_array_that_reads_back_as_the_same_rows() {
        let folder = folder();
        let file = folder.path().join("rows.json");
        Record::prepare(&file, Format::Json)
            .and_then(|record| record.write(&rows()))
            .expect("room");
        let text = fs::read_to_string(&file).expect("it was just written");
        assert!(text.starts_with('[') && text.ends_with("]\n"), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Row>>(&text).expect("it is JSON"), rows());
        assert_eq!(names(folder.path()), ["rows.json"]);
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
    fn preparing_leaves_the_folder_and_an_old_record_as_they_were() {
        let folder = folder();
        let file = folder.path().join("rows.csv");
        Record::prepare(&file, Format::Csv).expect("the folder can be written");
        assert!(names(folder.path()).is_empty());
        fs::write(&file, "old").expect("the folder can be written");
        Record::prepare(&file, Format::Csv).expect("the folder can be written");
        assert_eq!(fs::read_to_string(&file).expect("it was just written"), "old");
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let folder = folder();
        let (file, link) = (folder.path().join("rows.csv"), folder.path().join("latest"));
        fs::write(&file, "old").expect("the folder can be written");
        std::os::unix::fs::symlink(&file, &link).expect("the folder can be written");
        Record::prepare(&link, Format::Csv).and_then(|record| record.write(&rows())).expect("room");
        assert!(fs::symlink_metadata(&link).expect("it is still there").is_symlink());
        let text = fs::read_to_string(&file).expect("it was just written");
        assert!(text.starts_with("suite,case,"), "{text}");
    }

    #[test]
    fn standard_output_and_devices_are_never_replaced() {
        let way = |file: &str| {
            Record::prepare(Path::new(file), Format::Csv).expect("every Linux has it").way
        };
        assert_eq!(way("/dev/stdout"), Way::Print);
        assert_ne!(way("/dev/null"), Way::Replace);
        assert_eq!(Way::to(Path::new("/dev/zero")), Way::Open);
    }

    #[test]
    fn only_records_in_one_place_replace_each_other() {
        let folder = folder();
        let record = |name: &str| {
            Record::prepare(&folder.path().join(name), Format::Json).expect("the folder is there")
        };
        assert!(record("a").replaces(&record("./a")));
        assert!(!record("a").replaces(&record("b")));
        fs::write(folder.path().join("a"), "old").expect("the folder can be written");
        std::os::unix::fs::symlink("a", folder.path().join("b")).expect("as above");
        assert!(record("a").replaces(&record("b")));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_refused_at_once() {
        let folder = folder();
        let refused = [folder.path().to_owned(), folder.path().join("missing/rows.json")];
        for file in refused {
            let error = Record::prepare(&file, Format::Json).expect_err("nothing can be there");
            assert!(error.to_string().starts_with("cannot write to"), "{error:#}");
        }
    }
}
