//! Calls of sessions: those that may have been paid without an answer, and what was unusual about them.

use std::sync::Arc;

use roundhouse_core::record::{JobOutcome, JobRecord, Write};
use roundhouse_core::run::RunSpec;
use roundhouse_core::{Event, LinkId, Progress, Timing};
use roundhouse_proto::link::JobResult;
use roundhouse_proto::{FailureClass, GenerationOutcome, LeaseId, Role, SessionEvent, StopReason, Usage};

use crate::expected::*;
use crate::spec::*;

fn paid(change: impl FnOnce(&mut RunSpec)) -> Arc<RunSpec> {
    spec(1, |spec| {
        ask(spec, Some("local"));
        change(spec);
    })
}

/// A coordinator without a grace, whose one session worker 1 holds on link 1 under lease 1.
fn serving(spec: &Arc<RunSpec>) -> Bench {
    let mut bench = Bench::with(Timing {
        grace_ms: 0,
        ..Timing::default()
    });
    bench.on(submitted(spec));
    bench.join_as(1, hello_offering(1, 1, &[("local", None)]));
    bench
}

fn lost() -> Event {
    Event::LinkLost { link: LinkId(1) }
}

/// Calls that are not accounted for, in the summary and in the view.
fn unaccounted(bench: &Bench) -> (u32, u32) {
    let of_sessions = bench.summary().problems.iter().map(|p| p.calls_unaccounted).sum();
    (of_sessions, bench.view().calls_unaccounted_n)
}

fn counted(problem: u32, round: u32, usage: Option<Usage>, broken: u32) -> SessionEvent {
    let mut event = said(problem, round);
    if let SessionEvent::Said {
        usage: tokens,
        unaccounted,
        ..
    } = &mut event
    {
        (*tokens, *unaccounted) = (usage, broken);
    }
    event
}

fn remarked(problem: u32, round: u32, made: &[&str]) -> SessionEvent {
    let mut event = said(problem, round);
    if let SessionEvent::Said { remarks, .. } = &mut event {
        *remarks = made.iter().map(|remark| (*remark).to_owned()).collect();
    }
    event
}

fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input,
        output,
        ..Usage::default()
    }
}

#[test]
fn call_in_flight_when_a_worker_is_lost_is_stored_as_unaccounted() {
    let mut bench = serving(&paid(|_| {}));
    let back = JobRecord {
        calls_unaccounted: 1,
        ..back(session_job(1), 1, 1)
    };
    bench.expect(
        lost(),
        &[Write::Job(back)],
        &[retried(1, generate(1), "its worker was lost")],
    );
    assert_eq!(unaccounted(&bench), (1, 1));
}

#[test]
fn call_in_flight_when_the_grace_of_a_lost_worker_ends_is_unaccounted_and_not_before() {
    let spec = paid(|_| {});
    let mut bench = Bench::with(Timing {
        grace_ms: 1_000,
        ..Timing::default()
    });
    bench.on(submitted(&spec));
    bench.join_as(1, hello_offering(1, 1, &[("local", None)]));
    bench.on(lost());
    assert_eq!(unaccounted(&bench), (0, 0));
    bench.pass(1_000);
    bench.on(Event::Ticked);
    assert_eq!(unaccounted(&bench), (1, 1));
}

#[test]
fn call_in_flight_when_a_worker_was_restarted_is_unaccounted() {
    let mut bench = serving(&paid(|_| {}));
    bench.on(joined(2, hello_offering(1, 1, &[("local", None)])));
    bench.on(inventory(2, &[]));
    assert_eq!(unaccounted(&bench), (1, 1));
}

#[test]
fn session_that_is_lost_waits_for_a_call_unless_it_waits_for_a_report() {
    let tests_of_round_0 = [counted(1, 0, Some(usage(1, 1)), 0), test_request(1, 0)];
    let next_round = [&tests_of_round_0[..], &[round_end(1, 0)]].concat();
    for (events, expected) in [
        (&tests_of_round_0[..1], 1),
        (&tests_of_round_0, 0),
        (&next_round, 1),
    ] {
        let mut bench = serving(&paid(|_| {}));
        bench.sessions(1, lease(1), 1, events);
        bench.on(lost());
        assert_eq!(unaccounted(&bench), (expected, expected), "{events:?}");
    }
}

#[test]
fn session_whose_report_came_may_have_gone_on_to_its_next_call() {
    let mut bench = serving(&paid(|_| {}));
    bench.join(2, 2, 0, 1);
    bench.sessions(1, lease(1), 1, &[test_request(1, 0)]);
    bench.on(result(2, tests(1, 0), lease(2), evaluated(round_report(1, 0), 2)));
    bench.on(lost());
    assert_eq!(unaccounted(&bench), (1, 1));
}

