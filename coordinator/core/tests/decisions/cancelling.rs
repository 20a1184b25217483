//! Runs that people end: what becomes of their jobs, what is written, and how they are opened again.

use std::sync::Arc;

use roundhouse_core::record::{JobRecord, RunRecord, Write};
use roundhouse_core::run::RunSpec;
use roundhouse_core::status::RunState;
use roundhouse_core::summary::{ProblemOutcome, RunStatus};
use roundhouse_core::{Command, Event, LinkId, Progress};
use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{FailureClass, LeaseId, Role, SessionEvent, StopReason};

use crate::expected::*;
use crate::spec::*;

fn cancel() -> Event {
    let reason = "too dear".to_owned();
    Event::CancelRequested { run: run(), reason }
}

fn stop(link: u64, lease: LeaseId) -> Command {
    let reason = "too dear".to_owned();
    send(link, CoordMsg::Cancel { lease, reason })
}

fn cancelled(record: RunRecord) -> RunRecord {
    let cancelled = Some("too dear".to_owned());
    RunRecord { cancelled, ..record }
}

/// A run of four problems: the first is settled, the second judged, the third generated, the fourth waits.
fn under_way() -> (Arc<RunSpec>, Bench) {
    let spec = spec(4, |_| {});
    let mut bench = Bench::serving(&spec, 3, 1);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.finish(2, lease(2), 1);
    bench.pass(100);
    (spec, bench)
}

#[test]
fn cancelled_run_is_stored_then_its_workers_are_told_and_its_reports_are_written() {
    let (spec, mut bench) = under_way();
    let outbox = bench.on(cancel());
    let judged = JobRecord {
        at_ms: 100,
        ..back(final_job(2), 1, 0)
    };
    let generated = JobRecord {
        busy_ms: 100,
        at_ms: 100,
        ..back(session_job(3), 1, 0)
    };
    assert_outbox(
        &outbox,
        &[
            Write::Run(cancelled(judging_record(&spec, 3, 1))),
            Write::Job(generated),
            Write::Job(judged),
            Write::Pending(pending_reports()),
        ],
        &[stop(1, lease(3)), stop(1, lease(4)), report_files(&bench)],
    );
    let summary = bench.summary();
    let reason = "too dear".to_owned();
    assert_eq!(summary.status, RunStatus::Cancelled { reason });
    assert_eq!(
        bench.outcomes(),
        [
            ProblemOutcome::NoProgram(StopReason::NoCode),
            ProblemOutcome::Open,
            ProblemOutcome::Open,
            ProblemOutcome::Open,
        ]
    );
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[tell(Progress::Done(Box::new(summary)))],
    );
}

#[test]
fn nothing_of_a_cancelled_run_is_handed_out_and_late_results_are_forgotten() {
    let (_, mut bench) = under_way();
    bench.on(cancel());
    bench.expect_nothing(credit(1, Role::Gen, 3));
    bench.expect_nothing(credit(1, Role::Eval, 3));
    let (session_lease, judge_lease) = (lease(3), lease(4));
    let finished = SessionEvent::Finished(with_program(3));
    bench.expect(
        session(1, generate(3), session_lease, 1, finished),
        &[],
        &[forget(1, session_lease)],
    );
    let passed = evaluated(final_report(2), CASES);
    bench.expect(
        result(1, evaluate(2), judge_lease, passed),
        &[],
        &[forget(1, judge_lease)],
    );
    bench.expect(
        given_back(1, session_lease, "cancelled"),
        &[],
        &[forget(1, session_lease)],
    );
    bench.expect_nothing(Event::Ticked);
    bench.pass(60_000);
    bench.on(Event::Left { link: LinkId(1) });
    bench.expect_nothing(Event::Ticked);
    let view = bench.view();
    assert_eq!(
        (view.jobs_ready_n, view.jobs_leased_n, view.stuck),
        (0, 0, vec![])
    );
}

#[test]
fn repeated_cancel_changes_nothing() {
    let (_, mut bench) = under_way();
    bench.on(cancel());
    bench.expect_nothing(cancel());
    let reason = "another reason".to_owned();
    bench.expect_nothing(Event::CancelRequested { run: run(), reason });
    let reason = "too dear".to_owned();
    assert_eq!(bench.view().state, RunState::Cancelled { reason });
}

#[test]
fn finished_run_and_unknown_run_are_not_cancelled() {
    let mut bench = Bench::serving(&spec(1, |_| {}), 1, 0);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.expect_nothing(cancel());
    let (run, reason) = (run_numbered(9), "too dear".to_owned());
    bench.expect_nothing(Event::CancelRequested { run, reason });
    assert_eq!(bench.summary().status, RunStatus::Complete);
}

