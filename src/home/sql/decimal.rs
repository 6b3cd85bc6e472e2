//! Decimal numbers as texts, made into whole numbers of their last digits. No digit is ever lost.

/// A number with a point whose shortest form has so few digits that it is found without being written. Decimals of up to 15
/// digits are told apart by 64 bits, so one that is nearest to the number is its shortest form.
pub(super) fn of_real(number: f64, precision: u8, scale: u8) -> Option<i128> {
    /// Below 10^15, whole numbers and their quotients by powers of ten up to 10^22 are as near as can be.
    const MOST: f64 = 1e15;
    let power = 10_f64.powi(i32::from(scale));
    let digits = (number * power).round();
    let is_it = scale <= 22 && digits.abs() < MOST && digits / power == number;
    let digits = is_it.then_some(digits as i128)?;
    (digits.abs() < 10_i128.pow(u32::from(precision))).then_some(digits)
}

/// A whole number.
pub(super) fn of_integer(number: i64, precision: u8, scale: u8) -> Option<i128> {
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
    let factor = u32::try_from(power).ok().and_then(|power| 10_i128.checked_pow(power)).ok_or_else(unfit)?;
    let number = number.checked_mul(factor).filter(|number| *number < 10_i128.pow(u32::from(precision))).ok_or_else(unfit)?;
    Ok(if is_negative { -number } else { number })
}
