//! Runs that have the programs of all rounds judged: for the summary, behind everything else.

use std::sync::Arc;

use roundhouse_core::record::{JobOutcome, JobRecord, Subject, Write};
use roundhouse_core::run::RunSpec;
use roundhouse_core::status::{RunState, Stuck};
use roundhouse_core::summary::{RoundOutcome, RoundSummary, RunStatus};
use roundhouse_core::{Command, Event, Outbox, Progress};
use roundhouse_proto::link::{CoordMsg, JobGrant};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{FailureClass, JobId, JobKind, Payload, Role, SessionEvent, Work};

use crate::expected::*;
use crate::spec::*;

fn asked(problems: u32, change: impl FnOnce(&mut RunSpec)) -> Arc<RunSpec> {
    spec(problems, |spec| {
        spec.evaluate_rounds = true;
        change(spec);
    })
}

/// The evaluation of a round's program.
fn of_round(problem: u32, round: u32) -> JobId {
    let kind = JobKind::EvaluateRound {
        round,
        program: program(problem, round).digest(),
    };
    JobId {
        kind,
        ..generate(problem)
    }
}

/// That job, never handed out.
fn round_job(problem: u32, round: u32) -> JobRecord {
    let subject = Subject {
        program: program(problem, round),
        ..final_subject(problem)
    };
    queued(of_round(problem, round), Some(subject))
}

/// The end of a round, with the program that is run if that is not the coder's own.
fn ended(round: u32, code: Payload, patched: Option<Payload>, did_pass: Option<bool>) -> SessionEvent {
    SessionEvent::RoundEnd {
        round,
        code,
        report: Payload::text("report"),
        tests_raw: Payload::text("cases"),
        tests_used: None,
        program: patched,
        passed: did_pass,
    }
}

/// A session of four rounds: two programs, the first once more, then the final one.
fn four_rounds(problem: u32) -> Vec<SessionEvent> {
    let raw = || Payload::text("as the coder wrote it");
    vec![
        ended(0, raw(), Some(program(problem, 0)), Some(false)),
        ended(1, program(problem, 1), None, Some(true)),
        ended(2, program(problem, 0), None, Some(true)),
        ended(3, raw(), Some(program(problem, 9)), None),
        SessionEvent::Finished(with_program(problem)),
    ]
}

/// What an outbox hands out.
fn granted(outbox: &Outbox) -> Vec<&JobGrant> {
    let grants = |command| match command {
        &Command::Send {
            msg: CoordMsg::Jobs(ref grants),
            ..
        } => grants.as_slice(),
        _ => &[],
    };
    outbox.commands.iter().flat_map(grants).collect()
}

fn granted_jobs(outbox: &Outbox) -> Vec<JobId> {
    granted(outbox).iter().map(|grant| grant.job).collect()
}

/// A run of one problem whose session, of four rounds, has ended; worker 1 has so many evaluation slots.
fn held(slots: u32) -> (Arc<RunSpec>, Bench, Outbox) {
    let spec = asked(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, slots);
    let mut outbox = Outbox::default();
    for (seq, event) in (1..).zip(four_rounds(1)) {
        outbox = bench.on(session(1, generate(1), lease(1), seq, event));
    }
    (spec, bench, outbox)
}

fn judge_round(bench: &mut Bench, round: u32, under: u64, passed: u32) -> Outbox {
    let came_to = evaluated(round_report(1, round), passed);
    bench.on(result(1, of_round(1, round), lease(under), came_to))
}

fn rounds(bench: &Bench) -> Vec<RoundOutcome> {
    let rounds = &bench.summary().problems[0].rounds;
    rounds.iter().map(|round| round.outcome.clone()).collect()
}

fn judged_to(passed: u32) -> RoundOutcome {
    let total = CASES;
    RoundOutcome::Judged { passed, total }
}

