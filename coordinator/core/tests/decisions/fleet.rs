//! Workers that come, go, fall silent and return.

use std::sync::Arc;

use roundhouse_core::record::{JobOutcome, JobRecord, Write};
use roundhouse_core::run::RunSpec;
use roundhouse_core::{Event, LinkId, Progress, Timing};
use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{Role, SessionEvent};

use crate::expected::*;
use crate::spec::*;

fn lost(link: u64) -> Event {
    Event::LinkLost { link: LinkId(link) }
}

/// A session that came back after its worker was lost, or was restarted, while this was its attempt `attempts`.
fn failed_attempt(attempts: u32) -> Write {
    Write::Job(back(session_job(1), attempts, attempts))
}

fn serving(grace_ms: u64, spec: &Arc<RunSpec>) -> Bench {
    let mut bench = Bench::with(Timing {
        grace_ms,
        ..Timing::default()
    });
    bench.on(submitted(spec));
    bench.join(1, 1, 1, 0);
    bench
}

#[test]
fn ping_is_answered() {
    let mut bench = Bench::serving(&spec(0, |_| {}), 1, 0);
    let link = LinkId(1);
    bench.expect(
        Event::Pinged { link, seq: 7 },
        &[],
        &[send(1, CoordMsg::Pong { seq: 7 })],
    );
}

#[test]
fn jobs_of_a_lost_worker_come_back_after_the_grace() {
    let mut bench = serving(1_000, &spec(1, |_| {}));
    bench.expect_nothing(lost(1));
    bench.pass(999);
    bench.expect_nothing(Event::Ticked);
    bench.pass(1);
    let back = JobRecord {
        busy_ms: 1_000,
        at_ms: 1_000,
        ..back(session_job(1), 1, 1)
    };
    bench.expect(
        Event::Ticked,
        &[Write::Job(back)],
        &[retried(1, generate(1), "its worker was lost")],
    );
}

#[test]
fn jobs_of_a_lost_worker_come_back_at_once_without_a_grace() {
    let mut bench = serving(0, &spec(1, |_| {}));
    bench.expect(
        lost(1),
        &[failed_attempt(1)],
        &[retried(1, generate(1), "its worker was lost")],
    );
}

#[test]
fn job_whose_workers_are_lost_is_given_up_as_an_error() {
    let spec = spec(1, |spec| spec.attempts_max = 2);
    let mut bench = serving(0, &spec);
    bench.on(lost(1));
    bench.join(2, 2, 1, 0);
    let outbox = bench.on(lost(2));
    let why = given_up(2, "its worker was lost");
    let error = JobRecord {
        failed_attempts: 2,
        ..settled(session_job(1), 2, JobOutcome::Error(why.clone()))
    };
    let finished = roundhouse_core::record::RunRecord {
        finished: Some(stamp(BEGIN_MS)),
        ..served_record(&spec, 1, 0)
    };
    assert_outbox(
        &outbox,
        &[
            Write::Job(error),
            Write::Pending(pending_session(1)),
            Write::Run(finished),
            Write::Pending(pending_reports()),
        ],
        &[
            ended(1, Err(why.clone())),
            session_files(&spec, 1, &[], Err(why)),
            tell(Progress::Judged { index: 1 }),
            tell(Progress::GenerationDone { generation_ms: 0 }),
            report_files(&bench),
        ],
    );
}

#[test]
fn worker_that_returns_within_the_grace_keeps_what_it_lists_and_loses_at_once_what_it_does_not() {
    let mut bench = Bench::serving(&spec(2, |_| {}), 2, 0);
    bench.on(lost(1));
    bench.pass(29_999);
    bench.on(Event::Ticked);
    bench.on(joined(2, hello(1, 2, 0)));
    let back = JobRecord {
        job: generate(2),
        busy_ms: 29_999,
        at_ms: 29_999,
        ..back(session_job(2), 1, 1)
    };
    bench.expect(
        inventory(2, &[running(generate(1), lease(1))]),
        &[Write::Job(back)],
        &[
            forget(2, lease(2)),
            retried(2, generate(2), "its worker was restarted"),
        ],
    );
    bench.pass(1);
    bench.expect_nothing(Event::Ticked);
    bench.pass(5_000);
    let kept = session(2, generate(1), lease(1), 1, said(1, 0));
    let outbox = bench.on(kept);
    assert_eq!(outbox.commands, [ack(2, lease(1), 1)]);
}

#[test]
fn worker_that_returns_after_the_grace_is_to_forget() {
    let mut bench = serving(1_000, &spec(1, |_| {}));
    bench.on(lost(1));
    bench.pass(1_000);
    bench.on(Event::Ticked);
    bench.on(joined(2, hello(1, 1, 0)));
    let held = [running(generate(1), lease(1))];
    bench.expect(inventory(2, &held), &[], &[forget(2, lease(1))]);
}

#[test]
fn worker_that_joins_again_has_its_old_link_closed_and_offers_its_room_anew() {
    let spec = spec(3, |_| {});
    let mut bench = Bench::serving(&spec, 2, 0);
    bench.on(credit(1, Role::Gen, 0));
    let welcome = CoordMsg::Welcome {
        epoch: 1,
        lease_ms: 10_000,
        ping_ms: 2_000,
    };
    bench.expect(joined(2, hello(1, 2, 0)), &[], &[close(1), send(2, welcome)]);
    bench.expect_nothing(lost(1));
    let held = [running(generate(1), lease(1)), running(generate(2), lease(2))];
    bench.expect_nothing(inventory(2, &held));
    bench.expect_nothing(credit(1, Role::Gen, 2));
    bench.expect(
        credit(2, Role::Gen, 1),
        &[Write::Job(leased(session_job(3), 1, lease(3), 1))],
        &[
            tell(Progress::GenerationStarted { index: 3 }),
            jobs(2, vec![session_grant(&spec, 3, lease(3), 1)]),
        ],
    );
}

