//! How far a run is, on standard error: bars on a terminal, elsewhere a plain line now and then.
//!
//! Never part of standard output. The caller says what time it is.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use roundhouse_core::run::Lang;
use roundhouse_core::summary::RunTimes;

use super::terminal::Terminal;
use super::text::Texts;

/// Least time between two plain lines, and before the first: a short run has none.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Most redrawings of the bars in a second.
const DRAWS_A_SECOND: u8 = 5;

/// How many problems are through each role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions that ended.
    pub generated: u64,
    /// Problems that are settled.
    pub settled: u64,
}

/// Tells how far a run is. Clones tell of the same run.
#[derive(Clone)]
pub struct Progress {
    shown: Shown,
}

#[derive(Clone)]
enum Shown {
    Nothing,
    Bars(Bars),
    Lines(Arc<Mutex<Lines>>),
}

#[derive(Clone)]
struct Bars {
    all: MultiProgress,
    generation: ProgressBar,
    evaluation: ProgressBar,
    pace: Pace,
    /// Whether standard output is on the same terminal.
    shared: bool,
}

struct Lines {
    out: Box<dyn Write + Send>,
    pace: Pace,
    last: Instant,
}

impl Progress {
    /// Tells nothing.
    pub fn hidden() -> Self {
        Self {
            shown: Shown::Nothing,
        }
    }

    /// Tells of `problems` problems, `before` of which were done when this process started.
    pub fn new(terminal: &Terminal, problems: u64, before: Counts, now: Instant) -> Self {
        let pace = Pace {
            problems,
            before,
            started: now,
        };
        if !terminal.bars {
            return Self::lines_to(Box::new(io::stderr()), pace);
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND);
        Self::bars_on(target, terminal, pace)
    }

    fn lines_to(out: Box<dyn Write + Send>, pace: Pace) -> Self {
        let last = pace.started;
        let lines = Lines { out, pace, last };
        Self {
            shown: Shown::Lines(Arc::new(Mutex::new(lines))),
        }
    }

    fn bars_on(target: ProgressDrawTarget, terminal: &Terminal, pace: Pace) -> Self {
        let all = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template("{prefix:10} [{bar:30}] {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = |name: &'static str, position: u64| {
            let bar = ProgressBar::new(pace.problems)
                .with_style(style.clone())
                .with_prefix(name)
                .with_position(position);
            all.add(bar)
        };
        let generation = bar("generation", pace.before.generated);
        let evaluation = bar("evaluation", pace.before.settled);
        let shared = terminal.shared;
        Self {
            shown: Shown::Bars(Bars {
                all,
                generation,
                evaluation,
                pace,
                shared,
            }),
        }
    }

    /// Says how far the run is. A failure to say so is nobody's concern.
    pub fn update(&self, counts: Counts, now: Instant) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bars(bars) => {
                bars.generation.set_position(counts.generated);
                bars.evaluation.set_message(bars.pace.text(counts, now));
                bars.evaluation.set_position(counts.settled);
            }
            Shown::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if now.saturating_duration_since(lines.last) < LINE_EVERY {
                    return;
                }
                lines.last = now;
                let line = format!(
                    "generation {}/{problems}, evaluation {}/{problems}{}{}\n",
                    counts.generated,
                    counts.settled,
                    if lines.pace.is_known(counts) { ", " } else { "" },
                    lines.pace.text(counts, now),
                    problems = lines.pace.problems,
                );
                lines.out.write_all(line.as_bytes()).ok();
            }
        }
    }

    /// Does `print` while no bar is drawn, where bars are in its way.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.shown {
            Shown::Bars(bars) if bars.shared => bars.all.suspend(print),
            Shown::Nothing | Shown::Bars(_) | Shown::Lines(_) => print(),
        }
    }

    /// Prints a line on standard error beside the bars. A closed standard error is nobody's concern.
    pub fn say(&self, line: &str) {
        let print = |out: &mut dyn Write| out.write_all(format!("{line}\n").as_bytes()).ok();
        match &self.shown {
            Shown::Nothing => print(&mut io::stderr()),
            Shown::Bars(bars) => bars.all.suspend(|| print(&mut io::stderr())),
            Shown::Lines(lines) => print(&mut lines.lock().unwrap_or_else(PoisonError::into_inner).out),
        };
    }

    /// Removes the bars.
    pub fn finish(&self) {
        if let Shown::Bars(bars) = &self.shown {
            bars.generation.finish_and_clear();
            bars.evaluation.finish_and_clear();
        }
    }
}

