//! How programs are judged: the limits that go with them, and what audits come to.

use roundhouse_core::run::{LimitsRule, MemoryRule, TimeRule};
use roundhouse_core::{Command, Outbox};
use roundhouse_proto::link::{CoordMsg, JobResult};
use roundhouse_proto::{Audit, Limits, Work};

use crate::expected::*;
use crate::spec::*;

/// The limits of the only job that an event led to.
fn limits_sent(outbox: &Outbox) -> Limits {
    let mut limits = outbox.commands.iter().filter_map(|command| match command {
        Command::Send {
            msg: CoordMsg::Jobs(grants),
            ..
        } => match &grants[..] {
            [grant] => match &grant.work {
                Work::Evaluate(work) => Some(work.limits),
                Work::Generate(_) => None,
            },
            _ => None,
        },
        _ => None,
    });
    limits.next().expect("an evaluation is handed out")
}

#[test]
fn final_program_gets_the_limits_of_its_problem_and_the_tests_of_a_round_those_of_the_session() {
    let spec = spec(1, |spec| {
        spec.evaluation.limits_rule = LimitsRule {
            time: TimeRule::Problem {
                factor_per_mille: 3_000,
            },
            memory: MemoryRule::Problem { floor_bytes: 1 << 28 },
        };
        spec.problems[0].memory_limit_bytes = Some(1 << 29);
    });
    let mut bench = Bench::serving(&spec, 1, 1);
    bench.sessions(1, lease(1), 1, &[said(1, 0)]);
    let outbox = bench.on(session(1, generate(1), lease(1), 2, test_request(1, 0)));
    assert_eq!(limits_sent(&outbox), spec.session.limits);
    bench.on(result(1, tests(1, 0), lease(2), evaluated(round_report(1, 0), 2)));
    bench.finish(1, lease(1), 3);
    let outbox = bench.on(credit(1, roundhouse_proto::Role::Eval, 1));
    let limits = Limits {
        cpu_ms: 6_000,
        wall_ms: 24_000,
        memory_bytes: 1 << 29,
        ..Limits::default()
    };
    assert_eq!(limits_sent(&outbox), limits);
}

#[test]
fn audits_of_final_programs_and_of_tests_of_rounds_are_added_up() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 2);
    assert_eq!(bench.summary().audit, Audit::default());
    let audited = |result, audited, mismatched| match result {
        JobResult::Evaluated {
            report,
            passed,
            total,
            busy_ms,
            internal_error,
            ..
        } => JobResult::Evaluated {
            audit: Audit { audited, mismatched },
            report,
            passed,
            total,
            busy_ms,
            internal_error,
        },
        other => other,
    };
    bench.sessions(1, lease(1), 1, &[test_request(1, 0)]);
    let of_round = audited(evaluated(round_report(1, 0), 2), 3, 1);
    bench.on(result(1, tests(1, 0), lease(2), of_round));
    // Until its session has ended, nothing says that it counts.
    assert_eq!(bench.summary().audit, Audit::default());
    bench.finish(1, lease(1), 2);
    let of_final = audited(evaluated(final_report(1), CASES), 4, 0);
    bench.on(result(1, evaluate(1), lease(3), of_final));
    let sum = Audit {
        audited: 7,
        mismatched: 1,
    };
    assert_eq!(bench.summary().audit, sum);
}
