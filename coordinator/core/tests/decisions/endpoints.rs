//! Runs that ask a model: which endpoint they ask, and which workers hold their sessions.

use roundhouse_core::record::Write;
use roundhouse_core::run::RunSpec;
use roundhouse_core::{Command, Event, Outbox, Progress};
use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{JobId, JobKind, Role};

use crate::expected::*;
use crate::spec::*;

/// What was handed out: over which link, which job, to be asked of which endpoint.
fn granted(outbox: &Outbox) -> Vec<(u64, JobId, Option<String>)> {
    let mut granted = Vec::new();
    for command in &outbox.commands {
        if let Command::Send {
            link,
            msg: CoordMsg::Jobs(grants),
        } = command
        {
            granted.extend(grants.iter().map(|grant| match &grant.work {
                roundhouse_proto::Work::Generate(work) => (link.0, grant.job, work.endpoint.clone()),
                roundhouse_proto::Work::Evaluate(_) => (link.0, grant.job, None),
            }));
        }
    }
    granted
}

fn session_of(run: u8, problem: u32) -> JobId {
    JobId {
        run: run_numbered(run),
        problem,
        kind: JobKind::Generate,
    }
}

/// A run of one problem with a model, at an endpoint or at any.
fn asking_model(model: &str, endpoint: Option<&str>) -> std::sync::Arc<RunSpec> {
    spec(1, |spec| {
        spec.session.model = model.to_owned();
        ask(spec, endpoint);
    })
}

#[test]
fn session_goes_only_to_a_worker_that_offers_the_named_endpoint_which_is_stored_with_the_grant() {
    let spec = spec(1, |spec| ask(spec, Some("deepseek")));
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    let without = [
        hello(1, 2, 0),
        hello_offering(2, 2, &[("openai", None)]),
        hello_offering(3, 2, &[("deepseek", Some("401 Unauthorized"))]),
    ];
    for (link, hello) in (1..).zip(without) {
        let outbox = bench.join_as(link, hello);
        assert_outbox(&outbox, &[], &[]);
    }
    bench.on(joined(
        4,
        hello_offering(4, 1, &[("openai", None), ("deepseek", None)]),
    ));
    bench.on(inventory(4, &[]));
    bench.expect(
        credit(4, Role::Gen, 1),
        &[
            Write::Job(leased(session_job(1), 1, lease(1), 4)),
            Write::Run(asking("deepseek", served_record(&spec, 7, 0))),
        ],
        &[
            started(7, 0),
            tell(Progress::GenerationStarted { index: 1 }),
            jobs(4, vec![session_grant_at("deepseek", &spec, 1, lease(1), 1)]),
        ],
    );
    assert_eq!(bench.summary().endpoint.as_deref(), Some("deepseek"));
}

#[test]
fn only_endpoint_on_offer_is_asked_and_stays_chosen_after_a_restart() {
    let spec = spec(2, |spec| ask(spec, None));
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    let outbox = bench.join_as(1, hello_offering(1, 1, &[("local", None)]));
    assert_eq!(granted(&outbox), [(1, generate(1), Some("local".to_owned()))]);
    assert_eq!(bench.view().endpoint.as_deref(), Some("local"));

    let mut bench = bench.restart(&spec, 7);
    let outbox = bench.join_as(1, hello_offering(1, 1, &[("openai", None)]));
    assert_eq!(granted(&outbox), []);
    let outbox = bench.join_as(2, hello_offering(2, 1, &[("local", None), ("openai", None)]));
    assert_eq!(granted(&outbox), [(2, generate(1), Some("local".to_owned()))]);
}

#[test]
fn endpoint_is_not_chosen_before_a_session_can_be_handed_out() {
    let spec = asking_model("m", None);
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    bench.on(joined(1, hello_offering(1, 1, &[("one", None)])));
    assert_eq!(bench.view().endpoint, None);
    bench.on(Event::Left {
        link: roundhouse_core::LinkId(1),
    });
    let outbox = bench.join_as(2, hello_offering(2, 1, &[("two", None)]));
    assert_eq!(granted(&outbox), [(2, generate(1), Some("two".to_owned()))]);
}

#[test]
fn endpoint_that_the_model_is_named_after_is_asked_where_there_are_several() {
    for (model, expected) in [
        ("deepseek-chat", Some("deepseek")),
        ("gpt-4o-mini", Some("openai")),
        ("qwen-max", None),
    ] {
        let mut bench = Bench::new();
        bench.on(submitted(&asking_model(model, None)));
        let outbox = bench.join_as(1, hello_offering(1, 1, &[("openai", None), ("deepseek", None)]));
        let asked: Vec<_> = granted(&outbox)
            .into_iter()
            .map(|(.., endpoint)| endpoint)
            .collect();
        let expected: Vec<_> = expected.map(|name| Some(name.to_owned())).into_iter().collect();
        assert_eq!(asked, expected, "{model}");
    }
}

#[test]
fn endpoint_that_refuses_every_key_is_not_chosen() {
    let mut bench = Bench::new();
    bench.join_as(
        1,
        hello_offering(1, 1, &[("deepseek", Some("402")), ("local", None)]),
    );
    let outbox = bench.on(submitted(&asking_model("deepseek-chat", None)));
    assert_eq!(granted(&outbox), [(1, generate(1), Some("local".to_owned()))]);
}

