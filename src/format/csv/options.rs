//! What the config says of how CSV is read and written.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::datetime;
use jiff::fmt::strtime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::values::{ValueForms, parse_moment};
use crate::config::Settings;
use crate::config::block_reader::read_block;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems, Span};
use crate::config::value_types::{BoundedNumber, StringList};
use crate::connection::types::{ColumnType, SIMPLE_TYPES, read_types};
use crate::format::text::Encoding;
use crate::shape::check_text_castable;

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

/// What a store of CSV may say besides what all files have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "csv", deny_unknown_fields)]
pub struct CsvStoreFields {
    /// The character between fields.
    #[schemars(example = &";", extend("default" = ","))]
    delimiter: Option<String>,
    /// The character around fields that have delimiters or ends of lines in them, where it is written twice.
    #[schemars(example = &"~", extend("default" = "\""))]
    quote: Option<String>,
    /// True where the first line has the names of the columns.
    #[schemars(example = false, extend("default" = true))]
    header: Option<bool>,
    /// What is written for null. A text that is the same stands in quotes.
    #[schemars(example = &"NULL", extend("x-default" = "nothing: an empty text stands in quotes"))]
    null_value: Option<String>,
    /// What becomes of lists, groups and maps: the flow fails, or they are written as texts of JSON.
    #[schemars(example = &"json", extend("default" = "fail"))]
    nested: Option<Nested>,
}

/// What becomes of values that have others in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Nested {
    /// Their column is an error.
    #[default]
    Fail,
    /// They are texts of JSON.
    Json,
}

/// How files are written, and what their columns are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CsvOptions {
    /// `None` where each file says it.
    pub(super) delimiter: Option<u8>,
    pub(super) quote: Option<u8>,
    pub(super) has_header: bool,
    pub(super) encoding: Encoding,
    pub(super) skip_rows: u64,
    pub(super) comment: Option<u8>,
    pub(super) trims: bool,
    pub(super) null_values: Vec<String>,
    pub(super) forms: ValueForms,
    pub(super) types: BTreeMap<String, ColumnType>,
    pub(super) infers: bool,
    /// What files are written by; `None` where they are only read.
    pub(super) written: Option<WrittenForm>,
}

/// How files are written, besides how they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenForm {
    /// What stands for null, where that is not nothing.
    pub(super) null: Option<String>,
    /// Lists, groups and maps are texts of JSON.
    pub(super) nests_json: bool,
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
            written: None,
        }
    }
}

/// Reads options of a block, and reports what is wrong with them.
struct OptionsReader<'a> {
    node: &'a Node,
    name: &'a str,
    problems: &'a mut Problems,
    is_sound: bool,
}

impl OptionsReader<'_> {
    fn report(&mut self, at: Span, message: String, expected: &str, hint: Option<&str>) {
        let problem = Problem::new(at, message, expected);
        self.problems.push(match hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
        self.is_sound = false;
    }

    /// A sign that is written as a text.
    fn sign(&mut self, key: &str, text: Option<String>) -> Option<u8> {
        let text = text?;
        let is_sign = |byte: u8| byte.is_ascii() && !b"\0\r\n".contains(&byte);
        if let [byte] = text.as_bytes()
            && is_sign(*byte)
        {
            return Some(*byte);
        }
        let message = format!("{key} of {} is {text:?}", self.name);
        self.report(
            self.node.span_of(key),
            message,
            "expected one ASCII character",
            Some("a tab is written \"\\t\""),
        );
        None
    }

    /// Signs that tell what others are must not be each other.
    fn check_different(&mut self, words: &str, signs: &[Option<u8>]) {
        let signs = signs.iter().flatten();
        if signs.clone().count() > signs.collect::<BTreeSet<_>>().len() {
            let message = format!("{words} of {} are not all different", self.name);
            let at = self.node.span_of("delimiter");
            self.report(at, message, "expected different characters", None);
        }
    }

    fn check_thousands(&mut self, mark: Option<u8>, point: u8) {
        let is_of_numbers =
            |mark: u8| mark == point || mark.is_ascii_alphanumeric() || b"+-".contains(&mark);
        if mark.is_some_and(is_of_numbers) {
            let message = format!("thousands of {} is what numbers have elsewhere", self.name);
            self.report(
                self.node.span_of("thousands"),
                message,
                "expected another character",
                Some("decimal_comma: true makes a comma stand before the fraction, and thousands a point"),
            );
        }
    }

    fn check_date_formats(&mut self, formats: &[String]) {
        for format in formats {
            let day = datetime(2024, 2, 29, 0, 0, 0, 0);
            let written = strtime::format(format, day).ok();
            let read = written.and_then(|text| parse_moment(format, &text));
            if read != Some(day) {
                let message = format!(
                    "date_formats of {} has {format:?}, by which no day is read",
                    self.name
                );
                self.report(
                    self.node.span_of("date_formats"),
                    message,
                    "expected directives of a year, a month and a day",
                    Some("%d.%m.%Y reads 31.01.2026, and %Y%m%d %H:%M 20260131 12:00"),
                );
            }
        }
    }

    /// No word is true and false.
    fn check_truths(&mut self, truths: &Option<StringList>, falsehoods: &Option<StringList>) {
        let words_of = |words: &Option<StringList>, own: &str| {
            let words = words.iter().flat_map(|words| &words.0);
            words
                .map(|word| word.to_lowercase())
                .chain([own.to_string()])
                .collect::<BTreeSet<_>>()
        };
        let (truths, falsehoods) = (words_of(truths, "true"), words_of(falsehoods, "false"));
        if let Some(both) = truths.intersection(&falsehoods).next() {
            let message = format!(
                "{both:?} is true and false by true_values and false_values of {}",
                self.name
            );
            self.report(self.node.at, message, "expected other words for each", None);
        }
    }

    fn types(
        &mut self,
        types: Option<BTreeMap<String, String>>,
    ) -> Option<BTreeMap<String, ColumnType>> {
        let words = SIMPLE_TYPES.iter().map(|(word, _)| *word);
        let words = words.chain(["decimal(12,2)"]);
        let types = read_types(types, (self.node, "types"), self.name, words, self.problems)?;
        for (column, kind) in &types {
            if let Err(reason) = check_text_castable(&kind.to_arrow()) {
                let at = self.node.get("types");
                let at = at.map_or(self.node.at, |types| types.span_of(column));
                let message = format!(
                    "types of {} gives the column {column} the type {kind}",
                    self.name
                );
                self.report(
                    at,
                    message,
                    "expected a type whose values are texts",
                    Some(&reason),
                );
            }
        }
        Some(types)
    }
}

