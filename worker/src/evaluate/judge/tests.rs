//! Judging with a fake in place of the cage.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use roundhouse_proto::{Audit, Comparator, Digest, Execution, Verdict};

use super::*;
use crate::evaluate::audit::Sample;
use crate::evaluate::course::{Course, Hold, Rules, Verdicts, not_run};
use crate::evaluate::fake::{
    Answer, Asked, FakeCages, broken, echo_cases, ended, failed, killed, not_served, work, wrote,
};

const PROGRAM: &[u8] = b"p";

fn surroundings() -> Surroundings {
    Surroundings {
        interpreter: Arc::new(Interpreter::pretended()),
        start_of: |_, asked| asked,
        inputs: SealedInputs::default(),
        gate: Gate::default(),
    }
}

fn text(bytes: &[u8]) -> Text<'_> {
    Text {
        digest: Digest::of(bytes),
        bytes,
    }
}

fn course(judge: &Judge<'_>) -> Course {
    let work = judge.work;
    let rules = Rules {
        timeouts_max: work.timeouts_max,
        stop_on_first_failure: work.stop_on_first_failure,
        sample: Sample {
            program: judge.program.digest,
            tests: work.tests,
            per_mille: work.execution.audit_per_mille,
        },
    };
    let cases = u32::try_from(judge.tests.cases.len()).unwrap();
    Course::new(rules, cases, judge.around.start_of(work, judge.program.bytes))
}

/// Makes every run in one seat, one after the other; `between` comes before every run but the first.
fn follow(
    judge: &Judge<'_>,
    seat: &mut Seat,
    between: &mut dyn FnMut(&mut Seat),
) -> Result<Verdicts, Stopped> {
    let mut course = course(judge);
    let mut is_first = true;
    while let Some(step) = course.peek() {
        if !std::mem::replace(&mut is_first, false) {
            between(seat);
        }
        course.begin(step);
        course.end(step, judge.run(seat, step)?);
    }
    assert!(course.is_over());
    Ok(course.into_verdicts())
}

