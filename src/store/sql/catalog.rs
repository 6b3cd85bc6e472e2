//! What a database says of a table that is filled: its columns, which values each of them holds,
//! and what else it does with rows.
//!
//! How each database is asked stands in a file of its own.

mod mysql;
mod postgres;
mod sqlite;

use super::place::Place;
use super::rule::{Digits, Form, Length, Rule, Texts};
use crate::connection::types::Type;
use crate::connection::{Dialect, Session};
use crate::error::Result;

pub(super) use postgres::{Cascade, Wire};

/// A table that is there.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Its columns, in order.
    pub(super) columns: Vec<Column>,
    /// True where the owner's triggers or rules may do something else with a row than to keep it.
    pub(super) has_triggers: bool,
    /// Why hygge does not fill such a table, in words that follow "table t ".
    pub(super) refused: Option<String>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its type, in the database's words.
    pub(super) declared: String,
    pub(super) holds: Holds,
    /// False where a null would fail, or become something else.
    pub(super) takes_null: bool,
    /// True where a row without it is refused: it takes no null, and nothing gives it a value.
    pub(super) is_needed: bool,
    /// True where the database computes it.
    pub(super) is_computed: bool,
    /// True where it always numbers its rows by itself, unless it is overridden; such a value
    /// cannot be changed.
    pub(super) is_numbered: bool,
    /// True where two different texts may be the same to the database, as keys.
    pub(super) folds: bool,
    /// How PostgreSQL is sent a value.
    pub(super) wire: Wire,
}

/// The values that a column holds exactly.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Holds {
    Boolean,
    /// Whole numbers from one to another.
    Whole {
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
    Decimal(Digits),
    Text(Texts),
    Bytes(Option<Length>),
    Bits(u32),
    Date,
    /// With so many digits of a second.
    Time(u32),
    /// A clock without a zone.
    Timestamp(u32),
    /// A moment.
    TimestampUtc(u32),
    List(Box<Holds>),
    /// A type of the database's own, which is made from texts: what it makes of one is compared
    /// with it where that says something.
    Own {
        /// True where the text that it gives back must be the one that came.
        is_compared: bool,
        /// What the text must be like.
        form: Form,
    },
    /// SQLite without a declared type: whatever comes.
    Anything,
    /// SQLite with a type that it knows nothing of: numbers, and texts that are none.
    Numeric,
    /// Nothing that hygge has.
    Nothing,
}

/// What is there in the place of a table; `None` where nothing is.
pub(super) async fn table(place: &Place, session: &mut Session) -> Result<Option<Table>> {
    match session.database().dialect {
        Dialect::Postgres => postgres::table(place, session).await,
        Dialect::MySql => mysql::table(place, session).await,
        Dialect::Sqlite => sqlite::table(place, session).await,
    }
}

/// What is in a table that this session has made for itself.
pub(super) async fn own_table(place: &Place, session: &mut Session) -> Result<Option<Table>> {
    match session.database().dialect {
        Dialect::MySql => mysql::of_session(&Dialect::MySql.quoted(&place.table), session)
            .await
            .map(Some),
        _ => table(place, session).await,
    }
}

/// What other tables would lose or change with rows of this one, each in words.
pub(super) async fn cascades(place: &Place, session: &mut Session) -> Result<Vec<Cascade>> {
    match session.database().dialect {
        Dialect::Postgres => postgres::cascades(place, session).await,
        Dialect::MySql => mysql::cascades(place, session).await,
        Dialect::Sqlite => sqlite::cascades(place, session).await,
    }
}

impl Holds {
    /// All whole numbers of a type.
    pub(super) fn of_whole(kind: &Type) -> Option<Self> {
        let (least, most) = range(kind)?;
        Some(Self::Whole { least, most })
    }

