//! Runs that cannot move: why, and when people are told.

use std::sync::Arc;

use roundhouse_core::run::RunSpec;
use roundhouse_core::status::{RunState, Stuck};
use roundhouse_core::{Command, Event, LinkId, Progress, Timing};
use roundhouse_proto::{Role, SessionEvent};

use crate::expected::*;
use crate::spec::*;

fn stuck(reasons: &[Stuck]) -> Command {
    tell(Progress::Stuck(reasons.to_vec()))
}

fn no_worker(role: Role) -> Stuck {
    Stuck::NoWorker { role }
}

fn no_key(endpoint: &str, reason: &str) -> Stuck {
    let (endpoint, reason) = (endpoint.to_owned(), reason.to_owned());
    Stuck::NoKey { endpoint, reason }
}

fn many(names: &[&str]) -> Stuck {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Stuck::ManyEndpoints { names }
}

fn no_endpoint(name: Option<&str>) -> Stuck {
    let name = name.map(str::to_owned);
    Stuck::NoEndpoint { name }
}

fn left(link: u64) -> Event {
    Event::Left { link: LinkId(link) }
}

/// A coordinator that tells after half a second.
fn bench(spec: &Arc<RunSpec>) -> Bench {
    let mut bench = Bench::with(Timing {
        waiting_ms: 500,
        ..Timing::default()
    });
    bench.on(submitted(spec));
    bench
}

#[test]
fn waiting_without_workers_is_told_once_to_the_runs_that_wait_and_once_that_it_is_over() {
    let mut bench = bench(&spec(2, |_| {}));
    bench.on(submitted(&spec(0, |spec| spec.run = run_numbered(2))));
    bench.expect_nothing(Event::Ticked);
    bench.pass(499);
    bench.expect_nothing(Event::Ticked);
    bench.pass(1);
    bench.expect(Event::Ticked, &[], &[stuck(&[no_worker(Role::Gen)])]);
    bench.pass(5_000);
    bench.expect_nothing(Event::Ticked);

    bench.join(1, 1, 1, 0);
    bench.expect(Event::Ticked, &[], &[stuck(&[])]);
    bench.expect_nothing(Event::Ticked);
    bench.on(left(1));
    bench.expect_nothing(Event::Ticked);
    bench.pass(500);
    bench.expect(Event::Ticked, &[], &[stuck(&[no_worker(Role::Gen)])]);
}

#[test]
fn stall_that_ends_before_it_is_told_is_not_told() {
    let mut bench = bench(&spec(2, |_| {}));
    bench.expect_nothing(Event::Ticked);
    bench.pass(400);
    bench.join(1, 1, 1, 0);
    bench.expect_nothing(Event::Ticked);
    bench.pass(100);
    bench.expect_nothing(Event::Ticked);
}

#[test]
fn change_of_the_reasons_is_told_at_once_after_they_were_told() {
    let mut bench = bench(&spec(2, |spec| ask(spec, None)));
    bench.expect_nothing(Event::Ticked);
    bench.pass(500);
    bench.expect(Event::Ticked, &[], &[stuck(&[no_worker(Role::Gen)])]);
    bench.join(1, 1, 1, 0);
    bench.expect(Event::Ticked, &[], &[stuck(&[no_endpoint(None)])]);
    bench.expect_nothing(Event::Ticked);
}

#[test]
fn reason_that_changes_before_it_is_told_counts_from_the_change() {
    let mut bench = bench(&spec(2, |spec| ask(spec, None)));
    bench.expect_nothing(Event::Ticked);
    bench.pass(400);
    bench.join(1, 1, 1, 0);
    bench.expect_nothing(Event::Ticked);
    bench.pass(499);
    bench.expect_nothing(Event::Ticked);
    bench.pass(1);
    bench.expect(Event::Ticked, &[], &[stuck(&[no_endpoint(None)])]);
}

#[test]
fn missing_role_stalls_a_run_only_while_it_has_something_for_it() {
    let mut bench = bench(&spec(2, |_| {}));
    bench.join(1, 1, 2, 0);
    assert_eq!(bench.view().stuck, []);
    bench.finish(1, lease(1), 1);
    assert_eq!(bench.view().stuck, [no_worker(Role::Eval)]);
    bench.join(2, 2, 0, 1);
    assert_eq!(bench.view().stuck, []);
}

#[test]
fn both_roles_can_be_missing_at_once() {
    let mut bench = bench(&spec(2, |_| {}));
    bench.join(1, 1, 1, 0);
    bench.finish(1, lease(1), 1);
    bench.on(left(1));
    assert_eq!(bench.view().stuck, [no_worker(Role::Gen), no_worker(Role::Eval)]);
}

