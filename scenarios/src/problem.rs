//! What is wrong with a scenario, shown where it stands.

use std::{fmt, ops::Range};

use serde::Serialize;

/// A scenario as text, with the name that its errors carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the file, as the user knows it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What stands in the place of a file name when an override is wrong.
const SET: &str = "--set";

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Name of the file; `--set` for an override.
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, in characters, from 1.
    pub column: usize,
    /// Dotted path of the key, where there is one: `load.boot.rate`.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The line as it was written.
    pub excerpt: String,
    /// How many characters of the line are meant.
    pub width: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_deref().map(|key| format!("{key}: ")).unwrap_or_default();
        writeln!(f, "error: {key}{}", self.message)?;
        let number = if self.file == SET { String::new() } else { self.line.to_string() };
        let margin = " ".repeat(number.len().max(1));
        match number.as_str() {
            "" => writeln!(f, "{margin}--> {SET}, column {}", self.column)?,
            line => writeln!(f, "{margin}--> {}:{line}:{}", self.file, self.column)?,
        }
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number:>1} | {}", self.excerpt)?;
        // Tabs stay tabs, so that the carets stand below what they point at on every terminal.
        let indent: String =
            self.excerpt.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{margin} | {indent}{}", "^".repeat(self.width))?;
        if let Some(help) = &self.help {
            writeln!(f, "{margin} = help: {help}")?;
        }
        Ok(())
    }
}

/// All that is wrong with a scenario, in the order it stands there; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Errors(Vec<Problem>);

impl Errors {
    /// The problems, first to last.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let count = self.0.len();
        write!(f, "{count} error{} in the scenario", if count == 1 { "" } else { "s" })
    }
}

/// A place in what was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// 0: the file; n: the n-th `--set`.
    origin: usize,
    start: usize,
    end: usize,
}

impl Place {
    pub(crate) fn in_file(span: Range<usize>) -> Self {
        Self { origin: 0, start: span.start, end: span.end }
    }

    pub(crate) fn in_set(index: usize, span: Range<usize>) -> Self {
        Self { origin: index + 1, start: span.start, end: span.end }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.origin > 0
    }
}

/// What is wrong with a value, before it is known where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Complaint {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()) }
    }
}

/// The texts of a scenario and what was found wrong in them so far.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    file: &'a Source,
    sets: &'a [String],
    found: Vec<(Place, Problem)>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(file: &'a Source, sets: &'a [String]) -> Self {
        Self { file, sets, found: Vec::new() }
    }

    /// The text that stands at a place.
    pub(crate) fn slice(&self, place: &Place) -> &'a str {
        self.text(place).get(place.start..place.end).unwrap_or_default()
    }

    fn text(&self, place: &Place) -> &'a str {
        match place.origin {
            0 => &self.file.text,
            set => &self.sets[set - 1],
        }
    }

    pub(crate) fn complain(&mut self, place: &Place, key: &str, complaint: Complaint) {
        let text = self.text(place);
        let start = floor_boundary(text, place.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[line_start..].find('\n').map_or(text.len(), |at| line_start + at);
        let end = floor_boundary(text, place.end).clamp(start, line_end.max(start));
        let problem = Problem {
            file: if place.is_set() { SET.to_owned() } else { self.file.name.clone() },
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            key: (!key.is_empty()).then(|| key.to_owned()),
            message: complaint.message,
            help: complaint.help,
            excerpt: text[line_start..line_end].trim_end().to_owned(),
            width: text[start..end].chars().count().max(1),
        };
        if !self.found.iter().any(|(_, other)| *other == problem) {
            self.found.push((place.clone(), problem));
        }
    }

    /// Says what was found wrong so far, and forgets it.
    ///
    /// # Errors
    /// When anything was.
    pub(crate) fn verdict(&mut self) -> Result<(), Errors> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by(|a, b| a.0.cmp(&b.0));
        Err(Errors(self.found.drain(..).map(|(_, problem)| problem).collect()))
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
