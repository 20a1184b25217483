//! Runs that are tried again: which jobs are opened, and which wait for them.

use roundhouse_core::record::Write;
use roundhouse_core::summary::RunStatus;
use roundhouse_core::{Command, Event, LinkId, Progress};
use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{FailureClass, Role, SessionEvent};

use crate::expected::*;
use crate::spec::*;

/// One problem passes, the session of another and the final evaluation of a third fail for our reasons.
fn run_with_errors(staged: bool) -> (std::sync::Arc<roundhouse_core::run::RunSpec>, Bench) {
    let spec = spec(3, |spec| spec.staged = staged);
    let mut bench = Bench::serving(&spec, 3, 3);
    let refused = || failed(FailureClass::Model, "the model is gone");
    bench.on(result(1, generate(2), lease(2), refused()));
    bench.finish(1, lease(1), 1);
    bench.finish(3, lease(3), 1);
    let unfit = failed(FailureClass::Job, "the tests cannot be read");
    bench.on(result(1, evaluate(3), lease(5), unfit));
    bench.judge(1, lease(4));
    (spec, bench)
}

#[test]
fn retry_opens_only_errors_again_and_the_run_ends_again() {
    let (spec, mut bench) = run_with_errors(false);
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    let reason = "2 errors".to_owned();
    assert_eq!(summary.status, RunStatus::Incomplete { reason });
    bench.on(Event::FileWritten(pending_reports()));
    bench.on(credit(1, Role::Gen, 3));
    bench.on(credit(1, Role::Eval, 3));
    bench.expect(
        Event::RetryRequested { run: run() },
        &[
            Write::Job(back(session_job(2), 1, 0)),
            Write::Job(back(final_job(3), 1, 0)),
            Write::Run(judging_record(&spec, 3, 3)),
            Write::Job(leased(final_job(3), 2, lease(6), 1)),
            Write::Job(leased(session_job(2), 2, lease(7), 1)),
        ],
        &[jobs(
            1,
            vec![
                final_grant(&spec, 3, lease(6), 2),
                session_grant(&spec, 2, lease(7), 2),
            ],
        )],
    );
    bench.judge(3, lease(6));
    bench.finish(2, lease(7), 1);
    bench.judge(2, lease(8));
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    assert_eq!((&summary.status, summary.passed()), (&RunStatus::Complete, 3));
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[tell(Progress::Done(Box::new(summary)))],
    );
    bench.expect_nothing(Event::RetryRequested { run: run() });
}

#[test]
fn retry_of_a_staged_run_holds_evaluations_until_the_sessions_opened_again_have_ended() {
    let (_, mut bench) = run_with_errors(true);
    bench.on(credit(1, Role::Gen, 3));
    bench.on(credit(1, Role::Eval, 3));
    let outbox = bench.on(Event::RetryRequested { run: run() });
    let granted = |outbox: &roundhouse_core::Outbox| -> Vec<String> {
        let grants = outbox.commands.iter().filter_map(|command| match command {
            Command::Send {
                msg: CoordMsg::Jobs(grants),
                ..
            } => Some(grants),
            _ => None,
        });
        grants.flatten().map(|grant| grant.job.to_string()).collect()
    };
    assert_eq!(granted(&outbox), ["generate:002"]);
    let finished = SessionEvent::Finished(without_program());
    let outbox = bench.on(session(1, generate(2), lease(6), 1, finished));
    let over = tell(Progress::GenerationDone { generation_ms: 0 });
    assert!(
        outbox.commands.contains(&over),
        "nobody was told that the sessions are over"
    );
    assert_eq!(granted(&outbox), ["evaluate:003"]);
}

/// A staged run whose first session gave a program, whose second failed and is open again. The evaluation of the
/// first was ready meanwhile: worker 1 has it if it has a slot for it.
fn staged_run_opened_again(evaluation: u32) -> (std::sync::Arc<roundhouse_core::run::RunSpec>, Bench) {
    let spec = spec(2, |spec| spec.staged = true);
    let mut bench = Bench::serving(&spec, 2, evaluation);
    bench.finish(1, lease(1), 1);
    let refused = failed(FailureClass::Model, "the model is gone");
    bench.on(result(1, generate(2), lease(2), refused));
    let record = match evaluation {
        0 => served_record(&spec, 2, 0),
        n => judging_record(&spec, 2, n),
    };
    bench.expect(
        Event::RetryRequested { run: run() },
        &[Write::Job(back(session_job(2), 1, 0)), Write::Run(record)],
        &[],
    );
    (spec, bench)
}

