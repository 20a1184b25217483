//! What counts under a lease, what is discarded, and how often a job is tried.

use roundhouse_core::record::{JobOutcome, JobRecord, RunRecord, Write};
use roundhouse_core::summary::{ProblemOutcome, RunStatus};
use roundhouse_core::{Event, LinkId, Progress};
use roundhouse_proto::link::JobResult;
use roundhouse_proto::{FailureClass, Role, SessionEvent, Work};

use crate::expected::*;
use crate::spec::*;

#[test]
fn session_event_is_stored_then_acknowledged() {
    let mut bench = Bench::serving(&spec(1, |_| {}), 1, 0);
    bench.expect(
        session(1, generate(1), lease(1), 1, said(1, 0)),
        &[stored_event(1, 1, said(1, 0))],
        &[ack(1, lease(1), 1)],
    );
}

#[test]
fn repeated_session_event_is_acknowledged_again_and_stored_once() {
    let mut bench = Bench::serving(&spec(1, |_| {}), 1, 0);
    bench.sessions(1, lease(1), 1, &[said(1, 0), said(1, 1)]);
    for (seq, round) in [(1, 0), (2, 1)] {
        bench.expect(
            session(1, generate(1), lease(1), seq, said(1, round)),
            &[],
            &[ack(1, lease(1), 2)],
        );
    }
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    assert_eq!(summary.problems[0].events, [said(1, 0), said(1, 1)]);
}

#[test]
fn gap_in_a_sessions_events_ends_the_link() {
    let mut bench = Bench::serving(&spec(1, |_| {}), 1, 0);
    bench.expect(session(1, generate(1), lease(1), 2, said(1, 0)), &[], &[close(1)]);
}

#[test]
fn what_comes_under_an_old_lease_is_forgotten() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.on(given_back(1, lease(1), "no room"));
    bench.expect(
        credit(1, Role::Gen, 1),
        &[Write::Job(leased(session_job(1), 2, lease(2), 1))],
        &[jobs(1, vec![session_grant(&spec, 1, lease(2), 2)])],
    );
    let refused = || failed(FailureClass::Model, "the model is gone");
    let old = lease(1);
    bench.expect(
        session(1, generate(1), old, 1, said(1, 0)),
        &[],
        &[forget(1, old)],
    );
    bench.expect(result(1, generate(1), old, refused()), &[], &[forget(1, old)]);
    bench.expect(given_back(1, old, "no room"), &[], &[forget(1, old)]);
    assert_eq!(bench.outcomes(), [ProblemOutcome::Open]);
}

#[test]
fn lease_counts_only_from_its_worker_and_for_its_job() {
    let mut bench = Bench::serving(&spec(2, |_| {}), 1, 0);
    bench.join(2, 2, 1, 0);
    let refused = || failed(FailureClass::Model, "the model is gone");
    let first = lease(1);
    bench.expect(
        session(2, generate(1), first, 1, said(1, 0)),
        &[],
        &[forget(2, first)],
    );
    bench.expect(result(2, generate(1), first, refused()), &[], &[forget(2, first)]);
    bench.expect(result(1, generate(2), first, refused()), &[], &[forget(1, first)]);
    assert_eq!(bench.outcomes(), [ProblemOutcome::Open, ProblemOutcome::Open]);
}

#[test]
fn what_comes_on_a_link_that_is_lost_leads_to_nothing() {
    let mut bench = Bench::serving(&spec(1, |_| {}), 1, 0);
    let link = LinkId(1);
    bench.expect_nothing(Event::LinkLost { link });
    bench.expect_nothing(session(1, generate(1), lease(1), 1, said(1, 0)));
    bench.expect_nothing(result(
        1,
        generate(1),
        lease(1),
        failed(FailureClass::Model, "gone"),
    ));
    bench.expect_nothing(given_back(1, lease(1), "no room"));
    bench.expect_nothing(inventory(1, &[running(generate(1), lease(1))]));
    bench.expect_nothing(credit(1, Role::Gen, 1));
    bench.expect_nothing(Event::Pinged { link, seq: 1 });
    bench.expect_nothing(Event::Left { link });
    bench.expect_nothing(Event::LinkLost { link });
}

