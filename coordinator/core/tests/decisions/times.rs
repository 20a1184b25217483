//! The run's clock and what slots were busy with.

use roundhouse_core::summary::RunTimes;
use roundhouse_core::{Event, LinkId, Timing};
use roundhouse_proto::{FailureClass, LeaseId, Role};

use crate::expected::*;
use crate::spec::*;

fn times(bench: &Bench) -> RunTimes {
    bench
        .coordinator
        .summary(run())
        .expect("the run was submitted")
        .times
}

#[test]
fn times_run_from_the_first_grant_to_the_last_session_and_the_last_verdict() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    bench.pass(5_000);
    bench.join(1, 1, 1, 1);
    bench.pass(300);
    bench.finish(1, lease(1), 1);
    bench.pass(70);
    bench.judge(1, lease(2));
    bench.pass(9_000);
    let expected = RunTimes {
        total_ms: 370,
        generation_ms: 300,
        generation_busy_ms: 300,
        evaluation_busy_ms: 11,
    };
    assert_eq!(times(&bench), expected);
    assert_eq!(expected.evaluation_ms(), 70);
}

#[test]
fn clock_stands_still_while_no_coordinator_is_up() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.pass(300);
    bench.sessions(1, lease(1), 1, &[said(1, 0)]);
    let mut bench = bench.restart(&spec, 7);
    bench.pass(20);
    bench.join(1, 1, 1, 0);
    bench.pass(80);
    let second = LeaseId { epoch: 2, seq: 1 };
    bench.on(session(1, generate(1), second, 2, said(1, 1)));
    bench.pass(50);
    bench.on(Event::GivenBack {
        link: LinkId(1),
        lease: second,
        reason: "no room".to_owned(),
        unaccounted: 0,
    });
    let mut bench = bench.restart(&spec, 5_000_000);
    bench.join(1, 1, 1, 1);
    bench.pass(100);
    let third = |seq| LeaseId { epoch: 3, seq };
    bench.finish(1, third(1), 3);
    bench.judge(1, third(2));
    let bench = bench.restart(&spec, 1);
    let expected = RunTimes {
        total_ms: 550,
        generation_ms: 550,
        generation_busy_ms: 230,
        evaluation_busy_ms: 11,
    };
    assert_eq!(times(&bench), expected);
}

#[test]
fn clock_stands_still_between_the_end_of_a_run_and_its_retry() {
    let day_ms = 86_400_000;
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.pass(100);
    bench.on(result(
        1,
        generate(1),
        lease(1),
        failed(FailureClass::Model, "gone"),
    ));
    bench.pass(day_ms);
    bench.on(Event::RetryRequested { run: run() });
    bench.pass(10);
    bench.on(credit(1, Role::Gen, 1));
    bench.pass(30);
    bench.finish(1, lease(2), 1);
    let expected = RunTimes {
        total_ms: 140,
        generation_ms: 140,
        generation_busy_ms: 130,
        evaluation_busy_ms: 0,
    };
    assert_eq!(times(&bench), expected);
}

#[test]
fn cores_of_one_host_count_once() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::new();
    let mut elsewhere = hello(3, 1, 0);
    elsewhere.boot_id = "another host".to_owned();
    for (link, hello) in [(1, hello(1, 1, 0)), (2, hello(2, 1, 0)), (3, elsewhere)] {
        bench.on(joined(link, hello));
        bench.on(credit(link, Role::Gen, 1));
    }
    bench.on(submitted(&spec));
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    assert_eq!((summary.cores, summary.generation_slots), (16, 3));
}

#[test]
fn run_that_cannot_move_is_told_after_five_seconds() {
    let timing = Timing {
        silence_ms: 10_000,
        ping_ms: 2_000,
        grace_ms: 30_000,
        waiting_ms: 5_000,
    };
    assert_eq!(Timing::default(), timing);
}
