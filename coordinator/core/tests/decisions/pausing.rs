//! Runs that no key can serve: when they are paused, what is written then, and how they go on.

use std::sync::Arc;

use roundhouse_core::record::{JobRecord, Write};
use roundhouse_core::run::RunSpec;
use roundhouse_core::status::{RunState, Stuck};
use roundhouse_core::summary::{ProblemOutcome, RunStatus};
use roundhouse_core::{Command, Event, LinkId, Progress, Timing};
use roundhouse_proto::{FailureClass, JobId, Role, SessionEvent};

use crate::expected::*;
use crate::spec::*;

const REASON: &str = "the endpoint `local` refuses every worker's key: 401 Unauthorized";

fn no_key() -> Stuck {
    Stuck::NoKey {
        endpoint: "local".to_owned(),
        reason: "401 Unauthorized".to_owned(),
    }
}

fn told_no_key() -> Command {
    tell(Progress::Stuck(vec![no_key()]))
}

fn paused(bench: &Bench) -> Command {
    tell(Progress::Paused(Box::new(bench.summary())))
}

fn paused_state() -> RunState {
    let reason = REASON.to_owned();
    RunState::Paused { reason }
}

/// A run of two problems whose only generation worker, on link 1, holds both sessions; the evaluation worker is on
/// link 2.
fn serving() -> (Arc<RunSpec>, Bench) {
    let spec = spec(2, |spec| ask(spec, Some("local")));
    let mut bench = Bench::with(Timing {
        waiting_ms: 500,
        ..Timing::default()
    });
    bench.on(submitted(&spec));
    bench.join(2, 2, 0, 1);
    bench.join_as(1, hello_offering(1, 2, &[("local", None)]));
    bench.on(Event::Ticked);
    (spec, bench)
}

/// The key of that worker is refused; the session of problem 2 comes back.
fn refuse(bench: &mut Bench) {
    bench.on(benched(1, "local", "401 Unauthorized"));
    bench.on(given_back(1, lease(2), "the key is refused"));
}

/// That run, paused, with its first problem settled; people know.
fn paused_run() -> (Arc<RunSpec>, Bench) {
    let (spec, mut bench) = serving();
    refuse(&mut bench);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.on(Event::Ticked);
    bench.pass(500);
    bench.on(Event::Ticked);
    bench.on(Event::FileWritten(pending_reports()));
    assert_eq!(bench.view().state, paused_state());
    (spec, bench)
}

#[test]
fn run_without_a_key_is_paused_once_nothing_is_in_flight_and_the_reports_are_written() {
    let (_, mut bench) = serving();
    refuse(&mut bench);
    bench.expect_nothing(Event::Ticked);
    bench.pass(500);
    bench.expect(Event::Ticked, &[], &[told_no_key()]);
    assert_eq!(bench.view().state, RunState::Active);
    bench.finish(1, lease(1), 1);
    bench.expect_nothing(Event::Ticked);
    let passed = evaluated(final_report(1), CASES);
    bench.on(result(2, evaluate(1), lease(3), passed));

    let outbox = bench.on(Event::Ticked);
    assert_outbox(
        &outbox,
        &[Write::Pending(pending_reports())],
        &[report_files(&bench)],
    );
    let summary = bench.summary();
    let reason = format!("paused: {REASON}");
    assert_eq!(summary.status, RunStatus::Incomplete { reason });
    assert_eq!(summary.problems[1].outcome, ProblemOutcome::Open);
    assert_eq!((summary.passed(), summary.finished), (1, None));
    assert_eq!(
        (bench.view().state, bench.view().reports_written),
        (paused_state(), false)
    );
    bench.expect_nothing(Event::Ticked);
    let told = paused(&bench);
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[told],
    );
    assert_eq!(
        (bench.view().stuck, bench.view().reports_written),
        (vec![no_key()], true)
    );
    bench.pass(60_000);
    bench.expect_nothing(Event::Ticked);
}