#[test]
fn run_whose_jobs_wait_for_busy_slots_is_not_stalled() {
    let mut bench = bench(&spec(3, |spec| ask(spec, Some("local"))));
    bench.join_as(1, hello_offering(1, 1, &[("local", None)]));
    bench.expect_nothing(Event::Ticked);
    bench.pass(5_000);
    bench.expect_nothing(Event::Ticked);
    assert_eq!(bench.view().stuck, []);
}

#[test]
fn worker_whose_link_was_lost_does_not_count_as_joined() {
    let mut bench = bench(&spec(2, |_| {}));
    bench.join(1, 1, 1, 0);
    let link = LinkId(1);
    bench.on(Event::LinkLost { link });
    assert_eq!(bench.view().stuck, [no_worker(Role::Gen)]);
}

#[test]
fn endpoint_that_nobody_offers_is_named() {
    let mut bench = bench(&spec(1, |spec| ask(spec, Some("deepseek"))));
    assert_eq!(bench.view().stuck, [no_worker(Role::Gen)]);
    bench.join_as(1, hello_offering(1, 1, &[("openai", None)]));
    assert_eq!(bench.view().stuck, [no_endpoint(Some("deepseek"))]);
}

#[test]
fn endpoints_that_leave_no_choice_to_make_are_named() {
    let mut bench = bench(&spec(1, |spec| ask(spec, None)));
    bench.join_as(1, hello_offering(1, 1, &[("openai", None), ("local", None)]));
    bench.join_as(
        2,
        hello_offering(2, 1, &[("far", None), ("benched", Some("402"))]),
    );
    assert_eq!(bench.view().stuck, [many(&["far", "local", "openai"])]);
}

#[test]
fn endpoint_that_refused_every_worker_is_named_with_what_it_said_last() {
    let mut bench = bench(&spec(1, |spec| ask(spec, Some("deepseek"))));
    let bad = |n, reason| hello_offering(n, 1, &[("deepseek", Some(reason))]);
    bench.join_as(1, bad(1, "401 Unauthorized"));
    bench.join_as(2, hello_offering(2, 1, &[("openai", Some("later"))]));
    assert_eq!(bench.view().stuck, [no_key("deepseek", "401 Unauthorized")]);
    bench.join_as(3, bad(3, "402 Payment Required"));
    assert_eq!(bench.view().stuck, [no_key("deepseek", "402 Payment Required")]);
    bench.on(benched(1, "deepseek", "403 Forbidden"));
    assert_eq!(bench.view().stuck, [no_key("deepseek", "403 Forbidden")]);
    bench.join_as(4, hello_offering(4, 0, &[("deepseek", None)]));
    assert_eq!(bench.view().stuck, [no_key("deepseek", "403 Forbidden")]);
    bench.on(joined(5, hello_offering(5, 1, &[("deepseek", None)])));
    assert_eq!(bench.view().stuck, []);
}

#[test]
fn run_that_names_no_endpoint_and_finds_only_refusals_is_told_the_last() {
    let mut bench = bench(&spec(1, |spec| ask(spec, None)));
    bench.join_as(1, hello_offering(1, 1, &[("a", Some("401")), ("b", Some("402"))]));
    assert_eq!(bench.view().stuck, [no_key("b", "402")]);
}

#[test]
fn session_that_goes_on_alone_in_a_sequential_run_stalls_nothing() {
    let mut bench = bench(&spec(2, |spec| {
        spec.parallel = false;
        ask(spec, None);
    }));
    bench.join_as(1, hello_offering(1, 2, &[("local", None)]));
    bench.on(benched(1, "local", "401"));
    assert_eq!(bench.view().stuck, []);
    bench.on(given_back(1, lease(1), "the key is refused"));
    assert_eq!(bench.view().stuck, [no_key("local", "401")]);
}

#[test]
fn run_that_is_over_or_drained_is_not_stalled() {
    let mut bench = bench(&spec(1, |_| {}));
    bench.expect_nothing(Event::Ticked);
    bench.on(Event::StopRequested { run: run() });
    assert_eq!(bench.view().stuck, []);
    bench.pass(600_000);
    bench.expect_nothing(Event::Ticked);
    bench.on(Event::RetryRequested { run: run() });
    bench.expect_nothing(Event::Ticked);
    bench.pass(500);
    bench.expect(Event::Ticked, &[], &[stuck(&[no_worker(Role::Gen)])]);
    bench.join(1, 1, 1, 0);
    bench.sessions(1, lease(1), 1, &[SessionEvent::Finished(without_program())]);
    bench.on(Event::FileWritten(pending_reports()));
    assert_eq!(
        (bench.view().stuck, bench.view().state),
        (vec![], RunState::Complete)
    );
    bench.expect_nothing(Event::Ticked);
}
