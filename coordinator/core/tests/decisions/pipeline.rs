//! From submission to reports.

use roundhouse_core::record::{JobOutcome, JobRecord, PendingFile, RunRecord, Write};
use roundhouse_core::summary::{ProblemOutcome, RunStatus};
use roundhouse_core::{Command, Event, Files, LinkId, Progress};
use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{Role, SessionEvent, StopReason};

use crate::expected::*;
use crate::spec::*;

#[test]
fn submitted_run_is_stored_and_its_statements_are_pending_then_written() {
    let spec = spec(2, |_| {});
    let statements_file = PendingFile::Statements { run: run() };
    let mut bench = Bench::new();
    bench.expect(
        submitted(&spec),
        &[Write::Run(run_record(&spec)), Write::Pending(statements_file)],
        &[statements(&spec)],
    );
    bench.expect(
        Event::FileWritten(statements_file),
        &[Write::Written(statements_file)],
        &[],
    );
}

#[test]
fn repeated_submit_changes_nothing() {
    let asked = spec(1, |_| {});
    let mut bench = Bench::serving(&asked, 1, 0);
    bench.expect_nothing(submitted(&asked));
    bench.expect_nothing(submitted(&spec(3, |_| {})));
    assert_eq!(bench.outcomes(), [ProblemOutcome::Open]);
}

#[test]
fn run_without_problems_is_done_at_once() {
    let spec = spec(0, |_| {});
    let mut bench = Bench::new();
    let outbox = bench.on(submitted(&spec));
    let finished = RunRecord {
        finished: Some(stamp(BEGIN_MS)),
        ..run_record(&spec)
    };
    assert_outbox(
        &outbox,
        &[
            Write::Run(run_record(&spec)),
            Write::Pending(PendingFile::Statements { run: run() }),
            Write::Run(finished),
            Write::Pending(pending_reports()),
        ],
        &[
            statements(&spec),
            tell(Progress::GenerationDone { generation_ms: 0 }),
            report_files(&bench),
        ],
    );
}

#[test]
fn worker_is_welcomed_and_gets_jobs_only_for_the_room_it_offers_in_data_set_order() {
    let spec = spec(3, |_| {});
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    let welcome = CoordMsg::Welcome {
        epoch: 1,
        lease_ms: 10_000,
        ping_ms: 2_000,
    };
    bench.expect(joined(1, hello(1, 2, 0)), &[], &[send(1, welcome)]);
    bench.expect_nothing(inventory(1, &[]));
    bench.expect_nothing(credit(1, Role::Eval, 2));
    bench.expect(
        credit(1, Role::Gen, 2),
        &[
            Write::Job(leased(session_job(1), 1, lease(1), 1)),
            Write::Run(served_record(&spec, 2, 0)),
            Write::Job(leased(session_job(2), 1, lease(2), 1)),
        ],
        &[
            started(2, 0),
            tell(Progress::GenerationStarted { index: 1 }),
            tell(Progress::GenerationStarted { index: 2 }),
            jobs(
                1,
                vec![
                    session_grant(&spec, 1, lease(1), 1),
                    session_grant(&spec, 2, lease(2), 1),
                ],
            ),
        ],
    );
    bench.expect_nothing(Event::Ticked);
    bench.expect(
        credit(1, Role::Gen, 5),
        &[Write::Job(leased(session_job(3), 1, lease(3), 1))],
        &[
            tell(Progress::GenerationStarted { index: 3 }),
            jobs(1, vec![session_grant(&spec, 3, lease(3), 1)]),
        ],
    );
}

#[test]
fn job_goes_to_the_worker_that_offers_most() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::new();
    bench.join(1, 1, 1, 0);
    bench.join(2, 2, 2, 0);
    let outbox = bench.on(submitted(&spec));
    let sent = jobs(2, vec![session_grant(&spec, 1, lease(1), 1)]);
    assert_eq!(outbox.commands.last(), Some(&sent));
}

#[test]
fn sequential_run_holds_one_session_at_a_time_also_while_its_worker_is_lost() {
    let spec = spec(2, |spec| spec.parallel = false);
    let mut bench = Bench::serving(&spec, 2, 0);
    bench.expect_nothing(credit(1, Role::Gen, 1));
    bench.on(Event::LinkLost { link: LinkId(1) });
    bench.join(2, 2, 2, 0);
    bench.expect_nothing(Event::Ticked);
    bench.on(joined(3, hello(1, 2, 0)));
    bench.expect_nothing(inventory(3, &[running(generate(1), lease(1))]));
    let without = SessionEvent::Finished(without_program());
    bench.expect(
        session(3, generate(1), lease(1), 1, without.clone()),
        &[
            stored_event(1, 1, without.clone()),
            Write::Job(settled(
                session_job(1),
                1,
                JobOutcome::Generated(without_program()),
            )),
            Write::Pending(pending_session(1)),
            Write::Job(leased(session_job(2), 1, lease(2), 2)),
            Write::Run(served_record(&spec, 4, 0)),
        ],
        &[
            ack(3, lease(1), 1),
            ended(1, Ok(false)),
            session_files(&spec, 1, &[without], Ok(without_program())),
            tell(Progress::Judged { index: 1 }),
            tell(Progress::GenerationStarted { index: 2 }),
            jobs(2, vec![session_grant(&spec, 2, lease(2), 1)]),
        ],
    );
}