/// Judges the program `p` against cases that expect their own input.
fn judge(
    work: &EvaluateWork,
    inputs: &[&str],
    script: impl Fn(&Asked<'_>) -> Answer + Send + Sync + 'static,
) -> (Verdicts, Vec<String>) {
    let cages = FakeCages::new(script);
    let mut seat = Seat::start(Arc::new(cages.clone()), None).unwrap();
    let judge = Judge {
        work,
        program: text(PROGRAM),
        tests: &echo_cases(inputs),
        checker: None,
        around: &surroundings(),
        is_stopped: &|| false,
    };
    let verdicts = follow(&judge, &mut seat, &mut |_| {}).unwrap();
    (verdicts, cages.log())
}

/// Verdicts in order; those of cases that were not run in brackets.
fn verdicts(report: &Verdicts) -> String {
    let word = |case: &CaseResult| match case.not_run {
        true => format!("[{}]", case.verdict),
        false => case.verdict.to_string(),
    };
    report.cases.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_case_is_run_once_in_one_cage_with_its_own_input() {
    let (report, log) = judge(&work(), &["1", "2"], |asked| {
        wrote(if asked.input == "1" { "1" } else { "x" })
    });
    let case = |case, verdict, stdout: &str| CaseResult {
        verdict,
        not_run: false,
        cpu_ms: 1,
        wall_ms: 2,
        memory_bytes: 3,
        exit_code: Some(0),
        stdout: Clip {
            head: stdout.to_owned(),
            ..Clip::default()
        },
        ..not_run(case, verdict)
    };
    let expected = Verdicts {
        audit: Audit::default(),
        hold: Hold::Firm,
        cases: vec![
            case(0, Verdict::Accepted, "1"),
            case(1, Verdict::WrongAnswer, "x"),
        ],
    };
    assert_eq!(report, expected);
    assert_eq!(log, ["start", "load p", "run 1", "run 2"]);
}

#[test]
fn a_test_set_without_cases_gives_an_empty_report() {
    let (report, log) = judge(&work(), &[], |_| wrote(""));
    assert_eq!((verdicts(&report).as_str(), log), ("", vec!["start".to_owned()]));
}

#[test]
fn a_program_that_does_not_compile_is_said_so_once_and_its_cases_are_not_run() {
    let message = "  File \"/w/main.py\", line 1\n    (\n    ^\nSyntaxError: '(' was never closed\n";
    let (report, log) = judge(&work(), &["1", "2", "3"], move |_| failed(message));
    assert_eq!(verdicts(&report), "CE [CE] [CE]");
    assert_eq!(report.cases[0].stderr_tail, message);
    assert_eq!(log, ["start", "load p", "run 1", "compile"]);
}

#[test]
fn a_syntax_error_that_the_program_raises_is_a_runtime_error_without_a_compile_check() {
    let message =
        "Traceback (most recent call last):\n  File \"<string>\", line 1\nSyntaxError: invalid syntax\n";
    let (report, log) = judge(&work(), &["1"], move |_| failed(message));
    assert_eq!(verdicts(&report), "RE");
    assert_eq!(log, ["start", "load p", "run 1"]);
}

#[test]
fn a_program_that_compiles_and_gives_up_with_a_message_is_checked_once() {
    let (report, log) = judge(&work(), &["1", "2"], |asked| match asked.compile {
        true => wrote(""),
        false => failed("cannot do that\n"),
    });
    assert_eq!(verdicts(&report), "RE RE");
    assert_eq!(log, ["start", "load p", "run 1", "compile", "run 2"]);
}

#[test]
fn after_the_allowed_time_outs_the_rest_count_as_timed_out_and_are_not_run() {
    let late = |asked: &Asked<'_>| match asked.input {
        "ok" => wrote("ok"),
        _ => killed(Crossed::Cpu, 1001, 1100),
    };
    let inputs = ["a", "ok", "b", "c", "ok", "d"];
    assert_eq!(
        verdicts(&judge(&work(), &inputs, late).0),
        "TLE AC TLE TLE [TLE] [TLE]"
    );
    let all = EvaluateWork {
        timeouts_max: 0,
        ..work()
    };
    assert_eq!(verdicts(&judge(&all, &inputs, late).0), "TLE AC TLE TLE AC TLE");
}

#[test]
fn after_the_first_failure_the_rest_have_its_verdict_and_are_not_run() {
    let stopping = EvaluateWork {
        stop_on_first_failure: true,
        ..work()
    };
    let (report, _) = judge(&stopping, &["a", "b", "c"], |asked| match asked.input {
        "a" => wrote("a"),
        _ => failed("Traceback (most recent call last):\nZeroDivisionError\n"),
    });
    assert_eq!(verdicts(&report), "AC RE [RE]");
}

#[test]
fn a_wrong_output_is_stopped_at_once_only_if_the_first_failure_ends_all() {
    let script = |_: &Asked<'_>| wrote("x 1 2 3 4 5 6");
    let stopping = EvaluateWork {
        stop_on_first_failure: true,
        ..work()
    };
    let (report, _) = judge(&stopping, &["a"], script);
    assert_eq!(
        (verdicts(&report).as_str(), report.cases[0].stdout.head.as_str()),
        ("WA", "x 1")
    );
    let (report, _) = judge(&work(), &["a"], script);
    assert_eq!(
        (verdicts(&report).as_str(), report.cases[0].stdout.head.as_str()),
        ("WA", "x 1 2 3 4 5 6")
    );
}

#[test]
fn a_time_out_by_the_wall_with_cpu_left_is_repeated_once_and_the_repeat_decides() {
    // It had little time of the CPU, or next to none: a host that has too much to do gives no more.
    for cpu_ms in [900, 20, 0] {
        let runs = AtomicU32::new(0);
        let (report, log) = judge(&work(), &["a", "b"], move |asked| match asked.input {
            "a" if runs.fetch_add(1, Ordering::Relaxed) > 0 => wrote("a"),
            _ => killed(Crossed::Wall, cpu_ms, 6000),
        });
        assert_eq!(verdicts(&report), "AC TLE");
        assert_eq!(log, ["start", "load p", "run a", "run a", "run b"]);
    }
}

#[test]
fn a_kill_that_no_limit_explains_is_repeated_and_the_repeat_decides() {
    let runs = AtomicU32::new(0);
    let (report, log) = judge(&work(), &["a", "b"], move |asked| match asked.input {
        "a" if runs.fetch_add(1, Ordering::Relaxed) > 0 => wrote("a"),
        _ => Ok((String::new(), ended(Ended::Signal(9)))),
    });
    assert_eq!(verdicts(&report), "AC RE");
    assert_eq!(log, ["start", "load p", "run a", "run a", "run b", "run b"]);
}

#[test]
fn a_time_out_that_is_no_doubt_the_programs_own_is_not_repeated() {
    for (crossed, cpu_ms, wall_ms) in [(Crossed::Cpu, 1001, 1001), (Crossed::Wall, 1000, 6000)] {
        let (report, log) = judge(&work(), &["a"], move |_| killed(crossed, cpu_ms, wall_ms));
        assert_eq!(verdicts(&report), "TLE");
        assert_eq!(log, ["start", "load p", "run a"]);
    }
}

#[test]
fn a_time_out_beside_another_program_is_repeated_alone() {
    let around = Arc::new(surroundings());
    let runs = AtomicU32::new(0);
    let company = Arc::clone(&around);
    let cages = FakeCages::new(move |_| {
        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
            // Another cage's run comes and goes meanwhile.
            drop(company.gate.enter(Entry::Shared));
            return killed(Crossed::Cpu, 1001, 1500);
        }
        wrote("a")
    });
    let mut seat = Seat::start(Arc::new(cages), None).unwrap();
    let judge = Judge {
        work: &work(),
        program: text(PROGRAM),
        tests: &echo_cases(&["a"]),
        checker: None,
        around: &around,
        is_stopped: &|| false,
    };
    assert_eq!(verdicts(&follow(&judge, &mut seat, &mut |_| {}).unwrap()), "AC");
}