#[test]
fn retry_of_a_staged_run_holds_back_evaluations_that_were_ready_until_generation_is_over_again() {
    let (spec, mut bench) = staged_run_opened_again(0);
    bench.on(joined(2, hello(2, 0, 1)));
    bench.on(inventory(2, &[]));
    bench.expect_nothing(credit(2, Role::Eval, 1));
    bench.on(credit(1, Role::Gen, 1));
    let finished = SessionEvent::Finished(without_program());
    let outbox = bench.on(session(1, generate(2), lease(3), 1, finished));
    let granted = jobs(2, vec![final_grant(&spec, 1, lease(4), 1)]);
    assert_eq!(outbox.commands.last(), Some(&granted));
}

#[test]
fn evaluation_given_back_while_a_staged_run_generates_again_is_held_back() {
    let (spec, mut bench) = staged_run_opened_again(1);
    bench.on(credit(1, Role::Eval, 1));
    bench.expect(
        Event::GivenBack {
            link: LinkId(1),
            lease: lease(3),
            reason: "no room".to_owned(),
            unaccounted: 0,
        },
        &[Write::Job(back(final_job(1), 1, 0))],
        &[retried(1, evaluate(1), "no room")],
    );
    bench.on(credit(1, Role::Gen, 1));
    let finished = SessionEvent::Finished(without_program());
    let outbox = bench.on(session(1, generate(2), lease(4), 1, finished));
    let granted = jobs(1, vec![final_grant(&spec, 1, lease(5), 2)]);
    assert_eq!(outbox.commands.last(), Some(&granted));
}

#[test]
fn retry_before_the_reports_are_written_does_not_end_the_run() {
    let (_, mut bench) = run_with_errors(false);
    bench.on(Event::RetryRequested { run: run() });
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[],
    );
}

#[test]
fn retry_leaves_tests_alone_whose_session_gave_a_program() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    bench.sessions(1, lease(1), 1, &[test_request(1, 0)]);
    bench.on(result(
        1,
        tests(1, 0),
        lease(2),
        failed(FailureClass::Job, "no such cases"),
    ));
    bench.sessions(1, lease(1), 2, &[SessionEvent::Finished(without_program())]);
    bench.on(Event::FileWritten(pending_reports()));
    bench.expect_nothing(Event::RetryRequested { run: run() });
}

#[test]
fn tests_left_open_by_a_failed_session_are_for_nobody_until_it_is_tried_again() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.sessions(1, lease(1), 1, &[said(1, 0), test_request(1, 0)]);
    bench.on(result(
        1,
        generate(1),
        lease(1),
        failed(FailureClass::Model, "gone"),
    ));
    bench.on(joined(2, hello(2, 0, 1)));
    bench.on(inventory(2, &[]));
    bench.expect_nothing(credit(2, Role::Eval, 1));
    bench.on(credit(1, Role::Gen, 1));
    let outbox = bench.on(Event::RetryRequested { run: run() });
    let mut work = session_work(&spec, 1);
    work.resume = vec![said(1, 0), test_request(1, 0)];
    let resumed = grant(generate(1), lease(3), 2, roundhouse_proto::Work::Generate(work));
    assert_outbox(
        &outbox,
        &[
            Write::Job(back(session_job(1), 1, 0)),
            Write::Run(served_record(&spec, 1, 0)),
            Write::Job(leased(tests_job(1, 0), 1, lease(2), 2)),
            Write::Run(judging_record(&spec, 1, 1)),
            Write::Job(leased(session_job(1), 2, lease(3), 1)),
        ],
        &[
            jobs(1, vec![resumed]),
            jobs(2, vec![tests_grant(&spec, 1, 0, lease(2), 1)]),
        ],
    );
}
