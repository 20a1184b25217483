//! How runs end: by themselves, by a signal, by a limit, by the reader.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use roundhouse_sandbox::{CageError, Crossed, Ended, Flow, Run, RunLimits, Start, seal};

use crate::life::pids_below;
use crate::stand::{LIMITS, stand};

/// How much later than its limit a run may end on a busy host.
const LATE: Duration = Duration::from_millis(500);

#[test]
fn standard_input_comes_out_again() {
    let Some(mut stand) = stand("standard_input_comes_out_again") else {
        return;
    };
    let text = "5\n1 2 3 4 5\n".repeat(20_000);
    let (end, said) = stand.run(&["echo"], text.as_bytes(), LIMITS);
    assert_eq!(
        (end.ended, end.crossed, said == text),
        (Ended::Exit(0), None, true)
    );
}

#[test]
fn the_exit_status_is_told() {
    let Some(mut stand) = stand("the_exit_status_is_told") else {
        return;
    };
    for status in [0, 1, 3, 255] {
        let (end, said) = stand.run(&["exit", &status.to_string()], b"", LIMITS);
        assert_eq!(
            (end.ended, end.crossed, said.as_str()),
            (Ended::Exit(status), None, "left\n")
        );
    }
}

#[test]
fn an_abort_is_sigabrt() {
    let Some(mut stand) = stand("an_abort_is_sigabrt") else {
        return;
    };
    let (end, _) = stand.run(&["abort"], b"", LIMITS);
    assert_eq!((end.ended, end.crossed), (Ended::Signal(libc::SIGABRT), None));
}

#[test]
fn the_tail_of_standard_error_is_told() {
    let Some(mut stand) = stand("the_tail_of_standard_error_is_told") else {
        return;
    };
    let (end, _) = stand.run(&["no-such-word"], b"", LIMITS);
    let tail = String::from_utf8(end.stderr_tail).unwrap();
    assert!(tail.contains("unknown words: [\"no-such-word\"]"), "{tail}");
}

#[test]
fn a_spinning_program_crosses_the_cpu_limit() {
    let Some(mut stand) = stand("a_spinning_program_crosses_the_cpu_limit") else {
        return;
    };
    let limits = RunLimits {
        cpu_ms: 300,
        ..LIMITS
    };
    let (end, _) = stand.run(&["spin"], b"", limits);
    assert_eq!(
        (end.ended, end.crossed),
        (Ended::Signal(libc::SIGKILL), Some(Crossed::Cpu))
    );
    assert!((300..500).contains(&end.cpu_ms), "{} ms", end.cpu_ms);
    assert!(stand.still_works());
}

#[test]
fn the_cpu_time_of_children_counts_while_they_live() {
    let Some(mut stand) = stand("the_cpu_time_of_children_counts_while_they_live") else {
        return;
    };
    let limits = RunLimits {
        cpu_ms: 300,
        ..LIMITS
    };
    let (end, _) = stand.run(&["children-spin", "4"], b"", limits);
    assert_eq!(end.crossed, Some(Crossed::Cpu));
    assert!(end.wall_ms < 2_000, "{} ms", end.wall_ms);
    assert!(stand.still_works());
}

#[test]
fn the_cpu_time_of_orphans_counts_when_they_are_gone() {
    let Some(mut stand) = stand("the_cpu_time_of_orphans_counts_when_they_are_gone") else {
        return;
    };
    let limits = RunLimits {
        cpu_ms: 300,
        ..LIMITS
    };
    let (end, _) = stand.run(&["orphans-spin", "20"], b"", limits);
    assert_eq!(end.crossed, Some(Crossed::Cpu));
    assert!(stand.still_works());
}

#[test]
fn a_program_that_waits_or_stops_itself_crosses_the_wall_limit() {
    let Some(mut stand) = stand("a_program_that_waits_or_stops_itself_crosses_the_wall_limit") else {
        return;
    };
    for word in ["sleep", "stop"] {
        let limits = RunLimits {
            wall_ms: 300,
            ..LIMITS
        };
        let start = Instant::now();
        let (end, _) = stand.run(&[word], b"", limits);
        let took = start.elapsed();
        assert_eq!(
            (end.ended, end.crossed),
            (Ended::Signal(libc::SIGKILL), Some(Crossed::Wall)),
            "{word}"
        );
        assert!(
            end.wall_ms >= 300 && took < Duration::from_millis(300) + LATE,
            "{word}: {took:?}"
        );
    }
    assert!(stand.still_works());
}

#[test]
fn floods_cross_the_output_limit_at_once() {
    let Some(mut stand) = stand("floods_cross_the_output_limit_at_once") else {
        return;
    };
    for word in ["flood", "flood-errors"] {
        let (end, said) = stand.run(&[word], b"", LIMITS);
        assert_eq!(
            (end.ended, end.crossed),
            (Ended::Signal(libc::SIGKILL), Some(Crossed::Output)),
            "{word}"
        );
        assert!(said.len() as u64 <= LIMITS.output_bytes, "{word}: {}", said.len());
        assert!(end.stderr_tail.len() <= 8 << 10, "{word}");
        assert!(end.wall_ms < 2_000, "{word}: {} ms", end.wall_ms);
    }
    assert!(stand.still_works());
}