fn all_judged(outbox: &Outbox) -> usize {
    let is_it = |command: &&Command| {
        matches!(
            command,
            Command::Tell {
                progress: Progress::AllJudged(_),
                ..
            }
        )
    };
    outbox.commands.iter().filter(is_it).count()
}

#[test]
fn each_other_program_of_the_rounds_is_judged_once_behind_the_final_one() {
    let (spec, _, outbox) = held(8);
    let of_rounds = [Write::Job(round_job(1, 0)), Write::Job(round_job(1, 1))];
    let is_new = |write: &&Write| of_rounds.contains(write) || **write == Write::Job(final_job(1));
    let new: Vec<&Write> = outbox.writes.iter().filter(is_new).collect();
    assert_eq!(new, [&Write::Job(final_job(1)), &of_rounds[0], &of_rounds[1]]);

    let grants = granted(&outbox);
    assert_eq!(
        granted_jobs(&outbox),
        [evaluate(1), of_round(1, 0), of_round(1, 1)]
    );
    assert_eq!(grants[1].priority, Priority::LOWEST);
    assert_eq!(of_round(1, 1).to_string(), "evaluate:001:1");
    let Work::Evaluate(work) = final_grant(&spec, 1, lease(2), 1).work else {
        panic!("it judges");
    };
    let as_final = Work::Evaluate(roundhouse_proto::EvaluateWork {
        program: program(1, 0),
        ..work
    });
    assert_eq!(grants[1].work, as_final, "by the rules of the final one");
}

#[test]
fn programs_of_rounds_are_judged_only_where_that_is_asked_for_and_there_is_something_to_judge() {
    let events = four_rounds(1);
    let run = |spec: &Arc<RunSpec>, last: SessionEvent| {
        let mut bench = Bench::serving(spec, 1, 8);
        bench.sessions(1, lease(1), 1, &events[..4]);
        let outbox = bench.on(session(1, generate(1), lease(1), 5, last));
        granted_jobs(&outbox)
    };
    let finished = || SessionEvent::Finished(with_program(1));
    assert_eq!(run(&spec(1, |_| {}), finished()), [evaluate(1)]);
    let untested = asked(1, |spec| spec.problems[0].tests = None);
    assert_eq!(run(&untested, finished()), []);
    let without = SessionEvent::Finished(without_program());
    assert_eq!(run(&asked(1, |_| {}), without), []);
}

#[test]
fn problem_is_settled_and_told_before_its_rounds_are_judged_and_the_run_ends_after_them() {
    let (spec, mut bench, _) = held(8);
    let outbox = bench.judge(1, lease(2));
    assert!(outbox.commands.contains(&tell(Progress::Judged { index: 1 })));
    assert_eq!(all_judged(&outbox), 1);
    assert_eq!(bench.summary().passed(), 1);
    assert_eq!(bench.summary().status, RunStatus::Running);
    assert_eq!(bench.view().state, RunState::Active);

    bench.pass(500);
    let outbox = judge_round(&mut bench, 0, 3, 1);
    assert_eq!((outbox.writes.len(), all_judged(&outbox)), (1, 0));
    let outbox = judge_round(&mut bench, 1, 4, CASES);
    let finished = roundhouse_core::record::RunRecord {
        finished: Some(stamp(BEGIN_MS + 500)),
        ..judging_record(&spec, 1, 8)
    };
    assert_eq!(outbox.writes[1], Write::Run(finished));
    let summary = bench.summary();
    assert_eq!(summary.status, RunStatus::Complete);
    assert_eq!(
        summary.times.total_ms, 0,
        "the last verdict is that of the problem"
    );
    assert_eq!(summary.times.evaluation_busy_ms, 11);
}