#[test]
fn run_that_a_joined_worker_can_serve_is_not_paused() {
    let (_, mut bench) = serving();
    bench.join_as(3, hello_offering(3, 0, &[]));
    bench.on(joined(4, hello_offering(4, 1, &[("local", None)])));
    refuse(&mut bench);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.expect_nothing(Event::Ticked);
    bench.pass(60_000);
    bench.on(Event::Pinged {
        link: LinkId(1),
        seq: 1,
    });
    bench.on(Event::Pinged {
        link: LinkId(2),
        seq: 1,
    });
    bench.on(Event::Pinged {
        link: LinkId(4),
        seq: 1,
    });
    bench.expect_nothing(Event::Ticked);
    assert_eq!(bench.view().state, RunState::Active);
}

#[test]
fn worker_that_joins_soon_after_a_refused_one_keeps_the_run_from_being_paused() {
    let spec = spec(1, |spec| ask(spec, Some("local")));
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    bench.join_as(1, hello_offering(1, 1, &[("local", Some("401 Unauthorized"))]));
    bench.expect_nothing(Event::Ticked);
    bench.pass(4_999);
    bench.expect_nothing(Event::Ticked);
    bench.join_as(2, hello_offering(2, 1, &[("local", None)]));
    bench.pass(1);
    bench.expect_nothing(Event::Ticked);
    assert_eq!(bench.view().jobs_leased_n, 1);
}

#[test]
fn evaluation_that_nobody_can_do_does_not_keep_a_run_from_being_paused() {
    let (_, mut bench) = serving();
    refuse(&mut bench);
    bench.on(Event::Left { link: LinkId(2) });
    bench.finish(1, lease(1), 1);
    bench.on(Event::Ticked);
    bench.pass(500);
    let reasons = vec![no_key(), Stuck::NoWorker { role: Role::Eval }];
    let outbox = bench.on(Event::Ticked);
    assert_outbox(
        &outbox,
        &[Write::Pending(pending_reports())],
        &[tell(Progress::Stuck(reasons)), report_files(&bench)],
    );
}

#[test]
fn evaluation_that_waits_for_a_busy_slot_keeps_a_run_from_being_paused() {
    let (_, mut bench) = serving();
    let other = spec(1, |spec| spec.run = run_numbered(2));
    bench.on(submitted(&other));
    bench.join(3, 3, 1, 0);
    let of_other = |job: JobId| JobId {
        run: other.run,
        ..job
    };
    let finished = SessionEvent::Finished(with_program(1));
    bench.on(session(3, of_other(generate(1)), lease(3), 1, finished));
    refuse(&mut bench);
    bench.finish(1, lease(1), 1);
    bench.on(Event::Ticked);
    bench.pass(500);
    bench.expect(Event::Ticked, &[], &[told_no_key()]);
    bench.on(result(
        2,
        of_other(evaluate(1)),
        lease(4),
        evaluated(final_report(1), CASES),
    ));
    bench.on(credit(2, Role::Eval, 1));
    bench.on(result(
        2,
        evaluate(1),
        lease(5),
        evaluated(final_report(1), CASES),
    ));
    let outbox = bench.on(Event::Ticked);
    assert_eq!(outbox.commands, [report_files(&bench)]);
}

#[test]
fn paused_run_goes_on_by_itself_when_a_worker_with_a_key_joins_and_ends() {
    let (spec, mut bench) = paused_run();
    bench.on(joined(3, hello_offering(3, 1, &[("local", None)])));
    bench.on(inventory(3, &[]));
    bench.expect(
        credit(3, Role::Gen, 1),
        &[
            Write::Job(JobRecord {
                at_ms: 500,
                ..leased(session_job(2), 2, lease(3), 3)
            }),
            Write::Run(asking("local", served_record(&spec, 3, 1))),
        ],
        &[jobs(3, vec![session_grant_at("local", &spec, 2, lease(3), 2)])],
    );
    assert_eq!(
        (bench.view().state, bench.view().reports_written),
        (RunState::Active, false)
    );
    bench.expect(Event::Ticked, &[], &[tell(Progress::Stuck(Vec::new()))]);
    let finished = SessionEvent::Finished(without_program());
    bench.on(session(3, generate(2), lease(3), 1, finished));
    assert_eq!(bench.summary().status, RunStatus::Complete);
    let done = tell(Progress::Done(Box::new(bench.summary())));
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[done],
    );
}