#[test]
fn session_that_is_given_back_leaves_the_calls_unaccounted_that_its_worker_tells() {
    let mut bench = serving(&paid(|_| {}));
    bench.on(given_back(1, lease(1), "the key is refused"));
    assert_eq!(unaccounted(&bench), (0, 0));
    bench.on(credit(1, Role::Gen, 1));
    let again = JobRecord {
        calls_unaccounted: 3,
        ..back(session_job(1), 2, 0)
    };
    let told = Event::GivenBack {
        link: LinkId(1),
        lease: lease(2),
        reason: "the key is refused".to_owned(),
        unaccounted: 3,
    };
    let outbox = bench.on(told.clone());
    assert_eq!(outbox.writes, [Write::Job(again)]);
    // Said twice, it is the word on a lease that is void.
    bench.on(told);
    assert_eq!(unaccounted(&bench), (3, 3));
}

#[test]
fn session_that_ends_without_an_answer_leaves_the_tries_unaccounted_that_its_worker_tells() {
    let mut bench = serving(&paid(|_| {}));
    let outcome = GenerationOutcome {
        stop_reason: StopReason::ContextLimit,
        unaccounted: 2,
        ..without_program()
    };
    let finished = SessionEvent::Finished(outcome);
    bench.on(session(1, generate(1), lease(1), 1, finished.clone()));
    bench.on(session(1, generate(1), lease(1), 1, finished));
    assert_eq!(unaccounted(&bench), (2, 2));
}

#[test]
fn call_in_flight_when_a_worker_leaves_is_unaccounted_and_no_attempt_is_counted() {
    let mut bench = serving(&paid(|_| {}));
    let back = JobRecord {
        calls_unaccounted: 1,
        ..back(session_job(1), 1, 0)
    };
    let outbox = bench.on(Event::Left { link: LinkId(1) });
    assert_eq!(outbox.writes, [Write::Job(back)]);
    assert_eq!(unaccounted(&bench), (1, 1));
}

#[test]
fn call_that_a_cancel_breaks_off_is_unaccounted() {
    let mut bench = serving(&paid(|_| {}));
    let reason = "too dear".to_owned();
    bench.on(Event::CancelRequested { run: run(), reason });
    assert_eq!(unaccounted(&bench), (1, 1));
}

#[test]
fn call_in_flight_at_a_restart_of_the_coordinator_is_counted_once_however_often_it_restarts() {
    let spec = paid(|_| {});
    let bench = serving(&spec).restart(&spec, 7);
    let counted = JobRecord {
        calls_unaccounted: 1,
        ..back(session_job(1), 1, 0)
    };
    assert_eq!(
        bench.batches.last(),
        Some(&vec![Write::Epoch(2), Write::Job(counted)])
    );
    let bench = bench.restart(&spec, 7);
    assert_eq!(bench.batches.last(), Some(&vec![Write::Epoch(3)]));
    assert_eq!(unaccounted(&bench), (1, 1));

    let mut bench = bench;
    bench.join_as(1, hello_offering(1, 1, &[("local", None)]));
    let bench = bench.restart(&spec, 7);
    assert_eq!(unaccounted(&bench), (2, 2));
}

#[test]
fn session_that_waited_for_a_report_at_a_restart_leaves_no_call_unaccounted() {
    let spec = paid(|_| {});
    let mut bench = serving(&spec);
    bench.sessions(1, lease(1), 1, &[test_request(1, 0)]);
    let mut bench = bench.restart(&spec, 7);
    // Its lease is gone from the store too: its tests may come before the next restart, which would count a call.
    assert_eq!(
        bench.batches.last(),
        Some(&vec![Write::Epoch(2), Write::Job(back(session_job(1), 1, 0))])
    );
    assert_eq!(unaccounted(&bench), (0, 0));
    bench.join(3, 3, 0, 1);
    let granted = LeaseId { epoch: 2, seq: 1 };
    bench.on(result(3, tests(1, 0), granted, evaluated(round_report(1, 0), 1)));
    let bench = bench.restart(&spec, 7);
    assert_eq!(unaccounted(&bench), (0, 0));
}

/// A failed session, after so many calls that brought nothing.
fn failed_after(class: FailureClass, unaccounted: u32) -> JobResult {
    JobResult::Failed {
        failure: failure(class, "the model is gone"),
        unaccounted,
    }
}