#[test]
fn cancelled_run_leaves_the_jobs_of_others_alone() {
    let (_, mut bench) = under_way();
    let other = spec(1, |spec| spec.run = run_numbered(2));
    bench.on(submitted(&other));
    bench.join(2, 2, 0, 0);
    bench.on(cancel());
    let outbox = bench.on(credit(1, Role::Gen, 1));
    let is_jobs = |command: &Command| {
        matches!(
            command,
            Command::Send {
                msg: CoordMsg::Jobs(_),
                ..
            }
        )
    };
    assert_eq!(
        outbox.commands.iter().filter(|command| is_jobs(command)).count(),
        1
    );
}

#[test]
fn worker_that_was_away_when_its_run_was_cancelled_is_to_forget() {
    let (_, mut bench) = under_way();
    bench.on(Event::LinkLost { link: LinkId(1) });
    let outbox = bench.on(cancel());
    assert_eq!(outbox.commands, [report_files(&bench)]);
    bench.on(joined(2, hello(1, 3, 1)));
    let held = [running(generate(3), lease(3))];
    bench.expect(inventory(2, &held), &[], &[forget(2, lease(3))]);
}

#[test]
fn cancelled_run_stays_cancelled_after_a_restart_and_its_pending_reports_are_written() {
    let (spec, mut bench) = under_way();
    bench.on(cancel());
    let before = bench.summary();
    let mut bench = bench.restart(&spec, 7);
    assert_eq!(bench.summary(), before);
    assert!(!bench.view().reports_written);
    let outbox = bench.join_as(1, hello(1, 3, 1));
    assert_outbox(&outbox, &[], &[]);
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[tell(Progress::Done(Box::new(before)))],
    );
    let bench = bench.restart(&spec, 7);
    assert!(bench.view().reports_written);
}

#[test]
fn clock_of_a_cancelled_run_stands_still() {
    let (spec, mut bench) = under_way();
    bench.on(cancel());
    bench.pass(60_000);
    assert_eq!(bench.view().active_ms, 100);
    let mut bench = bench.restart(&spec, 7);
    bench.pass(60_000);
    assert_eq!(bench.view().active_ms, 100);
}

#[test]
fn cancelled_run_that_is_tried_again_goes_on_where_it_was() {
    let (spec, mut bench) = under_way();
    bench.on(cancel());
    bench.on(Event::FileWritten(pending_reports()));
    bench.on(credit(1, Role::Eval, 1));
    bench.expect(
        Event::RetryRequested { run: run() },
        &[
            Write::Run(judging_record(&spec, 3, 1)),
            Write::Job(JobRecord {
                at_ms: 100,
                ..leased(final_job(2), 2, lease(5), 1)
            }),
        ],
        &[jobs(1, vec![final_grant(&spec, 2, lease(5), 2)])],
    );
    assert_eq!(bench.view().state, RunState::Active);
    bench.on(credit(1, Role::Gen, 3));
    bench.judge(2, lease(5));
    for (problem, seq) in [(3, 6), (4, 7)] {
        bench.sessions(
            problem,
            lease(seq),
            1,
            &[SessionEvent::Finished(without_program())],
        );
    }
    let summary = bench.summary();
    assert_eq!((&summary.status, summary.passed()), (&RunStatus::Complete, 1));
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[tell(Progress::Done(Box::new(summary)))],
    );
}

#[test]
fn errors_of_a_cancelled_run_are_tried_again_with_the_rest() {
    let spec = spec(2, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.on(result(
        1,
        generate(1),
        lease(1),
        failed(FailureClass::Model, "gone"),
    ));
    bench.on(cancel());
    let outbox = bench.on(Event::RetryRequested { run: run() });
    assert_outbox(
        &outbox,
        &[
            Write::Job(back(session_job(1), 1, 0)),
            Write::Run(served_record(&spec, 1, 0)),
        ],
        &[],
    );
    assert_eq!(bench.view().jobs_ready_n, 2);
}

#[test]
fn cancelled_run_that_is_asked_to_stop_is_done_and_not_drained() {
    let (_, mut bench) = under_way();
    bench.on(Event::StopRequested { run: run() });
    bench.on(cancel());
    bench.expect_nothing(Event::StopRequested { run: run() });
    let done = tell(Progress::Done(Box::new(bench.summary())));
    let outbox = bench.on(Event::FileWritten(pending_reports()));
    assert_eq!(outbox.commands, [done]);
}

#[test]
fn tests_of_a_cancelled_session_wait_until_the_run_is_tried_again() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.sessions(1, lease(1), 1, &[test_request(1, 0)]);
    bench.on(cancel());
    bench.join(2, 2, 0, 1);
    assert_eq!(bench.view().jobs_leased_n, 0);
    bench.on(Event::RetryRequested { run: run() });
    assert_eq!((bench.view().jobs_ready_n, bench.view().jobs_leased_n), (1, 1));
}
