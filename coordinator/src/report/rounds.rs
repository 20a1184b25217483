//! What the programs of rounds came to, as summary.json has it: Pass@1 by round, and how often the tester was right.
//!
//! Only of runs that have them judged.

use roundhouse_core::summary::{ProblemSummary, RoundOutcome, RoundSummary, RunSummary};
use serde::Serialize;

use super::number::percent;

/// The figures of a run.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Rounds {
    /// For each round from 0, the problems whose program as it stood after it passes every test, in percent of all. A
    /// session that had ended before stands where it was.
    pass_by_round: Vec<f64>,
    tester: Tester,
    /// Rounds whose program has no verdict because of a failure of ours; they are in no other count.
    round_errors: usize,
}

/// What rounds' own tests, or the tester's reviews, said of programs, against what these were judged to.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Tester {
    /// Both passed it, or both failed it.
    agreed: usize,
    /// The tester failed a program that passes.
    false_alarms: usize,
    /// The tester passed a program that fails.
    missed: usize,
}

impl Rounds {
    /// Those of a run; none if it does not have its rounds judged.
    pub(super) fn of(run: &RunSummary) -> Option<Self> {
        if !run.spec.evaluate_rounds {
            return None;
        }
        let rounds = || run.problems.iter().flat_map(|problem| &problem.rounds);
        let rounds_n = rounds().map(|round| round.round + 1).max().unwrap_or(0);
        let passes_after = |last: u32| {
            let passes = |problem: &&ProblemSummary| {
                let mut until = problem.rounds.iter().rev().filter(|round| round.round <= last);
                until.next().and_then(|round| round.outcome.is_pass()) == Some(true)
            };
            run.problems.iter().filter(passes).count()
        };
        let total = run.problems.len() as f64;
        let mut tester = Tester::default();
        for round in rounds() {
            match (round.passed_its_tests, round.outcome.is_pass()) {
                (Some(said), Some(is_pass)) if said == is_pass => tester.agreed += 1,
                (Some(false), Some(_)) => tester.false_alarms += 1,
                (Some(true), Some(_)) => tester.missed += 1,
                (None, _) | (_, None) => {}
            }
        }
        let is_error = |round: &&RoundSummary| matches!(round.outcome, RoundOutcome::Error(_));
        Some(Self {
            pass_by_round: (0..rounds_n)
                .map(|last| percent(passes_after(last) as f64, total))
                .collect(),
            tester,
            round_errors: rounds().filter(is_error).count(),
        })
    }
}

/// What the program of one round came to.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct RoundResult {
    round: u32,
    /// None while it is not judged, and where a failure of ours left it without a verdict.
    passed: Option<bool>,
    passed_tests: Option<u32>,
    /// Whether it passed the round's own tests, or the tester's review; none where there was neither.
    tester: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl RoundResult {
    pub(super) fn of(round: &RoundSummary) -> Self {
        let (passed_tests, error) = match &round.outcome {
            RoundOutcome::Unjudged => (None, None),
            RoundOutcome::Judged { passed, .. } => (Some(*passed), None),
            RoundOutcome::Error(failure) => (None, Some(failure.message.clone())),
        };
        Self {
            round: round.round,
            passed: round.outcome.is_pass(),
            passed_tests,
            tester: round.passed_its_tests,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roundhouse_proto::{Failure, FailureClass};

    use super::*;
    use crate::report::fixture::Fixture;

    fn round(round: u32, tester: Option<bool>, outcome: RoundOutcome) -> RoundSummary {
        RoundSummary {
            round,
            passed_its_tests: tester,
            outcome,
        }
    }

    fn judged(passed: u32) -> RoundOutcome {
        RoundOutcome::Judged { passed, total: 2 }
    }

    /// The first problems of the sample run, with these rounds.
    fn run(problems: Vec<Vec<RoundSummary>>) -> RunSummary {
        let mut run = Fixture::sample().run;
        let spec = Arc::make_mut(&mut run.spec);
        spec.evaluate_rounds = true;
        spec.problems.truncate(problems.len());
        run.problems.truncate(problems.len());
        for (problem, rounds) in run.problems.iter_mut().zip(problems) {
            problem.rounds = rounds;
        }
        run
    }

    #[test]
    fn pass_by_round_takes_the_program_as_it_stood_over_all_problems() {
        let failure = Failure {
            class: FailureClass::InfraFatal,
            message: "given up".to_owned(),
        };
        let rounds = Rounds::of(&run(vec![
            // Right at once, and the session ended with that.
            vec![round(0, Some(true), judged(2))],
            // A false alarm made it worse, and then it was mended.
            vec![
                round(0, Some(false), judged(2)),
                round(1, Some(false), judged(1)),
                round(2, None, judged(2)),
            ],
            // Wrong, and the tester did not see it.
            vec![round(0, Some(true), judged(0))],
            // Nobody knows.
            vec![
                round(0, Some(false), RoundOutcome::Error(failure)),
                round(1, Some(false), RoundOutcome::Unjudged),
            ],
            // No round at all.
            Vec::new(),
        ]));
        let expected = Rounds {
            pass_by_round: vec![40.0, 20.0, 40.0],
            tester: Tester {
                agreed: 2,
                false_alarms: 1,
                missed: 1,
            },
            round_errors: 1,
        };
        assert_eq!(rounds, Some(expected));
    }

    #[test]
    fn run_without_rounds_has_no_figures_by_round() {
        assert_eq!(Rounds::of(&Fixture::sample().run), None);
        let rounds = Rounds::of(&run(Vec::new()));
        let expected = Rounds {
            pass_by_round: Vec::new(),
            tester: Tester::default(),
            round_errors: 0,
        };
        assert_eq!(rounds, Some(expected));
    }
}
