//! What is wrong with a config: all of it at once, each with its lines and a hint.
//!
//! It knows places in texts and no key of hygge's.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};

use super::redaction::{redact_and_escape, redact_urls};
pub use super::suggest::closest_match;
use crate::error::{Error, ErrorKind, escape};

/// What the hint begins with that is an example.
const EXAMPLE: &str = "write:\n";

/// How many problems are shown: who has more mends these first.
const MAX_SHOWN: usize = 100;

/// A place in a config file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Which of the config's files.
    pub file: usize,
    /// Bytes before it.
    pub offset: usize,
    /// Bytes in it.
    pub length: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
}

impl Span {
    /// The same place, with its offset counted from its line and column where a parser gave none.
    #[must_use]
    pub fn with_offset_in(self, text: &str) -> Self {
        if self.offset > 0 || self.line == 0 {
            return self;
        }
        let before = text
            .split_inclusive('\n')
            .take(self.line - 1)
            .map(str::len)
            .sum::<usize>();
        let line = text[before..].lines().next().unwrap_or_default();
        Self {
            offset: before
                + line
                    .chars()
                    .take(self.column.saturating_sub(1))
                    .map(char::len_utf8)
                    .sum::<usize>(),
            ..self
        }
    }

    /// A piece of a value that stands at this place: that which begins at a line and a character of
    /// it, from 1, where the value is written as it is; else the whole.
    #[must_use]
    pub fn within(self, source: &str, value: &str, place: (usize, usize, usize)) -> Self {
        let (line, column, length) = place;
        let written = source.get(self.offset..self.offset + self.length);
        let begin = written.and_then(|written| written.find(value));
        let Some(begin) = begin.filter(|_| line == 1) else {
            return self;
        };
        let bytes = |count: usize| -> usize { value.chars().take(count).map(char::len_utf8).sum() };
        let start = bytes(column.saturating_sub(1));
        let before = source[self.offset..self.offset + begin + start]
            .chars()
            .count();
        Self {
            offset: self.offset + begin + start,
            length: (bytes(column.saturating_sub(1) + length) - start).max(1),
            column: self.column + before,
            ..self
        }
    }
}

/// A config file's path and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as it is shown.
    pub path: PathBuf,
    /// What is in it.
    pub text: Arc<str>,
}

/// The files of a config; a [`Span`] counts them from 0.
pub type SourceFiles = Arc<[SourceFile]>;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    message: String,
    labels: Vec<(Span, String)>,
    hint: Option<String>,
}

impl Problem {
    /// A problem at a place; the label stands under the place, and says what was expected.
    pub fn new(at: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: redact_urls(&message.into()),
            labels: vec![(at, redact_urls(&label.into()))],
            hint: None,
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(redact_urls(&hint.into()));
        self
    }

    /// Proposes the known name that a mistyped one most likely meant; without one, says
    /// `otherwise`.
    #[must_use]
    pub fn with_suggestion<'k>(
        self,
        written: &str,
        known: impl Iterator<Item = &'k str>,
        otherwise: Option<String>,
    ) -> Self {
        match (closest_match(written, known), otherwise) {
            (Some(near), _) => self.with_hint(format!("did you mean {near}?")),
            (None, Some(otherwise)) => self.with_hint(otherwise),
            (None, None) => self,
        }
    }

    /// Shows another place that belongs to it.
    #[must_use]
    pub fn with_label(mut self, at: Span, label: impl Into<String>) -> Self {
        self.labels.push((at, redact_urls(&label.into())));
        self
    }

    fn span(&self) -> Span {
        self.labels[0].0
    }

    /// The hint as it is shown: an example has lines, and nothing of others in it.
    fn escaped_hint(&self) -> Option<String> {
        let hint = self.hint.as_deref()?;
        Some(
            if hint.starts_with(EXAMPLE) {
                escape::lines(hint)
            } else {
                escape::line(hint)
            }
            .into_owned(),
        )
    }
}

/// All problems of one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    sources: SourceFiles,
    list: Vec<Problem>,
    noun: &'static str,
}