/// The line that says what the console's evaluation time is, and what it is not.
pub fn tail_note(lang: Lang, times: &RunTimes) -> String {
    format!(
        "{} is the tail after generation ends; evaluation slots were busy for {:.2} s in all",
        Texts::of(lang).evaluation_time_name,
        times.evaluation_busy_ms as f64 / 1_000.0
    )
}

/// How fast a run goes.
#[derive(Clone, Copy)]
struct Pace {
    problems: u64,
    before: Counts,
    started: Instant,
}

impl Pace {
    fn is_known(&self, counts: Counts) -> bool {
        counts.settled > self.before.settled
    }

    /// `4.3 problems/min, about 20 min left`; empty before the first problem is settled.
    fn text(&self, counts: Counts, now: Instant) -> String {
        let elapsed_min = now.saturating_duration_since(self.started).as_secs_f64() / 60.0;
        if !self.is_known(counts) || elapsed_min <= 0.0 {
            return String::new();
        }
        let per_min = (counts.settled - self.before.settled) as f64 / elapsed_min;
        let left = self.problems.saturating_sub(counts.settled);
        if left == 0 {
            return format!("{per_min:.1} problems/min");
        }
        let left_min = left as f64 / per_min;
        let left = match left_min {
            few if few < 1.0 => "less than a minute".to_owned(),
            some if some < 120.0 => format!("about {some:.0} min"),
            many => format!("about {:.1} h", many / 60.0),
        };
        format!("{per_min:.1} problems/min, {left} left")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn plain_progress_says_a_line_every_ten_seconds_and_none_before() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let kept = Kept::default();
        let before = Counts {
            generated: 10,
            settled: 10,
        };
        let pace = Pace {
            problems: 100,
            before,
            started: start,
        };
        let progress = Progress::lines_to(Box::new(kept.clone()), pace);
        progress.update(
            Counts {
                generated: 12,
                settled: 10,
            },
            after(9),
        );
        assert_eq!(kept.text(), "");
        progress.update(
            Counts {
                generated: 14,
                settled: 10,
            },
            after(10),
        );
        progress.update(
            Counts {
                generated: 15,
                settled: 11,
            },
            after(19),
        );
        progress.update(
            Counts {
                generated: 20,
                settled: 16,
            },
            after(60),
        );
        progress.update(
            Counts {
                generated: 100,
                settled: 100,
            },
            after(120),
        );
        progress.say("note: done");
        assert_eq!(
            kept.text(),
            "generation 14/100, evaluation 10/100\n\
             generation 20/100, evaluation 16/100, 6.0 problems/min, about 14 min left\n\
             generation 100/100, evaluation 100/100, 45.0 problems/min\n\
             note: done\n"
        );
    }

    #[test]
    fn bars_that_share_a_terminal_make_room_for_a_line() {
        let terminal = Terminal {
            shared: true,
            bars: true,
            colour: true,
        };
        let pace = Pace {
            problems: 2,
            before: Counts::default(),
            started: Instant::now(),
        };
        let progress = Progress::bars_on(ProgressDrawTarget::hidden(), &terminal, pace);
        progress.update(
            Counts {
                generated: 1,
                settled: 1,
            },
            pace.started + Duration::from_secs(30),
        );
        assert_eq!(progress.suspend(|| "printed"), "printed");
        let Shown::Bars(bars) = &progress.shown else {
            panic!("a terminal has bars");
        };
        assert_eq!((bars.generation.position(), bars.evaluation.position()), (1, 1));
        assert_eq!(
            bars.evaluation.message(),
            "2.0 problems/min, less than a minute left"
        );
        progress.finish();
        assert!(bars.generation.is_finished() && bars.evaluation.is_finished());
    }

    #[test]
    fn tail_note_tells_the_busy_time_in_the_words_of_the_lines_above_it() {
        let times = RunTimes {
            evaluation_busy_ms: 12_340,
            ..RunTimes::default()
        };
        let tail = "is the tail after generation ends; evaluation slots were busy for 12.34 s in all";
        assert_eq!(tail_note(Lang::Zh, &times), format!("评估耗时 {tail}"));
        assert_eq!(tail_note(Lang::En, &times), format!("Evaluation time {tail}"));
    }
}
