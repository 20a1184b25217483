//! Tokens as numbers.
//!
//! Takes what DeepMind's judge takes (`absl::SimpleAtod`, `absl::SimpleAtoi`): decimal notation with an optional sign
//! and exponent, `inf`, `infinity`, `nan`, form feeds around them; no hexadecimal, no underscores, no digits but ASCII's.

use super::step;

/// Significant digits that are kept of a token. Two neighbouring `f64` have a middle of at most 767 digits: with so many
/// digits, and whether anything but zeros follows them, the nearest one is found as if all were there.
const DIGITS_MAX: usize = 800;
/// Where an exponent stops growing: far beyond what any digits before it can make up for.
const EXPONENT_MAX: i64 = 1_000_000_000_000_000;

/// A token on its way to a number. Memory is constant, whatever the token's length.
#[derive(Debug)]
pub(super) struct Number<'e> {
    at: At,
    negative: bool,
    /// The first significant digits.
    digits: Vec<u8>,
    /// Whether a digit other than 0 came after those that are kept.
    has_more: bool,
    /// The power of ten of the last digit that is kept, the exponent apart.
    scale: i64,
    exponent: i64,
    exponent_negative: bool,
    is_whole: bool,
    word: Option<&'static [u8]>,
    /// Digits of an integer that this one may be.
    beside: Integer<'e>,
    /// Significant digits that came, and whether those of `beside` begin with them.
    significant: usize,
    same_digits: bool,
}

/// What came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    Sign,
    /// A digit, and no point yet.
    Whole,
    /// A point, and no digit yet.
    Point,
    /// A point or a digit after it, and a digit somewhere.
    Fraction,
    /// The letter before an exponent.
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// So many letters of a word.
    Word(&'static [u8], usize),
    /// White space after a number.
    End,
    /// It is no number.
    Nothing,
}

const INFINITY: &[u8] = b"infinity";
const NAN: &[u8] = b"nan";

/// An integer of any length: digits without leading zeros; zero has none and no sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Integer<'e> {
    negative: bool,
    digits: &'e [u8],
}

/// A whole token as a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'e> {
    /// Infinite if it is too large.
    pub(super) value: f64,
    /// If it is an integer.
    pub(super) integer: Option<Integer<'e>>,
}

impl<'e> Expected<'e> {
    /// The number that a token is, infinite ones and NaN included.
    pub(super) fn read(token: &'e [u8]) -> Option<Self> {
        let mut number = Number::new(Integer::default());
        if !number.read(token) {
            return None;
        }
        Some(Self {
            value: number.value()?,
            integer: integer(token),
        })
    }
}

impl<'e> Number<'e> {
    /// Starts with nothing read; `beside` is the integer that it may turn out to be.
    pub(super) fn new(beside: Integer<'e>) -> Self {
        Self {
            at: At::Start,
            negative: false,
            digits: Vec::new(),
            has_more: false,
            scale: 0,
            exponent: 0,
            exponent_negative: false,
            is_whole: true,
            word: None,
            beside,
            significant: 0,
            same_digits: true,
        }
    }