#[test]
fn test_request_makes_an_urgent_job_that_goes_before_final_evaluations_and_its_report_to_the_session() {
    let spec = spec(2, |_| {});
    let mut bench = Bench::serving(&spec, 2, 0);
    bench.finish(1, lease(1), 1);
    bench.on(joined(2, hello(2, 0, 1)));
    bench.on(inventory(2, &[]));
    bench.sessions(2, lease(2), 1, &[said(2, 0)]);
    bench.expect(
        session(1, generate(2), lease(2), 2, test_request(2, 0)),
        &[
            stored_event(2, 2, test_request(2, 0)),
            Write::Job(tests_job(2, 0)),
        ],
        &[ack(1, lease(2), 2)],
    );
    bench.expect(
        credit(2, Role::Eval, 1),
        &[
            Write::Job(leased(tests_job(2, 0), 1, lease(3), 2)),
            Write::Run(judging_record(&spec, 2, 1)),
        ],
        &[jobs(2, vec![tests_grant(&spec, 2, 0, lease(3), 1)])],
    );
    let done = JobRecord {
        busy_ms: 11,
        ..settled(tests_job(2, 0), 1, judged(round_report(2, 0), 2))
    };
    bench.expect(
        result(2, tests(2, 0), lease(3), evaluated(round_report(2, 0), 2)),
        &[Write::Job(done)],
        &[
            ack(2, lease(3), 0),
            report(1, lease(2), 0, Ok(round_report(2, 0))),
        ],
    );
    bench.expect(
        credit(2, Role::Eval, 1),
        &[Write::Job(leased(final_job(1), 1, lease(4), 2))],
        &[jobs(2, vec![final_grant(&spec, 1, lease(4), 1)])],
    );
}

#[test]
fn urgent_jobs_go_beyond_the_room_of_a_busy_worker_but_not_without_end() {
    let spec = spec(20, |_| {});
    let mut bench = Bench::serving(&spec, 20, 1);
    bench.finish(20, lease(20), 1);
    let mut sent = 0;
    for problem in 1..=19 {
        let request = test_request(problem, 0);
        let outbox = bench.on(session(1, generate(problem), lease(problem.into()), 1, request));
        let is_jobs = |command: &&Command| {
            matches!(
                command,
                Command::Send {
                    msg: CoordMsg::Jobs(_),
                    ..
                }
            )
        };
        sent += outbox.commands.iter().filter(is_jobs).count();
    }
    assert_eq!(sent, 16);
}

#[test]
fn repeated_test_request_is_the_same_job_and_its_report_is_sent_again() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    let request = || test_request(1, 0);
    bench.sessions(1, lease(1), 1, &[said(1, 0), request()]);
    bench.expect(
        session(1, generate(1), lease(1), 3, request()),
        &[stored_event(1, 3, request())],
        &[ack(1, lease(1), 3)],
    );
    bench.on(result(1, tests(1, 0), lease(2), evaluated(round_report(1, 0), 2)));
    bench.expect(
        session(1, generate(1), lease(1), 4, request()),
        &[stored_event(1, 4, request())],
        &[
            ack(1, lease(1), 4),
            report(1, lease(1), 0, Ok(round_report(1, 0))),
        ],
    );
}

#[test]
fn ended_round_is_stored_and_its_directory_is_pending_then_written() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    let round = PendingFile::Round {
        run: run(),
        problem: 1,
        round: 0,
    };
    let SessionEvent::RoundEnd {
        code,
        report,
        tests_raw,
        ..
    } = round_end(1, 0)
    else {
        unreachable!("it ends a round")
    };
    let files = Files::Round {
        spec: spec.clone(),
        problem: 1,
        round: 0,
        code,
        report,
        tests_raw,
    };
    bench.expect(
        session(1, generate(1), lease(1), 1, round_end(1, 0)),
        &[stored_event(1, 1, round_end(1, 0)), Write::Pending(round)],
        &[ack(1, lease(1), 1), Command::WriteFiles(Box::new(files))],
    );
    bench.expect(Event::FileWritten(round), &[Write::Written(round)], &[]);
}

