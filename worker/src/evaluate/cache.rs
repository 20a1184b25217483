//! Verdicts of programs that were judged before, for equal programs under equal conditions.
//!
//! Stands before the pool's queue. Rounds hand in equal programs often, and so do several samples of one problem. Two
//! equal programs at once are both judged: to let one wait for the other would tie it to the other's cancellation.
//! Bounded by bytes; the report that was not asked for longest goes first. Only firm reports are kept, see
//! [`Hold`](super::course::Hold): a verdict that the load of the host may have caused is found anew each time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roundhouse_proto::{Audit, CaseResult, Digest, EvaluateWork, EvaluationReport, Isolation};
use sha2::{Digest as _, Sha256};

use crate::recent::Recent;

/// Bytes of reports that are kept.
const REPORTS_BYTES_MAX: usize = 32 << 20;
/// Rises when a change of the cage may change verdicts.
const CAGE_VERSION: u32 = 1;

/// Everything that a report hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReportKey(Digest);

impl ReportKey {
    /// The key of a program whose text has the digest `program`.
    pub(crate) fn new(work: &EvaluateWork, program: Digest, interpreter: &str, isolation: Isolation) -> Self {
        // All fields by name: a new one must be put into the key, or shown not to matter.
        let EvaluateWork {
            program: _,
            language,
            tests,
            limits,
            comparator,
            ignore_exit_status,
            timeouts_max,
            stop_on_first_failure,
            output_chars,
            entry_point,
            execution,
        } = work;
        let fields = [
            CAGE_VERSION.to_string(),
            program.to_string(),
            language.word().to_owned(),
            tests.to_string(),
            format!("{limits:?}"),
            comparator.to_string(),
            ignore_exit_status.to_string(),
            timeouts_max.to_string(),
            stop_on_first_failure.to_string(),
            output_chars.to_string(),
            format!("{entry_point:?}"),
            execution.start.word().to_owned(),
            interpreter.to_owned(),
            isolation.word().to_owned(),
        ];
        let mut hash = Sha256::new();
        for field in fields {
            // With its length before it, no field runs into the next.
            hash.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(field);
        }
        Self(Digest(hash.finalize().into()))
    }
}

/// The reports that are kept now.
#[derive(Debug)]
pub(crate) struct Reports(Mutex<Recent<ReportKey, Arc<EvaluationReport>>>);

impl Default for Reports {
    fn default() -> Self {
        // What a report takes at least bounds their number.
        Self(Mutex::new(Recent::bounded(REPORTS_BYTES_MAX, usize::MAX)))
    }
}

impl Reports {
    /// The report under a key, marked as given again: it cost nothing and audited nothing this time.
    pub(crate) fn find(&self, key: ReportKey) -> Option<EvaluationReport> {
        let report = self.held().find(key)?;
        Some(EvaluationReport {
            busy_ms: 0,
            audit: Audit::default(),
            reused: true,
            ..EvaluationReport::clone(&report)
        })
    }

    /// Keeps a firm report.
    pub(crate) fn keep(&self, key: ReportKey, report: &EvaluationReport) {
        let bytes = bytes_of(report);
        let report = Arc::new(report.clone());
        self.held().keep(key, report, bytes);
    }

    fn held(&self) -> MutexGuard<'_, Recent<ReportKey, Arc<EvaluationReport>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About how much memory a report takes.
fn bytes_of(report: &EvaluationReport) -> usize {
    let of_case = |case: &CaseResult| {
        size_of::<CaseResult>() + case.stdout.head.len() + case.stdout.tail.len() + case.stderr_tail.len()
    };
    let cases: usize = report.cases.iter().map(of_case).sum();
    // Its key in two maps as well.
    size_of::<EvaluationReport>() + 4 * size_of::<ReportKey>() + cases
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use roundhouse_proto::{Comparator, Execution, Limits, StartMode, Verdict};

    use super::*;
    use crate::evaluate::course::not_run;
    use crate::evaluate::fake::work;

    fn report(stderr: &str) -> EvaluationReport {
        EvaluationReport {
            cases: vec![CaseResult {
                stderr_tail: stderr.to_owned(),
                ..not_run(0, Verdict::Accepted)
            }],
            isolation: Isolation::Partial,
            interpreter: "CPython 3.0.0".to_owned(),
            busy_ms: 7,
            audit: Audit {
                audited: 2,
                mismatched: 0,
            },
            reused: false,
        }
    }

    fn key(program: &[u8]) -> ReportKey {
        ReportKey::new(&work(), Digest::of(program), "CPython 3.0.0", Isolation::Partial)
    }

    #[test]
    fn report_that_is_given_again_says_so_and_cost_nothing() {
        let reports = Reports::default();
        assert_eq!(reports.find(key(b"p")), None);
        reports.keep(key(b"p"), &report(""));
        let expected = EvaluationReport {
            busy_ms: 0,
            audit: Audit::default(),
            reused: true,
            ..report("")
        };
        assert_eq!(reports.find(key(b"p")), Some(expected));
        assert_eq!(reports.find(key(b"q")), None);
    }

    #[test]
    fn key_hangs_on_everything_but_the_audit_and_reuse() {
        let work = work();
        let differing = [
            work.clone(),
            EvaluateWork {
                tests: Digest::of(b"other"),
                ..work.clone()
            },
            EvaluateWork {
                limits: Limits {
                    cpu_ms: 1,
                    ..work.limits
                },
                ..work.clone()
            },
            EvaluateWork {
                comparator: Comparator::Exact,
                ..work.clone()
            },
            EvaluateWork {
                comparator: Comparator::Float { abs: 1e-6, rel: 1e-6 },
                ..work.clone()
            },
            EvaluateWork {
                comparator: Comparator::Float { abs: 1e-6, rel: 1e-7 },
                ..work.clone()
            },
            EvaluateWork {
                ignore_exit_status: true,
                ..work.clone()
            },
            EvaluateWork {
                timeouts_max: 17,
                ..work.clone()
            },
            EvaluateWork {
                stop_on_first_failure: true,
                ..work.clone()
            },
            EvaluateWork {
                output_chars: 17,
                ..work.clone()
            },
            EvaluateWork {
                entry_point: Some(String::new()),
                ..work.clone()
            },
            EvaluateWork {
                entry_point: Some("f".to_owned()),
                ..work.clone()
            },
            EvaluateWork {
                execution: Execution {
                    start: StartMode::Natural,
                    ..work.execution
                },
                ..work.clone()
            },
        ];
        let name = "CPython 3.0.0";
        let of = |work: &EvaluateWork, name: &str, isolation| {
            ReportKey::new(work, Digest::of(b"p"), name, isolation)
        };
        let mut keys: Vec<ReportKey> = differing
            .iter()
            .map(|work| of(work, name, Isolation::Partial))
            .collect();
        keys.push(key(b"q"));
        keys.push(of(&work, "CPython 3.0.1", Isolation::Partial));
        keys.push(of(&work, name, Isolation::Full));
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        let audited = EvaluateWork {
            execution: Execution {
                audit_per_mille: 999,
                reuse: !work.execution.reuse,
                ..work.execution
            },
            ..work.clone()
        };
        assert_eq!(of(&audited, name, Isolation::Partial), keys[0]);
    }

    #[test]
    fn report_counts_with_all_its_texts() {
        assert_eq!(bytes_of(&report("12345")), bytes_of(&report("")) + 5);
    }
}
