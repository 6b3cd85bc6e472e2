//! What a database says of a table that is filled: its columns, which values each of them holds,
//! and what else it does with rows.
//!
//! How each database is asked stands in a file of its own.

pub(super) mod mysql;
pub(super) mod postgres;
pub(super) mod sqlite;

use super::rule::{ByteLength, DecimalDigits, Rule, TextForm, TextRule};
use crate::connection::types::ColumnType;
use crate::error::Result;

pub(super) use postgres::{Cascade, WireType};

/// A table that is there.
#[derive(Clone, Debug)]
pub(super) struct CatalogTable {
    /// Its columns, in order.
    pub(super) columns: Vec<CatalogColumn>,
    /// True where the owner's triggers or rules may do something else with a row than to keep it.
    pub(super) has_triggers: bool,
    /// Why hygge does not fill such a table, in words that follow "table t ".
    pub(super) refusal: Option<String>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(super) struct CatalogColumn {
    pub(super) name: String,
    /// Its type, in the database's words.
    pub(super) declared_type: String,
    pub(super) storage: StorageType,
    /// False where a null would fail, or become something else.
    pub(super) is_nullable: bool,
    /// True where a row without it is refused: it takes no null, and nothing gives it a value.
    pub(super) is_required: bool,
    /// True where the database computes it.
    pub(super) is_computed: bool,
    /// True where it always numbers its rows by itself, unless it is overridden; such a value
    /// cannot be changed.
    pub(super) is_identity: bool,
    /// True where two different texts may be the same to the database, as keys.
    pub(super) has_loose_collation: bool,
    /// How PostgreSQL is sent a value.
    pub(super) wire: WireType,
}

/// The values that a column holds exactly.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum StorageType {
    Boolean,
    /// Whole numbers from one to another.
    Integer {
        least: i128,
        most: i128,
    },
    /// MySQL's years.
    Year,
    Float32,
    Float64,
    /// MySQL's numbers with a point that are rounded.
    Rounded {
        digits: u8,
        scale: u8,
        is_single: bool,
    },
    Decimal(DecimalDigits),
    Text(TextRule),
    Bytes(Option<ByteLength>),
    Bits(u32),
    Date,
    /// With so many digits of a second.
    Time(u32),
    /// A clock without a zone.
    Timestamp(u32),
    /// A moment.
    TimestampUtc(u32),
    List(Box<StorageType>),
    /// A type of the database's own, which is made from texts: what it makes of one is compared
    /// with it where that says something.
    CastFromText {
        /// True where the text that it gives back must be the one that came.
        is_compared: bool,
        /// What the text must be like.
        form: TextForm,
    },
    /// SQLite without a declared type: whatever comes.
    Anything,
    /// SQLite with a type that it knows nothing of: numbers, and texts that are none.
    NumericAffinity,
    /// Nothing that hygge has.
    Unsupported,
}

impl StorageType {
    /// All whole numbers of a type.
    pub(super) fn for_integer_type(kind: &ColumnType) -> Option<Self> {
        let (least, most) = integer_range(kind)?;
        Some(Self::Integer { least, most })
    }