#[test]
fn room_offered_on_a_link_that_ended_is_gone() {
    let mut bench = Bench::new();
    bench.join(1, 1, 2, 2);
    bench.on(joined(2, hello(1, 2, 2)));
    bench.on(inventory(2, &[]));
    let outbox = bench.on(submitted(&spec(2, |_| {})));
    assert_eq!(outbox.commands, [statements(&spec(2, |_| {}))]);
}

#[test]
fn grant_that_crosses_an_inventory_on_its_way_is_not_lost() {
    let spec = spec(1, |_| {});
    let mut bench = serving(1_000, &spec);
    bench.expect_nothing(inventory(1, &[]));
    bench.sessions(1, lease(1), 1, &[said(1, 0)]);
    bench.expect_nothing(inventory(1, &[running(generate(1), lease(1))]));
}

#[test]
fn lease_that_an_inventory_still_lacks_after_the_silence_comes_back() {
    let spec = spec(1, |_| {});
    let mut bench = serving(1_000, &spec);
    bench.pass(10_000);
    let back = JobRecord {
        busy_ms: 10_000,
        at_ms: 10_000,
        ..back(session_job(1), 1, 1)
    };
    bench.expect(
        inventory(1, &[]),
        &[Write::Job(back)],
        &[
            forget(1, lease(1)),
            retried(1, generate(1), "its worker was restarted"),
        ],
    );
}

#[test]
fn report_that_came_while_the_sessions_worker_was_away_is_sent_when_it_returns() {
    let spec = spec(1, |_| {});
    let mut bench = serving(30_000, &spec);
    bench.sessions(1, lease(1), 1, &[said(1, 0), test_request(1, 0)]);
    bench.join(2, 2, 0, 1);
    bench.on(lost(1));
    let done = JobRecord {
        busy_ms: 11,
        ..settled(tests_job(1, 0), 1, judged(round_report(1, 0), 2))
    };
    bench.expect(
        result(2, tests(1, 0), lease(2), evaluated(round_report(1, 0), 2)),
        &[Write::Job(done)],
        &[ack(2, lease(2), 0)],
    );
    bench.on(joined(3, hello(1, 1, 0)));
    let held = [running(generate(1), lease(1))];
    bench.expect(
        inventory(3, &held),
        &[],
        &[report(3, lease(1), 0, Ok(round_report(1, 0)))],
    );
    bench.on(session(3, generate(1), lease(1), 3, round_end(1, 0)));
    bench.expect_nothing(inventory(3, &held));
}

/// Lets time pass in ticks of half a second.
fn ticks(bench: &mut Bench, n: u32) {
    for _ in 0..n {
        bench.pass(500);
        bench.expect_nothing(Event::Ticked);
    }
}

#[test]
fn silence_counts_as_loss() {
    let mut bench = serving(0, &spec(1, |_| {}));
    ticks(&mut bench, 8);
    let link = LinkId(1);
    bench.on(Event::Pinged { link, seq: 1 });
    ticks(&mut bench, 20);
    bench.pass(500);
    let back = JobRecord {
        busy_ms: 14_500,
        at_ms: 14_500,
        ..back(session_job(1), 1, 1)
    };
    bench.expect(
        Event::Ticked,
        &[Write::Job(back)],
        &[close(1), retried(1, generate(1), "its worker was lost")],
    );
}

#[test]
fn coordinator_that_stood_still_hears_its_workers_before_it_counts_them_as_lost() {
    let mut bench = serving(0, &spec(1, |_| {}));
    ticks(&mut bench, 4);
    bench.pass(60_000);
    bench.expect_nothing(Event::Ticked);
    let link = LinkId(1);
    bench.on(Event::Pinged { link, seq: 1 });
    ticks(&mut bench, 20);
}

#[test]
fn coordinator_whose_ticks_are_rare_counts_silent_workers_as_lost_all_the_same() {
    let mut bench = serving(0, &spec(1, |_| {}));
    bench.pass(60_000);
    bench.expect_nothing(Event::Ticked);
    bench.pass(60_000);
    let outbox = bench.on(Event::Ticked);
    assert_eq!(
        outbox.commands,
        [close(1), retried(1, generate(1), "its worker was lost")]
    );
}

#[test]
fn goodbye_gives_back_at_once_what_was_on_its_way_and_counts_nothing_against_it() {
    let mut bench = serving(30_000, &spec(1, |_| {}));
    bench.expect(
        Event::Left { link: LinkId(1) },
        &[Write::Job(back(session_job(1), 1, 0))],
        &[retried(1, generate(1), "its worker left"), close(1)],
    );
    bench.pass(60_000);
    bench.on(Event::Ticked);
    bench.pass(1);
    bench.expect_nothing(Event::Ticked);
}

#[test]
fn tests_of_a_settled_session_do_not_come_back() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.join(2, 2, 0, 1);
    bench.sessions(1, lease(1), 1, &[test_request(1, 0)]);
    bench.sessions(1, lease(1), 2, &[SessionEvent::Finished(without_program())]);
    bench.expect(
        Event::Left { link: LinkId(2) },
        &[Write::Job(back(tests_job(1, 0), 1, 0))],
        &[close(2)],
    );
    bench.on(joined(3, hello(3, 0, 1)));
    bench.on(inventory(3, &[]));
    bench.expect_nothing(credit(3, Role::Eval, 1));
}
