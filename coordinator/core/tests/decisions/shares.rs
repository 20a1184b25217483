//! Workers of one host: how its cores are divided among them, and where evaluations go.

use roundhouse_core::{Command, Event, LinkId, Outbox, Timing};
use roundhouse_proto::link::{CoordMsg, Hello};
use roundhouse_proto::{JobKind, Role};

use crate::expected::*;
use crate::spec::*;

/// A worker with so many evaluation slots on a host with so many cores.
fn on_host(host: &str, cores: u32, n: u8, slots: u32) -> Box<Hello> {
    let mut hello = hello(n, 0, slots);
    hello.boot_id = host.to_owned();
    hello.cores = cores;
    hello
}

/// The shares that an outbox says, by link.
fn said(outbox: &Outbox) -> Vec<(u64, u32)> {
    let share = |command: &Command| match command {
        Command::Send {
            link,
            msg: CoordMsg::Cages { n },
        } => Some((link.0, *n)),
        _ => None,
    };
    outbox.commands.iter().filter_map(share).collect()
}

/// How many jobs an outbox hands out on a link.
fn granted_n(outbox: &Outbox, link: u64) -> usize {
    let grants = |command: &Command| match command {
        Command::Send {
            link: on,
            msg: CoordMsg::Jobs(grants),
        } if on.0 == link => grants.len(),
        _ => 0,
    };
    outbox.commands.iter().map(grants).sum()
}

fn left(link: u64) -> Event {
    Event::Left { link: LinkId(link) }
}

fn lost(link: u64) -> Event {
    Event::LinkLost { link: LinkId(link) }
}

#[test]
fn worker_that_is_alone_on_its_host_gets_as_many_cages_as_it_has_slots_and_the_host_cores() {
    let mut bench = Bench::new();
    let welcome = CoordMsg::Welcome {
        epoch: 1,
        lease_ms: 10_000,
        ping_ms: 2_000,
    };
    bench.expect(
        joined(1, on_host("a", 8, 1, 3)),
        &[],
        &[send(1, welcome), send(1, CoordMsg::Cages { n: 3 })],
    );
    let outbox = bench.on(joined(2, on_host("b", 8, 2, 100)));
    assert_eq!(said(&outbox), [(2, 8)]);
}

#[test]
fn worker_that_only_generates_gets_no_share_and_takes_none() {
    let mut bench = Bench::new();
    assert_eq!(said(&bench.on(joined(1, hello(1, 8, 0)))), []);
    assert_eq!(said(&bench.on(joined(2, hello(2, 0, 8)))), [(2, 8)]);
}

#[test]
fn workers_of_a_host_share_its_cores_and_one_that_leaves_gives_its_share_to_the_others() {
    let mut bench = Bench::new();
    bench.on(joined(1, on_host("a", 8, 1, 8)));
    let outbox = bench.on(joined(2, on_host("a", 8, 2, 8)));
    assert_eq!(said(&outbox), [(1, 4), (2, 4)], "who gets less is told first");
    let outbox = bench.on(joined(3, on_host("a", 8, 3, 1)));
    assert_eq!(
        said(&outbox),
        [(2, 3), (3, 1)],
        "what cannot be divided goes to the first"
    );
    assert_eq!(said(&bench.on(left(1))), [(2, 7)]);
    assert_eq!(said(&bench.on(lost(2))), [], "the last one has all it can use");
}

#[test]
fn workers_of_different_hosts_share_nothing() {
    let mut bench = Bench::new();
    assert_eq!(said(&bench.on(joined(1, on_host("a", 8, 1, 8)))), [(1, 8)]);
    assert_eq!(said(&bench.on(joined(2, on_host("b", 2, 2, 8)))), [(2, 2)]);
    assert_eq!(said(&bench.on(left(1))), []);
}

#[test]
fn more_workers_than_cores_get_one_cage_each() {
    let mut bench = Bench::new();
    for n in 1..=5 {
        let outbox = bench.on(joined(n.into(), on_host("a", 2, n, 4)));
        assert_eq!(
            said(&outbox).last(),
            Some(&(n.into(), if n == 1 { 2 } else { 1 }))
        );
    }
}

#[test]
fn share_is_said_again_on_every_new_link_and_to_nobody_else() {
    let mut bench = Bench::new();
    bench.on(joined(1, on_host("a", 8, 1, 8)));
    bench.on(joined(2, on_host("a", 8, 2, 8)));
    assert_eq!(said(&bench.on(joined(3, on_host("a", 8, 1, 8)))), [(3, 4)]);
    assert_eq!(said(&bench.on(lost(1))), [], "that link was over");
    assert_eq!(said(&bench.on(Event::Ticked)), []);
}

