//! The standard output of `coordinator run`, line by line, and its copy in `console.log`.
//!
//! Prints what the driver reports, in the order in which it does; counts nothing, waits for nothing. A closed
//! standard output does not end a run: the copy goes on. What is not part of the format goes to standard error, by
//! [`Progress`].

pub mod progress;
pub mod terminal;
pub mod text;

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use roundhouse_core::summary::RunTimes;

use crate::report::figures::{Figures, Price, Times};
use crate::report::line::{MESSAGE_CHARS_MAX, NAME_CHARS_MAX, one_line};
use crate::report::number::{percent, seconds, seconds_per, thousands};
pub use progress::{Counts, Progress};
pub use terminal::Terminal;
use text::{Texts, fill, rule};

/// Name of the copy in the run directory.
pub const LOG_FILE: &str = "console.log";

/// Most bytes that are kept for the copy while there is no file for it; the head of a run has under a thousand.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// How a session ended, as the console says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated<'a> {
    /// With a program.
    Program,
    /// Without one: the model's failure.
    Nothing,
    /// By a failure of ours, with its text.
    Error(&'a str),
}

/// How many sessions are held at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Several.
    Parallel,
    /// One, in the order of the data set.
    Sequential,
}

/// Prints the blocks of a run.
pub struct Console<W: Write> {
    /// None once it cannot be written to.
    out: Option<W>,
    log: Log,
    texts: &'static Texts,
    progress: Progress,
}

enum Log {
    /// There is no file yet.
    Waiting(Vec<u8>),
    File(File),
    /// It cannot be written, which was said.
    Lost,
}

impl<W: Write> Console<W> {
    /// A console that prints to `out`.
    pub fn new(out: W, texts: &'static Texts) -> Self {
        Self {
            out: Some(out),
            log: Log::Waiting(Vec::new()),
            texts,
            progress: Progress::hidden(),
        }
    }

    /// Takes the bars out of the way whenever a line is printed.
    pub fn share_terminal_with(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// Copies everything to `console.log` of the run directory from now on, what was printed before it first.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub fn copy_to(&mut self, run_dir: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(run_dir.join(LOG_FILE))?;
        if let Log::Waiting(bytes) = &self.log {
            file.write_all(bytes)?;
        }
        self.log = Log::File(file);
        Ok(())
    }

    /// The title of the program.
    pub fn header(&mut self) {
        self.rule();
        self.line(self.texts.title);
        self.rule();
    }

    /// Step 1 begins: the problems are read.
    pub fn loading(&mut self, data_set: &str) {
        self.line("");
        self.fill(self.texts.loading, &[&one_line(data_set, NAME_CHARS_MAX)]);
    }

    /// Step 1 is over: so many problems, and the run directory as the user named it.
    pub fn loaded(&mut self, problems: usize, run_dir: &str) {
        self.fill(self.texts.loaded, &[&problems]);
        self.fill(self.texts.output_dir, &[&one_line(run_dir, NAME_CHARS_MAX)]);
    }

    /// The settings that decide the speed.
    pub fn config(&mut self, mode: Mode, workers: u32, cores: u32) {
        let parallel = match mode {
            Mode::Parallel => self.texts.parallel_on,
            Mode::Sequential => self.texts.parallel_off,
        };
        self.line("");
        self.line(self.texts.settings);
        self.fill(self.texts.parallel_mode, &[&parallel]);
        self.fill(self.texts.workers, &[&workers]);
        self.fill(self.texts.cores, &[&cores]);
    }

    /// Step 2 begins.
    pub fn generation_heading(&mut self, mode: Mode, workers: u32) {
        self.line("");
        self.line(self.texts.generating);
        self.rule();
        match mode {
            Mode::Parallel => self.fill(self.texts.generating_parallel, &[&workers]),
            Mode::Sequential => self.line(self.texts.generating_sequential),
        }
    }

    /// A session starts; `place` is the problem's place in the run, from 1.
    pub fn problem_started(&mut self, place: usize, problems: usize, name: &str) {
        let name = one_line(name, NAME_CHARS_MAX);
        self.fill(self.texts.problem_started, &[&place, &problems, &name]);
    }

    /// A session ended; `place` is the problem's place in the run, from 1.
    pub fn problem_generated(&mut self, place: usize, problems: usize, name: &str, generated: Generated<'_>) {
        let name = one_line(name, NAME_CHARS_MAX);
        let texts = self.texts;
        match generated {
            Generated::Program => self.fill(texts.problem_generated, &[&place, &problems, &name]),
            Generated::Nothing => self.fill(texts.problem_failed, &[&place, &problems, &name]),
            Generated::Error(message) => {
                let message = one_line(message, MESSAGE_CHARS_MAX);
                self.fill(texts.problem_error, &[&place, &problems, &name, &message]);
            }
        }
    }

