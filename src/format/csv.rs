//! CSV, as a home: texts in lines, of which the config says what else they are.
//!
//! A value is of the type that `types` gives its column, exactly, or an error with its line. Columns
//! that it does not name have the type that all of their values are of ([`facts`]), else they are
//! texts. How many rows a file has, only reading it tells.

mod decode;
mod facts;
mod records;
mod source;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::datetime;
use jiff::fmt::strtime;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::batch::RecordBatch;
use super::canonical_schema::{leaves, write_field};
use super::inference::{FactsOf, FileFacts, InferredType, InferredTypes};
use super::sniff::{SNIFF_LEN, sniff_beside_text};
use super::{
    FileColumn, Format, FormatError, Layout, OpenFile, PartPieces, Passthrough, Reader, Writer,
};
use crate::config::block_reader::read_block;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};
use crate::config::value_types::{BoundedNumber, StringList};
use crate::config::{Settings, listing};
use crate::connection::types::{ColumnType, SIMPLE_TYPES, read_types};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::shape::check_text_castable;

use records::{Record, RecordReader};
use source::Encoding;
use values::{ValueForms, parse_moment};

/// What errors call it.
const NAME: &str = "CSV";

/// The word for fields that never stand in quotes.
const NO_QUOTE: &str = "none";

/// What a home of CSV may say besides what all files have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "csv", deny_unknown_fields)]
pub struct CsvHomeFields {
    /// The character between fields.
    #[schemars(example = &";", extend("x-default" = "what the first record has: a comma, a semicolon, a tab or a bar"))]
    delimiter: Option<String>,
    /// The character around fields that have delimiters or ends of lines in them, where it is written twice; `none` where fields never stand in quotes.
    #[schemars(example = &"none", extend("default" = "\""))]
    quote: Option<String>,
    /// True where the first line has the names of the columns; else they are `column_1`, `column_2` and so on.
    #[schemars(example = false, extend("default" = true))]
    header: Option<bool>,
    /// How letters are written as bytes. Where a file begins with the mark of UTF-8 or UTF-16, it is that.
    #[schemars(example = &"latin1", extend("default" = "utf8"))]
    encoding: Option<Encoding>,
    /// How many lines before the header, or the first record, are passed over.
    #[schemars(example = 3, extend("default" = 0))]
    skip_rows: Option<BoundedNumber<0, 1_000_000>>,
    /// The character with which lines begin that are passed over.
    #[schemars(example = &"#", extend("x-default" = "none"))]
    comment: Option<String>,
    /// True where blanks and tabs around a field, or around its quotes, are no part of it.
    #[schemars(example = true, extend("default" = false))]
    trim: Option<bool>,
    /// What is null besides a field on which nothing stands. In a column of texts a field in quotes is never null.
    #[schemars(example = json!(["NA", "n/a"]), extend("x-default" = "nothing else"))]
    null_values: Option<StringList>,
    /// What is true in a boolean column, besides `true`.
    #[schemars(example = json!(["yes", "ja"]), extend("x-default" = "nothing else"))]
    true_values: Option<StringList>,
    /// What is false in a boolean column, besides `false`.
    #[schemars(example = json!(["no", "nein"]), extend("x-default" = "nothing else"))]
    false_values: Option<StringList>,
    /// True where a comma stands before the fraction of numbers, and no point.
    #[schemars(example = true, extend("default" = false))]
    decimal_comma: Option<bool>,
    /// The character that may stand between the thousands of numbers.
    #[schemars(example = &".", extend("x-default" = "none"))]
    thousands: Option<String>,
    /// How days and timestamps without a zone are written, by the directives of `strftime`; a text that two of them read as two moments is an error.
    #[schemars(example = json!(["%d.%m.%Y"]), extend("x-default" = "`2026-01-31`, `2026-01-31 12:00:00`"))]
    date_formats: Option<StringList>,
    /// Types of columns.
    #[schemars(example = json!({ "id": "int64", "total": "decimal(12,2)" }), extend("x-default" = "what all of its values are", "x-type" = "map of types"))]
    types: Option<BTreeMap<String, String>>,
    /// False where columns that `types` does not name are texts.
    #[schemars(example = false, extend("default" = true))]
    infer: Option<bool>,
}

/// How files are written, and what their columns are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CsvOptions {
    /// `None` where each file says it.
    delimiter: Option<u8>,
    quote: Option<u8>,
    has_header: bool,
    encoding: Encoding,
    skip_rows: u64,
    comment: Option<u8>,
    trims: bool,
    null_values: Vec<String>,
    forms: ValueForms,
    types: BTreeMap<String, ColumnType>,
    infers: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: None,
            quote: Some(b'"'),
            has_header: true,
            encoding: Encoding::default(),
            skip_rows: 0,
            comment: None,
            trims: false,
            null_values: Vec::new(),
            forms: ValueForms::default(),
            types: BTreeMap::new(),
            infers: true,
        }
    }
}

