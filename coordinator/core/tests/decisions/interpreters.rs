//! The interpreter that judges a run: chosen with its first program, and the same for all that follow.

use std::sync::Arc;

use roundhouse_core::record::Write;
use roundhouse_core::run::RunSpec;
use roundhouse_core::status::Stuck;
use roundhouse_core::{Command, Event, LinkId, Outbox};
use roundhouse_proto::link::{CoordMsg, Hello};
use roundhouse_proto::{JobId, Language, Role, SessionEvent};

use crate::expected::*;
use crate::spec::*;

/// An evaluation worker with 8 slots, a host of its own, and these interpreters.
fn with(n: u8, interpreters: &[&str]) -> Box<Hello> {
    let mut hello = hello(n, 0, 8);
    hello.boot_id = format!("host {n}");
    let interpreters = interpreters.iter().map(|name| (*name).to_owned());
    hello.languages = interpreters.map(|name| (Language::Python3, name)).collect();
    hello
}

/// What an outbox hands out, by link.
fn granted(outbox: &Outbox) -> Vec<(u64, JobId)> {
    let mut granted = Vec::new();
    for command in &outbox.commands {
        if let Command::Send {
            link,
            msg: CoordMsg::Jobs(grants),
        } = command
        {
            granted.extend(grants.iter().map(|grant| (link.0, grant.job)));
        }
    }
    granted
}

/// A run whose sessions are held by worker 1.
fn generating(spec: &Arc<RunSpec>) -> Bench {
    let problems = u32::try_from(spec.problems.len()).expect("there are few");
    Bench::serving(spec, problems, 0)
}

fn left(link: u64) -> Event {
    Event::Left { link: LinkId(link) }
}

