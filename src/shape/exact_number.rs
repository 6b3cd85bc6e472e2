//! Numbers as decimal digits with a point somewhere: what casts between types of numbers go
//! through, so that none loses anything.

/// A number: `value` with `scale` of its digits behind the point; zeros follow where that is
/// negative.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExactNumber {
    pub(super) value: i128,
    pub(super) scale: i32,
}

/// More digits than any number has that is told apart from another.
const MAX_SCALE: i32 = 10_000;

impl ExactNumber {
    /// Reads digits, with a sign, a point and an exponent where there are some.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(short) = Self::parse_short(text.as_bytes()) {
            return Some(short);
        }
        let (digits, exponent) = match text.find(['e', 'E']) {
            Some(place) => (&text[..place], text[place + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (sign, digits) = match digits.as_bytes().first()? {
            b'-' => (-1, &digits[1..]),
            b'+' => (1, &digits[1..]),
            _ => (1, digits),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let mut value: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            value = value
                .checked_mul(10)?
                .checked_add(i128::from(digit - b'0'))?;
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let is_near = (-MAX_SCALE..=MAX_SCALE).contains(&scale);
        is_near.then_some(Self {
            value: sign * value,
            scale,
        })
    }

    /// The same of few digits without an exponent, as most numbers are; `None` for others.
    fn parse_short(text: &[u8]) -> Option<Self> {
        /// So many digits have no carry out of 64 bits.
        const MAX_DIGITS: usize = 18;
        let (sign, digits) = match text {
            [b'-', digits @ ..] => (-1, digits),
            digits => (1, digits),
        };
        let (mut value, mut point) = (0_i64, None);
        for (place, byte) in digits.iter().enumerate().take(MAX_DIGITS + 1) {
            match byte {
                b'0'..=b'9' => value = value.wrapping_mul(10).wrapping_add(i64::from(byte - b'0')),
                b'.' if point.is_none() => point = Some(place),
                _ => return None,
            }
        }
        let count = digits.len() - usize::from(point.is_some());
        let behind = point.map_or(0, |point| digits.len() - point - 1);
        if !(1..=MAX_DIGITS).contains(&count) {
            return None;
        }
        Some(Self {
            value: i128::from(sign * value),
            scale: i32::try_from(behind).ok()?,
        })
    }

    /// A float: whole ones are what they are, others the shortest digits that are read back as the
    /// same float. `digits` are those with an exponent.
    pub(super) fn from_float(value: f64, digits: &str) -> Option<Self> {
        /// Whole floats up to here are exact as whole numbers of 128 bits.
        const LIMIT: f64 = 1.7e38;
        if !value.is_finite() {
            return None;
        }
        if value.trunc().to_bits() == value.to_bits() && value.abs() < LIMIT {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is whole, and smaller than the largest"
            )]
            let value = value as i128;
            return Some(Self { value, scale: 0 });
        }
        Self::parse(digits)
    }

    /// The number with so many digits behind the point; `None` where it has more.
    pub(super) fn at_scale(self, scale: usize) -> Option<i128> {
        let Self { value, scale: own } = self;
        if value == 0 {
            return Some(0);
        }
        let more = i32::try_from(scale).ok()?.checked_sub(own)?;
        let factor = 10_i128.checked_pow(more.unsigned_abs());
        match factor {
            Some(factor) if more >= 0 => value.checked_mul(factor),
            Some(factor) => (value % factor == 0).then(|| value / factor),
            None => None,
        }
    }

    /// True for the same number, however it is written.
    pub(super) fn is(self, other: Self) -> bool {
        let plain = |number: Self| {
            let Self {
                mut value,
                mut scale,
            } = number;
            while value != 0 && value % 10 == 0 {
                value /= 10;
                scale -= 1;
            }
            (value, if value == 0 { 0 } else { scale })
        };
        plain(self) == plain(other)
    }

    /// How many digits it has from the first to the last that is no zero.
    pub(super) fn significant_digits(self) -> usize {
        let mut value = self.value.unsigned_abs();
        while value != 0 && value.is_multiple_of(10) {
            value /= 10;
        }
        value
            .checked_ilog10()
            .map_or(1, |digits| digits as usize + 1)
    }

    /// The digits with an exponent.
    pub(super) fn scientific(self) -> String {
        format!("{}e{}", self.value, -self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_numbers_and_numbers_digits() {
        let at =
            |text: &str, scale| ExactNumber::parse(text).and_then(|number| number.at_scale(scale));
        assert_eq!(at("-12.50", 1), Some(-125));
        assert_eq!(at("-12.50", 2), Some(-1250));
        assert_eq!(at("12.5", 0), None);
        assert_eq!(at("1e3", 0), Some(1000));
        assert_eq!(at("1.5e-3", 4), Some(15));
        assert_eq!(at(".5", 1), Some(5));
        assert_eq!(at("0e99", 0), Some(0));
        assert_eq!(at("1e99", 0), None);
        assert_eq!(at("1.50", 1), Some(15));
        assert_eq!(at("5.", 0), Some(5));
        assert_eq!(at("999999999999999999", 0), Some(999_999_999_999_999_999));
        assert_eq!(
            at("-9999999999999999.99", 2),
            Some(-999_999_999_999_999_999)
        );
        assert_eq!(
            at("9999999999999999999", 0),
            Some(9_999_999_999_999_999_999)
        );
        assert_eq!(
            at("-99999999999999999.99", 2),
            Some(-9_999_999_999_999_999_999)
        );
        for none in [
            "",
            "-",
            ".",
            "1.2.3",
            "1e",
            "0x1",
            " 1",
            "1_000",
            "99999999999999999999999999999999999999999",
        ] {
            assert!(ExactNumber::parse(none).is_none(), "{none}");
        }
    }

    #[test]
    fn floats_are_their_shortest_digits() {
        let exact = |value: f64| ExactNumber::from_float(value, &format!("{value:e}"));
        assert_eq!(exact(0.1).and_then(|number| number.at_scale(1)), Some(1));
        assert_eq!(
            exact(2_f64.powi(70)).and_then(|number| number.at_scale(0)),
            Some(1 << 70)
        );
        assert!(exact(f64::NAN).is_none());
        let (one, other) = (
            exact(1.5).expect("a number"),
            ExactNumber::parse("1.500").expect("one"),
        );
        assert!(one.is(other));
    }
}
