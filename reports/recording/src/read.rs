//! Reading a run folder back.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::{Event, LatencyStream, Manifest, OperationRecord, Outcome, error::ReadError, hlog, names, text};

/// A run as its folder tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The run folder.
    pub folder: PathBuf,
    /// What was run, on what, when.
    pub manifest: Manifest,
    /// The resolved plan, as it was written.
    pub plan_json: String,
    /// How the run ended; `None`: it did not end by itself, and everything else is what was seen until then.
    pub outcome: Option<Outcome>,
    /// The operations that ended, in the order they did.
    pub operations: Vec<OperationRecord>,
    /// What happened, in the order it was recorded.
    pub events: Vec<Event>,
    /// The time series.
    pub series: Series,
    /// The latency streams by name (`operations/boot`, `rpc/Service.save`).
    pub latency: BTreeMap<String, LatencyStream>,
    /// Files whose last line was torn, relative to the folder; that line is not in the recording.
    pub torn: Vec<String>,
}

/// Points of one metric of one instance: milliseconds from `t = 0`, and the value.
pub type Points = Vec<(f64, f64)>;

/// All time series of a run: metric, then instance, in the order they were recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series(pub BTreeMap<String, BTreeMap<String, Points>>);

impl Series {
    /// The instances of a metric, by name.
    pub fn instances(&self, metric: &str) -> impl Iterator<Item = (&str, &[(f64, f64)])> {
        self.0.get(metric).into_iter().flatten().map(|(instance, points)| (instance.as_str(), points.as_slice()))
    }

    /// The points of one instance; of the only one when its name is empty. Empty when there are none.
    pub fn points(&self, metric: &str, instance: &str) -> &[(f64, f64)] {
        self.0.get(metric).and_then(|instances| instances.get(instance)).map_or(&[], Vec::as_slice)
    }
}

impl Recording {
    /// Reads a run folder.
    ///
    /// A missing `outcome.json` and a torn last line of a file are what a killed run leaves, and are tolerated. So are
    /// fields that this version does not know.
    ///
    /// # Errors
    /// When the folder is no run folder, when one of its files is missing, and when a line is not what its file holds;
    /// the error names file and line.
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        let mut torn = Vec::new();
        let manifest = manifest(folder)?;
        Ok(Self {
            plan_json: read_text(&folder.join(names::PLAN))?,
            outcome: outcome(folder, &mut torn)?,
            operations: json_lines(folder, names::OPERATIONS, &mut torn)?,
            events: json_lines(folder, names::EVENTS, &mut torn)?,
            series: series(folder, &mut torn)?,
            latency: latency(folder, &mut torn)?,
            torn,
            manifest,
            folder: folder.to_owned(),
        })
    }

    /// A latency stream, when anything was recorded in it.
    pub fn stream(&self, name: &str) -> Option<&LatencyStream> {
        self.latency.get(name).filter(|stream| stream.count() > 0)
    }
}

fn manifest(folder: &Path) -> Result<Manifest, ReadError> {
    let path = folder.join(names::MANIFEST);
    if !path.exists() {
        return Err(ReadError::NotARun(folder.to_owned()));
    }
    let text = read_text(&path)?;
    /// The one field that every format of the folder has.
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: u32,
    }
    let Schema { schema } = serde_json::from_str(&text).map_err(malformed_json(&path, 0))?;
    if schema > Manifest::SCHEMA {
        return Err(ReadError::Newer { path, found: schema, known: Manifest::SCHEMA });
    }
    serde_json::from_str(&text).map_err(malformed_json(&path, 0))
}

fn outcome(folder: &Path, torn: &mut Vec<String>) -> Result<Option<Outcome>, ReadError> {
    let path = folder.join(names::OUTCOME);
    if !path.exists() {
        return Ok(None);
    }
    match serde_json::from_str(&read_text(&path)?) {
        Ok(outcome) => Ok(Some(outcome)),
        Err(error) if error.is_eof() => {
            torn.push(names::OUTCOME.to_owned());
            Ok(None)
        }
        Err(error) => Err(malformed_json(&path, 0)(error)),
    }
}