#[test]
fn session_of_an_offline_run_goes_to_any_generation_worker() {
    let mut bench = Bench::new();
    bench.on(submitted(&spec(1, |_| {})));
    let outbox = bench.join_as(1, hello_offering(1, 1, &[("deepseek", Some("402"))]));
    assert_eq!(granted(&outbox), [(1, generate(1), None)]);
    assert_eq!(bench.view().endpoint, None);
}

#[test]
fn run_whose_sessions_no_worker_can_hold_keeps_no_other_run_waiting() {
    let numbered = |n, endpoint: Option<&str>| {
        spec(2, |spec| {
            spec.run = run_numbered(n);
            if let Some(endpoint) = endpoint {
                ask(spec, Some(endpoint));
            }
        })
    };
    let mut bench = Bench::new();
    for spec in [
        numbered(9, Some("gone")),
        numbered(8, Some("busy")),
        numbered(7, Some("gone")),
        numbered(6, None),
    ] {
        bench.on(submitted(&spec));
    }
    bench.on(joined(1, hello_offering(1, 1, &[("busy", None)])));
    bench.on(joined(2, hello_offering(2, 2, &[("other", None)])));
    let outbox = bench.on(credit(1, Role::Gen, 1));
    assert_eq!(granted(&outbox), [(1, session_of(8, 1), Some("busy".to_owned()))]);
    let outbox = bench.on(credit(2, Role::Gen, 2));
    assert_eq!(
        granted(&outbox),
        [(2, session_of(6, 1), None), (2, session_of(6, 2), None)]
    );
    let outbox = bench.on(credit(1, Role::Gen, 1));
    assert_eq!(granted(&outbox), [(1, session_of(8, 2), Some("busy".to_owned()))]);
}

#[test]
fn room_is_taken_only_from_the_worker_that_can_hold_the_session() {
    let spec = spec(2, |spec| ask(spec, Some("deepseek")));
    let mut bench = Bench::new();
    bench.join_as(1, hello_offering(1, 5, &[("openai", None)]));
    bench.join_as(2, hello_offering(2, 1, &[("deepseek", None)]));
    let outbox = bench.on(submitted(&spec));
    assert_eq!(granted(&outbox), [(2, generate(1), Some("deepseek".to_owned()))]);
    let offline = crate::spec::spec(6, |spec| spec.run = run_numbered(2));
    let outbox = bench.on(submitted(&offline));
    let links: Vec<u64> = granted(&outbox).iter().map(|(link, ..)| *link).collect();
    assert_eq!(links, [1; 5]);
}

#[test]
fn sequential_run_that_asks_a_model_holds_one_session_at_a_time() {
    let spec = spec(2, |spec| {
        spec.parallel = false;
        ask(spec, None);
    });
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    let outbox = bench.join_as(1, hello_offering(1, 2, &[("local", None)]));
    assert_eq!(granted(&outbox), [(1, generate(1), Some("local".to_owned()))]);
}

#[test]
fn session_given_back_by_a_benched_worker_goes_to_another_and_costs_no_attempt() {
    let spec = spec(1, |spec| {
        spec.attempts_max = 1;
        ask(spec, Some("deepseek"));
    });
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    bench.join_as(1, hello_offering(1, 2, &[("deepseek", None)]));
    bench.expect_nothing(benched(1, "deepseek", "401 Unauthorized"));
    bench.expect(
        given_back(1, lease(1), "the key is refused"),
        &[Write::Job(back(session_job(1), 1, 0))],
        &[retried(1, generate(1), "the key is refused")],
    );
    bench.expect_nothing(credit(1, Role::Gen, 1));
    bench.on(joined(2, hello_offering(2, 1, &[("deepseek", None)])));
    bench.on(inventory(2, &[]));
    bench.expect(
        credit(2, Role::Gen, 1),
        &[
            Write::Job(leased(session_job(1), 2, lease(2), 2)),
            Write::Run(asking("deepseek", served_record(&spec, 3, 0))),
        ],
        &[jobs(2, vec![session_grant_at("deepseek", &spec, 1, lease(2), 2)])],
    );
}

#[test]
fn worker_that_joins_again_states_its_endpoints_anew() {
    let spec = spec(1, |spec| ask(spec, Some("deepseek")));
    let mut bench = Bench::new();
    bench.on(submitted(&spec));
    bench.join_as(1, hello_offering(1, 1, &[("deepseek", None)]));
    bench.on(benched(1, "deepseek", "401 Unauthorized"));
    bench.on(given_back(1, lease(1), "the key is refused"));
    bench.expect_nothing(credit(1, Role::Gen, 1));
    let outbox = bench.join_as(2, hello_offering(1, 1, &[("deepseek", None)]));
    assert_eq!(granted(&outbox), [(2, generate(1), Some("deepseek".to_owned()))]);
}

#[test]
fn refusal_of_an_endpoint_that_was_never_offered_changes_nothing() {
    let spec = spec(1, |spec| ask(spec, Some("deepseek")));
    let mut bench = Bench::new();
    bench.join_as(1, hello_offering(1, 1, &[("deepseek", None)]));
    bench.expect_nothing(benched(1, "openai", "401"));
    bench.expect_nothing(benched(9, "deepseek", "401"));
    let outbox = bench.on(submitted(&spec));
    assert_eq!(granted(&outbox), [(1, generate(1), Some("deepseek".to_owned()))]);
}
