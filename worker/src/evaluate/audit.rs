//! Which cases are run once more by a fresh interpreter, and whether two runs of a case came to the same.
//!
//! The choice hangs on program, test set and case alone, so that every worker makes the same one. Times and memory are
//! never compared.

use std::fmt;

use roundhouse_proto::Digest;
use sha2::{Digest as _, Sha256};

use super::step::Ran;

/// Which cases of one program are run once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Digest of the program's text.
    pub(crate) program: Digest,
    /// The test set's address.
    pub(crate) tests: Digest,
    /// Of 1000 cases, how many.
    pub(crate) per_mille: u32,
}

impl Sample {
    /// Whether it is this case's turn.
    pub(crate) fn takes(&self, case: u32) -> bool {
        if self.per_mille == 0 {
            return false;
        }
        let mut hash = Sha256::new();
        hash.update(self.program.0);
        hash.update(self.tests.0);
        hash.update(case.to_be_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let place = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % 1000;
        place < self.per_mille
    }
}

/// A whole standard output, by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print(Digest);

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes a [`Print`] of an output that streams by.
#[derive(Debug, Default)]
pub(crate) struct Printer(Sha256);

impl Printer {
    /// Takes the next piece of the output, cut anywhere.
    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    /// The print of all that came.
    pub(crate) fn finish(self) -> Print {
        Print(Digest(self.0.finalize().into()))
    }
}

/// Whether two runs of a case came to the same. Of an output that was cut short by a kill it is chance how much was
/// there: then the verdict alone is compared.
pub(crate) fn agree(one: &Ran, other: &Ran) -> bool {
    let is_same_verdict = one.result.verdict == other.result.verdict;
    match (one.print, other.print) {
        (Some(print), Some(other_print)) => {
            let end = |ran: &Ran| (ran.result.exit_code, ran.result.signal);
            is_same_verdict && end(one) == end(other) && print == other_print
        }
        (None, _) | (_, None) => is_same_verdict,
    }
}

#[cfg(test)]
mod tests {
    use roundhouse_proto::Verdict;

    use super::*;
    use crate::evaluate::course::not_run;
    use crate::evaluate::step::Doubt;

    fn sample(per_mille: u32) -> Sample {
        Sample {
            program: Digest::of(b"p"),
            tests: Digest::of(b"t"),
            per_mille,
        }
    }

    fn taken(sample: Sample) -> Vec<u32> {
        (0..10_000).filter(|case| sample.takes(*case)).collect()
    }

    #[test]
    fn sample_is_about_as_large_as_asked_and_hangs_on_program_and_tests() {
        assert_eq!(taken(sample(0)), Vec::<u32>::new());
        assert_eq!(taken(sample(1000)).len(), 10_000);
        let tenth = taken(sample(100));
        assert!((800..1200).contains(&tenth.len()), "{}", tenth.len());
        let hundredth = taken(sample(10));
        assert!((50..150).contains(&hundredth.len()), "{}", hundredth.len());
        assert!(hundredth.iter().all(|case| tenth.contains(case)));
        let of_other = |program: &[u8], tests: &[u8]| {
            taken(Sample {
                program: Digest::of(program),
                tests: Digest::of(tests),
                per_mille: 100,
            })
        };
        assert_eq!(of_other(b"p", b"t"), tenth);
        assert!(of_other(b"q", b"t") != tenth && of_other(b"p", b"u") != tenth);
    }

    /// The same on every worker, of every build: else two workers would judge differently.
    #[test]
    fn sample_is_the_same_everywhere() {
        assert_eq!(taken(sample(10))[..4], [24, 205, 301, 370]);
    }

    #[test]
    fn runs_are_compared_by_verdict_end_and_output_and_cut_ones_by_verdict_alone() {
        let ran = |verdict, exit_code, output: Option<&str>| Ran {
            result: roundhouse_proto::CaseResult {
                exit_code: Some(exit_code),
                ..not_run(0, verdict)
            },
            crossed: None,
            print: output.map(|output| {
                let mut printer = Printer::default();
                output
                    .chars()
                    .for_each(|char| printer.feed(char.to_string().as_bytes()));
                printer.finish()
            }),
            doubt: Doubt::None,
            looks_uncompiled: false,
        };
        let one = ran(Verdict::Accepted, 0, Some("ab"));
        for (other, expected) in [
            (ran(Verdict::Accepted, 0, Some("ab")), true),
            (ran(Verdict::Accepted, 0, Some("ab\n")), false),
            (ran(Verdict::Accepted, 1, Some("ab")), false),
            (ran(Verdict::WrongAnswer, 0, Some("ab")), false),
            (ran(Verdict::Accepted, 1, None), true),
            (ran(Verdict::TimeLimit, 0, None), false),
        ] {
            assert_eq!(agree(&one, &other), expected, "{other:?}");
            assert_eq!(agree(&other, &one), expected, "{other:?}");
        }
    }
}