#[test]
fn each_pause_is_told_once() {
    let (_, mut bench) = paused_run();
    bench.join_as(3, hello_offering(3, 1, &[("local", None)]));
    bench.on(Event::Ticked);
    bench.on(benched(3, "local", "402 Payment Required"));
    bench.on(given_back(3, lease(3), "the key is refused"));
    bench.on(Event::Ticked);
    bench.pass(500);
    bench.on(Event::Ticked);
    assert_eq!(
        bench.view().state,
        RunState::Paused {
            reason: "the endpoint `local` refuses every worker's key: 402 Payment Required".to_owned()
        }
    );
    let told = paused(&bench);
    let outbox = bench.on(Event::FileWritten(pending_reports()));
    assert_eq!(outbox.commands, [told]);
}

#[test]
fn run_stays_paused_when_the_refused_worker_leaves() {
    let (_, mut bench) = paused_run();
    bench.on(Event::Left { link: LinkId(1) });
    let no_worker = Stuck::NoWorker { role: Role::Gen };
    bench.expect(Event::Ticked, &[], &[tell(Progress::Stuck(vec![no_worker]))]);
    assert_eq!(bench.view().state, paused_state());
    bench.pass(3_000);
    bench.join_as(3, hello_offering(1, 1, &[("local", Some("401 Unauthorized"))]));
    bench.expect(Event::Ticked, &[], &[told_no_key()]);
    bench.pass(3_000);
    bench.expect_nothing(Event::Ticked);
}

#[test]
fn run_is_not_told_paused_when_it_went_on_before_its_reports_were_written() {
    let (_, mut bench) = serving();
    refuse(&mut bench);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.on(Event::Ticked);
    bench.pass(500);
    bench.on(Event::Ticked);
    bench.join_as(3, hello_offering(3, 1, &[("local", None)]));
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[],
    );
    assert!(!bench.view().reports_written);
}

#[test]
fn reports_of_a_pause_that_are_written_late_neither_end_the_run_nor_clear_the_last_ones() {
    let (_, mut bench) = serving();
    refuse(&mut bench);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.on(Event::Ticked);
    bench.pass(500);
    bench.on(Event::Ticked);
    bench.join_as(3, hello_offering(3, 1, &[("local", None)]));
    let finished = SessionEvent::Finished(without_program());
    bench.on(session(3, generate(2), lease(3), 1, finished));
    bench.expect_nothing(Event::FileWritten(pending_reports()));
    let done = tell(Progress::Done(Box::new(bench.summary())));
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[done],
    );
}

#[test]
fn clock_stands_still_while_a_run_is_paused() {
    let (_, mut bench) = paused_run();
    let before_ms = bench.view().active_ms;
    bench.pass(86_400_000);
    assert_eq!(bench.view().active_ms, before_ms);
    bench.join_as(3, hello_offering(3, 1, &[("local", None)]));
    bench.pass(30);
    let finished = SessionEvent::Finished(without_program());
    bench.on(session(3, generate(2), lease(3), 1, finished));
    assert_eq!(bench.summary().times.total_ms, before_ms + 30);
}

#[test]
fn reports_of_a_paused_run_that_were_pending_are_written_as_it_stands_after_a_restart() {
    let (spec, mut bench) = serving();
    refuse(&mut bench);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.on(Event::Ticked);
    bench.pass(500);
    bench.on(Event::Ticked);
    let mut bench = bench.restart(&spec, 7);
    assert_eq!(bench.summary().status, RunStatus::Running);
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[],
    );
}

#[test]
fn paused_run_whose_errors_are_tried_again_is_paused_anew() {
    let (_, mut bench) = serving();
    bench.on(result(
        1,
        generate(1),
        lease(1),
        failed(FailureClass::Model, "gone"),
    ));
    refuse(&mut bench);
    bench.on(Event::Ticked);
    bench.pass(500);
    bench.on(Event::Ticked);
    bench.on(Event::FileWritten(pending_reports()));
    assert_eq!(bench.view().state, paused_state());
    bench.on(Event::RetryRequested { run: run() });
    assert_eq!(bench.view().state, RunState::Active);
    bench.on(Event::Ticked);
    bench.pass(500);
    let outbox = bench.on(Event::Ticked);
    assert_outbox(
        &outbox,
        &[Write::Pending(pending_reports())],
        &[told_no_key(), report_files(&bench)],
    );
}
