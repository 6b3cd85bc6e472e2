//! What is wrong with a config: all of it at once, each with its lines and a hint.
//!
//! It knows places in a text and no key of hygge's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report};

use crate::error::{Error, ErrorKind};

/// A place in a config file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
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
    pub fn within(self, text: &str) -> Self {
        if self.offset > 0 || self.line == 0 {
            return self;
        }
        let before = text.split_inclusive('\n').take(self.line - 1).map(str::len).sum::<usize>();
        let line = text[before..].lines().next().unwrap_or_default();
        Self { offset: before + line.chars().take(self.column.saturating_sub(1)).map(char::len_utf8).sum::<usize>(), ..self }
    }
}

/// A config file's path and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as it is shown.
    pub path: PathBuf,
    /// What is in it.
    pub text: Arc<str>,
}

impl Source {
    /// `file:line:column`, as editors and terminals know to open.
    pub fn place(&self, at: Span) -> String {
        format!("{}:{}:{}", self.path.display(), at.line.max(1), at.column.max(1))
    }
}

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
        Self { message: message.into(), labels: vec![(at, label.into())], hint: None }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Shows another place that belongs to it.
    #[must_use]
    pub fn also(mut self, at: Span, label: impl Into<String>) -> Self {
        self.labels.push((at, label.into()));
        self
    }

    fn at(&self) -> Span {
        self.labels[0].0
    }
}

/// All problems of one config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    source: Source,
    list: Vec<Problem>,
}

impl Problems {
    /// No problem yet.
    pub fn new(source: &Source) -> Self {
        Self { source: source.clone(), list: Vec::new() }
    }

    /// Just this one.
    pub fn one(source: &Source, problem: Problem) -> Self {
        Self { source: source.clone(), list: vec![problem] }
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// The value, if there was no problem.
    pub fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.list.is_empty() {
            return Ok(value);
        }
        self.list.sort_by_key(|problem| problem.at().offset);
        Err(self)
    }

    /// The config file's path as it is shown.
    pub fn path(&self) -> &Path {
        &self.source.path
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.list.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let place = self.source.place(problem.at());
            writeln!(f, "{place}: {}", problem.message)?;
            let labels = problem.labels.iter().enumerate().map(|(number, (at, label))| {
                let label = LabeledSpan::new(Some(label.clone()), at.offset, at.length.max(1));
                if number == 0 { LabeledSpan::new_primary_with_span(label.label().map(Into::into), *label.inner()) } else { label }
            });
            let mut diagnostic = MietteDiagnostic::new(problem.message.clone()).with_labels(labels);
            diagnostic.help.clone_from(&problem.hint);
            // The text ends with a line end, so that a place behind its last character has a line.
            let text = format!("{}\n", self.source.text);
            let name = self.source.path.display().to_string();
            let report = Report::new(diagnostic).with_source_code(NamedSource::new(name, text));
            let theme = GraphicalTheme::unicode_nocolor();
            let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false).with_context_lines(1);
            let mut shown = String::new();
            handler.render_report(&mut shown, report.as_ref())?;
            // The message stands above, behind its place: what follows is the lines and the hint.
            let lines = shown.lines().skip_while(|line| !line.contains("╭─")).filter(|line| !line.trim().is_empty());
            for line in lines {
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        let more = if self.list.len() == 1 { "1 problem".into() } else { format!("{} problems", self.list.len()) };
        write!(f, "{more} in {}", self.source.path.display())
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::new(ErrorKind::Config, problems)
    }
}
