//! Courses with a script in place of the cages; with several of them, in every order of begins and ends.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod audits;

use proptest::prelude::*;
use roundhouse_proto::Digest;
use roundhouse_sandbox::Crossed;

use super::*;
use crate::evaluate::audit::{Print, Printer};

/// What a run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// Accepted, with the right output.
    Right,
    /// Accepted, with another output.
    RightOtherwise,
    Wrong,
    Crash,
    /// Ended by a signal as a host ends what takes too much memory.
    Killed,
    /// The same, alone.
    KilledAlone,
    /// A time-out, and no doubt the program's own.
    Late,
    /// A time-out that the machine may be to blame for.
    Hurried,
    /// A time-out where other cases of the program run beside it, else [`Self::Right`].
    Crowded,
    /// As a program that does not compile ends.
    Uncompiled,
    NotServed,
    Failed,
}

impl Comes {
    fn outcome(self, case: u32, is_crowded: bool) -> Outcome {
        let ran = |verdict, output: Option<&str>| Ran {
            result: CaseResult {
                exit_code: Some(0),
                ..judged(case, verdict)
            },
            crossed: None,
            print: output.map(print),
            doubt: Doubt::None,
            looks_uncompiled: false,
        };
        let killed = |ran| of_end(ran, None, Some(9));
        let late = |doubt| Ran {
            crossed: Some(Crossed::Cpu),
            doubt,
            ..ran(Verdict::TimeLimit, None)
        };
        let ran = match self {
            Self::Right => ran(Verdict::Accepted, Some("right")),
            Self::RightOtherwise => ran(Verdict::Accepted, Some("right ")),
            Self::Wrong => ran(Verdict::WrongAnswer, Some("wrong")),
            Self::Crash => of_end(ran(Verdict::RuntimeError, Some("")), Some(1), None),
            Self::Killed => Ran {
                doubt: Doubt::Machine,
                ..killed(ran(Verdict::RuntimeError, Some("")))
            },
            Self::KilledAlone => killed(ran(Verdict::RuntimeError, Some(""))),
            Self::Late => late(Doubt::None),
            Self::Hurried => late(Doubt::Machine),
            Self::Crowded if is_crowded => late(Doubt::Machine),
            Self::Crowded => ran(Verdict::Accepted, Some("right")),
            Self::Uncompiled => Ran {
                looks_uncompiled: true,
                ..of_end(ran(Verdict::RuntimeError, Some("")), Some(1), None)
            },
            Self::NotServed => return Outcome::NotServed("it says no".to_owned()),
            Self::Failed => return Outcome::Failed(CageFailure("the init is gone".to_owned())),
        };
        Outcome::Ran(Box::new(ran))
    }
}

fn judged(case: u32, verdict: Verdict) -> CaseResult {
    CaseResult {
        not_run: false,
        ..not_run(case, verdict)
    }
}

fn of_end(ran: Ran, exit_code: Option<i32>, signal: Option<i32>) -> Ran {
    Ran {
        result: CaseResult {
            exit_code,
            signal,
            ..ran.result
        },
        ..ran
    }
}

fn print(output: &str) -> Print {
    let mut printer = Printer::default();
    printer.feed(output.as_bytes());
    printer.finish()
}

/// What every run of one case comes to.
#[derive(Clone, Copy, Debug)]
struct Scripted {
    fast: Comes,
    natural: Comes,
    fresh: Comes,
    /// By a forked start once more.
    again: Comes,
    /// By a second fresh interpreter.
    fresh_again: Comes,
    alone: Comes,
}

impl Scripted {
    /// However it is started and how often.
    fn always(comes: Comes) -> Self {
        Self {
            fast: comes,
            natural: comes,
            fresh: comes,
            again: comes,
            fresh_again: comes,
            alone: comes,
        }
    }

    /// One thing by a fork, another by a fresh interpreter.
    fn split(forked: Comes, fresh: Comes) -> Self {
        Self {
            fresh,
            fresh_again: fresh,
            ..Self::always(forked)
        }
    }

    fn comes(&self, step: Step) -> Comes {
        match (step.purpose, step.start) {
            (Purpose::Judge, StartMode::Fast) => self.fast,
            (Purpose::Judge, StartMode::Natural) => self.natural,
            (Purpose::Judge, StartMode::Fresh) | (Purpose::Compare, _) => self.fresh,
            (Purpose::Compile, _) => match self.alone {
                Comes::Right => Comes::Right,
                _ => Comes::Uncompiled,
            },
            (Purpose::AskAgain, _) => self.again,
            (Purpose::CompareAgain, _) => self.fresh_again,
            (Purpose::Repeat, _) => self.alone,
        }
    }
}