#[test]
fn calls_that_a_worker_says_brought_nothing_are_stored_with_its_failure() {
    let mut bench = serving(&paid(|_| {}));
    let again = JobRecord {
        calls_unaccounted: 2,
        ..back(session_job(1), 1, 1)
    };
    let transient = failed_after(FailureClass::InfraRetry, 2);
    let outbox = bench.on(result(1, generate(1), lease(1), transient));
    assert_eq!(outbox.writes, [Write::Job(again)]);
    bench.on(credit(1, Role::Gen, 1));
    let outbox = bench.on(result(
        1,
        generate(1),
        lease(2),
        failed_after(FailureClass::Model, 3),
    ));
    let why = failure(FailureClass::Model, "the model is gone");
    let settled = JobRecord {
        calls_unaccounted: 5,
        failed_attempts: 1,
        ..settled(session_job(1), 2, JobOutcome::Error(why))
    };
    assert_eq!(outbox.writes.first(), Some(&Write::Job(settled)));
    assert_eq!(unaccounted(&bench), (5, 5));
}

#[test]
fn late_failure_of_a_lost_session_is_not_counted_again() {
    let mut bench = serving(&paid(|_| {}));
    bench.on(lost());
    bench.join_as(2, hello_offering(1, 1, &[("local", None)]));
    let late = failed_after(FailureClass::Model, 4);
    bench.expect(
        result(2, generate(1), lease(1), late),
        &[],
        &[forget(2, lease(1))],
    );
    assert_eq!(unaccounted(&bench), (1, 1));
}

#[test]
fn call_of_an_offline_run_is_never_unaccounted() {
    let spec = spec(1, |_| {});
    let mut bench = serving(&spec);
    bench.sessions(1, lease(1), 1, &[said(1, 0)]);
    bench.on(lost());
    bench.join(2, 2, 1, 0);
    let bench = bench.restart(&spec, 7);
    assert_eq!(
        bench.batches.last(),
        Some(&vec![Write::Epoch(2), Write::Job(back(session_job(1), 2, 1))])
    );
    assert_eq!((unaccounted(&bench), bench.view().calls_n), ((0, 0), 1));
}

#[test]
fn view_adds_up_the_calls_also_after_a_restart() {
    let spec = paid(|_| {});
    let mut bench = serving(&spec);
    let events = [
        counted(1, 0, Some(usage(100, 20)), 0),
        counted(1, 0, Some(usage(7, 3)), 2),
        counted(1, 1, None, 0),
    ];
    bench.sessions(1, lease(1), 1, &events);
    bench.sessions(1, lease(1), 1, &events);
    let figures = |bench: &Bench| {
        let view = bench.view();
        (view.usage, view.calls_n, view.calls_unaccounted_n)
    };
    assert_eq!(figures(&bench), (usage(107, 23), 3, 3));
    let bench = bench.restart(&spec, 7);
    assert_eq!(figures(&bench), (usage(107, 23), 3, 4));
}

fn notice(remark: &str) -> roundhouse_core::Command {
    tell(Progress::Notice(remark.to_owned()))
}

#[test]
fn remark_is_told_once_in_a_run() {
    let spec = spec(2, |_| {});
    let mut bench = Bench::serving(&spec, 2, 0);
    let event = remarked(1, 0, &["no temperature", "no top_p", "no top_p"]);
    bench.expect(
        session(1, generate(1), lease(1), 1, event.clone()),
        &[stored_event(1, 1, event.clone())],
        &[ack(1, lease(1), 1), notice("no temperature"), notice("no top_p")],
    );
    bench.expect(
        session(1, generate(1), lease(1), 1, event),
        &[],
        &[ack(1, lease(1), 1)],
    );
    let event = remarked(2, 0, &["no temperature", "no stream_options"]);
    let outbox = bench.on(session(1, generate(2), lease(2), 1, event));
    assert_eq!(
        outbox.commands,
        [ack(1, lease(2), 1), notice("no stream_options")]
    );
    let mut bench = bench.restart(&spec, 7);
    bench.join(1, 1, 1, 0);
    let second = LeaseId { epoch: 2, seq: 1 };
    let event = remarked(1, 1, &["no stream_options", "no temperature"]);
    let outbox = bench.on(session(1, generate(1), second, 2, event));
    assert_eq!(outbox.commands, [ack(1, second, 2)]);
}

#[test]
fn remarks_that_are_told_have_a_bound() {
    let mut bench = Bench::serving(&spec(1, |_| {}), 1, 0);
    let mut told = 0;
    for seq in 1..=200 {
        let event = remarked(1, 0, &[&format!("remark {seq}")]);
        let outbox = bench.on(session(1, generate(1), lease(1), seq, event));
        told += outbox.commands.len() - 1;
    }
    assert_eq!(told, 100);
}
