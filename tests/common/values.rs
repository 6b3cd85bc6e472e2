//! Values of every type, at its edges and at random, as the texts of `tests/peers/exact.py`, and as
//! literals of databases.

use jiff::ToSpan;
use jiff::civil;
use proptest::prelude::*;

use super::databases::Kind;

/// Texts that say values bit for bit.
pub(crate) type Values = BoxedStrategy<String>;

const DAY_MICROS: i64 = 86_400_000_000;

/// Whole numbers between two.
pub(crate) fn whole(from: i128, to: i128) -> Values {
    let edges: Vec<i128> = [from, from + 1, -1, 0, 1, to - 1, to]
        .into_iter()
        .filter(|edge| (from..=to).contains(edge))
        .collect();
    let short = (from..=to, 0..100_u32)
        .prop_map(move |(number, digits)| (number >> digits).clamp(from, to));
    prop_oneof![prop::sample::select(edges), from..=to, short]
        .prop_map(|number| number.to_string())
        .boxed()
}

/// Numbers of so many digits.
pub(crate) fn decimals(digits: u8) -> Values {
    let largest = 10_i128.pow(u32::from(digits)) - 1;
    whole(-largest, largest)
}

/// Which numbers with a point there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floats {
    All,
    WithoutNan,
    Finite,
}

impl Floats {
    fn has(self, number: f64) -> bool {
        match self {
            Self::All => true,
            Self::WithoutNan => !number.is_nan(),
            Self::Finite => number.is_finite(),
        }
    }
}

