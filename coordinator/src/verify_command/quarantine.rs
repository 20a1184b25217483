//! From what the accepted programs of a data set came to, to the problems that cannot be judged.

use std::collections::BTreeMap;

use roundhouse_proto::{Problem, Verdict};

use super::{Judged, Kind};
use crate::quarantine::reason::{Failing, Reason, reason_of};
use crate::quarantine::{EVIDENCE_MAX, Entry, Evidence};

/// The problems of whose accepted programs at least half fail. Fewer than half may be slow, or accepted by mistake;
/// where half fail, a verdict on a new program says little. A program that could not be judged says nothing.
pub(super) fn entries(problems: &[Problem], programs: &[Judged]) -> Vec<Entry> {
    let mut of_problem: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for judged in programs {
        let says_something = match (judged.kind, judged.verdict) {
            (Kind::Incorrect, _) | (Kind::Correct, Verdict::InternalError) => false,
            (Kind::Correct, _) => true,
        };
        if says_something {
            of_problem.entry(&judged.problem).or_default().push(judged);
        }
    }
    let entry = |problem| entry(problem, of_problem.get(problem.source_id.as_str())?);
    problems.iter().filter_map(entry).collect()
}

/// What is written of a problem; none if it can be judged.
fn entry(problem: &Problem, programs: &[&Judged]) -> Option<Entry> {
    let mut evidence = Vec::new();
    let mut failing = Vec::new();
    for judged in programs {
        let Some(case) = &judged.failing else { continue };
        evidence.push(Evidence {
            program: judged.index,
            verdict: judged.verdict,
            case: case.case,
        });
        let mut sources = problem.solutions.iter();
        let source = sources.find(|program| program.index == judged.index);
        let expected = problem.tests.cases.get(case.case as usize);
        failing.push(Failing {
            source: source.map_or("", |program| &program.source),
            case,
            expected: expected.map_or(b"", |case| &case.expected),
        });
    }
    if failing.is_empty() || failing.len() * 2 < programs.len() {
        return None;
    }
    let Reason { kind, text } = reason_of(&problem.statement, &problem.tests, &failing);
    evidence.truncate(EVIDENCE_MAX);
    Some(Entry {
        position: problem.position,
        source_id: problem.source_id.clone(),
        kind,
        reason: text,
        programs: programs.len(),
        failing: failing.len(),
        evidence,
    })
}

#[cfg(test)]
mod tests {
    use roundhouse_core::run::QuarantineReason;
    use roundhouse_proto::{Case, CaseResult, Clip, Language, Program, TestSet, Tier};

    use super::*;

    fn problem(position: u32, source_id: &str) -> Problem {
        let program = |index| Program {
            index,
            language: Language::Python3,
            source: "print(1)".to_owned(),
        };
        Problem {
            position,
            source_id: source_id.to_owned(),
            statement: "Print any.".to_owned(),
            tests: TestSet {
                cases: vec![Case {
                    tier: Tier::Public,
                    input: "1".into(),
                    expected: "2".into(),
                }],
            },
            time_limit_ms: None,
            memory_limit_bytes: None,
            solutions: (0..20).map(program).collect(),
            incorrect_solutions: Vec::new(),
            entry_point: None,
        }
    }

    fn judged(source_id: &str, kind: Kind, index: u32, verdict: Verdict) -> Judged {
        let case = (verdict != Verdict::Accepted).then(|| CaseResult {
            case: 0,
            verdict,
            not_run: false,
            cpu_ms: 1,
            wall_ms: 1,
            memory_bytes: 1,
            exit_code: Some(0),
            signal: None,
            stdout: Clip {
                head: "1".to_owned(),
                ..Clip::default()
            },
            stderr_tail: String::new(),
        });
        Judged {
            problem: source_id.to_owned(),
            kind,
            index,
            verdict,
            first_failing_case: case.as_ref().map(|case| case.case),
            failing: case,
        }
    }

    fn of(verdicts: &[(Kind, Verdict)]) -> Vec<Entry> {
        let programs: Vec<Judged> = (0..)
            .zip(verdicts)
            .map(|(index, (kind, verdict))| judged("b", *kind, index, *verdict))
            .collect();
        entries(&[problem(1, "a"), problem(2, "b")], &programs)
    }

    #[test]
    fn problem_is_in_quarantine_once_half_of_its_accepted_programs_fail() {
        let (right, wrong) = (Kind::Correct, Kind::Incorrect);
        assert_eq!(of(&[]), []);
        assert_eq!(
            of(&[(right, Verdict::Accepted), (wrong, Verdict::WrongAnswer)]),
            []
        );
        let one_of_three = [
            (right, Verdict::Accepted),
            (right, Verdict::WrongAnswer),
            (right, Verdict::Accepted),
        ];
        assert_eq!(of(&one_of_three), []);
        let half = of(&[
            (right, Verdict::Accepted),
            (right, Verdict::WrongAnswer),
            (wrong, Verdict::Accepted),
        ]);
        let evidence = Evidence {
            program: 1,
            verdict: Verdict::WrongAnswer,
            case: 0,
        };
        let [entry] = &half[..] else {
            panic!("one problem: {half:?}")
        };
        assert_eq!((entry.position, entry.source_id.as_str()), (2, "b"));
        assert_eq!((entry.programs, entry.failing), (2, 1));
        assert_eq!(entry.kind, QuarantineReason::SeveralRightAnswers);
        assert_eq!(entry.evidence, [evidence]);
    }

    #[test]
    fn program_that_was_not_judged_is_no_evidence() {
        assert_eq!(of(&[(Kind::Correct, Verdict::InternalError)]), []);
    }

    #[test]
    fn evidence_names_the_first_programs_and_counts_all() {
        let entries = of(&[(Kind::Correct, Verdict::TimeLimit); 15]);
        let counts: Vec<(usize, usize)> = entries
            .iter()
            .map(|entry| (entry.failing, entry.evidence.len()))
            .collect();
        assert_eq!(counts, [(15, EVIDENCE_MAX)]);
    }
}