    /// Takes the next bytes; false once it is no number, whatever follows.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.push(*byte))
    }

    /// Takes the next byte; false once it is no number, whatever follows.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        step(1);
        self.at = match (self.at, byte.to_ascii_lowercase()) {
            (At::Start, 0x0c) => At::Start,
            (At::Start, b'+' | b'-') => {
                self.negative = byte == b'-';
                At::Sign
            }
            (At::Start | At::Sign, b'i') => self.word(INFINITY),
            (At::Start | At::Sign, b'n') => self.word(NAN),
            (At::Start | At::Sign, b'.') => self.no_integer(At::Point),
            (At::Whole, b'.') => self.no_integer(At::Fraction),
            (At::Start | At::Sign | At::Whole, b'0'..=b'9') => {
                self.digit(byte, 0);
                At::Whole
            }
            (At::Point | At::Fraction, b'0'..=b'9') => {
                self.digit(byte, 1);
                At::Fraction
            }
            (At::Whole | At::Fraction, b'e') => self.no_integer(At::Exponent),
            (At::Exponent, b'+' | b'-') => {
                self.exponent_negative = byte == b'-';
                At::ExponentSign
            }
            (At::Exponent | At::ExponentSign | At::ExponentDigits, b'0'..=b'9') => {
                let digit = i64::from(byte - b'0');
                self.exponent = (self.exponent * 10 + digit).min(EXPONENT_MAX);
                At::ExponentDigits
            }
            (At::Word(word, seen), letter) if word.get(seen) == Some(&letter) => At::Word(word, seen + 1),
            (_, 0x0c) if self.is_complete() => At::End,
            (_, _) => At::Nothing,
        };
        self.at != At::Nothing
    }

    /// The number nearest to what was read, if that is one. One too large is infinite.
    pub(super) fn value(&self) -> Option<f64> {
        if !self.is_complete() {
            return None;
        }
        let magnitude = match self.word {
            Some(NAN) => f64::NAN,
            Some(_) => f64::INFINITY,
            None => self.magnitude()?,
        };
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// Whether it is the integer `beside`; none if it is no integer.
    pub(super) fn is_beside(&self) -> Option<bool> {
        if !self.is_complete() || !self.is_whole {
            return None;
        }
        let negative = self.negative && self.significant > 0;
        Some(
            self.same_digits
                && self.significant == self.beside.digits.len()
                && negative == self.beside.negative,
        )
    }

    /// Bytes that are held beside the value itself.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.digits.capacity()
    }

    fn no_integer(&mut self, at: At) -> At {
        self.is_whole = false;
        at
    }

    fn word(&mut self, word: &'static [u8]) -> At {
        self.word = Some(word);
        self.no_integer(At::Word(word, 1))
    }

    /// Takes a digit; after the point it has one more `place`.
    fn digit(&mut self, byte: u8, place: i64) {
        if byte == b'0' && self.digits.is_empty() {
            self.scale -= place;
            return;
        }
        self.same_digits &= self.beside.digits.get(self.significant) == Some(&byte);
        self.significant += 1;
        if self.digits.len() < DIGITS_MAX {
            self.digits.push(byte);
            self.scale -= place;
        } else {
            self.has_more |= byte != b'0';
            self.scale += 1 - place;
        }
    }

    /// The number without its sign.
    fn magnitude(&self) -> Option<f64> {
        let digits = std::str::from_utf8(&self.digits).ok()?;
        let (zero, more) = match (digits.is_empty(), self.has_more) {
            (true, _) => ("0", ""),
            // In the place behind the last one, where it stands for all that follows.
            (false, true) => ("", "1"),
            (false, false) => ("", ""),
        };
        let exponent = match self.exponent_negative {
            true => -self.exponent,
            false => self.exponent,
        };
        let exponent = self.scale + exponent - i64::from(self.has_more);
        step(digits.len());
        format!("{zero}{digits}{more}e{exponent}").parse().ok()
    }

    fn is_complete(&self) -> bool {
        match self.at {
            At::Whole | At::Fraction | At::ExponentDigits | At::End => true,
            At::Word(word, seen) => seen == word.len() || word == INFINITY && seen == "inf".len(),
            At::Start | At::Sign | At::Point | At::Exponent | At::ExponentSign | At::Nothing => false,
        }
    }
}

/// The token as an integer.
fn integer(token: &[u8]) -> Option<Integer<'_>> {
    let token = trim_form_feeds(token);
    let (negative, digits) = match token {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    step(token.len());
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = &digits[zeros..];
    Some(Integer {
        negative: negative && !digits.is_empty(),
        digits,
    })
}

fn trim_form_feeds(mut token: &[u8]) -> &[u8] {
    while let [0x0c, rest @ ..] | [rest @ .., 0x0c] = token {
        token = rest;
    }
    token
}
