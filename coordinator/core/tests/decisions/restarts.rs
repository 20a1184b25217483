//! A coordinator that is killed and started again. That it may be after any write is shown by the simulation.

use std::collections::BTreeMap;

use roundhouse_core::record::{PendingFile, Stored, Write};
use roundhouse_core::run::RunSpec;
use roundhouse_core::{Coordinator, Event, Outbox, Timing};
use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{FailureClass, JobId, JobKind, LeaseId, Role, RunId};

use crate::disk::Disk;
use crate::expected::*;
use crate::spec::*;

fn start(stored: Stored, specs: &[&std::sync::Arc<RunSpec>]) -> (Coordinator, Outbox) {
    let specs: BTreeMap<RunId, _> = specs.iter().map(|spec| (spec.run, (*spec).clone())).collect();
    let mut outbox = Outbox::default();
    let coordinator = Coordinator::start(Timing::default(), stored, &specs, at(9), &mut outbox);
    (coordinator, outbox)
}

#[test]
fn files_that_were_pending_are_written_again() {
    let spec = spec(2, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.finish(1, lease(1), 1);
    let (_, outbox) = start(Disk::of(&bench.batches).stored(), &[&spec]);
    let finished = roundhouse_proto::SessionEvent::Finished(with_program(1));
    assert_outbox(
        &outbox,
        &[Write::Epoch(2)],
        &[
            statements(&spec),
            session_files(&spec, 1, &[finished], Ok(with_program(1))),
        ],
    );
}

#[test]
fn reports_that_were_pending_are_written_again_then_the_run_is_done() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    bench.finish(1, lease(1), 1);
    bench.judge(1, lease(2));
    for pending in [PendingFile::Statements { run: run() }, pending_session(1)] {
        bench.on(Event::FileWritten(pending));
    }
    let before = report_files(&bench);
    let (mut coordinator, outbox) = start(Disk::of(&bench.batches).stored(), &[&spec]);
    assert_outbox(&outbox, &[Write::Epoch(2)], &[before]);
    let summary = coordinator.summary(run()).expect("the run was stored");
    let mut outbox = Outbox::default();
    coordinator.handle(at(10), Event::FileWritten(pending_reports()), &mut outbox);
    assert_outbox(
        &outbox,
        &[Write::Written(pending_reports())],
        &[tell(roundhouse_core::Progress::Done(Box::new(summary)))],
    );
}

#[test]
fn reports_that_were_pending_when_a_run_was_opened_again_are_written_as_it_stands_and_end_nothing() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.on(result(
        1,
        generate(1),
        lease(1),
        failed(FailureClass::Model, "gone"),
    ));
    for pending in [PendingFile::Statements { run: run() }, pending_session(1)] {
        bench.on(Event::FileWritten(pending));
    }
    bench.on(Event::RetryRequested { run: run() });
    let (mut coordinator, outbox) = start(Disk::of(&bench.batches).stored(), &[&spec]);
    assert_outbox(&outbox, &[Write::Epoch(2)], &[report_files(&bench)]);
    let mut outbox = Outbox::default();
    coordinator.handle(at(10), Event::FileWritten(pending_reports()), &mut outbox);
    assert_outbox(&outbox, &[Write::Written(pending_reports())], &[]);
}

#[test]
fn cancelled_run_whose_sessions_had_ended_is_only_written_again() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 1);
    bench.finish(1, lease(1), 1);
    let reason = "too dear".to_owned();
    bench.on(Event::CancelRequested { run: run(), reason });
    for pending in [PendingFile::Statements { run: run() }, pending_session(1)] {
        bench.on(Event::FileWritten(pending));
    }
    let (_, outbox) = start(Disk::of(&bench.batches).stored(), &[&spec]);
    assert_outbox(&outbox, &[Write::Epoch(2)], &[report_files(&bench)]);
}

#[test]
fn run_whose_specification_is_missing_is_left_alone() {
    let spec = spec(1, |_| {});
    let bench = Bench::serving(&spec, 1, 0);
    let (coordinator, outbox) = start(Disk::of(&bench.batches).stored(), &[]);
    assert_outbox(&outbox, &[Write::Epoch(2)], &[]);
    assert_eq!(coordinator.summary(run()), None);
}

#[test]
fn lease_of_an_earlier_start_is_void_and_its_job_goes_out_again() {
    let spec = spec(1, |_| {});
    let mut bench = Bench::serving(&spec, 1, 0);
    bench.sessions(1, lease(1), 1, &[said(1, 0)]);
    let (coordinator, _) = start(Disk::of(&bench.batches).stored(), &[&spec]);
    let mut bench = Bench {
        coordinator,
        now_ms: 9,
        batches: Vec::new(),
    };
    bench.on(joined(1, hello(1, 1, 0)));
    let held = [running(generate(1), lease(1))];
    bench.expect(inventory(1, &held), &[], &[forget(1, lease(1))]);
    bench.expect(
        session(1, generate(1), lease(1), 2, said(1, 1)),
        &[],
        &[forget(1, lease(1))],
    );
    let mut work = session_work(&spec, 1);
    work.resume = vec![said(1, 0)];
    let new = LeaseId { epoch: 2, seq: 1 };
    let granted = grant(generate(1), new, 2, roundhouse_proto::Work::Generate(work));
    bench.expect(
        credit(1, Role::Gen, 1),
        &[Write::Job(leased(session_job(1), 2, new, 1))],
        &[started(1, 0), jobs(1, vec![granted])],
    );
}

#[test]
fn older_run_goes_first_also_after_a_restart() {
    let older = spec(1, |spec| spec.run = run_numbered(7));
    let newer = spec(1, |spec| {
        spec.run = run_numbered(3);
        spec.started = stamp(60_000);
    });
    let mut bench = Bench::new();
    bench.on(submitted(&older));
    bench.on(submitted(&newer));
    let first = |mut bench: Bench| {
        bench.on(joined(1, hello(1, 1, 0)));
        let outbox = bench.on(credit(1, Role::Gen, 1));
        let Some(roundhouse_core::Command::Send {
            msg: CoordMsg::Jobs(grants),
            ..
        }) = outbox.commands.last()
        else {
            panic!("no job was handed out");
        };
        grants[0].job
    };
    let expected = JobId {
        run: older.run,
        problem: 1,
        kind: JobKind::Generate,
    };
    let (coordinator, _) = start(Disk::of(&bench.batches).stored(), &[&older, &newer]);
    let restarted = Bench {
        coordinator,
        now_ms: 9,
        batches: Vec::new(),
    };
    assert_eq!((first(bench), first(restarted)), (expected, expected));
}
