//! What the reports say of how programs were judged: limits, audits, problems that cannot be judged.

use roundhouse_core::run::{
    LimitsRule, MemoryRule, Quarantine, QuarantineReason, QuarantinedProblem, TimeRule,
};
use roundhouse_proto::{Audit, Comparator, Digest, Execution, StartMode};

use super::*;
use crate::report::read_back::read_back;

/// The mixed run, of which problem 1 alone passes, with these problems in quarantine.
fn quarantined(positions: &[u32]) -> Fixture {
    let mut fixture = Fixture::mixed();
    let problems = positions.iter().map(|position| QuarantinedProblem {
        position: *position,
        reason: QuarantineReason::SeveralRightAnswers,
    });
    Arc::make_mut(&mut fixture.run.spec).quarantine = Some(Quarantine {
        sha256: Digest::of(b"the quarantine"),
        problems: problems.collect(),
    });
    fixture
}

fn summary(fixture: &Fixture) -> Value {
    serde_json::from_slice(&summary_json(fixture)).unwrap()
}

#[test]
fn rate_of_judgeable_problems_stands_below_that_of_all_and_the_denominator_stays() {
    let mut fixture = quarantined(&[2, 3, 4]);
    let bytes = summary_json(&fixture);
    let value = summary(&fixture);
    let head = &value["summary"];
    assert_eq!((&head["passed"], &head["total"]), (&json!(1), &json!(6)));
    let rate = 100.0 / 3.0;
    assert_eq!(head["judgeable"], json!({"total": 3, "passed": 1, "rate": rate}));
    let of = Digest::of(b"the quarantine");
    assert_eq!(
        head["provenance"]["quarantine"],
        json!({"sha256": of, "problems": 3})
    );
    let of_problems: Vec<&Value> = (0..6).map(|i| &value["results"][i]["quarantined"]).collect();
    let (none, several) = (&Value::Null, &json!("several-right-answers"));
    assert_eq!(of_problems, [none, several, several, several, none, none]);

    let report = readable(&bytes);
    let lines = "  - Pass@1: 16.67% (1/6)\n  - 可判题目通过率: 33.3% (1/3)\n  - 总耗时: ";
    assert!(report.contains(lines), "{report}");
    assert_eq!(searched(&report).len(), 2);
    Arc::make_mut(&mut fixture.run.spec).lang = Lang::En;
    let report = readable(&summary_json(&fixture));
    let lines =
        "  - Pass@1: 16.67% (1/6)\n  - Pass rate of judgeable problems: 33.3% (1/3)\n  - Total time: ";
    assert!(report.contains(lines), "{report}");
    assert_eq!(read_back(&bytes).unwrap().figures, Figures::of(&fixture.run));
}

#[test]
fn run_without_a_quarantine_says_nothing_of_one_and_a_run_of_nothing_else_divides_by_nothing() {
    let plain = Fixture::mixed();
    let head = &summary(&plain)["summary"];
    assert_eq!(
        (&head["judgeable"], &head["provenance"]["quarantine"]),
        (&Value::Null, &Value::Null)
    );
    assert!(!readable(&summary_json(&plain)).contains("可判"));

    let all = quarantined(&[1, 2, 3, 4, 5, 6]);
    assert_eq!(
        summary(&all)["summary"]["judgeable"],
        json!({"total": 0, "passed": 0, "rate": 0.0})
    );
    assert!(readable(&summary_json(&all)).contains("可判题目通过率: 0.0% (0/0)\n"));
    // An empty quarantine says that every problem can be judged.
    let none = quarantined(&[]);
    assert!(readable(&summary_json(&none)).contains("可判题目通过率: 16.7% (1/6)\n"));
}

#[test]
fn audits_are_told_and_read_back() {
    let mut fixture = Fixture::mixed();
    let audit = Audit {
        audited: 12,
        mismatched: 1,
    };
    fixture.run.audit = audit;
    assert_eq!(
        summary(&fixture)["summary"]["judge"],
        json!({"audited": 12, "mismatched": 1, "reused": 0})
    );
    assert_eq!(read_back(&summary_json(&fixture)).unwrap().figures.audit, audit);
}

#[test]
fn settings_of_the_judge_are_told_as_flags_have_them_and_each_problem_has_its_limits() {
    let mut fixture = Fixture::mixed();
    let spec = Arc::make_mut(&mut fixture.run.spec);
    let program = Digest::of(b"a checker");
    spec.evaluation.comparator = Comparator::Checker { program };
    spec.evaluation.execution = Execution {
        start: StartMode::Fresh,
        audit_per_mille: 5,
        reuse: false,
    };
    spec.evaluation.limits_rule = LimitsRule {
        time: TimeRule::Problem {
            factor_per_mille: 2_500,
        },
        memory: MemoryRule::Problem { floor_bytes: 1 << 28 },
    };
    spec.problems[0].time_limit_ms = Some(2_000);
    spec.problems[0].memory_limit_bytes = Some(1);
    let value = summary(&fixture);
    let provenance = &value["summary"]["provenance"];
    assert_eq!(provenance["comparator"], format!("checker:{program}"));
    assert_eq!(
        ["time_limit", "memory_limit", "zygote", "audit_rate", "cache"].map(|key| &provenance[key]),
        [
            &json!("problem*2.5"),
            &json!("problem"),
            &json!("fresh"),
            &json!(0.5),
            &json!(false)
        ]
    );
    assert_eq!(
        value["results"][0]["limits"],
        json!({
            "cpu_ms": 5_000, "wall_ms": 20_000, "memory_bytes": 1 << 28, "time_from": "problem",
            "memory_from": "floor",
        })
    );
    assert_eq!(
        value["results"][1]["limits"],
        json!({
            "cpu_ms": 10_000, "wall_ms": 40_000, "memory_bytes": 1 << 30, "time_from": "run", "memory_from": "run",
        })
    );
}