#[test]
fn repeated_result_is_forgotten_and_changes_nothing() {
    let spec = spec(2, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    bench.finish(1, lease(1), 1);
    let finished = SessionEvent::Finished(with_program(1));
    bench.expect(
        session(1, generate(1), lease(1), 1, finished),
        &[],
        &[forget(1, lease(1))],
    );
    let verdict = JobRecord {
        busy_ms: 11,
        ..settled(final_job(1), 1, judged(final_report(1), 1))
    };
    let some = || result(1, evaluate(1), lease(2), evaluated(final_report(1), 1));
    bench.expect(
        some(),
        &[Write::Job(verdict)],
        &[ack(1, lease(2), 0), tell(Progress::Judged { index: 1 })],
    );
    bench.expect(some(), &[], &[forget(1, lease(2))]);
    let other = result(1, evaluate(1), lease(2), evaluated(final_report(1), 4));
    bench.expect(other, &[], &[forget(1, lease(2))]);
    let judged = ProblemOutcome::Judged {
        passed: 1,
        total: CASES,
        report: Some(final_report(1)),
    };
    assert_eq!(bench.outcomes(), [judged, ProblemOutcome::Open]);
}

#[test]
fn lost_session_goes_on_from_what_it_left_behind_and_its_report_goes_to_the_present_worker() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    let first_round = [said(1, 0), test_request(1, 0)];
    bench.sessions(1, lease(1), 1, &first_round);
    bench.on(joined(3, hello(3, 0, 1)));
    bench.on(inventory(3, &[]));
    bench.on(credit(3, Role::Eval, 1));
    bench.on(result(3, tests(1, 0), lease(2), evaluated(round_report(1, 0), 2)));
    let second_round = [round_end(1, 0), said(1, 1), test_request(1, 1)];
    bench.sessions(1, lease(1), 3, &second_round);
    bench.on(Event::Left { link: LinkId(1) });
    bench.on(joined(2, hello(2, 1, 0)));
    bench.on(inventory(2, &[]));
    let mut work = session_work(&spec, 1);
    work.resume = [first_round.as_slice(), &second_round].concat();
    work.reports = vec![(0, program(1, 0).digest(), round_report(1, 0))];
    bench.expect(
        credit(2, Role::Gen, 1),
        &[Write::Job(leased(session_job(1), 2, lease(4), 2))],
        &[jobs(
            2,
            vec![grant(generate(1), lease(4), 2, Work::Generate(work))],
        )],
    );
    let done = JobRecord {
        busy_ms: 11,
        ..settled(tests_job(1, 1), 1, judged(round_report(1, 1), 4))
    };
    bench.expect(
        result(3, tests(1, 1), lease(3), evaluated(round_report(1, 1), 4)),
        &[Write::Job(done)],
        &[
            ack(3, lease(3), 0),
            report(2, lease(4), 1, Ok(round_report(1, 1))),
        ],
    );
}

#[test]
fn session_that_waits_for_a_failed_test_is_told_so_whoever_takes_it_up() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    bench.sessions(1, lease(1), 1, &[test_request(1, 0)]);
    let why = failure(FailureClass::Job, "no such cases");
    bench.on(result(1, tests(1, 0), lease(2), failed_with(why.clone())));
    bench.on(given_back(1, lease(1), "no room"));
    let mut work = session_work(&spec, 1);
    work.resume = vec![test_request(1, 0)];
    bench.expect(
        credit(1, Role::Gen, 1),
        &[Write::Job(leased(session_job(1), 2, lease(3), 1))],
        &[
            jobs(1, vec![grant(generate(1), lease(3), 2, Work::Generate(work))]),
            report(1, lease(3), 0, Err(why)),
        ],
    );
}

#[test]
fn job_that_is_given_back_waits_again_and_nothing_counts_against_it() {
    let spec = spec(1, |spec| spec.attempts_max = 1);
    let mut bench = Bench::serving(&spec, 1, 0);
    for (seq, attempts) in (1..=5_u32)
        .enumerate()
        .map(|(i, attempts)| (i as u64 + 1, attempts))
    {
        bench.expect(
            given_back(1, lease(seq), "no room"),
            &[Write::Job(back(session_job(1), attempts, 0))],
            &[retried(1, generate(1), "no room")],
        );
        bench.on(credit(1, Role::Gen, 1));
    }
}

