//! Tokens as numbers.

/// The number that a token is, infinite ones and NaN included. One too large is infinite.
///
/// Takes what DeepMind's judge takes (`absl::SimpleAtod`): decimal notation with an optional sign and exponent,
/// `inf`, `infinity`, `nan`; no hexadecimal.
pub(super) fn parse(token: &[u8]) -> Option<f64> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// Whether two tokens are the same integer; none if one of them is no integer. Any number of digits is exact.
pub(super) fn same_integer(a: &[u8], b: &[u8]) -> Option<bool> {
    Some(integer(a)? == integer(b)?)
}

/// Sign (true for negative) and digits without leading zeros; zero has no digits and no sign.
fn integer(token: &[u8]) -> Option<(bool, &[u8])> {
    let (negative, digits) = match token {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = &digits[zeros..];
    Some((negative && !digits.is_empty(), digits))
}
