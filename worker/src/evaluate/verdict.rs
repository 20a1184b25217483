//! From the way a run ended to its verdict.
//!
//! Pure: knows nothing of cages, repeats or reports. The order of verdicts is that of [`Verdict`].

use roundhouse_proto::{EvaluateWork, Limits, Verdict};
use roundhouse_sandbox::{Crossed, Ended, RunEnd};

/// What stdout came to beside the expected output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// It agrees.
    Agrees,
    /// It differs.
    Differs,
    /// The program ended before the case of its function did.
    Unfinished,
    /// It differed before the program had ended, and the program was stopped for it.
    StoppedAsWrong,
}

/// The verdict of a run that ended, without compile errors and errors of ours.
///
/// A program that was stopped for a wrong output is a wrong answer, however its end looks: else the verdict would
/// hang on whether the program or its stop was faster.
pub(crate) fn verdict_of(end: &RunEnd, output: Output, work: &EvaluateWork) -> Verdict {
    if output == Output::StoppedAsWrong {
        return Verdict::WrongAnswer;
    }
    let holds = [
        (Verdict::MemoryLimit, is_out_of_memory(end, &work.limits)),
        (Verdict::TimeLimit, is_out_of_time(end, &work.limits)),
        (Verdict::OutputLimit, end.crossed == Some(Crossed::Output)),
        (
            Verdict::RuntimeError,
            output == Output::Unfinished || is_failed(end, work.ignore_exit_status),
        ),
        (Verdict::WrongAnswer, output == Output::Differs),
    ];
    let greatest = holds
        .into_iter()
        .filter(|(_, holds)| *holds)
        .map(|(verdict, _)| verdict)
        .max();
    greatest.unwrap_or(Verdict::Accepted)
}

fn is_out_of_memory(end: &RunEnd, limits: &Limits) -> bool {
    end.crossed == Some(Crossed::Memory)
        || end.memory_bytes > limits.memory_bytes
        || matches!(end.ended, Ended::Exit(status) if status != 0) && ended_by_memory_error(&end.stderr_tail)
}

fn is_out_of_time(end: &RunEnd, limits: &Limits) -> bool {
    // A program may end by itself between crossing its CPU limit and being killed for it.
    matches!(end.crossed, Some(Crossed::Cpu | Crossed::Wall)) || end.cpu_ms > limits.cpu_ms
}

/// A signal counts also where the exit status does not: no program ends so by choice.
fn is_failed(end: &RunEnd, ignore_exit_status: bool) -> bool {
    match end.ended {
        Ended::Exit(status) => status != 0 && !ignore_exit_status,
        Ended::Signal(_) => true,
    }
}

/// Whether the last line of standard error is that of an uncaught `MemoryError`, numpy's own included.
fn ended_by_memory_error(stderr_tail: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stderr_tail);
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    let exception = last.split(':').next().unwrap_or_default();
    let name = exception.rsplit('.').next().unwrap_or_default();
    matches!(name, "MemoryError" | "_ArrayMemoryError")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fake::{ended, work};

    fn verdict(end: &RunEnd, output: Output) -> Verdict {
        verdict_of(end, output, &work())
    }

    #[test]
    fn a_clean_end_is_judged_by_its_output() {
        assert_eq!(verdict(&ended(Ended::Exit(0)), Output::Agrees), Verdict::Accepted);
        assert_eq!(
            verdict(&ended(Ended::Exit(0)), Output::Differs),
            Verdict::WrongAnswer
        );
    }

    #[test]
    fn an_exit_status_counts_unless_it_is_ignored_and_a_signal_always_does() {
        let ignoring = EvaluateWork {
            ignore_exit_status: true,
            ..work()
        };
        for (end, counted, ignored) in [
            (Ended::Exit(3), Verdict::RuntimeError, Verdict::Accepted),
            (Ended::Signal(11), Verdict::RuntimeError, Verdict::RuntimeError),
        ] {
            assert_eq!(verdict(&ended(end), Output::Agrees), counted);
            assert_eq!(verdict_of(&ended(end), Output::Agrees, &ignoring), ignored);
        }
    }

    #[test]
    fn a_case_of_a_function_that_was_not_reached_is_a_runtime_error_whatever_the_exit_status() {
        let ignoring = EvaluateWork {
            ignore_exit_status: true,
            ..work()
        };
        for work in [work(), ignoring] {
            for status in [0, 1] {
                let end = ended(Ended::Exit(status));
                let found = verdict_of(&end, Output::Unfinished, &work);
                assert_eq!(found, Verdict::RuntimeError);
            }
        }
    }

    #[test]
    fn a_crossed_limit_goes_before_the_signal_and_the_wrong_output() {
        for (crossed, expected) in [
            (Crossed::Memory, Verdict::MemoryLimit),
            (Crossed::Cpu, Verdict::TimeLimit),
            (Crossed::Wall, Verdict::TimeLimit),
            (Crossed::Output, Verdict::OutputLimit),
        ] {
            let end = RunEnd {
                crossed: Some(crossed),
                ..ended(Ended::Signal(9))
            };
            assert_eq!(verdict(&end, Output::Differs), expected);
        }
    }

    #[test]
    fn memory_goes_before_time_and_time_before_output() {
        let limits = work().limits;
        let end = |crossed, cpu_ms, memory_bytes| RunEnd {
            crossed,
            cpu_ms,
            memory_bytes,
            ..ended(Ended::Exit(0))
        };
        let (cpu, memory) = (limits.cpu_ms + 1, limits.memory_bytes + 1);
        assert_eq!(
            verdict(&end(Some(Crossed::Cpu), cpu, memory), Output::Agrees),
            Verdict::MemoryLimit
        );
        assert_eq!(
            verdict(&end(Some(Crossed::Output), cpu, 0), Output::Agrees),
            Verdict::TimeLimit
        );
        assert_eq!(
            verdict(&end(None, limits.cpu_ms, limits.memory_bytes), Output::Agrees),
            Verdict::Accepted
        );
    }

    #[test]
    fn an_uncaught_memory_error_is_the_memory_limit() {
        let end = |status, stderr: &str| RunEnd {
            stderr_tail: stderr.as_bytes().to_vec(),
            ..ended(Ended::Exit(status))
        };
        for (status, stderr, expected) in [
            (1, "Traceback …\nMemoryError\n", Verdict::MemoryLimit),
            (1, "MemoryError: no room\n", Verdict::MemoryLimit),
            (
                1,
                "numpy.core._exceptions._ArrayMemoryError: Unable to allocate\n",
                Verdict::MemoryLimit,
            ),
            (1, "MemoryError\nValueError: after it\n", Verdict::RuntimeError),
            (1, "NotAMemoryError\n", Verdict::RuntimeError),
            (0, "MemoryError\n", Verdict::Accepted),
        ] {
            assert_eq!(
                verdict(&end(status, stderr), Output::Agrees),
                expected,
                "{stderr}"
            );
        }
    }

    #[test]
    fn a_program_stopped_for_its_output_is_a_wrong_answer_however_it_ended() {
        for end in [Ended::Exit(0), Ended::Exit(1), Ended::Signal(9)] {
            assert_eq!(verdict(&ended(end), Output::StoppedAsWrong), Verdict::WrongAnswer);
        }
    }
}
