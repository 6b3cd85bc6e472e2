//! Decimal numbers as texts, made into whole numbers of their last digits. No digit is ever lost.

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
