//! What is read of a run's standard output while it streams by.
//!
//! Stands between the cage and `verdict`: beside an expected output for a program, by the driver's word for a function.
//! Where a checker decides, the output is kept for it.

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
    /// A program's output that a checker is to decide about; a cage gives no more of it than the output limit.
    Checked { kept: Vec<u8>, clip: ClipCollector },
    /// What the driver of a function tells.
    Function(Told),
}

/// What reading came to.
#[derive(Debug)]
pub(crate) enum Read {
    /// It is decided.
    Output(Output),
    /// A checker is to decide about the whole of it.
    Kept(Vec<u8>),
}

impl<'e> Reading<'e> {
    /// Starts with nothing of the output seen.
    pub(crate) fn new(work: &EvaluateWork, program: &[u8], case: &'e Case) -> Self {
        if work.entry_point.is_some() {
            return Self::Function(Told::new(program, &case.input, work.output_chars));
        }
        let clip = ClipCollector::new(work.output_chars);
        match Comparison::new(work.comparator, &case.expected) {
            Some(comparison) => Self::Program {
                comparison,
                agreement: Agreement::Possible,
                clip,
            },
            None => Self::Checked {
                kept: Vec::new(),
                clip,
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
            Self::Checked { kept, clip } => {
                clip.push(chunk);
                kept.extend_from_slice(chunk);
                Agreement::Possible
            }
            Self::Function(told) => {
                told.feed(chunk);
                Agreement::Possible
            }
        }
    }

    /// What the whole output, now at its end, came to, and what is shown of it.
    pub(crate) fn finish(self) -> (Read, Clip) {
        match self {
            Self::Program { comparison, clip, .. } => {
                let output = if comparison.finish() {
                    Output::Agrees
                } else {
                    Output::Differs
                };
                (Read::Output(output), clip.finish())
            }
            Self::Checked { kept, clip } => (Read::Kept(kept), clip.finish()),
            Self::Function(told) => {
                let (output, clip) = told.finish();
                (Read::Output(output), clip)
            }
        }
    }
}