fn others(bound: &str, offered: &[&str]) -> Stuck {
    Stuck::OtherInterpreters {
        bound: bound.to_owned(),
        offered: offered.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
fn run_stays_with_the_minor_version_of_its_first_evaluation_which_is_stored_with_the_grant() {
    let spec = spec(4, |_| {});
    let mut bench = generating(&spec);
    bench.join_as(2, with(2, &["CPython 3.12.1"]));
    let finished = SessionEvent::Finished(with_program(1));
    let outbox = bench.on(session(1, generate(1), lease(1), 1, finished));
    assert_eq!(granted(&outbox), [(2, evaluate(1))]);
    let bound = roundhouse_core::record::RunRecord {
        interpreter: Some("CPython 3.12".to_owned()),
        // Two hosts.
        cores: 16,
        ..served_record(&spec, 4, 8)
    };
    assert_eq!(outbox.writes.last(), Some(&Write::Run(bound)));

    bench.on(left(2));
    for (link, name) in [(3, "CPython 3.11.7"), (4, "PyPy 3.12.1"), (5, "CPython 3.1.2")] {
        let outbox = bench.join_as(link.into(), with(link, &[name]));
        assert_eq!(granted(&outbox), [], "{name}");
    }
    let outbox = bench.join_as(6, with(6, &["CPython 3.12.9"]));
    assert_eq!(granted(&outbox), [(6, evaluate(1))]);
}

#[test]
fn tests_of_a_round_choose_the_interpreter_too() {
    let mut bench = generating(&spec(2, |_| {}));
    bench.join_as(2, with(2, &["CPython 3.12.1"]));
    bench.sessions(1, lease(1), 1, &[said(1, 0), test_request(1, 0)]);
    bench.on(left(2));
    bench.join_as(3, with(3, &["CPython 3.11.7"]));
    bench.finish(2, lease(2), 1);
    assert_eq!(bench.view().stuck, [others("CPython 3.12", &["CPython 3.11"])]);
}

#[test]
fn chosen_interpreter_survives_a_restart() {
    let spec = spec(1, |_| {});
    let mut bench = generating(&spec);
    bench.join_as(2, with(2, &["CPython 3.12.1"]));
    bench.finish(1, lease(1), 1);
    let mut bench = bench.restart(&spec, 5);
    let outbox = bench.join_as(1, with(3, &["CPython 3.11.7"]));
    assert_eq!(granted(&outbox), []);
    let outbox = bench.join_as(2, with(2, &["CPython 3.12.1"]));
    assert_eq!(granted(&outbox), [(2, evaluate(1))]);
}

#[test]
fn run_with_mixed_versions_is_judged_by_any_and_stays_with_none() {
    let spec = spec(2, |spec| spec.evaluation.mixed_versions = true);
    let mut bench = generating(&spec);
    bench.join_as(2, with(2, &["CPython 3.12.1"]));
    let finished = SessionEvent::Finished(with_program(1));
    let outbox = bench.on(session(1, generate(1), lease(1), 1, finished));
    assert_eq!(granted(&outbox), [(2, evaluate(1))]);
    let record = roundhouse_core::record::RunRecord {
        cores: 16,
        ..served_record(&spec, 2, 8)
    };
    assert_eq!(outbox.writes.last(), Some(&Write::Run(record)));
    bench.on(left(2));
    let outbox = bench.join_as(3, with(3, &["CPython 3.11.7"]));
    assert_eq!(granted(&outbox), [(3, evaluate(1))]);
}

#[test]
fn worker_with_several_interpreters_judges_runs_of_each() {
    let mut bench = generating(&spec(2, |_| {}));
    bench.join_as(2, with(2, &["CPython 3.12.1"]));
    bench.finish(1, lease(1), 1);
    bench.on(left(2));
    let outbox = bench.join_as(3, with(3, &["CPython 3.11.7", "CPython 3.12.4"]));
    assert_eq!(granted(&outbox), [(3, evaluate(1))]);
}

#[test]
fn worker_without_the_language_gets_no_program_and_the_run_says_so() {
    let mut bench = generating(&spec(1, |_| {}));
    bench.join_as(2, with(2, &[]));
    bench.finish(1, lease(1), 1);
    let language = Language::Python3;
    let stuck = Stuck::NoInterpreter { language };
    assert_eq!(
        stuck.to_string(),
        "no evaluation worker judges programs in python3"
    );
    assert_eq!(bench.view().stuck, [stuck]);
    let outbox = bench.join_as(3, with(3, &["CPython 3.11.7"]));
    assert_eq!(granted(&outbox), [(3, evaluate(1))]);
    assert_eq!(bench.view().stuck, []);
}

#[test]
fn run_that_finds_only_other_versions_names_them_and_the_flag_until_its_own_is_there() {
    let mut bench = generating(&spec(2, |_| {}));
    bench.join_as(2, with(2, &["CPython 3.11.7"]));
    bench.finish(1, lease(1), 1);
    bench.finish(2, lease(2), 1);
    bench.on(left(2));
    bench.join_as(3, with(3, &["CPython 3.13.0"]));
    bench.join_as(4, with(4, &["CPython 3.12.1", "CPython 3.12.4"]));
    let stuck = others("CPython 3.11", &["CPython 3.12", "CPython 3.13"]);
    assert_eq!(
        stuck.to_string(),
        "its programs are judged by CPython 3.11, and the evaluation workers have only CPython 3.12, CPython 3.13; a \
         run with `--mixed-versions` takes any"
    );
    assert!(!stuck.is_pause());
    assert_eq!(bench.view().stuck, [stuck]);
    let outbox = bench.join_as(5, with(5, &["CPython 3.11.2"]));
    assert_eq!(granted(&outbox), [(5, evaluate(1)), (5, evaluate(2))]);
    assert_eq!(bench.view().stuck, []);
}

#[test]
fn run_that_waits_for_its_interpreter_keeps_no_other_run_waiting() {
    let mut bench = generating(&spec(2, |_| {}));
    bench.join_as(2, with(2, &["CPython 3.11.7"]));
    bench.sessions(1, lease(1), 1, &[said(1, 0), test_request(1, 0)]);
    bench.finish(2, lease(2), 1);
    bench.on(left(2));
    // What is urgent and what is not of the first run waits for 3.11.
    bench.on(submitted(&spec(1, |spec| spec.run = run_numbered(2))));
    bench.join_as(3, with(3, &["CPython 3.12.1"]));
    bench.on(credit(1, Role::Gen, 1));
    let of_second = |job: JobId| JobId {
        run: run_numbered(2),
        ..job
    };
    let finished = SessionEvent::Finished(with_program(1));
    let outbox = bench.on(session(1, of_second(generate(1)), lease(5), 1, finished));
    assert_eq!(granted(&outbox), [(3, of_second(evaluate(1)))]);
}
