//! Runs that are asked to stop: what is still handed out, and when they are drained.

use roundhouse_core::record::{JobOutcome, Write};
use roundhouse_core::summary::ProblemOutcome;
use roundhouse_core::{Event, LinkId, Progress};
use roundhouse_proto::{FailureClass, Role, SessionEvent};

use crate::expected::*;
use crate::spec::*;

#[test]
fn drained_run_hands_out_only_tests_of_rounds_and_says_so_once() {
    let spec = spec(3, |_| {});
    let mut bench = Bench::serving(&spec, 2, 0);
    bench.expect_nothing(Event::StopRequested { run: run() });
    bench.expect_nothing(credit(1, Role::Gen, 1));
    bench.on(joined(2, hello(2, 0, 2)));
    bench.on(inventory(2, &[]));
    bench.on(credit(2, Role::Eval, 2));
    bench.expect(
        session(1, generate(1), lease(1), 1, test_request(1, 0)),
        &[
            stored_event(1, 1, test_request(1, 0)),
            Write::Job(tests_job(1, 0)),
            Write::Job(leased(tests_job(1, 0), 1, lease(3), 2)),
            Write::Run(judging_record(&spec, 2, 2)),
        ],
        &[
            ack(1, lease(1), 1),
            jobs(2, vec![tests_grant(&spec, 1, 0, lease(3), 1)]),
        ],
    );
    bench.on(result(2, tests(1, 0), lease(3), evaluated(round_report(1, 0), 2)));
    bench.finish(1, lease(1), 2);
    let finished = SessionEvent::Finished(with_program(2));
    bench.expect(
        session(1, generate(2), lease(2), 1, finished.clone()),
        &[
            stored_event(2, 1, finished.clone()),
            Write::Job(settled(session_job(2), 1, JobOutcome::Generated(with_program(2)))),
            Write::Pending(pending_session(2)),
            Write::Job(final_job(2)),
        ],
        &[
            ack(1, lease(2), 1),
            ended(2, Ok(true)),
            session_files(&spec, 2, &[finished], Ok(with_program(2))),
            tell(Progress::Drained),
        ],
    );
    bench.expect_nothing(Event::StopRequested { run: run() });
    bench.expect_nothing(credit(2, Role::Eval, 2));
}

#[test]
fn idle_run_is_drained_at_once() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    bench.expect(
        Event::StopRequested { run: run() },
        &[],
        &[tell(Progress::Drained)],
    );
    bench.join(1, 1, 1, 1);
    assert_eq!(bench.outcomes(), [ProblemOutcome::Open]);
    bench.expect_nothing(credit(1, Role::Gen, 1));
}

#[test]
fn nothing_is_in_flight_any_more_once_a_run_is_drained() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.sessions(1, lease(1), 1, &[test_request(1, 0)]);
    bench.on(Event::StopRequested { run: run() });
    let reason = "the host ends".to_owned();
    let outbox = bench.on(Event::GivenBack {
        link: LinkId(1),
        lease: lease(1),
        reason,
        unaccounted: 0,
    });
    assert_outbox(
        &outbox,
        &[Write::Job(back(session_job(1), 1, 0))],
        &[retried(1, generate(1), "the host ends"), tell(Progress::Drained)],
    );
    bench.on(joined(2, hello(2, 0, 1)));
    bench.on(inventory(2, &[]));
    bench.expect_nothing(credit(2, Role::Eval, 1));
}

#[test]
fn finished_run_that_is_asked_to_stop_is_done_and_not_drained() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.expect_nothing(Event::StopRequested { run: run() });
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[tell(Progress::Done(Box::new(summary)))],
    );
}

#[test]
fn stopped_run_waits_for_nobody() {
    let mut bench = Bench::new();
    bench.on(submitted(&spec(2, |_| {})));
    bench.on(Event::StopRequested { run: run() });
    bench.expect_nothing(Event::Ticked);
    bench.pass(600_000);
    bench.expect_nothing(Event::Ticked);
}

#[test]
fn drained_run_that_is_tried_again_goes_on() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    bench.on(Event::StopRequested { run: run() });
    bench.join(1, 1, 1, 0);
    bench.expect(
        Event::RetryRequested { run: run() },
        &[
            Write::Job(leased(session_job(1), 1, lease(1), 1)),
            Write::Run(served_record(&spec, 1, 0)),
        ],
        &[
            started(1, 0),
            tell(Progress::GenerationStarted { index: 1 }),
            jobs(1, vec![session_grant(&spec, 1, lease(1), 1)]),
        ],
    );
    bench.expect_nothing(Event::StopRequested { run: run() });
}

#[test]
fn draining_run_that_is_tried_again_is_not_drained() {
    let spec = spec(2, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.on(Event::StopRequested { run: run() });
    bench.expect_nothing(Event::RetryRequested { run: run() });
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.expect(
        credit(1, Role::Gen, 1),
        &[Write::Job(leased(session_job(2), 1, lease(2), 1))],
        &[
            tell(Progress::GenerationStarted { index: 2 }),
            jobs(1, vec![session_grant(&spec, 2, lease(2), 1)]),
        ],
    );
}

#[test]
fn run_that_ended_while_it_drained_goes_on_when_it_is_tried_again() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.on(Event::StopRequested { run: run() });
    let refused = failed(FailureClass::Model, "the model is gone");
    bench.on(result(1, generate(1), lease(1), refused));
    bench.on(credit(1, Role::Gen, 1));
    bench.expect(
        Event::RetryRequested { run: run() },
        &[
            Write::Job(back(session_job(1), 1, 0)),
            Write::Run(served_record(&spec, 1, 0)),
            Write::Job(leased(session_job(1), 2, lease(2), 1)),
        ],
        &[jobs(1, vec![session_grant(&spec, 1, lease(2), 2)])],
    );
}