impl CsvOptions {
    /// True for what is null outside of quotes.
    fn is_null(&self, text: &str) -> bool {
        text.is_empty() || self.null_values.iter().any(|null| null == text)
    }
}

/// CSV.
#[derive(Clone, Debug, Default)]
pub struct Csv {
    options: CsvOptions,
    /// Types of columns that were found in their values.
    inferred: Arc<InferredTypes>,
}

impl Csv {
    /// Reads the options of a home's block.
    pub fn from_block(node: &Node, name: &str, problems: &mut Problems) -> Option<Self> {
        let fields: CsvHomeFields = read_block(node, name, &[], problems)?;
        let default = CsvOptions::default();
        let mut is_sound = true;
        let mut sign = |key: &str, text: Option<String>| {
            let text = text?;
            let is_sign = |byte: u8| byte.is_ascii() && !b"\0\r\n".contains(&byte);
            if let [byte] = text.as_bytes()
                && is_sign(*byte)
            {
                return Some(*byte);
            }
            let message = format!("{key} of {name} is {text:?}");
            let problem = Problem::new(node.span_of(key), message, "expected one ASCII character");
            problems.push(problem.with_hint("a tab is written \"\\t\""));
            is_sound = false;
            None
        };
        let delimiter = sign("delimiter", fields.delimiter);
        let quote = match fields.quote.as_deref() {
            Some(NO_QUOTE) => None,
            _ => sign("quote", fields.quote).or(default.quote),
        };
        let comment = sign("comment", fields.comment);
        let thousands = sign("thousands", fields.thousands);
        let signs = [delimiter, quote, comment].into_iter().flatten();
        if signs.clone().count() > signs.collect::<BTreeSet<_>>().len() {
            let message = format!("delimiter, quote and comment of {name} are not all different");
            problems.push(Problem::new(
                node.span_of("delimiter"),
                message,
                "expected different characters",
            ));
            is_sound = false;
        }
        let has_decimal_comma = fields.decimal_comma.unwrap_or_default();
        let point = if has_decimal_comma { b',' } else { b'.' };
        if thousands.is_some_and(|mark| {
            mark == point || mark.is_ascii_alphanumeric() || b"+-".contains(&mark)
        }) {
            let message = format!("thousands of {name} is what numbers have elsewhere");
            let problem = Problem::new(
                node.span_of("thousands"),
                message,
                "expected another character",
            );
            problems.push(problem.with_hint("decimal_comma: true makes a comma stand before the fraction, and thousands a point"));
            is_sound = false;
        }
        let date_formats = fields
            .date_formats
            .map(|formats| formats.0)
            .unwrap_or_default();
        for format in &date_formats {
            let day = datetime(2024, 2, 29, 0, 0, 0, 0);
            let written = strtime::format(format, day).ok();
            let read = written.and_then(|text| parse_moment(format, &text));
            if read != Some(day) {
                let message =
                    format!("date_formats of {name} has {format:?}, by which no day is read");
                let problem = Problem::new(
                    node.span_of("date_formats"),
                    message,
                    "expected directives of a year, a month and a day",
                );
                problems.push(
                    problem.with_hint("%d.%m.%Y reads 31.01.2026, and %Y%m%d %H:%M 20260131 12:00"),
                );
                is_sound = false;
            }
        }
        let words_of = |words: &Option<StringList>, own: &str| {
            let words = words.iter().flat_map(|words| &words.0);
            words
                .map(|word| word.to_lowercase())
                .chain([own.to_string()])
                .collect::<BTreeSet<_>>()
        };
        let truths = words_of(&fields.true_values, "true");
        if let Some(both) = truths
            .intersection(&words_of(&fields.false_values, "false"))
            .next()
        {
            let message =
                format!("{both:?} is true and false by true_values and false_values of {name}");
            problems.push(Problem::new(
                node.at,
                message,
                "expected other words for each",
            ));
            is_sound = false;
        }
        let list = |words: Option<StringList>| words.map(|words| words.0).unwrap_or_default();
        let words = SIMPLE_TYPES.iter().map(|(word, _)| *word);
        let words = words.chain(["decimal(12,2)"]);
        let types = read_types(fields.types, (node, "types"), name, words, problems)?;
        for (column, kind) in &types {
            if let Err(reason) = check_text_castable(&kind.to_arrow()) {
                let at = node.get("types");
                let at = at.map_or(node.at, |types| types.span_of(column));
                let message = format!("types of {name} gives the column {column} the type {kind}");
                let problem = Problem::new(at, message, "expected a type whose values are texts");
                problems.push(problem.with_hint(reason));
                is_sound = false;
            }
        }
        is_sound.then(|| Self {
            inferred: Arc::default(),
            options: CsvOptions {
                delimiter,
                quote,
                has_header: fields.header.unwrap_or(default.has_header),
                encoding: fields.encoding.unwrap_or_default(),
                skip_rows: fields.skip_rows.map_or(0, |rows| rows.0),
                comment,
                trims: fields.trim.unwrap_or_default(),
                null_values: list(fields.null_values),
                forms: ValueForms {
                    true_values: list(fields.true_values),
                    false_values: list(fields.false_values),
                    has_decimal_comma,
                    thousands,
                    date_formats,
                },
                types,
                infers: fields.infer.unwrap_or(default.infers),
            },
        })
    }