#[test]
fn a_cage_that_fails_is_replaced_and_the_case_tried_again() {
    let runs = AtomicU32::new(0);
    let (report, log) = judge(&work(), &["a"], move |_| {
        match runs.fetch_add(1, Ordering::Relaxed) {
            0 => broken(),
            _ => wrote("a"),
        }
    });
    assert_eq!(verdicts(&report), "AC");
    assert_eq!(log, ["start", "load p", "run a", "start", "load p", "run a"]);
}

#[test]
fn a_case_that_no_cage_can_run_is_an_internal_error_and_never_the_programs_first_failure() {
    let stopping = EvaluateWork {
        stop_on_first_failure: true,
        ..work()
    };
    let (report, _) = judge(&stopping, &["a", "bad", "c"], |asked| match asked.input {
        "bad" => broken(),
        input => wrote(input),
    });
    assert_eq!(verdicts(&report), "AC IE AC");
    assert_eq!(report.cases[1].stderr_tail, "not judged: the init is gone");
}

#[test]
fn a_program_that_the_machinery_fails_three_times_in_a_row_is_given_up() {
    let (report, log) = judge(&work(), &["a", "b", "c", "d"], |_| broken());
    assert_eq!(verdicts(&report), "IE IE IE [IE]");
    assert_eq!(log.iter().filter(|line| line.starts_with("run")).count(), 6);
}

#[test]
fn a_stopped_evaluation_begins_no_other_case() {
    let stop = Cell::new(false);
    let cages = FakeCages::new(|asked| wrote(asked.input));
    let mut seat = Seat::start(Arc::new(cages.clone()), None).unwrap();
    let judge = Judge {
        work: &work(),
        program: text(PROGRAM),
        tests: &echo_cases(&["a", "b"]),
        checker: None,
        around: &surroundings(),
        is_stopped: &|| stop.get(),
    };
    assert_eq!(follow(&judge, &mut seat, &mut |_| stop.set(true)), Err(Stopped));
    assert_eq!(cages.log(), ["start", "load p", "run a"]);
}

#[test]
fn another_program_between_two_cases_makes_the_first_one_be_loaded_again() {
    let cages = FakeCages::new(|asked| wrote(asked.input));
    let mut seat = Seat::start(Arc::new(cages.clone()), None).unwrap();
    let (around, work) = (surroundings(), work());
    let other_work = EvaluateWork {
        tests: Digest::of(b"others"),
        ..work.clone()
    };
    let (tests, other_tests) = (echo_cases(&["a", "b"]), echo_cases(&["x"]));
    let first = Judge {
        work: &work,
        program: text(PROGRAM),
        tests: &tests,
        checker: None,
        around: &around,
        is_stopped: &|| false,
    };
    let other = Judge {
        work: &other_work,
        program: text(b"q"),
        tests: &other_tests,
        ..first
    };
    let report = follow(&first, &mut seat, &mut |seat| {
        assert_eq!(verdicts(&follow(&other, seat, &mut |_| {}).unwrap()), "AC");
    });
    assert_eq!(verdicts(&report.unwrap()), "AC AC");
    assert_eq!(
        cages.log(),
        ["start", "load p", "run a", "load q", "run x", "load p", "run b"]
    );
}

