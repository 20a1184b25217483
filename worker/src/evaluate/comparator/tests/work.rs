//! What comparing costs: bytes that are looked at, and bytes that are held.

use super::*;

/// The longest text here.
const BYTES: usize = 1 << 18;
/// Bytes fed at once, as a cage does.
const PIECE_BYTES: usize = 64 << 10;
/// How often a byte of either text may be looked at: as it comes, to find where its token ends, and as a digit.
const LOOKS_MAX: usize = 6;
/// Bytes that may be held, whatever the texts.
const HELD_BYTES_MAX: usize = 2048;

const COMPARATORS: [&str; 6] = [
    "code-contests",
    "tokens",
    "lines",
    "unordered-lines",
    "exact",
    "float",
];

/// Bytes looked at and the most that were held.
fn cost(comparator: Comparator, expected: &[u8], actual: &[u8]) -> (usize, usize) {
    STEPS.set(0);
    let mut comparison = Comparison::new(comparator, expected).unwrap();
    let mut held = 0;
    for piece in actual.chunks(PIECE_BYTES) {
        comparison.feed(piece);
        held = held.max(comparison.held_bytes());
    }
    comparison.finish();
    (STEPS.get(), held)
}

fn repeated(word: &str, bytes: usize) -> Vec<u8> {
    word.bytes().cycle().take(bytes).collect()
}

#[test]
fn work_is_linear_and_memory_constant_whatever_the_texts_are() {
    let words = [
        "a", "1", "0", "9.", "1e1", "-", "inf", " ", "\n", "\r\n", " \n", "\x0c", "a\n", "a b", "1 ", "1.0 ",
        "1.5\n", "nan\n", "\t \t", "a \t", "+0",
    ];
    let texts = |bytes| {
        words.map(|word| {
            [
                repeated(word, bytes),
                repeated(&format!("{word}{word} {word}1.0\n"), bytes),
            ]
        })
    };
    let texts: Vec<Vec<u8>> = texts(BYTES / 64).into_iter().flatten().collect();
    for comparator in COMPARATORS {
        let comparator = comparator.parse().unwrap();
        for expected in &texts {
            for actual in &texts {
                let (steps, held) = cost(comparator, expected, actual);
                let shown = || format!("{comparator}: {:?} and {:?}", &expected[..12], &actual[..12]);
                assert!(
                    steps <= LOOKS_MAX * (expected.len() + actual.len()),
                    "{steps} looks, {}",
                    shown()
                );
                assert!(held <= HELD_BYTES_MAX, "{held} bytes, {}", shown());
            }
        }
    }
}

#[test]
fn work_for_one_endless_token_doubles_with_its_length_and_is_not_done_for_what_is_lost() {
    for (expected, word, lost) in [
        ("15", "1", false),
        ("15.5", "0", false),
        ("0", "0", false),
        ("15", "x", true),
        ("xyz", "1", true),
    ] {
        for comparator in ["code-contests", "float"] {
            let comparator = comparator.parse().unwrap();
            let steps = |bytes| cost(comparator, expected.as_bytes(), &repeated(word, bytes)).0;
            let (half, whole) = (steps(BYTES / 2), steps(BYTES));
            let few = 4 * HELD_BYTES_MAX;
            match lost {
                true => assert!(whole < few, "{comparator}: {expected} and {word}…: {whole} looks"),
                false => {
                    assert!(
                        half >= BYTES / 2,
                        "{comparator}: {expected} and {word}…: {half} looks"
                    );
                    assert!(
                        whole <= 2 * half + few,
                        "{comparator}: {half} looks, then {whole}"
                    );
                }
            }
        }
    }
}
