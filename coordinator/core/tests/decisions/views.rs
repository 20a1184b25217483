//! How runs and workers stand, for people who ask.

use roundhouse_core::status::{ProblemView, RunState, RunView, WorkerView};
use roundhouse_core::{Event, LinkId};
use roundhouse_proto::link::EndpointOffer;
use roundhouse_proto::{FailureClass, Isolation, Language, Role, SessionEvent, Usage};

use crate::expected::*;
use crate::spec::*;

#[test]
fn run_that_was_just_submitted_has_all_its_sessions_ready() {
    let spec = spec(3, |_| {});
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    bench.pass(40);
    let expected = RunView {
        spec: spec.clone(),
        state: RunState::Active,
        stuck: vec![roundhouse_core::status::Stuck::NoWorker { role: Role::Gen }],
        passed_n: 0,
        failed_n: 0,
        errors_n: 0,
        generated_n: 0,
        jobs_ready_n: 3,
        jobs_leased_n: 0,
        usage: Usage::default(),
        calls_n: 0,
        calls_unaccounted_n: 0,
        active_ms: 40,
        generation_ms: None,
        endpoint: None,
        generation_slots: 0,
        evaluation_slots: 0,
        cores: 0,
        reports_written: false,
    };
    assert_eq!(bench.view(), expected);
}

#[test]
fn view_counts_problems_jobs_and_calls_and_stands_still_once_the_run_is_over() {
    let spec = spec(4, |_| {});
    let mut bench = Bench::serving(&spec, 4, 1);
    bench.sessions(1, lease(1), 1, &[said(1, 0)]);
    bench.finish(1, lease(1), 2);
    bench.finish(2, lease(2), 1);
    bench.sessions(3, lease(3), 1, &[SessionEvent::Finished(without_program())]);
    bench.on(result(
        1,
        generate(4),
        lease(4),
        failed(FailureClass::Model, "gone"),
    ));
    let view = bench.view();
    assert_eq!((view.jobs_ready_n, view.jobs_leased_n, view.calls_n), (1, 1, 1));
    assert_eq!((view.passed_n, view.failed_n, view.errors_n), (0, 1, 1));
    assert_eq!((view.generated_n, view.generation_ms), (4, Some(0)));
    bench.on(credit(1, Role::Eval, 1));
    bench.judge(1, lease(5));
    bench.pass(70);
    bench.judge(2, lease(6));
    bench.pass(9_000);
    let over = RunView {
        state: RunState::Incomplete {
            reason: "1 error".to_owned(),
        },
        passed_n: 2,
        jobs_ready_n: 0,
        jobs_leased_n: 0,
        active_ms: 70,
        ..view
    };
    assert_eq!(bench.view(), over);
    bench.on(Event::FileWritten(pending_reports()));
    let written = RunView {
        reports_written: true,
        ..over
    };
    assert_eq!(bench.view(), written);
    let mut bench = bench.restart(&spec, 7);
    bench.pass(9_000);
    assert_eq!(bench.view(), written);
    bench.on(Event::RetryRequested { run: run() });
    assert!(!bench.view().reports_written);
}

#[test]
fn problem_is_shown_from_its_grant_to_its_verdict() {
    let mut bench = Bench::serving(&spec(3, |_| {}), 2, 0);
    bench.finish(1, lease(1), 1);
    let problem = |is_started, generated, is_settled| ProblemView {
        is_started,
        generated,
        is_settled,
    };
    assert_eq!(
        bench.coordinator.problem_views(run()),
        [
            problem(true, Some(Ok(true)), false),
            problem(true, None, false),
            problem(false, None, false),
        ]
    );
    assert_eq!(bench.coordinator.problem_views(run_numbered(9)), []);
}

#[test]
fn runs_are_listed_newest_first() {
    let mut bench = Bench::new();
    for n in [5, 9, 2] {
        bench.on(submitted(&spec(1, |spec| spec.run = run_numbered(n))));
    }
    assert_eq!(
        bench.coordinator.runs(),
        [run_numbered(2), run_numbered(9), run_numbered(5)]
    );
}

#[test]
fn worker_is_shown_with_what_it_holds_and_as_lost_while_its_grace_runs() {
    let mut bench = Bench::serving(&spec(2, |_| {}), 0, 0);
    bench.on(Event::Left { link: LinkId(1) });
    let mut hello = hello(2, 3, 2);
    hello.endpoints = vec![EndpointOffer {
        name: "local".to_owned(),
        benched: None,
    }];
    bench.join_as(2, hello);
    bench.finish_on(2, 1, lease(1));
    bench.on(benched(2, "local", "401"));
    bench.pass(300);
    let expected = WorkerView {
        worker: worker(2),
        name: "host 2".to_owned(),
        build: "0.1.0".to_owned(),
        roles: vec![(Role::Gen, 3, 1), (Role::Eval, 2, 1)],
        languages: vec![(Language::Python3, "CPython 3.11.7".to_owned())],
        isolation: Some(Isolation::Full),
        cores: 8,
        endpoints: vec![EndpointOffer {
            name: "local".to_owned(),
            benched: Some("401".to_owned()),
        }],
        silent_ms: 300,
        joined_ms: 300,
        is_lost: false,
    };
    let shown = |bench: &Bench| bench.coordinator.worker_views(at(bench.now_ms));
    assert_eq!(shown(&bench), vec![expected.clone()]);
    bench.on(Event::LinkLost { link: LinkId(2) });
    let lost = WorkerView {
        is_lost: true,
        ..expected
    };
    assert_eq!(shown(&bench), vec![lost]);
    bench.join(3, 1, 1, 0);
    let names: Vec<_> = shown(&bench).iter().map(|worker| worker.name.clone()).collect();
    assert_eq!(names, ["host 1", "host 2"]);
    bench.on(Event::Left { link: LinkId(3) });
    bench.on(Event::Ticked);
    bench.pass(29_999);
    bench.on(Event::Ticked);
    assert_eq!(shown(&bench).len(), 1);
    bench.pass(1);
    bench.on(Event::Ticked);
    assert_eq!(shown(&bench), []);
}

#[test]
fn lost_worker_that_joins_again_is_shown_once() {
    let mut bench = Bench::serving(&spec(1, |_| {}), 1, 0);
    bench.on(Event::LinkLost { link: LinkId(1) });
    bench.on(joined(2, hello(1, 1, 0)));
    let views = bench.coordinator.worker_views(at(bench.now_ms));
    let shown: Vec<_> = views.iter().map(|view| (view.worker, view.is_lost)).collect();
    assert_eq!(shown, [(worker(1), false)]);
}