#[test]
fn summary_says_of_each_round_what_its_tests_and_the_judge_said() {
    let (_, mut bench, _) = held(8);
    bench.judge(1, lease(2));
    judge_round(&mut bench, 0, 3, 1);
    judge_round(&mut bench, 1, 4, CASES);
    let summary = |round, passed_its_tests, passed| RoundSummary {
        round,
        passed_its_tests,
        outcome: judged_to(passed),
    };
    assert_eq!(
        bench.summary().problems[0].rounds,
        [
            summary(0, Some(false), 1),
            summary(1, Some(true), CASES),
            summary(2, Some(true), 1),
            summary(3, None, CASES),
        ]
    );
}

#[test]
fn failure_at_a_round_is_no_error_of_the_problem_and_is_tried_again_when_people_ask() {
    let (_, mut bench, _) = held(8);
    bench.judge(1, lease(2));
    judge_round(&mut bench, 0, 3, 0);
    let unreadable = failure(FailureClass::Job, "the tests cannot be read");
    let came_to = failed_with(unreadable.clone());
    bench.on(result(1, of_round(1, 1), lease(4), came_to));
    assert_eq!(bench.summary().status, RunStatus::Complete);
    assert_eq!(bench.view().errors_n, 0);
    assert_eq!(rounds(&bench)[1], RoundOutcome::Error(unreadable));

    bench.on(Event::FileWritten(pending_reports()));
    let outbox = bench.on(Event::RetryRequested { run: run() });
    assert_eq!(granted_jobs(&outbox), [of_round(1, 1)]);
    assert_eq!(bench.view().state, RunState::Active);
    judge_round(&mut bench, 1, 5, CASES);
    assert_eq!(rounds(&bench)[1], judged_to(CASES));
    assert_eq!(bench.view().state, RunState::Complete);
}

#[test]
fn round_whose_workers_are_lost_is_given_up_and_the_run_ends() {
    let spec = asked(1, |spec| spec.attempts_max = 1);
    let mut bench = Bench::serving(&spec, 1, 8);
    bench.sessions(1, lease(1), 1, &four_rounds(1));
    bench.judge(1, lease(2));
    judge_round(&mut bench, 0, 3, 0);
    let broke = failed(FailureClass::InfraRetry, "the disk is full");
    bench.on(result(1, of_round(1, 1), lease(4), broke));
    let why = given_up(1, "the disk is full");
    assert_eq!(rounds(&bench)[1], RoundOutcome::Error(why));
    assert_eq!(bench.summary().status, RunStatus::Complete);
}

#[test]
fn cancelled_run_judges_no_round_until_it_is_tried_again() {
    let (_, mut bench, _) = held(8);
    bench.judge(1, lease(2));
    judge_round(&mut bench, 0, 3, 0);
    let reason = "enough".to_owned();
    let outbox = bench.on(Event::CancelRequested { run: run(), reason });
    let lease_4 = lease(4);
    let stops = |command: &Command| matches!(command, Command::Send { msg: CoordMsg::Cancel { lease, .. }, .. } if *lease == lease_4);
    assert!(outbox.commands.iter().any(stops));
    let reason = "enough".to_owned();
    assert_eq!(bench.summary().status, RunStatus::Cancelled { reason });
    bench.expect_nothing(credit(1, Role::Eval, 1));
    assert_eq!(rounds(&bench)[1], RoundOutcome::Unjudged);

    let outbox = bench.on(Event::RetryRequested { run: run() });
    assert_eq!(granted_jobs(&outbox), [of_round(1, 1)]);
    assert_eq!(all_judged(&outbox), 1);
    judge_round(&mut bench, 1, 5, 2);
    assert_eq!(bench.summary().status, RunStatus::Complete);
}

#[test]
fn run_that_is_stopped_hands_out_no_round_and_is_drained_when_nothing_is_in_flight() {
    let (_, mut bench, _) = held(1);
    bench.on(Event::StopRequested { run: run() });
    let outbox = bench.judge(1, lease(2));
    assert_eq!(granted_jobs(&outbox), []);
    assert!(outbox.commands.contains(&tell(Progress::Drained)));
    bench.expect_nothing(credit(1, Role::Eval, 1));
}