#[test]
fn job_that_is_given_back_for_ever_is_given_up() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    for seq in 1..=200 {
        bench.on(given_back(1, lease(seq), "no room"));
        bench.on(credit(1, Role::Gen, 1));
    }
    let [ProblemOutcome::Error(failure)] = &bench.outcomes()[..] else {
        panic!("it was not given up: {:?}", bench.outcomes());
    };
    assert_eq!(*failure, given_up(100, "no room"));
}

/// What an evaluation worker sends when its machinery failed on a case.
fn internal_error() -> JobResult {
    JobResult::Evaluated {
        audit: roundhouse_proto::Audit::default(),
        report: final_report(1),
        passed: 0,
        total: CASES,
        busy_ms: 3,
        internal_error: Some("the cage died".to_owned()),
    }
}

#[test]
fn internal_error_and_transient_failure_are_tried_again_then_given_up_as_an_error() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    bench.finish(1, lease(1), 1);
    bench.expect(
        result(1, evaluate(1), lease(2), internal_error()),
        &[Write::Job(back(final_job(1), 1, 1))],
        &[ack(1, lease(2), 0), retried(1, evaluate(1), "the cage died")],
    );
    bench.expect(
        credit(1, Role::Eval, 1),
        &[Write::Job(JobRecord {
            failed_attempts: 1,
            ..leased(final_job(1), 2, lease(3), 1)
        })],
        &[jobs(1, vec![final_grant(&spec, 1, lease(3), 2)])],
    );
    let full = failed(FailureClass::InfraRetry, "the disk is full");
    bench.expect(
        result(1, evaluate(1), lease(3), full),
        &[Write::Job(back(final_job(1), 2, 2))],
        &[ack(1, lease(3), 0), retried(1, evaluate(1), "the disk is full")],
    );
    bench.on(credit(1, Role::Eval, 1));
    let outbox = bench.on(result(1, evaluate(1), lease(4), internal_error()));
    let last = given_up(3, "the cage died");
    let given_up = JobRecord {
        failed_attempts: 3,
        ..settled(final_job(1), 3, JobOutcome::Error(last.clone()))
    };
    let finished = RunRecord {
        finished: Some(stamp(BEGIN_MS)),
        ..judging_record(&spec, 1, 1)
    };
    assert_outbox(
        &outbox,
        &[
            Write::Job(given_up),
            Write::Run(finished),
            Write::Pending(pending_reports()),
        ],
        &[
            ack(1, lease(4), 0),
            tell(Progress::Judged { index: 1 }),
            report_files(&bench),
        ],
    );
    assert_eq!(bench.outcomes(), [ProblemOutcome::Error(last)]);
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    let reason = "1 error".to_owned();
    assert_eq!(
        (summary.passed(), summary.status),
        (0, RunStatus::Incomplete { reason })
    );
}

#[test]
fn permanent_failure_is_an_error_at_once() {
    let spec = spec(2, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.sessions(1, lease(1), 1, &[said(1, 0)]);
    let why = failure(FailureClass::Model, "the model does not answer");
    bench.expect(
        result(1, generate(1), lease(1), failed_with(why.clone())),
        &[
            Write::Job(settled(session_job(1), 1, JobOutcome::Error(why.clone()))),
            Write::Pending(pending_session(1)),
        ],
        &[
            ack(1, lease(1), 0),
            ended(1, Err(why.clone())),
            session_files(&spec, 1, &[said(1, 0)], Err(why.clone())),
            tell(Progress::Judged { index: 1 }),
        ],
    );
    assert_eq!(
        bench.outcomes(),
        [ProblemOutcome::Error(why), ProblemOutcome::Open]
    );
}

#[test]
fn report_on_a_session_is_an_error_of_the_machinery() {
    let mut bench = Bench::serving(&spec(1, |_| {}), 1, 0);
    bench.on(result(
        1,
        generate(1),
        lease(1),
        evaluated(final_report(1), CASES),
    ));
    let why = "the worker sent a report where a program was asked for";
    assert_eq!(
        bench.outcomes(),
        [ProblemOutcome::Error(failure(FailureClass::Job, why))]
    );
}