impl Problems {
    /// No problem yet.
    pub fn new(sources: &SourceFiles) -> Self {
        Self {
            sources: sources.clone(),
            list: Vec::new(),
            noun: "problem",
        }
    }

    /// The same as a list of warnings.
    #[must_use]
    pub fn from_warnings(sources: &SourceFiles, warnings: &[Problem]) -> Self {
        let mut list = warnings.to_vec();
        list.sort_by_key(Problem::span);
        Self {
            sources: sources.clone(),
            list,
            noun: "warning",
        }
    }

    /// No problem of the same files.
    #[must_use]
    pub fn empty_like(&self) -> Self {
        Self::new(&self.sources)
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// True where nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The value, if there was no problem.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.list.is_empty() {
            Ok(value)
        } else {
            Err(self.sorted())
        }
    }

    /// Takes in the problems of another list.
    pub fn append(&mut self, others: Self) {
        self.list.extend(others.list);
    }

    /// In the order of the files; what is wrong in a default that many flows have is said once.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        let mut seen = HashSet::new();
        self.list
            .retain(|problem| seen.insert(problem.labels.clone()));
        self.list.sort_by_key(Problem::span);
        self
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Each problem as an object of JSON: message, hint, and the places with their labels.
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        let place = |(at, label): &(Span, String)| serde_json::json!({ "file": self.source(*at).path, "line": at.line.max(1), "column": at.column.max(1), "label": label });
        let each = |problem: &Problem| {
            let places: Vec<_> = problem.labels.iter().map(place).collect();
            serde_json::json!({ "message": problem.message, "hint": problem.hint, "places": places })
        };
        self.list.iter().map(each).collect()
    }

    /// The file of a place.
    pub fn source(&self, at: Span) -> &SourceFile {
        &self.sources[at.file.min(self.sources.len() - 1)]
    }

    /// `file:line:column`, as editors and terminals know to open.
    fn location(&self, at: Span) -> String {
        let path = self.source(at).path.display().to_string();
        format!(
            "{}:{}:{}",
            escape::line(&path),
            at.line.max(1),
            at.column.max(1)
        )
    }

    /// Shows one problem: its place and message, the lines of each file, the hint.
    fn show(&self, problem: &Problem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {}",
            self.location(problem.span()),
            escape::line(&problem.message)
        )?;
        let mut files: Vec<usize> = problem.labels.iter().map(|(at, _)| at.file).collect();
        files.dedup();
        let mut shown = HashSet::new();
        files.retain(|file| shown.insert(*file));
        for (number, file) in files.iter().enumerate() {
            let is_last = number + 1 == files.len();
            self.show_lines(problem, *file, is_last, f)?;
        }
        Ok(())
    }

    fn show_lines(
        &self,
        problem: &Problem,
        file: usize,
        with_hint: bool,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let text = &self.sources[file.min(self.sources.len() - 1)].text;
        let labels = problem.labels.iter().filter(|(at, _)| at.file == file);
        if labels
            .clone()
            .any(|(at, _)| lines_around(text, at.offset).any(|line| line.len() > MAX_LINE_WIDTH))
        {
            return self.show_excerpts(
                text,
                labels,
                problem.escaped_hint().filter(|_| with_hint).as_deref(),
                f,
            );
        }
        let labels = problem
            .labels
            .iter()
            .filter(|(at, _)| at.file == file)
            .enumerate()
            .map(|(number, (at, label))| {
                let span = (at.offset, at.length.max(1));
                if number == 0 {
                    LabeledSpan::new_primary_with_span(Some(escape::line(label).into_owned()), span)
                } else {
                    LabeledSpan::new_with_span(Some(escape::line(label).into_owned()), span)
                }
            });
        let mut diagnostic =
            MietteDiagnostic::new(escape::line(&problem.message)).with_labels(labels);
        diagnostic.help = problem.escaped_hint().filter(|_| with_hint);
        let source = &self.sources[file.min(self.sources.len() - 1)];
        // The text ends with a line end, so that a place behind its last character has a line.
        let text = format!("{}\n", redact_and_escape(&source.text));
        let report = Report::new(diagnostic).with_source_code(NamedSource::new("", text));
        let theme = GraphicalTheme::unicode_nocolor();
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(100)
            .with_links(false)
            .with_context_lines(1);
        let mut shown = String::new();
        handler.render_report(&mut shown, report.as_ref())?;
        // The message stands above, behind its place: what follows is the lines and the hint.
        let lines = shown
            .lines()
            .skip_while(|line| !line.contains("╭─"))
            .filter(|line| !line.trim().is_empty());
        let first = problem
            .labels
            .iter()
            .map(|(at, _)| *at)
            .find(|at| at.file == file)
            .unwrap_or_default();
        for line in lines {
            match line.split_once("╭─[") {
                // Columns are counted in characters, as in the line above.
                Some((before, _)) => writeln!(f, "{before}╭─[{}]", self.location(first))?,
                None => writeln!(f, "{}", line.trim_end())?,
            }
        }
        Ok(())
    }
}