    /// Step 2 is over.
    pub fn generation_done(&mut self, times: &RunTimes, problems: usize) {
        // The total is not known yet, and what it is now does not matter.
        let total_ms = times.total_ms.max(times.generation_ms);
        let generation = Times::of(&RunTimes { total_ms, ..*times }).generation_cs;
        self.line("");
        self.rule();
        self.line(self.texts.generation_done);
        self.fill(self.texts.generation_time, &[&seconds(generation)]);
        let average = seconds_per(generation, problems);
        self.fill(self.texts.time_per_problem, &[&average]);
        self.rule();
    }

    /// Step 3 begins, as far as the console tells.
    pub fn evaluation_heading(&mut self, eval_workers: u32) {
        self.line("");
        self.line(self.texts.evaluating);
        self.rule();
        self.fill(self.texts.evaluating_parallel, &[&eval_workers]);
    }

    /// Step 3 is over.
    pub fn evaluation_done(&mut self, times: &RunTimes, problems: usize) {
        let evaluation = Times::of(times).evaluation_cs();
        self.line(self.texts.evaluation_done);
        self.fill(self.texts.evaluation_time, &[&seconds(evaluation)]);
        let average = seconds_per(evaluation, problems);
        self.fill(self.texts.time_per_problem, &[&average]);
    }

    /// Step 4.
    pub fn results(&mut self, figures: &Figures, price: &Price) {
        let texts = self.texts;
        let times = figures.times;
        let share = |part: u64| format!("{:.1}", percent(part as f64, times.total_cs as f64));
        self.line("");
        self.line(texts.counting);
        self.rule();
        self.line("");
        self.line(texts.results);
        self.rule();
        let pass_at_1 = format!("{:.2}", figures.pass_at_1());
        self.fill(texts.pass_at_1, &[&pass_at_1, &figures.passed, &figures.total]);
        if let Some(judgeable) = &figures.judgeable {
            let rate = format!("{:.1}", judgeable.rate());
            self.fill(texts.judgeable, &[&rate, &judgeable.passed, &judgeable.total]);
        }
        self.fill(texts.total_time, &[&seconds(times.total_cs)]);
        for (template, part) in [
            (texts.generation_share, times.generation_cs),
            (texts.evaluation_share, times.evaluation_cs()),
        ] {
            self.fill(template, &[&seconds(part), &share(part)]);
        }
        match figures.tokens.total() {
            None => self.line(texts.tokens_unknown),
            Some(total) => {
                self.fill(texts.tokens, &[&thousands(total)]);
                let average = figures.tokens_per_problem().unwrap_or_default();
                self.fill(texts.tokens_per_problem, &[&format!("{average:.0}")]);
                let cost = format!("{:.4}", price.estimate(total));
                self.fill(texts.cost, &[&price.per_million, &cost]);
                if let (Some((input, output)), Some(cost)) = (price.apart, price.exact(figures.tokens.usage))
                {
                    self.fill(texts.cost_exact, &[&input, &output, &format!("{cost:.4}")]);
                }
            }
        }
        self.rule();
    }

    /// Step 5: where the results are, both paths as the user named them.
    pub fn saved(&mut self, run_dir: &str, results_file: &str) {
        let run_dir = one_line(run_dir, NAME_CHARS_MAX);
        self.line("");
        self.line(self.texts.saving);
        self.rule();
        self.fill(self.texts.saved_details, &[&run_dir]);
        self.fill(
            self.texts.saved_summary,
            &[&one_line(results_file, NAME_CHARS_MAX)],
        );
        self.fill(self.texts.saved_logs, &[&run_dir]);
        self.fill(self.texts.saved_report, &[&run_dir]);
    }

    /// The end.
    pub fn finished(&mut self) {
        self.line("");
        self.rule();
        self.line(self.texts.finished);
        self.rule();
    }

    fn rule(&mut self) {
        self.line(&rule());
    }

    fn fill(&mut self, template: &str, values: &[&dyn Display]) {
        self.line(&fill(template, values));
    }

    fn line(&mut self, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        if let Some(out) = &mut self.out {
            let written = self
                .progress
                .suspend(|| out.write_all(&bytes).and_then(|()| out.flush()));
            if let Err(err) = written {
                self.out = None;
                // A reader that went away, such as `head`, is nothing to speak of.
                if err.kind() != io::ErrorKind::BrokenPipe {
                    tracing::warn!(error = %err, "standard output is lost; {LOG_FILE} goes on");
                }
            }
        }
        match &mut self.log {
            Log::Waiting(waiting) if waiting.len() + bytes.len() <= WAITING_BYTES_MAX => {
                waiting.extend_from_slice(&bytes);
            }
            Log::File(file) => {
                if let Err(err) = file.write_all(&bytes) {
                    tracing::warn!(error = %err, "{LOG_FILE} cannot be written");
                    self.log = Log::Lost;
                }
            }
            Log::Waiting(_) | Log::Lost => {}
        }
    }
}

#[cfg(test)]
mod tests;