#[test]
fn run_ends_stored_then_reported_then_told() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    let generated = settled(session_job(1), 1, JobOutcome::Generated(with_program(1)));
    let finished = SessionEvent::Finished(with_program(1));
    bench.expect(
        session(1, generate(1), lease(1), 1, finished.clone()),
        &[
            stored_event(1, 1, finished.clone()),
            Write::Job(generated),
            Write::Pending(pending_session(1)),
            Write::Job(final_job(1)),
            Write::Job(leased(final_job(1), 1, lease(2), 1)),
            Write::Run(judging_record(&spec, 1, 1)),
        ],
        &[
            ack(1, lease(1), 1),
            ended(1, Ok(true)),
            session_files(&spec, 1, &[finished], Ok(with_program(1))),
            tell(Progress::GenerationDone { generation_ms: 0 }),
            jobs(1, vec![final_grant(&spec, 1, lease(2), 1)]),
        ],
    );
    let outbox = bench.judge(1, lease(2));
    let verdict = JobRecord {
        busy_ms: 11,
        ..settled(final_job(1), 1, judged(final_report(1), CASES))
    };
    let done = RunRecord {
        finished: Some(stamp(BEGIN_MS)),
        ..judging_record(&spec, 1, 1)
    };
    assert_outbox(
        &outbox,
        &[
            Write::Job(verdict),
            Write::Run(done),
            Write::Pending(pending_reports()),
        ],
        &[
            ack(1, lease(2), 0),
            tell(Progress::Judged { index: 1 }),
            report_files(&bench),
        ],
    );
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    assert_eq!((&summary.status, summary.passed()), (&RunStatus::Complete, 1));
    bench.expect(
        Event::FileWritten(pending_reports()),
        &[Write::Written(pending_reports())],
        &[tell(Progress::Done(Box::new(summary)))],
    );
    bench.expect_nothing(Event::Ticked);
}

#[test]
fn session_without_a_program_is_failed_and_settled() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    assert_eq!(bench.outcomes(), [ProblemOutcome::NoProgram(StopReason::NoCode)]);
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    assert_eq!(
        (summary.status, summary.finished),
        (RunStatus::Complete, Some(stamp(BEGIN_MS)))
    );
}

#[test]
fn problem_without_tests_is_failed_and_settled() {
    let spec = spec(1, |spec| {
        let problem = &mut spec.problems[0];
        (problem.tests, problem.tiers) = (None, Vec::new());
    });
    let mut bench = Bench::serving(&spec, 1, 1);
    let finished = SessionEvent::Finished(with_program(1));
    let outbox = bench.on(session(1, generate(1), lease(1), 1, finished.clone()));
    let done = RunRecord {
        finished: Some(stamp(BEGIN_MS)),
        ..served_record(&spec, 1, 1)
    };
    assert_outbox(
        &outbox,
        &[
            stored_event(1, 1, finished.clone()),
            Write::Job(settled(session_job(1), 1, JobOutcome::Generated(with_program(1)))),
            Write::Pending(pending_session(1)),
            Write::Run(done),
            Write::Pending(pending_reports()),
        ],
        &[
            ack(1, lease(1), 1),
            ended(1, Ok(true)),
            session_files(&spec, 1, &[finished], Ok(with_program(1))),
            tell(Progress::Judged { index: 1 }),
            tell(Progress::GenerationDone { generation_ms: 0 }),
            report_files(&bench),
        ],
    );
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    assert_eq!((summary.passed(), summary.status), (0, RunStatus::Complete));
    let unjudged = ProblemOutcome::Judged {
        passed: 0,
        total: 0,
        report: None,
    };
    assert_eq!(bench.outcomes(), [unjudged]);
}

#[test]
fn staged_run_holds_evaluations_until_every_session_has_ended() {
    let spec = spec(2, |spec| spec.staged = true);
    let mut bench = Bench::serving(&spec, 2, 2);
    let finished = SessionEvent::Finished(with_program(1));
    bench.expect(
        session(1, generate(1), lease(1), 1, finished.clone()),
        &[
            stored_event(1, 1, finished.clone()),
            Write::Job(settled(session_job(1), 1, JobOutcome::Generated(with_program(1)))),
            Write::Pending(pending_session(1)),
            Write::Job(final_job(1)),
        ],
        &[
            ack(1, lease(1), 1),
            ended(1, Ok(true)),
            session_files(&spec, 1, &[finished], Ok(with_program(1))),
        ],
    );
    bench.sessions(2, lease(2), 1, &[test_request(2, 0)]);
    let finished = SessionEvent::Finished(without_program());
    bench.on(result(1, tests(2, 0), lease(3), evaluated(round_report(2, 0), 1)));
    bench.expect(
        session(1, generate(2), lease(2), 2, finished.clone()),
        &[
            stored_event(2, 2, finished.clone()),
            Write::Job(settled(
                session_job(2),
                1,
                JobOutcome::Generated(without_program()),
            )),
            Write::Pending(pending_session(2)),
            Write::Job(leased(final_job(1), 1, lease(4), 1)),
        ],
        &[
            ack(1, lease(2), 2),
            ended(2, Ok(false)),
            session_files(&spec, 2, &[test_request(2, 0), finished], Ok(without_program())),
            tell(Progress::Judged { index: 2 }),
            tell(Progress::GenerationDone { generation_ms: 0 }),
            jobs(1, vec![final_grant(&spec, 1, lease(4), 1)]),
        ],
    );
}