/// Work whose programs are started fast, without an audit.
fn fast() -> EvaluateWork {
    EvaluateWork {
        execution: Execution {
            start: StartMode::Fast,
            ..work().execution
        },
        ..work()
    }
}

#[test]
fn program_is_forked_as_its_work_says_and_started_slower_where_nobody_serves_it() {
    let (report, log) = judge(&fast(), &["1", "2"], |asked| wrote(asked.input));
    assert_eq!(verdicts(&report), "AC AC");
    assert_eq!(log, ["start", "load p", "fast 1", "fast 2"]);
    let (report, log) = judge(&fast(), &["1", "2"], |asked| match asked.start {
        StartMode::Fast | StartMode::Natural => not_served(),
        StartMode::Fresh => wrote(asked.input),
    });
    assert_eq!(verdicts(&report), "AC AC");
    assert_eq!(log, ["start", "load p", "fast 1", "natural 1", "run 1", "run 2"]);
}

#[test]
fn start_is_decided_by_the_programs_text_and_functions_are_always_fresh() {
    let around = Surroundings {
        start_of: |program, asked| match program {
            b"p" => asked.max(StartMode::Natural),
            _ => asked,
        },
        ..surroundings()
    };
    let function = EvaluateWork {
        entry_point: Some("f".to_owned()),
        ..fast()
    };
    assert_eq!(around.start_of(&fast(), b"p"), StartMode::Natural);
    assert_eq!(around.start_of(&fast(), b"q"), StartMode::Fast);
    assert_eq!(around.start_of(&work(), b"p"), StartMode::Fresh);
    assert_eq!(around.start_of(&function, b"q"), StartMode::Fresh);
}

#[test]
fn output_that_a_fork_loses_is_found_by_the_audit_and_one_that_changes_by_itself_is_not_blamed() {
    let audited = EvaluateWork {
        execution: Execution {
            audit_per_mille: 1000,
            ..fast().execution
        },
        ..fast()
    };
    let (report, log) = judge(&audited, &["1", "2"], |asked| match asked.start {
        // Accepted all the same: white space does not count.
        StartMode::Fast => wrote(asked.input),
        StartMode::Natural | StartMode::Fresh => wrote(&format!("{}\n", asked.input)),
    });
    assert_eq!(verdicts(&report), "AC AC");
    let found = Audit {
        audited: 1,
        mismatched: 1,
    };
    assert_eq!((report.audit, report.hold), (found, Hold::Doubtful));
    assert_eq!(
        log,
        ["start", "load p", "fast 1", "run 1", "fast 1", "run 1", "run 2"]
    );
    let runs = AtomicU32::new(0);
    let (report, log) = judge(&audited, &["1"], move |asked| {
        let times = usize::try_from(runs.fetch_add(1, Ordering::Relaxed)).unwrap();
        wrote(&format!("{}{}", asked.input, " ".repeat(times)))
    });
    let found = Audit {
        audited: 1,
        mismatched: 0,
    };
    assert_eq!((verdicts(&report).as_str(), report.audit), ("AC", found));
    assert_eq!(log, ["start", "load p", "fast 1", "run 1", "fast 1"]);
}

#[test]
fn output_that_was_cut_short_is_not_compared() {
    let runs = AtomicU32::new(0);
    let (report, log) = judge(&fast(), &["1"], move |_| {
        let length = usize::try_from(runs.fetch_add(3, Ordering::Relaxed)).unwrap();
        let (_, end) = killed(Crossed::Output, 10, 10)?;
        Ok(("x".repeat(length), end))
    });
    let found = Audit {
        audited: 1,
        mismatched: 0,
    };
    assert_eq!((verdicts(&report).as_str(), report.audit), ("OLE", found));
    assert_eq!(log, ["start", "load p", "fast 1", "run 1"]);
}

