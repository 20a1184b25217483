//! What is read of a run's standard output while it streams by.
//!
//! Stands between the cage and `verdict`: beside an expected output for a program, by the driver's word for a function.

use roundhouse_proto::{Case, Clip, EvaluateWork};

use super::clip::ClipCollector;
use super::comparator::{Agreement, Comparison};
use super::function::Told;
use super::verdict::Output;

/// The reader of one run.
#[derive(Debug)]
pub(crate) enum Reading<'e> {
    /// A program's output.
    Program {
        comparison: Comparison<'e>,
        agreement: Agreement,
        clip: ClipCollector,
    },
    /// What the driver of a function tells.
    Function(Told),
}

impl<'e> Reading<'e> {
    /// Starts with nothing of the output seen.
    pub(crate) fn new(work: &EvaluateWork, program: &[u8], case: &'e Case) -> Self {
        match work.entry_point {
            Some(_) => Self::Function(Told::new(program, &case.input, work.output_chars)),
            None => Self::Program {
                comparison: Comparison::new(work.comparator, &case.expected),
                agreement: Agreement::Possible,
                clip: ClipCollector::new(work.output_chars),
            },
        }
    }

    /// Takes the next piece of the output, cut anywhere; says whether the whole can still be right.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Agreement {
        match self {
            Self::Program {
                comparison,
                agreement,
                clip,
            } => {
                clip.push(chunk);
                if *agreement == Agreement::Possible {
                    *agreement = comparison.feed(chunk);
                }
                *agreement
            }
            Self::Function(told) => {
                told.feed(chunk);
                Agreement::Possible
            }
        }
    }

    /// What the whole output, now at its end, came to, and what is shown of it.
    pub(crate) fn finish(self) -> (Output, Clip) {
        match self {
            Self::Program { comparison, clip, .. } => {
                let output = if comparison.finish() {
                    Output::Agrees
                } else {
                    Output::Differs
                };
                (output, clip.finish())
            }
            Self::Function(told) => told.finish(),
        }
    }
}