    /// The type of a column that was found in its values, where the config does not say one.
    fn inferred_type(&self, column: &str) -> Option<&InferredType> {
        let is_said = self.options.types.contains_key(column);
        self.inferred.0.get(column).filter(|_| !is_said)
    }

    /// The columns of a file, all of them, as far as the config says their types.
    fn all_columns(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError> {
        let read = source.head.get_or_read(|| {
            let failed = |error| of_record(source, error);
            let reader = RecordReader::new(source.bytes.as_ref(), &self.options);
            let mut reader = reader.map_err(failed)?;
            let head = reader.head(SNIFF_LEN).map_err(failed)?;
            if let Some(foreign) = sniff_beside_text(head) {
                return Err(FormatError::Foreign {
                    path: source.path.clone(),
                    format: NAME,
                    foreign,
                });
            }
            let mut first = Record::default();
            let is_there = reader
                .next(&mut first)
                .map_err(|error| of_record(source, error))?;
            if !is_there {
                return Err(unsound(source, "it has no line".into()));
            }
            self.columns_of(source, &first)
        })?;
        Ok((*read).clone())
    }

    /// The columns of a file that begins with this record.
    fn columns_of(&self, source: &OpenFile, first: &Record) -> Result<ArrowSchema, FormatError> {
        let fields = first.fields().map_err(|error| of_record(source, error))?;
        let mut columns = ArrowSchema::default();
        for (number, (value, _)) in (1..).zip(fields) {
            let name = if self.options.has_header {
                value.to_string()
            } else {
                format!("column_{number}")
            };
            if name.trim().is_empty() {
                let reason = format!("column {number} has no name in its header");
                return Err(of_line(source, first.line, reason));
            }
            let dtype = self.options.types.get(&name).map(ColumnType::to_arrow);
            let dtype = dtype.unwrap_or(ArrowDataType::Utf8View);
            let field = Field::new(name.as_str().into(), dtype, true);
            if columns.insert(name.as_str().into(), field).is_some() {
                let reason = format!("its header names two columns {name}");
                return Err(of_line(source, first.line, reason));
            }
        }
        let mut types = self.options.types.keys();
        if let Some(unknown) = types.find(|name| columns.get(name.as_str()).is_none()) {
            let path = source.path.clone();
            let names = columns.iter_names().map(|name| name.to_string());
            return Err(FormatError::UnknownColumn {
                path,
                key: "types",
                column: unknown.clone(),
                columns: names.collect(),
            });
        }
        Ok(columns)
    }
}

impl Format for Csv {
    fn id(&self) -> &'static str {
        "csv"
    }

