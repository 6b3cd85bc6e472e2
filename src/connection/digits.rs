//! Whole numbers and decimals as digits, for texts of which there is one for each value of a column.
//!
//! Formats of the standard library take several times as long.

/// The digits that a number of 128 bits has at most.
const MAX_DIGITS: usize = 39;

/// Room for the digits of one number.
pub type DigitBuffer = [u8; MAX_DIGITS];

/// The digits of a number, with zeros before them where there are fewer than `least` of at most 39.
pub fn digits(number: u128, least: usize, room: &mut DigitBuffer) -> &str {
    room.fill(b'0');
    let mut first = MAX_DIGITS;
    let mut put = |digit: u8| {
        first -= 1;
        room[first] = b'0' + digit;
    };
    let mut rest = number;
    while rest > u128::from(u64::MAX) {
        put((rest % 10) as u8);
        rest /= 10;
    }
    // Most numbers are no larger, and are divided several times as fast.
    let mut rest = rest as u64;
    while rest > 0 {
        put((rest % 10) as u8);
        rest /= 10;
    }
    let first = first.min(MAX_DIGITS - least.min(MAX_DIGITS));
    std::str::from_utf8(&room[first..]).unwrap_or_default()
}

/// Adds the digits of a small number.
pub fn put(out: &mut String, number: u64, least: usize) {
    out.push_str(digits(number.into(), least, &mut [0; MAX_DIGITS]));
}

/// A decimal as text.
pub fn format_decimal(number: i128, scale: u8) -> String {
    let mut text = String::new();
    put_decimal(&mut text, number, scale);
    text
}

/// Adds a decimal.
pub fn put_decimal(out: &mut String, number: i128, scale: u8) {
    let (scale, mut room) = (usize::from(scale), [0; 39]);
    let digits = digits(number.unsigned_abs(), scale + 1, &mut room);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if number < 0 {
        out.push('-');
    }
    out.push_str(whole);
    if scale > 0 {
        out.push('.');
        out.push_str(fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn they_are_those_of_the_standard_library() {
        for number in [
            0,
            1,
            9,
            10,
            u128::from(u64::MAX),
            u128::from(u64::MAX) + 1,
            10_u128.pow(38),
            u128::MAX,
        ] {
            assert_eq!(digits(number, 1, &mut [0; 39]), number.to_string());
            assert_eq!(digits(number, 7, &mut [0; 39]), format!("{number:07}"));
        }
        assert_eq!(digits(0, 0, &mut [0; 39]), "");
    }
}
