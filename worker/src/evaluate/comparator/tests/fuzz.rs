//! Every rule against its plain reference, over texts of chance that are cut anyhow.

use roundhouse_tests::chance::Chance;
use roundhouse_tests::fuzz::{fuzz, pieces, spoil};

use super::super::reference;
use super::*;

/// Inputs that are played unless more are asked for.
const CASES: u64 = 20_000;

const COMPARATORS: [Comparator; 8] = [
    Comparator::CodeContests,
    Comparator::CodeContests,
    Comparator::Tokens,
    Comparator::Lines,
    Comparator::UnorderedLines,
    Comparator::Exact,
    Comparator::Float { abs: 1e-6, rel: 1e-6 },
    Comparator::Float { abs: 0.0, rel: 0.5 },
];

/// What texts are made of: few letters, so that agreement is common, and what rules treat in a way of its own.
const WORDS: [&[u8]; 40] = [
    b"a",
    b"A",
    b"b",
    b"1",
    b"2",
    b"0",
    b"+",
    b"-",
    b".",
    b"e",
    b"E",
    b"1.00001",
    b"1.0000001",
    b"10000001",
    b"inf",
    b"Infinity",
    b"nan",
    b" ",
    b"  ",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\xc3\xa9",
    b"\xff",
    b"\0",
    b"00",
    b"1e2",
    b"1e-7",
    b"1e400",
    b"0x1",
    b"1_0",
    b"\xef\xbc\x91",
    b"99999999999999999999",
    b"9007199254740993",
    b"0.1",
    b"\xc2\xa0",
];

fn text(chance: &mut Chance) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..chance.below(16) {
        let word = WORDS[chance.below(WORDS.len())];
        let times = match chance.below(40) {
            0 => chance.below(1200),
            1..=3 => chance.below(8),
            _ => 1,
        };
        (0..times).for_each(|_| text.extend_from_slice(word));
    }
    text
}

/// Another text, often nearly the same one.
fn near(chance: &mut Chance, of: &[u8]) -> Vec<u8> {
    let mut near = of.to_vec();
    match chance.below(8) {
        0 => near = text(chance),
        1 => near.make_ascii_uppercase(),
        2 => {
            let mut lines: Vec<&[u8]> = of.split(|byte| *byte == b'\n').collect();
            let (one, other) = (chance.below(lines.len()), chance.below(lines.len()));
            lines.swap(one, other);
            near = lines.join(&b'\n');
        }
        3 => spoil(chance, &mut near, &WORDS),
        4 => {}
        _ => {
            let word = WORDS[chance.below(WORDS.len())];
            let at = chance.below(near.len() + 1);
            let gone = at..(at + chance.below(2)).min(near.len());
            near.splice(gone, word.iter().copied());
        }
    }
    near
}

#[test]
fn streaming_agrees_with_the_plain_reference_however_the_output_is_cut() {
    let mut agreed = 0;
    let cases = fuzz("comparators", CASES, |chance| {
        let comparator = COMPARATORS[chance.below(COMPARATORS.len())];
        let expected = text(chance);
        let actual = near(chance, &expected);
        let mut comparison = Comparison::new(comparator, &expected).unwrap();
        let mut lost = false;
        for piece in pieces(chance, &actual) {
            lost |= comparison.feed(piece) == Agreement::Lost;
        }
        let agree = comparison.finish();
        let shown = || {
            let [expected, actual] = [&expected, &actual].map(|text| text.escape_ascii().to_string());
            format!("{comparator}: expected \"{expected}\", actual \"{actual}\"")
        };
        assert_eq!(
            agree,
            reference::agree(comparator, &expected, &actual),
            "{}",
            shown()
        );
        assert!(!(agree && lost), "given up too early: {}", shown());
        agreed += u64::from(agree);
    });
    // Else the half of the facts is not looked at.
    assert!(
        cases < 1000 || (cases / 5..cases - cases / 5).contains(&agreed),
        "{agreed} of {cases} agree"
    );
}

#[test]
fn every_text_agrees_with_itself() {
    fuzz("comparators, a text and itself", CASES / 4, |chance| {
        let text = text(chance);
        for comparator in COMPARATORS {
            assert!(
                agrees(comparator, &text, &text),
                "{comparator}: \"{}\"",
                text.escape_ascii()
            );
        }
    });
}
