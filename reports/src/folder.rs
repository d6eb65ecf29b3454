//! The one place of this crate that touches files: a run folder is read, its report is written beside.

use std::{
    fs,
    path::{Path, PathBuf},
};

use recording::Recording;

use crate::{Analysis, ReportError, Summary, analyse, html};

/// Name of the summary in a run folder.
pub const SUMMARY: &str = "summary.json";

/// Name of the report in a run folder.
pub const REPORT: &str = "report.html";

/// Makes `summary.json` and `report.html` of a run folder, anew when they are there.
///
/// # Errors
/// When the folder cannot be read or the files cannot be written.
pub fn write(folder: &Path) -> Result<Summary, ReportError> {
    let recording = Recording::open(folder)?;
    let analysis = analyse(&recording)?;
    replace(&folder.join(SUMMARY), &summary_json(&analysis.summary))?;
    replace(&folder.join(REPORT), &html::page(&recording, &analysis, &raw_files(folder)))?;
    let Analysis { summary, .. } = analysis;
    Ok(summary)
}

/// Run folders of a folder of replications, in order; none in any other.
pub fn replication_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("replication-")))
        .map(|entry| entry.path())
        .filter(|path| path.join("manifest.json").exists())
        .collect();
    folders.sort();
    folders
}

/// The summary as `summary.json` has it.
pub fn summary_json(summary: &Summary) -> String {
    let mut json = serde_json::to_string_pretty(summary).expect("a summary is JSON: its keys are strings");
    json.push('\n');
    json
}

/// Files and folders at the top of a run folder, by name, but for the report itself.
fn raw_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<String> = entries
        .filter_map(|entry| {
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            Some(format!("{}{}", entry.file_name().to_str()?, if folder { "/" } else { "" }))
        })
        .filter(|name| name != REPORT && !name.ends_with(".tmp"))
        .collect();
    files.sort();
    files
}

/// Writes a whole file so that a reader sees all of it or nothing.
pub(crate) fn replace(path: &Path, content: &str) -> Result<(), ReportError> {
    let unfinished = path.with_extension("tmp");
    let written = fs::write(&unfinished, content).and_then(|()| fs::rename(&unfinished, path));
    written.map_err(|source| ReportError::Write { path: path.to_owned(), source })
}