impl CsvOptions {
    /// Reads those of a home's block.
    pub(super) fn of_home(node: &Node, name: &str, problems: &mut Problems) -> Option<Self> {
        let fields: CsvHomeFields = read_block(node, name, &[], problems)?;
        let default = Self::default();
        let mut reader = OptionsReader {
            node,
            name,
            problems,
            is_sound: true,
        };
        let delimiter = reader.sign("delimiter", fields.delimiter);
        let quote = match fields.quote.as_deref() {
            Some(NO_QUOTE) => None,
            _ => reader.sign("quote", fields.quote).or(default.quote),
        };
        let comment = reader.sign("comment", fields.comment);
        let thousands = reader.sign("thousands", fields.thousands);
        reader.check_different("delimiter, quote and comment", &[delimiter, quote, comment]);
        let has_decimal_comma = fields.decimal_comma.unwrap_or_default();
        reader.check_thousands(thousands, if has_decimal_comma { b',' } else { b'.' });
        reader.check_truths(&fields.true_values, &fields.false_values);
        let list = |words: Option<StringList>| words.map(|words| words.0).unwrap_or_default();
        let date_formats = list(fields.date_formats);
        reader.check_date_formats(&date_formats);
        let types = reader.types(fields.types)?;
        reader.is_sound.then(|| Self {
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
            written: None,
        })
    }

    /// Those of a store, where nothing is said.
    pub(super) fn of_plain_store() -> Self {
        Self {
            delimiter: Some(b','),
            written: Some(WrittenForm {
                null: None,
                nests_json: false,
            }),
            ..Self::default()
        }
    }

    /// Reads those of a store's block: its files are read back by them.
    pub(super) fn of_store(node: &Node, name: &str, problems: &mut Problems) -> Option<Self> {
        let fields: CsvStoreFields = read_block(node, name, &[], problems)?;
        let plain = Self::of_plain_store();
        let mut reader = OptionsReader {
            node,
            name,
            problems,
            is_sound: true,
        };
        let delimiter = reader
            .sign("delimiter", fields.delimiter)
            .or(plain.delimiter);
        let quote = reader.sign("quote", fields.quote).or(plain.quote);
        reader.check_different("delimiter and quote", &[delimiter, quote]);
        let null = fields.null_value.filter(|null| !null.is_empty());
        let signs = [delimiter, quote, Some(b'\n'), Some(b'\r'), Some(0)];
        let has_sign = |null: &&String| null.bytes().any(|byte| signs.contains(&Some(byte)));
        if let Some(null) = null.as_ref().filter(has_sign) {
            let message = format!("null_value of {name} is {null:?}");
            let at = node.span_of("null_value");
            let expected = "expected a text without a delimiter, a quote or an end of a line";
            reader.report(at, message, expected, Some("null_value: \"NULL\""));
        }
        reader.is_sound.then(|| Self {
            delimiter,
            quote,
            has_header: fields.header.unwrap_or(plain.has_header),
            null_values: null.clone().into_iter().collect(),
            written: Some(WrittenForm {
                null,
                nests_json: fields.nested == Some(Nested::Json),
            }),
            ..plain
        })
    }

    /// Those that are not the default, by the words of the config; of what is written, all that
    /// decides bytes.
    pub(super) fn settings(&self) -> Settings {
        let (options, default) = (self, Self::default());
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
        match &options.written {
            Some(form) => {
                if let Some(word) = &form.null {
                    settings.insert("null_value", json!(word));
                }
                if form.nests_json {
                    settings.insert("nested", json!(Nested::Json));
                }
            }
            None if !options.null_values.is_empty() => {
                settings.insert("null_values", json!(options.null_values));
            }
            None => {}
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

    /// True for what is null outside of quotes.
    pub(super) fn is_null(&self, text: &str) -> bool {
        text.is_empty() || self.null_values.iter().any(|null| null == text)
    }
}