fn rules() -> Rules {
    Rules {
        timeouts_max: 3,
        stop_on_first_failure: false,
        sample: Sample {
            program: Digest::of(b"p"),
            tests: Digest::of(b"t"),
            per_mille: 0,
        },
    }
}

fn auditing() -> Rules {
    let sample = Sample {
        per_mille: 1000,
        ..rules().sample
    };
    Rules { sample, ..rules() }
}

/// Follows a course with one cage; its verdicts and the runs, in order.
fn follow(rules: Rules, start: StartMode, scripts: &[Scripted]) -> (Verdicts, Vec<Step>) {
    let mut course = Course::new(rules, u32::try_from(scripts.len()).unwrap(), start);
    let mut steps = Vec::new();
    while let Some(step) = course.peek() {
        assert!(steps.len() < 10 * scripts.len(), "no end: {steps:?}");
        steps.push(step);
        course.begin(step);
        course.end(
            step,
            scripts[place(step.case)].comes(step).outcome(step.case, false),
        );
    }
    assert!(course.is_over());
    (course.into_verdicts(), steps)
}

/// Verdicts in order; those of cases that were not run in brackets.
fn words(verdicts: &Verdicts) -> String {
    let word = |case: &CaseResult| match case.not_run {
        true => format!("[{}]", case.verdict),
        false => case.verdict.to_string(),
    };
    verdicts.cases.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Runs by case and start, those for another purpose than judging with their purpose.
fn run_words(steps: &[Step]) -> String {
    let word = |step: &Step| match (step.purpose, step.entry) {
        (Purpose::Judge, Entry::Shared) => format!("{} {}", step.case, step.start),
        (purpose, Entry::Shared) => format!("{} {} {purpose:?}", step.case, step.start),
        (purpose, Entry::Alone) => format!("{} {} {purpose:?} alone", step.case, step.start),
    };
    steps.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn audit(audited: u32, mismatched: u32) -> Audit {
    Audit { audited, mismatched }
}

use Comes::{
    Crash, Crowded, Failed, Hurried, Killed, KilledAlone, Late, NotServed, Right, RightOtherwise, Uncompiled,
    Wrong,
};

/// Follows a course that starts fast with one cage and compares verdicts, audit, hold and runs.
#[track_caller]
fn check(rules: Rules, scripts: &[Scripted], expected: (&str, Audit, Hold, &str)) {
    let (verdicts, steps) = follow(rules, StartMode::Fast, scripts);
    let found = (words(&verdicts), run_words(&steps));
    assert_eq!((found.0.as_str(), found.1.as_str()), (expected.0, expected.3));
    assert_eq!((verdicts.audit, verdicts.hold), (expected.1, expected.2));
}

#[test]
fn start_that_does_not_serve_the_program_gives_way_to_the_next_slower_one_for_the_rest() {
    let unserved = Scripted {
        fast: NotServed,
        ..Scripted::always(Right)
    };
    check(
        rules(),
        &[unserved; 2],
        ("AC AC", audit(0, 0), Hold::Firm, "0 fast, 0 natural, 1 natural"),
    );
    let late_no = Scripted {
        fast: NotServed,
        natural: NotServed,
        ..Scripted::always(Right)
    };
    check(
        rules(),
        &[Scripted::always(Right), late_no, Scripted::always(Right)],
        (
            "AC AC AC",
            audit(0, 0),
            Hold::Firm,
            "0 fast, 1 fast, 1 natural, 1 fresh, 2 fresh",
        ),
    );
}

#[test]
fn fresh_start_that_claims_to_be_served_by_nobody_is_a_failure_of_ours() {
    let (verdicts, steps) = follow(rules(), StartMode::Fresh, &[Scripted::always(NotServed)]);
    assert_eq!((words(&verdicts).as_str(), steps.len()), ("IE", 1));
}

#[test]
fn program_that_no_server_can_compile_is_found_out_by_the_fresh_run() {
    let script = Scripted {
        fast: NotServed,
        natural: NotServed,
        ..Scripted::always(Uncompiled)
    };
    check(
        rules(),
        &[script; 2],
        (
            "CE [CE]",
            audit(0, 0),
            Hold::Firm,
            "0 fast, 0 natural, 0 fresh, 0 fresh Compile",
        ),
    );
}

#[test]
fn kill_for_no_limit_is_repeated_alone_until_the_program_is_seen_to_do_it_itself() {
    let by_host = Scripted {
        alone: Right,
        ..Scripted::always(Killed)
    };
    let by_itself = Scripted {
        alone: KilledAlone,
        ..Scripted::always(Killed)
    };
    let (verdicts, steps) = follow(
        rules(),
        StartMode::Fresh,
        &[by_host, by_host, by_itself, by_itself],
    );
    assert_eq!(
        (words(&verdicts).as_str(), verdicts.hold),
        ("AC AC RE RE", Hold::Doubtful)
    );
    let repeats = "0 fresh, 0 fresh Repeat alone, 1 fresh, 1 fresh Repeat alone, 2 fresh, 2 fresh Repeat alone, 3 fresh";
    assert_eq!(run_words(&steps), repeats);
}

#[test]
fn kill_is_no_repeat_of_a_time_out_and_a_time_out_none_of_a_kill() {
    let by_host = Scripted {
        alone: Right,
        ..Scripted::always(Killed)
    };
    let hurried = Scripted {
        alone: Right,
        ..Scripted::always(Hurried)
    };
    let (verdicts, _) = follow(rules(), StartMode::Fresh, &[by_host, hurried, by_host]);
    assert_eq!(
        (words(&verdicts).as_str(), verdicts.hold),
        ("AC AC AC", Hold::Firm)
    );
}

#[test]
fn kill_of_a_forked_process_by_the_host_is_no_mismatch() {
    let script = Scripted {
        again: Right,
        ..Scripted::split(Killed, Right)
    };
    let runs = "0 fast, 0 fresh Compare alone, 0 fast AskAgain alone";
    check(rules(), &[script], ("AC", audit(1, 0), Hold::Doubtful, runs));
}

#[test]
fn repeat_that_a_forked_start_does_not_serve_is_made_by_the_next_slower_one() {
    let failing = Scripted::always(Wrong);
    let hurried = Scripted {
        alone: NotServed,
        ..Scripted::always(Hurried)
    };
    let (verdicts, steps) = follow(rules(), StartMode::Fast, &[failing, hurried]);
    assert_eq!(words(&verdicts), "WA IE");
    let runs =
        "0 fast, 0 fresh Compare, 1 fast, 1 fast Repeat alone, 1 natural Repeat alone, 1 fresh Repeat alone";
    assert_eq!(run_words(&steps), runs);
}

#[test]
fn nothing_runs_beside_the_first_case_and_then_the_others_run_at_once() {
    let mut course = Course::new(rules(), 4, StartMode::Fast);
    let mut begun = Vec::new();
    let mut begin = |course: &mut Course| {
        let step = course.peek()?;
        course.begin(step);
        begun.push(step);
        Some(step)
    };
    let first = begin(&mut course).unwrap();
    assert_eq!(course.peek(), None);
    course.end(first, Right.outcome(0, false));
    let others: Vec<Step> = std::iter::from_fn(|| begin(&mut course)).collect();
    assert_eq!(run_words(&others), "1 fast, 2 fast, 3 fast");
    for step in others.into_iter().rev() {
        assert!(!course.is_over());
        course.end(step, Right.outcome(step.case, true));
    }
    assert_eq!(words(&course.into_verdicts()), "AC AC AC AC");
}

#[test]
fn time_out_beside_cases_of_the_same_program_is_no_result_and_ends_the_spread() {
    let mut course = Course::new(rules(), 4, StartMode::Fresh);
    let begin = |course: &mut Course| {
        let step = course.peek()?;
        course.begin(step);
        Some(step)
    };
    let first = begin(&mut course).unwrap();
    course.end(first, Right.outcome(0, false));
    let (one, two) = (begin(&mut course).unwrap(), begin(&mut course).unwrap());
    course.end(one, Crowded.outcome(1, true));
    // Not before the other one is out of the way.
    assert_eq!(course.peek(), None);
    course.end(two, Right.outcome(2, true));
    let again = begin(&mut course).unwrap();
    assert_eq!((again.case, course.peek()), (1, None));
    course.end(again, Crowded.outcome(1, false));
    let three = begin(&mut course).unwrap();
    assert_eq!((three.case, course.peek()), (3, None));
    course.end(three, Right.outcome(3, false));
    assert_eq!(words(&course.into_verdicts()), "AC AC AC AC");
}

#[test]
fn what_was_run_ahead_of_the_end_is_given_as_not_run() {
    let stopping = Rules {
        stop_on_first_failure: true,
        ..rules()
    };
    let mut course = Course::new(stopping, 3, StartMode::Fresh);
    let begin = |course: &mut Course| {
        let step = course.peek().unwrap();
        course.begin(step);
        step
    };
    let first = begin(&mut course);
    course.end(first, Right.outcome(0, false));
    let (one, two) = (begin(&mut course), begin(&mut course));
    course.end(two, Right.outcome(2, true));
    course.end(one, Wrong.outcome(1, true));
    assert!(course.is_over());
    assert_eq!(words(&course.into_verdicts()), "AC WA [WA]");
}

/// Follows a course with several cages; `choices` say whether a cage begins a run or which run ends.
fn follow_spread(
    rules: Rules,
    start: StartMode,
    scripts: &[Scripted],
    cages: usize,
    choices: &[u8],
) -> Result<Verdicts, TestCaseError> {
    let mut course = Course::new(rules, u32::try_from(scripts.len()).unwrap(), start);
    let mut running: Vec<(Step, bool)> = Vec::new();
    let mut choices = choices.iter().cycle().map(|choice| usize::from(*choice));
    // Every case is begun at most once for each of three starts, once more after a time-out, and five times for
    // another purpose; each run takes two turns and some turns are lost.
    for _ in 0..100 * (scripts.len() + 1) {
        if course.is_over() {
            return Ok(course.into_verdicts());
        }
        let choice = choices.next().unwrap();
        let next = course.peek().filter(|_| running.len() < cages);
        prop_assert!(next.is_some() || !running.is_empty(), "it is stuck: {course:?}");
        match next {
            Some(step) if running.is_empty() || choice % 2 == 0 => {
                course.begin(step);
                running.iter_mut().for_each(|(_, has_met)| *has_met = true);
                let has_met = !running.is_empty();
                running.push((step, has_met));
            }
            _ => {
                let (step, has_met) = running.swap_remove(choice / 2 % running.len());
                course.end(
                    step,
                    scripts[place(step.case)].comes(step).outcome(step.case, has_met),
                );
            }
        }
        let judged = running.iter().filter(|(step, _)| step.purpose == Purpose::Judge);
        prop_assert!(
            judged.count() == running.len() || running.len() == 1,
            "{running:?}"
        );
    }
    Err(TestCaseError::fail(format!("no end: {course:?}")))
}

fn any_comes() -> impl Strategy<Value = Comes> {
    prop_oneof![
        8 => Just(Right),
        1 => Just(RightOtherwise),
        2 => Just(Wrong),
        2 => Just(Crash),
        1 => Just(Killed),
        1 => Just(KilledAlone),
        2 => Just(Late),
        2 => Just(Hurried),
        3 => Just(Crowded),
        1 => Just(Uncompiled),
        1 => Just(NotServed),
        1 => Just(Failed),
    ]
}

fn any_script() -> impl Strategy<Value = Scripted> {
    let mixed = (
        any_comes(),
        any_comes(),
        any_comes(),
        any_comes(),
        any_comes(),
        any_comes(),
    )
        .prop_map(|(fast, natural, fresh, again, fresh_again, alone)| Scripted {
            fast,
            natural,
            fresh,
            again,
            fresh_again,
            alone,
        });
    let split = (any_comes(), any_comes()).prop_map(|(forked, fresh)| Scripted::split(forked, fresh));
    prop_oneof![
        6 => any_comes().prop_map(Scripted::always),
        2 => split,
        2 => mixed,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn report_is_the_same_whatever_the_number_of_cages_and_the_order_of_ends(
        scripts in prop::collection::vec(any_script(), 0..14),
        mut rules in Just(rules()),
        timeouts_max in 0..4_u32,
        stop_on_first_failure in any::<bool>(),
        per_mille in prop::sample::select(vec![0, 300, 1000]),
        start in prop::sample::select(vec![StartMode::Fast, StartMode::Natural, StartMode::Fresh]),
        cages in 2..9_usize,
        choices in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        rules.timeouts_max = timeouts_max;
        rules.stop_on_first_failure = stop_on_first_failure;
        rules.sample.per_mille = per_mille;
        let (expected, _) = follow(rules, start, &scripts);
        let found = follow_spread(rules, start, &scripts, cages, &choices)?;
        prop_assert_eq!(found.cases.len(), scripts.len());
        prop_assert_eq!(found, expected);
    }
}