impl Problems {
    /// What stands around each place, of lines that are too long for any screen.
    fn show_excerpts<'p>(
        &self,
        text: &str,
        labels: impl Iterator<Item = &'p (Span, String)>,
        hint: Option<&str>,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let text = &redact_urls(text);
        for (at, label) in labels {
            let begin = text.floor_char_boundary(at.offset.min(text.len()));
            let before = text[..begin].rsplit('\n').next().unwrap_or_default();
            let before: String = before
                .chars()
                .rev()
                .take(40)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            let line = text[begin..].lines().next().unwrap_or_default();
            let inside = text
                .floor_char_boundary((at.offset + at.length).min(text.len()))
                .saturating_sub(begin);
            let marked = line
                .get(..inside.min(line.len()))
                .unwrap_or(line)
                .chars()
                .take(40)
                .count()
                .max(1);
            let after: String = line.chars().take(40).collect();
            writeln!(f, "   ╭─[{}]", self.location(*at))?;
            writeln!(
                f,
                " {} │ ...{}",
                at.line.max(1),
                redact_and_escape(&format!("{before}{after}..."))
            )?;
            let margin = " ".repeat(at.line.max(1).to_string().len() + before.chars().count() + 5);
            writeln!(f, "{margin} {}", "─".repeat(marked))?;
            writeln!(f, "{margin} ╰── {}", escape::line(label))?;
            writeln!(f, "   ╰────")?;
        }
        hint.map_or(Ok(()), |hint| writeln!(f, "  help: {hint}"))
    }
}

/// The line of a place, the one before and the one behind.
fn lines_around(text: &str, offset: usize) -> impl Iterator<Item = &str> {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let (before, behind) = text.split_at(offset);
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    let from = text[..line.saturating_sub(1)]
        .rfind('\n')
        .map_or(0, |end| end + 1);
    let to = behind
        .match_indices('\n')
        .nth(1)
        .map_or(text.len(), |(end, _)| offset + end);
    text[from..to].lines()
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.list.iter().take(MAX_SHOWN).enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            self.show(problem, f)?;
        }
        let unseen = self.list.len().saturating_sub(MAX_SHOWN);
        if unseen > 0 {
            writeln!(f, "\nand {unseen} more")?;
        }
        let files: HashSet<usize> = self
            .list
            .iter()
            .map(|problem| problem.span().file)
            .collect();
        let noun = self.noun;
        let count = if self.list.len() == 1 {
            format!("1 {noun}")
        } else {
            format!("{} {noun}s", self.list.len())
        };
        match self.list.first() {
            Some(first) if files.len() == 1 => {
                write!(
                    f,
                    "{count} in {}",
                    escape::line(&self.source(first.span()).path.display().to_string())
                )
            }
            _ => write!(f, "{count} in {} files", files.len()),
        }
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::new(ErrorKind::Config, problems)
    }
}

/// How long a line is shown.
const MAX_LINE_WIDTH: usize = 400;