    /// The rule for values of a type that come into it; `None` where it holds all of them.
    ///
    /// # Errors
    /// By their types alone, it does not hold them.
    pub(super) fn rule_for(&self, kind: &ColumnType) -> Result<Option<Rule>, ()> {
        let micros = |digits: u32| (digits < 6).then(|| Rule::Micros(10_i64.pow(6 - digits)));
        Ok(match (kind, self) {
            (ColumnType::List(_), Self::Anything) => return Err(()),
            (_, Self::Anything)
            | (
                ColumnType::Text,
                Self::CastFromText {
                    form: TextForm::Any,
                    ..
                },
            ) => None,
            (ColumnType::Text, Self::CastFromText { form, .. }) => Some(Rule::Text(TextRule {
                form: form.clone(),
                ..TextRule::default()
            })),
            (ColumnType::Boolean, Self::Boolean) => None,
            // MySQL has no other booleans.
            (ColumnType::Boolean, Self::Integer { least, most })
                if (*least..=*most).contains(&1) =>
            {
                None
            }
            (ColumnType::Int8, Self::Boolean) => Some(Rule::Integer { least: 0, most: 1 }),
            (kind, Self::Integer { least, most }) if let Some((from, to)) = integer_range(kind) => {
                (from < *least || to > *most).then_some(Rule::Integer {
                    least: *least,
                    most: *most,
                })
            }
            (ColumnType::Decimal { scale: 0, .. }, Self::Integer { least, most }) => {
                Some(Rule::Integer {
                    least: *least,
                    most: *most,
                })
            }
            (kind, Self::Year) if integer_range(kind).is_some() => Some(Rule::Year),
            (kind, Self::Decimal(digits))
                if let Some((precision, scale)) = decimal_digits(kind) =>
            {
                let holds_all = match digits.precision {
                    None => true,
                    Some(most) => {
                        digits.scale >= scale
                            && i64::from(most) - i64::from(digits.scale)
                                >= i64::from(precision) - i64::from(scale)
                    }
                };
                (!holds_all || digits.as_double && precision > 15).then_some(Rule::Decimal(*digits))
            }
            (kind, Self::NumericAffinity) if integer_range(kind).is_some() => None,
            (ColumnType::Decimal { .. }, Self::NumericAffinity) => {
                Some(Rule::Decimal(DecimalDigits {
                    precision: None,
                    scale: 0,
                    as_double: true,
                }))
            }
            (ColumnType::Text, Self::NumericAffinity) => Some(Rule::Text(TextRule {
                form: TextForm::NotNumeric,
                ..TextRule::default()
            })),
            (ColumnType::Float32, Self::Float32 | Self::Float64)
            | (ColumnType::Float64, Self::Float64) => None,
            (ColumnType::Float32, Self::Rounded { digits, scale, .. })
            | (
                ColumnType::Float64,
                Self::Rounded {
                    digits,
                    scale,
                    is_single: false,
                },
            ) => Some(Rule::Rounded {
                digits: *digits,
                scale: *scale,
            }),
            (ColumnType::Text, Self::Text(texts)) => {
                (!texts.accepts_all()).then(|| Rule::Text(texts.clone()))
            }
            (ColumnType::Binary, Self::Bytes(length)) => length.map(Rule::Bytes),
            (ColumnType::Binary, Self::Bits(bits)) => Some(Rule::Bits(*bits)),
            (ColumnType::Date, Self::Date) => None,
            (ColumnType::Time, Self::Time(digits))
            | (ColumnType::Timestamp, Self::Timestamp(digits))
            | (ColumnType::TimestampUtc, Self::TimestampUtc(digits)) => micros(*digits),
            (ColumnType::List(inner), Self::List(holds)) => holds
                .rule_for(inner)?
                .map(|rule| Rule::List(Box::new(rule))),
            (ColumnType::Text, Self::List(holds))
                if matches!(**holds, Self::CastFromText { .. }) =>
            {
                None
            }
            _ => return Err(()),
        })
    }

    /// True where SQLite makes a number of a decimal.
    pub(super) fn has_numeric_affinity(&self) -> bool {
        matches!(
            self,
            Self::NumericAffinity
                | Self::Decimal(DecimalDigits {
                    as_double: true,
                    ..
                })
        )
    }

    /// True where what it makes of a text is compared with that.
    pub(super) fn needs_comparison(&self) -> bool {
        match self {
            Self::CastFromText { is_compared, .. } => *is_compared,
            Self::List(holds) => holds.is_cast_from_text(),
            _ => false,
        }
    }

    /// True where it is made from texts.
    pub(super) fn is_cast_from_text(&self) -> bool {
        match self {
            Self::CastFromText { .. } => true,
            Self::List(holds) => holds.is_cast_from_text(),
            _ => false,
        }
    }
}

/// The least and the largest value of a type of whole numbers.
fn integer_range(kind: &ColumnType) -> Option<(i128, i128)> {
    Some(match kind {
        ColumnType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        ColumnType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        ColumnType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        ColumnType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        ColumnType::UInt8 => (0, u8::MAX.into()),
        ColumnType::UInt16 => (0, u16::MAX.into()),
        ColumnType::UInt32 => (0, u32::MAX.into()),
        ColumnType::UInt64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// How many digits the numbers of a type have, and how many of them stand behind the point.
fn decimal_digits(kind: &ColumnType) -> Option<(u32, i32)> {
    if let ColumnType::Decimal { precision, scale } = kind {
        return Some(((*precision).into(), (*scale).into()));
    }
    let (least, most) = integer_range(kind)?;
    Some((
        least.unsigned_abs().max(most.unsigned_abs()).ilog10() + 1,
        0,
    ))
}
