//! The board, with names in place of what the pool keeps, and no cage.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use roundhouse_proto::{Digest, StartMode, Verdict};

use super::*;
use crate::evaluate::audit::Sample;
use crate::evaluate::course::{Rules, not_run};
use crate::evaluate::step::{Doubt, Ran};

fn course(cases: u32) -> Course {
    let sample = Sample {
        program: Digest::of(b"p"),
        tests: Digest::of(b"t"),
        per_mille: 0,
    };
    let rules = Rules {
        timeouts_max: 3,
        stop_on_first_failure: false,
        sample,
    };
    Course::new(rules, cases, StartMode::Fresh)
}

fn accepted(turn: Turn) -> Outcome {
    let mut result = not_run(turn.step.case, Verdict::Accepted);
    result.not_run = false;
    Outcome::Ran(Box::new(Ran {
        result,
        crossed: None,
        print: None,
        doubt: Doubt::None,
        looks_uncompiled: false,
    }))
}

/// A board with a number of cages, each at the program it worked on last.
struct Bench {
    board: Board<&'static str>,
    cages: Vec<Option<Turn>>,
}

impl Bench {
    fn new(cages: usize) -> Self {
        Self {
            board: Board::new(cages),
            cages: vec![None; cages],
        }
    }

    fn put_up(&mut self, name: &'static str, priority: Priority, cases: u32) {
        self.board.put_up(priority, course(cases), name);
    }

    fn take(&mut self, cage: usize, own: Option<Place>) -> String {
        self.cages[cage] = self.board.take(own);
        match self.cages[cage] {
            None => "-".to_owned(),
            Some(Turn { place, step }) => format!("{} {}", self.board.kept_mut(place).unwrap(), step.case),
        }
    }

    /// Begins with a cage that was idle; program and case.
    fn begin(&mut self, cage: usize) -> String {
        assert_eq!(self.cages[cage], None);
        self.take(cage, None)
    }

    /// Ends what a cage runs and begins its next run.
    fn go_on(&mut self, cage: usize) -> String {
        let turn = self.cages[cage].unwrap();
        self.board.end(turn, accepted(turn));
        self.take(cage, Some(turn.place))
    }
}

#[test]
fn each_cage_has_a_program_of_its_own_while_programs_wait() {
    let mut bench = Bench::new(2);
    for name in ["a", "b", "c"] {
        bench.put_up(name, Priority::NORMAL, 3);
    }
    assert_eq!(
        (bench.begin(0), bench.begin(1)),
        ("a 0".to_owned(), "b 0".to_owned())
    );
    let runs: Vec<String> = [0, 0, 1, 0, 1].map(|cage| bench.go_on(cage)).into();
    assert_eq!(runs, ["a 1", "a 2", "b 1", "c 0", "b 2"]);
}

#[test]
fn idle_cages_take_cases_of_the_program_that_is_left_and_leave_it_for_a_new_one() {
    let mut bench = Bench::new(3);
    bench.put_up("a", Priority::NORMAL, 9);
    assert_eq!(
        (bench.begin(0), bench.begin(1)),
        ("a 0".to_owned(), "-".to_owned())
    );
    assert!(!bench.board.has_more());
    assert_eq!(bench.go_on(0), "a 1");
    assert!(bench.board.has_more());
    assert_eq!(
        (bench.begin(1), bench.begin(2)),
        ("a 2".to_owned(), "a 3".to_owned())
    );
    bench.put_up("b", Priority::NORMAL, 2);
    let runs: Vec<String> = [2, 0, 2, 2, 1].map(|cage| bench.go_on(cage)).into();
    assert_eq!(runs, ["b 0", "a 4", "b 1", "a 5", "a 6"]);
}

#[test]
fn urgent_program_goes_first_and_the_one_it_came_between_is_gone_on_with_before_new_ones() {
    let mut bench = Bench::new(1);
    bench.put_up("a", Priority::NORMAL, 3);
    assert_eq!(bench.begin(0), "a 0");
    bench.put_up("b", Priority::NORMAL, 1);
    bench.put_up("urgent", Priority::URGENT, 2);
    let runs: Vec<String> = (0..6).map(|_| bench.go_on(0)).collect();
    assert_eq!(runs, ["urgent 0", "urgent 1", "a 1", "a 2", "b 0", "-"]);
}

#[test]
fn cage_does_not_leave_its_program_to_help_with_an_urgent_one() {
    let mut bench = Bench::new(3);
    bench.put_up("a", Priority::NORMAL, 3);
    bench.put_up("urgent", Priority::URGENT, 9);
    assert_eq!(
        (bench.begin(0), bench.begin(1)),
        ("urgent 0".to_owned(), "a 0".to_owned())
    );
    assert_eq!(
        (bench.go_on(0), bench.go_on(1)),
        ("urgent 1".to_owned(), "a 1".to_owned())
    );
    // One that is idle helps the urgent one first.
    assert_eq!(bench.begin(2), "urgent 2");
}

#[test]
fn no_more_runs_are_under_way_than_the_share_and_a_program_that_lost_its_cage_is_gone_on_with() {
    let mut bench = Bench::new(2);
    bench.put_up("a", Priority::NORMAL, 2);
    bench.put_up("b", Priority::NORMAL, 2);
    bench.put_up("c", Priority::NORMAL, 1);
    assert_eq!(
        (bench.begin(0), bench.begin(1)),
        ("a 0".to_owned(), "b 0".to_owned())
    );
    bench.board.set_share(1);
    assert_eq!(bench.go_on(0), "-");
    assert!(!bench.board.has_more());
    let runs: Vec<String> = (0..4).map(|_| bench.go_on(1)).collect();
    assert_eq!(runs, ["b 1", "a 1", "c 0", "-"]);
    bench.put_up("d", Priority::NORMAL, 3);
    bench.board.set_share(2);
    assert_eq!(
        (bench.begin(1), bench.begin(0)),
        ("d 0".to_owned(), "-".to_owned())
    );
    assert_eq!(
        (bench.go_on(1), bench.begin(0)),
        ("d 1".to_owned(), "d 2".to_owned())
    );
}

#[test]
fn program_that_is_given_up_leaves_and_what_was_run_ahead_of_it_comes_to_nothing() {
    let mut bench = Bench::new(2);
    bench.put_up("a", Priority::NORMAL, 4);
    assert_eq!(
        (bench.begin(0), bench.go_on(0)),
        ("a 0".to_owned(), "a 1".to_owned())
    );
    assert_eq!(bench.begin(1), "a 2");
    let (one, two) = (bench.cages[0].unwrap(), bench.cages[1].unwrap());
    assert_eq!(bench.board.give_up(one), Some("a"));
    assert!(bench.board.end(two, accepted(two)).is_none());
    assert_eq!((bench.board.len(), bench.board.has_more()), (0, false));
    bench.put_up("b", Priority::NORMAL, 1);
    bench.cages = vec![None; 2];
    assert_eq!(bench.begin(0), "b 0");
    let last = bench.cages[0].unwrap();
    let (kept, verdicts) = bench.board.end(last, accepted(last)).unwrap();
    assert_eq!((kept, verdicts.cases.len()), ("b", 1));
}
