//! Decimal numbers as texts, made into whole numbers of their last digits. No digit is ever lost.

/// A number with a point whose shortest form has so few digits that it is found without being
/// written. Decimals of up to 15 digits are told apart by 64 bits, so one that is nearest to the
/// number is its shortest form.
pub(super) fn from_f64(number: f64, precision: u8, scale: u8) -> Option<i128> {
    /// Below 10^15, whole numbers and their quotients by powers of ten up to 10^22 are as near as
    /// can be.
    const MOST: f64 = 1e15;
    let power = 10_f64.powi(i32::from(scale));
    let digits = (number * power).round();
    let is_it = scale <= 22 && digits.abs() < MOST && digits / power == number;
    let digits = is_it.then_some(digits as i128)?;
    (digits.abs() < 10_i128.pow(u32::from(precision))).then_some(digits)
}

/// A whole number.
pub(super) fn from_i64(number: i64, precision: u8, scale: u8) -> Option<i128> {
    let digits = i128::from(number).checked_mul(10_i128.pow(u32::from(scale)))?;
    (digits.abs() < 10_i128.pow(u32::from(precision))).then_some(digits)
}

/// Reads a number such as `-12.50` or `1.5e3`.
///
/// # Errors
/// It is no number, or it has more digits than the type holds, in words.
pub(super) fn parse(text: &str, precision: u8, scale: u8) -> Result<i128, String> {
    let no_number = || format!("{text:?} is no decimal number");
    let unfit = || format!("{text} has more digits than decimal({precision},{scale}) holds");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| no_number())?),
        None => (text, 0),
    };
    let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|sign| sign.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return Err(no_number());
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    // The power of ten of the last digit, counted from the last digit that is kept.
    let power = i64::from(exponent) + i64::from(scale) - fraction.len() as i64;
    let trimmed = significant.trim_end_matches('0');
    let power = power + (significant.len() - trimmed.len()) as i64;
    let number: i128 = trimmed.parse().map_err(|_| unfit())?;
    let factor = u32::try_from(power)
        .ok()
        .and_then(|power| 10_i128.checked_pow(power))
        .ok_or_else(unfit)?;
    let number = number
        .checked_mul(factor)
        .filter(|number| *number < 10_i128.pow(u32::from(precision)))
        .ok_or_else(unfit)?;
    Ok(if is_negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_with_all_their_digits_or_not_at_all() {
        let cases = [
            ("0", 5, 2, Some(0)),
            ("-0.00", 5, 2, Some(0)),
            ("12.5", 5, 2, Some(1250)),
            ("-.5", 5, 2, Some(-50)),
            ("+7.", 5, 2, Some(700)),
            ("1.5e3", 6, 2, Some(150_000)),
            ("1500e-3", 5, 2, Some(150)),
            ("1.230000", 5, 2, Some(123)),
            ("0e99999", 5, 2, Some(0)),
            ("999.99", 5, 2, Some(99_999)),
            ("1000", 5, 2, None),
            ("1.234", 5, 2, None),
            ("1e40", 38, 0, None),
            (
                "99999999999999999999999999999999999999",
                38,
                0,
                Some(10_i128.pow(38) - 1),
            ),
            ("100000000000000000000000000000000000000", 38, 0, None),
            ("", 5, 2, None),
            (".", 5, 2, None),
            ("1,5", 5, 2, None),
            ("NaN", 5, 2, None),
            ("1e", 5, 2, None),
        ];
        for (text, precision, scale, wanted) in cases {
            assert_eq!(parse(text, precision, scale).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn whole_numbers_and_those_with_a_point_fit_or_do_not() {
        assert_eq!(from_i64(-12, 4, 2), Some(-1200));
        assert_eq!(from_i64(100, 4, 2), None);
        assert_eq!(
            from_i64(i64::MIN, 38, 19),
            Some(i128::from(i64::MIN) * 10_i128.pow(19))
        );
        assert_eq!(from_i64(i64::MIN, 38, 38), None);
        assert_eq!(from_f64(0.1, 5, 2), Some(10));
        assert_eq!(from_f64(0.125, 5, 2), None, "a third digit");
        assert_eq!(
            from_f64(1e15, 38, 2),
            None,
            "its shortest form is asked for"
        );
        assert_eq!(from_f64(f64::NAN, 38, 2), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in -999_999_999_999_i128..=999_999_999_999, scale in 0_u8..=12) {
            let (sign, digits) = (if number < 0 { "-" } else { "" }, format!("{:013}", number.unsigned_abs()));
            let (whole, fraction) = digits.split_at(13 - usize::from(scale));
            let text = format!("{sign}{whole}.{fraction}");
            prop_assert_eq!(parse(&text, 12, scale), Ok(number));
            let real: f64 = text.parse().expect("a number");
            prop_assert_eq!(from_f64(real, 12, scale), Some(number));
        }
    }
}