fn json_lines<T: DeserializeOwned>(folder: &Path, name: &str, torn: &mut Vec<String>) -> Result<Vec<T>, ReadError> {
    let path = folder.join(name);
    let text = read_text(&path)?;
    whole_lines(&text, name, torn)
        .enumerate()
        .map(|(index, line)| serde_json::from_str(line).map_err(malformed_json(&path, index)))
        .collect()
}

fn series(folder: &Path, torn: &mut Vec<String>) -> Result<Series, ReadError> {
    let path = folder.join(names::SERIES);
    let text = read_text(&path)?;
    let mut series = Series::default();
    for (index, line) in whole_lines(&text, names::SERIES, torn).enumerate() {
        let malformed = |reason: &str| {
            let reason = format!("{reason}: {line:?}");
            ReadError::Malformed { path: path.clone(), line: index + 1, reason }
        };
        if index == 0 {
            if line != names::SERIES_HEADER {
                return Err(malformed("expected the header t_ms,metric,instance,value"));
            }
            continue;
        }
        let [t_ms, metric, instance, value] = line
            .split(',')
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| malformed("expected four fields, t_ms,metric,instance,value"))?;
        let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        let point = number(t_ms).zip(number(value)).ok_or_else(|| malformed("time and value must be numbers"))?;
        let names = text::decode(metric).zip(text::decode(instance));
        let (metric, instance) = names.ok_or_else(|| malformed("a name is not percent-encoded UTF-8"))?;
        series.0.entry(metric).or_default().entry(instance).or_default().push(point);
    }
    Ok(series)
}

fn latency(folder: &Path, torn: &mut Vec<String>) -> Result<BTreeMap<String, LatencyStream>, ReadError> {
    let root = folder.join(names::LATENCY);
    let mut files = Vec::new();
    if root.exists() {
        list_files(&root, "", &mut files)?;
    }
    files.sort();
    let mut streams = BTreeMap::new();
    for file in files {
        let Some(stream) = text::stream_of_file(&file) else { continue };
        let path = root.join(&file);
        let text = read_text(&path)?;
        let lines = whole_lines(&text, &format!("{}/{file}", names::LATENCY), torn);
        streams.insert(stream, hlog::parse(&path, lines)?);
    }
    Ok(streams)
}

/// Names of all files below a folder, relative to it, with `/`. Names that are not UTF-8 are not the recorder's.
fn list_files(root: &Path, below: &str, files: &mut Vec<String>) -> Result<(), ReadError> {
    let folder = root.join(below);
    let io = |source| ReadError::Io { path: folder.clone(), source };
    for entry in fs::read_dir(&folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type().map_err(io)?.is_dir() {
            list_files(root, &name, files)?;
        } else {
            files.push(name);
        }
    }
    Ok(())
}

/// The lines that end in a newline. What follows the last newline is torn, even where it looks complete: a number may
/// have lost its last digits.
fn whole_lines<'a>(text: &'a str, file: &str, torn: &mut Vec<String>) -> impl Iterator<Item = &'a str> + use<'a> {
    let (whole, rest) = text.rfind('\n').map_or(("", text), |last| text.split_at(last + 1));
    if !rest.is_empty() {
        torn.push(file.to_owned());
    }
    whole.lines()
}

/// Reads a file. Bytes that are not UTF-8 become replacement characters: a line may be torn inside a character, and a
/// whole line with such bytes fails where it is parsed, with its number.
fn read_text(path: &Path) -> Result<String, ReadError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(ReadError::Io { path: path.to_owned(), source: missing_file_hint(source) }),
    }
}

fn missing_file_hint(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound {
        return io::Error::new(error.kind(), "the file is missing; was the run folder copied completely?");
    }
    error
}

/// Line and column of the JSON parser, from the start of a text that begins on line `index` (from 0) of the file.
fn malformed_json(path: &Path, index: usize) -> impl FnOnce(serde_json::Error) -> ReadError {
    let path = path.to_owned();
    move |error| {
        let line = index + error.line().max(1);
        // The parser's own message ends in the position, which counts from its own start.
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or(&message).to_owned();
        ReadError::Malformed { path, line, reason: format!("{reason} (column {})", error.column()) }
    }
}