    fn extensions(&self) -> &'static [&'static str] {
        listing::CSV_EXTENSIONS
    }

    /// Version 1: the first. Version 2: types are found in values.
    fn version(&self) -> u32 {
        2
    }

    fn output_version(&self) -> u32 {
        1
    }

    fn settings(&self) -> Settings {
        let (options, default) = (&self.options, CsvOptions::default());
        let mut settings = Settings::new();
        let text = |byte: u8| json!(char::from(byte).to_string());
        if let Some(delimiter) = options.delimiter {
            settings.insert("delimiter", text(delimiter));
        }
        if options.quote != default.quote {
            let quote = options.quote.map_or_else(|| json!(NO_QUOTE), text);
            settings.insert("quote", quote);
        }
        if !options.has_header {
            settings.insert("header", json!(false));
        }
        if options.encoding != default.encoding {
            settings.insert("encoding", json!(options.encoding));
        }
        if options.skip_rows > 0 {
            settings.insert("skip_rows", json!(options.skip_rows));
        }
        if let Some(comment) = options.comment {
            settings.insert("comment", text(comment));
        }
        if options.trims {
            settings.insert("trim", json!(true));
        }
        if !options.null_values.is_empty() {
            settings.insert("null_values", json!(options.null_values));
        }
        let forms = &options.forms;
        for (key, words) in [
            ("true_values", &forms.true_values),
            ("false_values", &forms.false_values),
            ("date_formats", &forms.date_formats),
        ] {
            if !words.is_empty() {
                settings.insert(key, json!(words));
            }
        }
        if forms.has_decimal_comma {
            settings.insert("decimal_comma", json!(true));
        }
        if let Some(mark) = forms.thousands {
            settings.insert("thousands", text(mark));
        }
        if !options.types.is_empty() {
            settings.insert("types", json!(options.types));
        }
        if !options.infers {
            settings.insert("infer", json!(false));
        }
        settings
    }

    fn infers_types(&self) -> bool {
        self.options.infers
    }

    fn with_inferred(&self, types: Arc<InferredTypes>) -> Option<Arc<dyn Format>> {
        Some(Arc::new(Self {
            options: self.options.clone(),
            inferred: types,
        }))
    }

    fn inferred(&self) -> Option<&InferredTypes> {
        Some(self.inferred.as_ref())
    }

    fn reader(&self) -> &dyn Reader {
        self
    }

    fn writer(&self) -> Option<&dyn Writer> {
        None
    }

    fn passthrough(&self) -> Option<&dyn Passthrough> {
        None
    }
}

impl Reader for Csv {
    fn inspect(&self, source: &OpenFile) -> Result<Layout, FormatError> {
        let columns = self.all_columns(source)?;
        let fields: Vec<&Field> = columns.iter_values().collect();
        let mut sorted = fields.clone();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Layout {
            rows: None,
            groups: Vec::new(),
            stored_digest: digest("csv", &fields),
            compressions: BTreeSet::new(),
            container: String::new(),
            encrypted: false,
            logical_digest: digest("csv in order", &fields),
            column_set_digest: digest("csv in any order", &sorted),
            packing_digest: None,
        })
    }

    fn facts(&self, source: &OpenFile, of: FactsOf) -> Result<FileFacts, FormatError> {
        facts::facts(self, source, of)
    }

    fn check_readable(&self, _: &OpenFile) -> Result<(), FormatError> {
        Ok(())
    }

    fn arrow_schema(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError> {
        let columns = self.all_columns(source)?;
        let wanted = columns.into_iter().map(|(_, field)| field);
        let wanted = wanted.filter(|field| source.has_column(&field.name));
        let typed = wanted.map(|field| match self.inferred_type(&field.name) {
            Some(found) => Field {
                dtype: found.dtype.clone(),
                ..field
            },
            None => field,
        });
        Ok(typed.map(|field| (field.name.clone(), field)).collect())
    }

    fn column_names(&self, source: &OpenFile) -> Result<Vec<String>, FormatError> {
        let columns = self.arrow_schema(source)?;
        Ok(columns.iter_names().map(|name| name.to_string()).collect())
    }

    fn columns(&self, source: &OpenFile) -> Result<Vec<FileColumn>, FormatError> {
        Ok(leaves(&self.arrow_schema(source)?))
    }

    fn schema_difference(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError> {
        let (ours, theirs) = (self.arrow_schema(one)?, self.arrow_schema(other)?);
        let missing = theirs.iter_names().find(|name| ours.get(name).is_none());
        let besides = ours.iter_names().find(|name| theirs.get(name).is_none());
        Ok(missing
            .map(|name| format!("column {name} is missing"))
            .or_else(|| besides.map(|name| format!("column {name} is only here"))))
    }

    fn has_loose_batches(&self) -> bool {
        true
    }

    fn decode(
        &self,
        part: &PartPieces<'_>,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<u64, FormatError> {
        decode::decode(self, part, each)
    }
}

fn digest(what: &str, fields: &[&Field]) -> Fingerprint {
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text(what).count(fields.len());
    fields
        .iter()
        .for_each(|field| write_field(field, &mut writer));
    writer.finish()
}

fn unsound(source: &OpenFile, reason: String) -> FormatError {
    FormatError::Unsound {
        path: source.path.clone(),
        format: NAME,
        reason,
    }
}

/// The error of a line.
fn of_line(source: &OpenFile, line: u64, reason: String) -> FormatError {
    FormatError::Line {
        path: source.path.clone(),
        line,
        reason,
    }
}

fn of_record(source: &OpenFile, error: records::RecordError) -> FormatError {
    match error {
        records::RecordError::Unsound { line, reason } => of_line(source, line, reason),
        records::RecordError::Read(error) => FormatError::for_action("read", &source.path)(error),
    }
}