#[test]
fn rounds_that_are_not_judged_are_judged_after_a_restart_and_people_are_told_again() {
    let (spec, mut bench, _) = held(8);
    bench.judge(1, lease(2));
    judge_round(&mut bench, 0, 3, 3);
    let mut bench = bench.restart(&spec, 7);
    assert_eq!(rounds(&bench)[0], judged_to(3));
    assert_eq!(bench.summary().status, RunStatus::Running);
    let outbox = bench.join_as(1, hello(1, 0, 8));
    assert_eq!(granted_jobs(&outbox), [of_round(1, 1)]);
    let under = granted(&outbox)[0].lease;
    let came_to = evaluated(round_report(1, 1), CASES);
    bench.on(result(1, of_round(1, 1), under, came_to));
    assert_eq!(bench.summary().status, RunStatus::Complete);
    assert_eq!(rounds(&bench)[2..], [judged_to(3), judged_to(CASES)]);
}

#[test]
fn rounds_go_to_idle_cages_only_and_let_everything_else_go_first() {
    let spec = asked(2, |_| {});
    let mut bench = Bench::serving(&spec, 2, 0);
    bench.sessions(1, lease(1), 1, &four_rounds(1));
    bench.sessions(2, lease(2), 1, &[said(2, 0)]);
    let mut two_cages = hello(2, 0, 2);
    two_cages.boot_id = "another host".to_owned();
    bench.on(joined(2, two_cages));
    bench.on(inventory(2, &[]));
    let outbox = bench.on(credit(2, Role::Eval, 4));
    assert_eq!(
        granted_jobs(&outbox),
        [evaluate(1), of_round(1, 0)],
        "two cages, and nothing ahead"
    );
    let outbox = bench.on(session(1, generate(2), lease(2), 2, test_request(2, 0)));
    assert_eq!(granted_jobs(&outbox), [tests(2, 0)]);
    let finished = SessionEvent::Finished(with_program(2));
    let outbox = bench.on(session(1, generate(2), lease(2), 3, finished));
    assert_eq!(
        granted_jobs(&outbox),
        [evaluate(2)],
        "the round keeps no room from it"
    );
}

#[test]
fn staged_run_judges_rounds_after_its_last_session() {
    let spec = asked(2, |spec| spec.staged = true);
    let mut bench = Bench::serving(&spec, 2, 8);
    bench.sessions(1, lease(1), 1, &four_rounds(1));
    assert_eq!(bench.view().jobs_leased_n, 1);
    let without = SessionEvent::Finished(without_program());
    let outbox = bench.on(session(1, generate(2), lease(2), 1, without));
    assert_eq!(
        granted_jobs(&outbox),
        [evaluate(1), of_round(1, 0), of_round(1, 1)]
    );
}

#[test]
fn run_that_has_only_rounds_left_and_nobody_to_judge_them_says_so() {
    let (_, mut bench, _) = held(1);
    bench.judge(1, lease(2));
    bench.on(Event::Left {
        link: roundhouse_core::LinkId(1),
    });
    assert_eq!(bench.view().stuck, [Stuck::NoWorker { role: Role::Eval }]);
    assert_eq!(bench.view().jobs_ready_n, 2);
    let outbox = bench.join_as(2, hello(2, 0, 2));
    assert_eq!(granted_jobs(&outbox), [of_round(1, 0), of_round(1, 1)]);
}

#[test]
fn settled_outcome_of_a_round_is_stored_with_its_job() {
    let (_, mut bench, _) = held(8);
    let outbox = judge_round(&mut bench, 1, 4, 3);
    let expected = JobRecord {
        busy_ms: 11,
        ..settled(
            round_job(1, 1),
            1,
            JobOutcome::Evaluated {
                report: round_report(1, 1),
                passed: 3,
                total: CASES,
                audit: roundhouse_proto::Audit::default(),
            },
        )
    };
    assert_outbox(&outbox, &[Write::Job(expected)], &[ack(1, lease(4), 0)]);
}