#[test]
fn lost_worker_has_no_share_until_it_returns() {
    let mut bench = Bench::with(Timing {
        grace_ms: 60_000,
        ..Timing::default()
    });
    bench.on(joined(1, on_host("a", 8, 1, 8)));
    bench.on(joined(2, on_host("a", 8, 2, 8)));
    assert_eq!(said(&bench.on(lost(1))), [(2, 8)]);
    bench.pass(60_000);
    assert_eq!(
        said(&bench.on(Event::Ticked)),
        [],
        "its jobs are gone, its share was"
    );
    assert_eq!(
        said(&bench.on(joined(3, on_host("a", 8, 1, 8)))),
        [(2, 4), (3, 4)]
    );
}

#[test]
fn silent_worker_gives_its_share_to_the_others() {
    let mut bench = Bench::new();
    bench.on(joined(1, on_host("a", 8, 1, 8)));
    bench.on(joined(2, on_host("a", 8, 2, 8)));
    for _ in 0..6 {
        bench.pass(2_000);
        let link = LinkId(2);
        bench.on(Event::Pinged { link, seq: 1 });
        let outbox = bench.on(Event::Ticked);
        if !said(&outbox).is_empty() {
            assert_eq!(said(&outbox), [(2, 8)]);
            return;
        }
    }
    panic!("the silence was never noticed");
}

/// A coordinator with so many evaluations that are ready, whose sessions were held by worker 1.
fn with_evaluations(n: u32) -> Bench {
    let mut bench = Bench::serving(&spec(n, |_| {}), n, 0);
    for problem in 1..=n {
        bench.finish(problem, lease(problem.into()), 1);
    }
    bench
}

#[test]
fn worker_is_sent_half_as_many_evaluations_again_as_its_share_runs_at_once() {
    for (cores, granted) in [(1, 3), (2, 4), (4, 6), (8, 12), (100, 20)] {
        let mut bench = with_evaluations(20);
        bench.on(joined(2, on_host("a", cores, 2, 100)));
        bench.on(inventory(2, &[]));
        let outbox = bench.on(credit(2, Role::Eval, 101));
        assert_eq!(granted_n(&outbox, 2), granted, "{cores} cores");
    }
}

#[test]
fn worker_whose_share_grows_is_sent_more_and_one_whose_share_shrinks_waits_until_it_has_less() {
    let mut bench = with_evaluations(20);
    bench.on(joined(2, on_host("a", 4, 2, 8)));
    bench.on(joined(3, on_host("a", 4, 3, 8)));
    let outbox = bench.on(credit(2, Role::Eval, 9));
    assert_eq!(granted_n(&outbox, 2), 4, "two cages and two ahead");
    let outbox = bench.on(left(3));
    assert_eq!((said(&outbox), granted_n(&outbox, 2)), (vec![(2, 4)], 2));

    bench.on(joined(4, on_host("a", 4, 4, 8)));
    let judged = |n: u32| evaluated(final_report(n), CASES);
    // The leases of the sessions come first.
    for n in 1..=2 {
        let outbox = bench.on(result(2, evaluate(n), lease(20 + u64::from(n)), judged(n)));
        assert_eq!(granted_n(&outbox, 2), 0, "it holds what it can use, or more");
    }
    let outbox = bench.on(result(2, evaluate(3), lease(23), judged(3)));
    assert_eq!(granted_n(&outbox, 2), 1);
}

#[test]
fn evaluation_goes_to_where_most_cages_are_idle_however_many_slots_are_offered() {
    let mut bench = with_evaluations(0);
    bench.on(submitted(&spec(3, |spec| spec.run = run_numbered(2))));
    bench.on(joined(2, on_host("a", 2, 2, 100)));
    bench.on(credit(2, Role::Eval, 101));
    bench.on(joined(3, on_host("b", 4, 3, 4)));
    bench.on(credit(3, Role::Eval, 5));
    bench.on(joined(4, hello(4, 3, 0)));
    bench.on(credit(4, Role::Gen, 3));
    for (problem, link) in [(1, 3), (2, 3), (3, 2)] {
        let job = roundhouse_proto::JobId {
            run: run_numbered(2),
            problem,
            kind: JobKind::Generate,
        };
        let finished = roundhouse_proto::SessionEvent::Finished(with_program(problem));
        // Each evaluation takes the next lease after those of the sessions.
        let outbox = bench.on(session(4, job, lease(problem.into()), 1, finished));
        assert_eq!(granted_n(&outbox, link), 1, "problem {problem}");
    }
}