/// Numbers with a point, of 32 bits.
pub(crate) fn singles(which: Floats) -> Values {
    let edges = [
        0.0,
        -0.0,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-45,
        0.1,
        -1.5,
        1.0,
        16_777_216.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    let bits = prop_oneof![
        prop::sample::select(edges.to_vec()).prop_map(f32::to_bits),
        any::<u32>()
    ];
    let shown = |bits: u32| {
        if f32::from_bits(bits).is_nan() {
            "nan".to_string()
        } else {
            format!("{bits:08x}")
        }
    };
    bits.prop_filter("a number that there is", move |bits| {
        which.has(f32::from_bits(*bits).into())
    })
    .prop_map(shown)
    .boxed()
}

/// Numbers with a point, of 64 bits.
pub(crate) fn doubles(which: Floats) -> Values {
    let edges = [
        0.0,
        -0.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        0.1,
        0.3,
        1.0,
        9_007_199_254_740_993.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let bits = prop_oneof![
        prop::sample::select(edges.to_vec()).prop_map(f64::to_bits),
        any::<u64>()
    ];
    let shown = |bits: u64| {
        if f64::from_bits(bits).is_nan() {
            "nan".to_string()
        } else {
            format!("{bits:016x}")
        }
    };
    bits.prop_filter("a number that there is", move |bits| {
        which.has(f64::from_bits(*bits))
    })
    .prop_map(shown)
    .boxed()
}

/// Texts of signs that mean something to somebody.
pub(crate) fn texts(has: fn(char) -> bool) -> Values {
    const WHOLE: &[&str] = &[
        "", " ", "NULL", "null", "\\N", "\\.", "''", "a\nb", "\r\n", "%s", "$1", "{}", "--", "/*",
        "0", "-1.50", "\u{feff}", "e\u{301}",
    ];
    const SIGNS: &[char] = &[
        '\'',
        '"',
        '\\',
        '`',
        '\n',
        '\r',
        '\t',
        ' ',
        ';',
        ',',
        '{',
        '}',
        '\u{0}',
        '\u{1}',
        '\u{7f}',
        '\u{f8}',
        '\u{2028}',
        '\u{1d11e}',
        '\u{10ffff}',
    ];
    let sign = prop_oneof![prop::sample::select(SIGNS), any::<char>()]
        .prop_filter("a sign that there is", move |sign| has(*sign));
    let any_text = prop::collection::vec(sign, 0..24).prop_map(String::from_iter);
    prop_oneof![
        prop::sample::select(WHOLE).prop_map(String::from),
        any_text,
        Just("long \u{f8} ".repeat(300))
    ]
    .boxed()
}

/// Short texts of plain signs.
pub(crate) fn words(length: usize) -> Values {
    let sign = prop::sample::select(&['a', 'Z', '0', '_', '-', '\u{f8}'][..]);
    prop::collection::vec(sign, 0..=length)
        .prop_map(String::from_iter)
        .boxed()
}

/// Bytes.
pub(crate) fn bytes(lengths: std::ops::RangeInclusive<usize>) -> Values {
    prop::collection::vec(
        prop_oneof![
            prop::sample::select(&[0, 0x27, 0x5c, 0x7f, 0xff][..]),
            any::<u8>()
        ],
        lengths,
    )
    .prop_map(|bytes| hex(&bytes))
    .boxed()
}

/// Lists, with nulls among their elements.
pub(crate) fn lists(elements: Values) -> Values {
    let list = prop::collection::vec(prop::option::weighted(0.8, elements), 0..5);
    list.prop_map(|list| serde_json::to_string(&list).expect("a list of texts"))
        .boxed()
}

/// Days from year 1 to 9999.
pub(crate) fn days() -> Values {
    whole(-719_162, 2_932_896)
}

/// Microseconds of a day.
pub(crate) fn clocks() -> Values {
    whole(0, i128::from(DAY_MICROS) - 1)
}

/// Microseconds from year 1 to 9999, full seconds among them.
pub(crate) fn moments() -> Values {
    let (from, to) = (
        -719_162 * i128::from(DAY_MICROS),
        2_932_897 * i128::from(DAY_MICROS) - 1,
    );
    let full =
        (from / 1_000_000..=to / 1_000_000).prop_map(|seconds| (seconds * 1_000_000).to_string());
    prop_oneof![3 => whole(from, to), 1 => full].boxed()
}

/// The same values, each so many times as large.
pub(crate) fn times(values: Values, factor: i128) -> Values {
    values
        .prop_map(move |value| (number(&value) * factor).to_string())
        .boxed()
}

pub(crate) fn number(exact: &str) -> i128 {
    exact.parse().expect("a whole number")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value of a type, as pyarrow calls it, as a literal.
pub(crate) fn literal(database: Kind, kind: &str, exact: &str) -> String {
    if let Some(inner) = kind
        .strip_prefix("list<element: ")
        .and_then(|rest| rest.strip_suffix('>'))
    {
        let list: Vec<Option<String>> = serde_json::from_str(exact).expect("a list");
        let element = |element: &Option<String>| {
            element.as_ref().map_or("NULL".to_string(), |element| {
                literal(database, inner, element)
            })
        };
        return format!(
            "ARRAY[{}]",
            list.iter().map(element).collect::<Vec<_>>().join(", ")
        );
    }
    let is_postgres = database == Kind::Postgres;
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let since =
        |unit: &str| format!("('1970-01-01 00:00+00'::{unit} + interval '{exact} microseconds')");
    match kind.split(['(', '[', ',']).next().unwrap_or_default() {
        "float" if exact == "nan" => "'nan'".into(),
        "double" if exact == "nan" => "'nan'".into(),
        // All digits of a number of 64 bits, which is read as such by some and rounded then.
        "float" => float(
            database,
            f64::from(f32::from_bits(
                u32::from_str_radix(exact, 16).expect("bits"),
            )),
        ),
        "double" => float(
            database,
            f64::from_bits(u64::from_str_radix(exact, 16).expect("bits")),
        ),
        "decimal128" => {
            let scale = kind
                .trim_end_matches(')')
                .rsplit(", ")
                .next()
                .and_then(|scale| scale.parse().ok())
                .expect("a scale");
            if database == Kind::MySql {
                decimal(exact, scale)
            } else {
                quoted(&decimal(exact, scale))
            }
        }
        "string" if database == Kind::MySql => {
            format!("CONVERT(x'{}' USING utf8mb4)", hex(exact.as_bytes()))
        }
        "string" if database == Kind::Sqlite => {
            format!("CAST(x'{}' AS text)", hex(exact.as_bytes()))
        }
        "binary" if !is_postgres => format!("x'{exact}'"),
        "binary" => format!("'\\x{exact}'"),
        "date32" if is_postgres => format!("('1970-01-01'::date + ({exact}))"),
        "date32" => quoted(&date(number(exact))),
        "time64" if is_postgres => format!(
            "('00:00'::time + interval '{} microseconds')",
            number(exact) / 1000
        ),
        "time64" => quoted(&clock(number(exact) / 1000)),
        "timestamp" if is_postgres => since(if kind.contains("tz=") {
            "timestamptz"
        } else {
            "timestamp"
        }),
        "timestamp" if database == Kind::Sqlite => {
            // As ISO 8601 has it, and as SQL has it; without a zone it is UTC.
            let (between, zone) = if number(exact) % 2 == 0 {
                ("T", "Z")
            } else {
                (" ", "")
            };
            quoted(&format!(
                "{}{}",
                moment(number(exact), between),
                if kind.contains("tz=") { zone } else { "" }
            ))
        }
        "timestamp" => quoted(&moment(number(exact), " ")),
        _ if is_postgres => quoted(exact),
        _ => exact.to_string(),
    }
}

fn float(database: Kind, number: f64) -> String {
    match database {
        Kind::Postgres if number.is_infinite() => {
            format!("'{}infinity'", if number < 0.0 { "-" } else { "" })
        }
        Kind::Postgres => format!("'{number:e}'"),
        Kind::Sqlite => format!("float_of_bits('{:016x}')", number.to_bits()),
        Kind::MySql => format!("{number:e}"),
    }
}

/// A number of its last digits with its point.
pub(crate) fn decimal(exact: &str, scale: usize) -> String {
    let (sign, digits) = exact
        .strip_prefix('-')
        .map_or(("", exact), |digits| ("-", digits));
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

fn date(days: i128) -> String {
    let days = i64::try_from(days).expect("a day");
    civil::date(1970, 1, 1)
        .checked_add(days.days())
        .expect("a day from year 1 to 9999")
        .to_string()
}

fn clock(micros: i128) -> String {
    let seconds = micros / 1_000_000;
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000
    )
}

/// A date and a time, without what is zero at its end.
fn moment(micros: i128, between: &str) -> String {
    let day = i128::from(DAY_MICROS);
    let (date, clock) = (date(micros.div_euclid(day)), clock(micros.rem_euclid(day)));
    format!(
        "{date}{between}{}",
        clock.strip_suffix(".000000").unwrap_or(&clock)
    )
}