    /// The rule for values of a type that come into it; `None` where it holds all of them.
    ///
    /// # Errors
    /// By their types alone, it does not hold them.
    pub(super) fn fit(&self, kind: &Type) -> Result<Option<Rule>, ()> {
        let micros = |digits: u32| (digits < 6).then(|| Rule::Micros(10_i64.pow(6 - digits)));
        Ok(match (kind, self) {
            (Type::List(_), Self::Anything) => return Err(()),
            (_, Self::Anything)
            | (
                Type::Text,
                Self::Own {
                    form: Form::Any, ..
                },
            ) => None,
            (Type::Text, Self::Own { form, .. }) => Some(Rule::Text(Texts {
                form: form.clone(),
                ..Texts::default()
            })),
            (Type::Boolean, Self::Boolean) => None,
            // MySQL has no other booleans.
            (Type::Boolean, Self::Whole { least, most }) if (*least..=*most).contains(&1) => None,
            (Type::Int8, Self::Boolean) => Some(Rule::Whole { least: 0, most: 1 }),
            (kind, Self::Whole { least, most }) if let Some((from, to)) = range(kind) => {
                (from < *least || to > *most).then_some(Rule::Whole {
                    least: *least,
                    most: *most,
                })
            }
            (Type::Decimal { scale: 0, .. }, Self::Whole { least, most }) => Some(Rule::Whole {
                least: *least,
                most: *most,
            }),
            (kind, Self::Year) if range(kind).is_some() => Some(Rule::Year),
            (kind, Self::Decimal(digits)) if let Some((precision, scale)) = digits_of(kind) => {
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
            (kind, Self::Numeric) if range(kind).is_some() => None,
            (Type::Decimal { .. }, Self::Numeric) => Some(Rule::Decimal(Digits {
                precision: None,
                scale: 0,
                as_double: true,
            })),
            (Type::Text, Self::Numeric) => Some(Rule::Text(Texts {
                form: Form::NoNumber,
                ..Texts::default()
            })),
            (Type::Float32, Self::Float32 | Self::Float64) | (Type::Float64, Self::Float64) => None,
            (Type::Float32, Self::Rounded { digits, scale, .. })
            | (
                Type::Float64,
                Self::Rounded {
                    digits,
                    scale,
                    is_single: false,
                },
            ) => Some(Rule::Rounded {
                digits: *digits,
                scale: *scale,
            }),
            (Type::Text, Self::Text(texts)) => {
                (!texts.holds_all()).then(|| Rule::Text(texts.clone()))
            }
            (Type::Binary, Self::Bytes(length)) => length.map(Rule::Bytes),
            (Type::Binary, Self::Bits(bits)) => Some(Rule::Bits(*bits)),
            (Type::Date, Self::Date) => None,
            (Type::Time, Self::Time(digits))
            | (Type::Timestamp, Self::Timestamp(digits))
            | (Type::TimestampUtc, Self::TimestampUtc(digits)) => micros(*digits),
            (Type::List(inner), Self::List(holds)) => {
                holds.fit(inner)?.map(|rule| Rule::List(Box::new(rule)))
            }
            (Type::Text, Self::List(holds)) if matches!(**holds, Self::Own { .. }) => None,
            _ => return Err(()),
        })
    }

    /// True where SQLite makes a number of a decimal.
    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Numeric
                | Self::Decimal(Digits {
                    as_double: true,
                    ..
                })
        )
    }

    /// True where what it makes of a text is compared with that.
    pub(super) fn is_compared(&self) -> bool {
        match self {
            Self::Own { is_compared, .. } => *is_compared,
            Self::List(holds) => holds.is_own(),
            _ => false,
        }
    }

    /// True where it is made from texts.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Own { .. } => true,
            Self::List(holds) => holds.is_own(),
            _ => false,
        }
    }
}

/// The least and the largest value of a type of whole numbers.
fn range(kind: &Type) -> Option<(i128, i128)> {
    Some(match kind {
        Type::Int8 => (i8::MIN.into(), i8::MAX.into()),
        Type::Int16 => (i16::MIN.into(), i16::MAX.into()),
        Type::Int32 => (i32::MIN.into(), i32::MAX.into()),
        Type::Int64 => (i64::MIN.into(), i64::MAX.into()),
        Type::UInt8 => (0, u8::MAX.into()),
        Type::UInt16 => (0, u16::MAX.into()),
        Type::UInt32 => (0, u32::MAX.into()),
        Type::UInt64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// How many digits the numbers of a type have, and how many of them stand behind the point.
fn digits_of(kind: &Type) -> Option<(u32, i32)> {
    if let Type::Decimal { precision, scale } = kind {
        return Some(((*precision).into(), (*scale).into()));
    }
    let (least, most) = range(kind)?;
    Some((
        least.unsigned_abs().max(most.unsigned_abs()).ilog10() + 1,
        0,
    ))
}