#[test]
fn equal_text_is_loaded_once_for_two_judgings_in_one_cage() {
    let cages = FakeCages::new(|asked| wrote(asked.input));
    let mut seat = Seat::start(Arc::new(cages.clone()), None).unwrap();
    for _ in 0..2 {
        let judge = Judge {
            work: &work(),
            program: text(PROGRAM),
            tests: &echo_cases(&["1"]),
            checker: None,
            around: &surroundings(),
            is_stopped: &|| false,
        };
        assert_eq!(verdicts(&follow(&judge, &mut seat, &mut |_| {}).unwrap()), "AC");
    }
    assert_eq!(cages.log(), ["start", "load p", "run 1", "run 1"]);
}

/// What the driver writes where the case came to this.
fn tells(case: &str, outcome: &str) -> Answer {
    let word = function::word(b"p", case.as_bytes());
    wrote(&format!("{word} {outcome}"))
}

#[test]
fn case_of_a_function_passes_by_the_drivers_word_only() {
    let function = EvaluateWork {
        entry_point: Some("f".to_owned()),
        ..work()
    };
    let inputs = ["passes", "fails", "exits", "prints", "raises", "dies"];
    let (report, _) = judge(&function, &inputs, |asked| {
        // Behind the word of this run.
        let case = asked.input.split_once('\n').map_or("", |(_, case)| case);
        match case {
            "passes" => tells("passes", "passed\n"),
            "fails" => tells("fails", "wrong\n[1, 2]"),
            "prints" => wrote("passed\n"),
            "raises" => failed("Traceback (most recent call last):\nValueError\n"),
            "dies" => killed(Crossed::Cpu, 1001, 1001),
            _ => wrote(""),
        }
    });
    assert_eq!(verdicts(&report), "AC WA RE RE RE TLE");
    let shown: Vec<&str> = report
        .cases
        .iter()
        .map(|case| case.stdout.head.as_str())
        .collect();
    assert_eq!(shown, ["", "[1, 2]", "", "", "", ""]);
}

/// Judges the program `p`, whose outputs the checker `c` decides about.
fn judge_checked(
    ignore_exit_status: bool,
    inputs: &[&str],
    script: impl Fn(&Asked<'_>) -> Answer + Send + Sync + 'static,
) -> (Verdicts, Vec<String>) {
    let work = EvaluateWork {
        comparator: Comparator::Checker {
            program: Digest::of(b"c"),
        },
        ignore_exit_status,
        ..work()
    };
    let cages = FakeCages::new(script);
    let mut seat = Seat::start(Arc::new(cages.clone()), None).unwrap();
    let judge = Judge {
        work: &work,
        program: text(PROGRAM),
        tests: &echo_cases(inputs),
        checker: Some(b"c"),
        around: &surroundings(),
        is_stopped: &|| false,
    };
    let verdicts = follow(&judge, &mut seat, &mut |_| {}).unwrap();
    (verdicts, cages.log())
}

/// A program that writes `out`, and a checker that ends with this status.
fn ends(asked: &Asked<'_>, status: i32, stderr: &str) -> Answer {
    if asked.program == "p" {
        return wrote(&format!("out of {}", asked.input));
    }
    let end = RunEnd {
        stderr_tail: stderr.as_bytes().to_vec(),
        ..ended(Ended::Exit(status))
    };
    Ok(("noise".to_owned(), end))
}

#[test]
fn checker_gets_input_output_and_expected_output_after_the_program_is_gone_and_before_the_next_is_loaded() {
    let (report, log) = judge_checked(false, &["a", "b"], |asked| {
        let beside = |input: &str| {
            [
                ("input.txt", input),
                ("output.txt", &format!("out of {input}")),
                ("expected.txt", input),
            ]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
        };
        match asked.program {
            "c" if asked.input.is_empty() && asked.beside == beside("a") => ends(asked, 0, ""),
            "c" if asked.input.is_empty() && asked.beside == beside("b") => ends(asked, 1, ""),
            "p" if asked.beside.is_empty() => ends(asked, 0, ""),
            _ => broken(),
        }
    });
    assert_eq!(verdicts(&report), "AC WA");
    let shown: Vec<_> = report
        .cases
        .iter()
        .map(|case| case.stdout.head.as_str())
        .collect();
    assert_eq!(shown, ["out of a", "out of b"]);
    let checked = [
        "load c",
        "add input.txt",
        "add output.txt",
        "add expected.txt",
        "check",
    ];
    let expected = [
        &["start", "load p", "run a"][..],
        &checked,
        &["load p", "run b"],
        &checked,
    ];
    assert_eq!(log, expected.concat());
}

#[test]
fn checker_is_not_asked_about_a_program_that_has_another_verdict() {
    let script = |asked: &Asked<'_>| match (asked.program, asked.input) {
        ("p", "late") => killed(Crossed::Cpu, 1001, 1001),
        ("p", "big") => killed(Crossed::Output, 1, 1),
        ("p", "fails") => failed("Traceback (most recent call last):\nValueError\n"),
        _ => ends(asked, 0, ""),
    };
    let inputs = ["late", "big", "fails", "ok"];
    let (report, log) = judge_checked(false, &inputs, script);
    assert_eq!(verdicts(&report), "TLE OLE RE AC");
    assert_eq!(log.iter().filter(|line| *line == "check").count(), 1);
    let (report, log) = judge_checked(true, &inputs, script);
    assert_eq!(verdicts(&report), "TLE OLE AC AC");
    assert_eq!(log.iter().filter(|line| *line == "check").count(), 2);
}