#[test]
fn exactly_the_output_limit_is_within_it() {
    let Some(mut stand) = stand("exactly_the_output_limit_is_within_it") else {
        return;
    };
    let text = vec![b'x'; 100_000];
    for (output_bytes, crossed) in [(100_000, None), (99_999, Some(Crossed::Output))] {
        let (end, _) = stand.run(
            &["echo"],
            &text,
            RunLimits {
                output_bytes,
                ..LIMITS
            },
        );
        assert_eq!(end.crossed, crossed);
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_run() {
    let Some(mut stand) = stand("a_reader_that_has_seen_enough_ends_the_run") else {
        return;
    };
    let stdin = seal(b"").unwrap();
    let argv = ["./probe".to_owned(), "flood".to_owned()];
    let run = Run {
        start: Start::Execute(&argv),
        stdin: stdin.as_fd(),
        limits: LIMITS,
    };
    let mut pieces = 0;
    let end = stand.cage.run(&run, &mut |_| {
        pieces += 1;
        Flow::Stop
    });
    let end = end.unwrap();
    assert_eq!(
        (end.ended, end.crossed, pieces),
        (Ended::Signal(libc::SIGKILL), Some(Crossed::Stopped), 1)
    );
    assert!(stand.still_works());
}

#[test]
fn memory_over_the_limit_is_told_whether_it_was_killed_or_had_ended() {
    let Some(mut stand) = stand("memory_over_the_limit_is_told_whether_it_was_killed_or_had_ended") else {
        return;
    };
    let limits = RunLimits {
        memory_bytes: 64 << 20,
        ..LIMITS
    };
    let (end, _) = stand.run(&["fill", "80"], b"", limits);
    assert_eq!(end.crossed, Some(Crossed::Memory));
    assert!(end.memory_bytes > 64 << 20, "{}", end.memory_bytes);
    let (end, said) = stand.run(&["fill", "40"], b"", limits);
    assert_eq!((end.crossed, said.as_str()), (None, "filled\n"));
    assert!(
        (40 << 20..64 << 20).contains(&end.memory_bytes),
        "{}",
        end.memory_bytes
    );
}

#[test]
fn the_memory_of_several_processes_counts_together() {
    let Some(mut stand) = stand("the_memory_of_several_processes_counts_together") else {
        return;
    };
    let limits = RunLimits {
        memory_bytes: 64 << 20,
        ..LIMITS
    };
    let (end, _) = stand.run(&["children-fill", "4", "30"], b"", limits);
    assert_eq!(end.crossed, Some(Crossed::Memory));
    assert!(end.wall_ms < 5_000, "{} ms", end.wall_ms);
}

#[test]
fn a_fork_bomb_is_bounded_and_leaves_a_cage_that_works() {
    let Some(mut stand) = stand("a_fork_bomb_is_bounded_and_leaves_a_cage_that_works") else {
        return;
    };
    let limits = RunLimits {
        cpu_ms: 500,
        wall_ms: 1_000,
        ..LIMITS
    };
    let (end, _) = stand.run(&["bomb"], b"", limits);
    assert!(
        matches!(end.crossed, Some(Crossed::Cpu | Crossed::Wall)),
        "{end:?}"
    );
    assert!(stand.still_works());
}

#[test]
fn a_daemon_that_holds_standard_output_does_not_hold_the_run() {
    let Some(mut stand) = stand("a_daemon_that_holds_standard_output_does_not_hold_the_run") else {
        return;
    };
    let (end, said) = stand.run(&["daemon"], b"", LIMITS);
    assert_eq!(
        (end.ended, end.crossed, said.as_str()),
        (Ended::Exit(0), None, "done\n")
    );
    assert!(end.wall_ms < 2_000, "{} ms", end.wall_ms);
}

#[test]
fn a_sibling_of_the_program_does_not_outlive_it() {
    let Some(mut stand) = stand("a_sibling_of_the_program_does_not_outlive_it") else {
        return;
    };
    let before = pids_below(stand.cage.pid());
    assert_eq!(stand.say(&["sibling"]), "done");
    assert_eq!(pids_below(stand.cage.pid()), before);
}

#[test]
fn limits_without_bound_are_limits_too() {
    let Some(mut stand) = stand("limits_without_bound_are_limits_too") else {
        return;
    };
    let limits = RunLimits {
        cpu_ms: u64::MAX,
        wall_ms: u64::MAX,
        memory_bytes: u64::MAX,
        output_bytes: u64::MAX,
        processes: u32::MAX,
    };
    let (end, said) = stand.run(&["echo"], b"15", limits);
    assert_eq!(
        (end.ended, end.crossed, said.as_str()),
        (Ended::Exit(0), None, "15")
    );
}

#[test]
fn a_program_that_is_not_there_is_an_error_and_not_an_end() {
    let Some(mut stand) = stand("a_program_that_is_not_there_is_an_error_and_not_an_end") else {
        return;
    };
    let stdin = seal(b"").unwrap();
    let argv = ["/usr/bin/no-such-interpreter".to_owned()];
    let run = Run {
        start: Start::Execute(&argv),
        stdin: stdin.as_fd(),
        limits: LIMITS,
    };
    let error = stand.cage.run(&run, &mut |_| Flow::Continue).unwrap_err();
    assert_eq!(
        error.to_string(),
        "run `/usr/bin/no-such-interpreter`: could not execute it"
    );
    assert!(matches!(error, CageError::NotStarted { .. }) && error.leaves_the_cage_usable());
    assert!(stand.still_works());
}