#[test]
fn checker_that_fails_is_an_internal_error_with_its_reason_and_is_asked_once() {
    let (report, log) = judge_checked(false, &["a", "b", "c", "d"], |asked| {
        ends(asked, 3, "cannot read\n")
    });
    assert_eq!(verdicts(&report), "IE IE IE [IE]");
    assert_eq!(
        report.cases[0].stderr_tail,
        "not judged: the checker ended with status 3, expected 0 for right or 1 for wrong: cannot read"
    );
    assert_eq!(log.iter().filter(|line| line.starts_with("start")).count(), 1);
    assert_eq!(log.iter().filter(|line| *line == "check").count(), 3);
}

#[test]
fn cage_that_fails_under_the_checker_is_replaced_and_the_case_tried_again() {
    let checks = AtomicU32::new(0);
    let (report, log) = judge_checked(false, &["a"], move |asked| match asked.program {
        "c" if checks.fetch_add(1, Ordering::Relaxed) == 0 => broken(),
        _ => ends(asked, 0, ""),
    });
    assert_eq!(verdicts(&report), "AC");
    let once = [
        "start",
        "load p",
        "run a",
        "load c",
        "add input.txt",
        "add output.txt",
        "add expected.txt",
        "check",
    ];
    assert_eq!(log, [once, once].concat());
}

#[test]
fn time_out_repeated_alone_is_checked_beside_others() {
    let runs = AtomicU32::new(0);
    let (report, log) = judge_checked(false, &["a"], move |asked| {
        match asked.program == "p" && runs.fetch_add(1, Ordering::Relaxed) == 0 {
            true => killed(Crossed::Wall, 900, 6000),
            false => ends(asked, 1, ""),
        }
    });
    assert_eq!(verdicts(&report), "WA");
    assert_eq!(log[..4], ["start", "load p", "run a", "run a"]);
}

#[test]
fn checker_without_its_text_judges_nothing() {
    let checked = EvaluateWork {
        comparator: Comparator::Checker {
            program: Digest::of(b"c"),
        },
        ..work()
    };
    let (report, _) = judge(&checked, &["a"], |asked| wrote(asked.input));
    assert_eq!(verdicts(&report), "IE");
    assert_eq!(
        report.cases[0].stderr_tail,
        "not judged: the checker's text is not there"
    );
}

#[test]
fn stderr_keeps_its_last_whole_lines() {
    assert_eq!(last_lines(b"a\nb\n"), "a\nb\n");
    let line = "x".repeat(STDERR_CHARS_MAX - 1) + "\n";
    assert_eq!(last_lines(format!("first\n{line}").as_bytes()), line);
    assert_eq!(last_lines(format!("first line is cut\nx{line}").as_bytes()), line);
    let long = "ä".repeat(STDERR_CHARS_MAX + 5);
    assert_eq!(last_lines(long.as_bytes()), "ä".repeat(STDERR_CHARS_MAX));
}
