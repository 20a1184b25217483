//! The figures of a run: what the console, summary.json and REPORT.txt print, counted once.

use roundhouse_core::run::{ModelAt, Quarantine};
use roundhouse_core::summary::{ProblemOutcome, ProblemSummary, RunSummary, RunTimes};
use roundhouse_proto::{Audit, SessionEvent, Usage};

use super::number::{percent, ratio};

/// The figures of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Problems in all; the denominator.
    pub total: usize,
    /// Problems that passed.
    pub passed: usize,
    /// Problems without a verdict because of a failure of ours.
    pub errors: usize,
    /// Problems that are not settled.
    pub open: usize,
    /// Those of the problems that can be judged; none if nobody said which cannot.
    pub judgeable: Option<Judgeable>,
    /// What audits came to.
    pub audit: Audit,
    /// How long it took.
    pub times: Times,
    /// Its calls and their tokens.
    pub tokens: Tokens,
    /// Calls that may have been paid and whose tokens are in no total.
    pub calls_unaccounted: u64,
    /// Generation slots that served it, most at once; those asked for while none has.
    pub workers: u32,
    /// Evaluation slots that served it, likewise.
    pub eval_workers: u32,
}

impl Figures {
    /// Counts them.
    pub fn of(run: &RunSummary) -> Self {
        let count = |test: fn(&ProblemOutcome) -> bool| {
            run.problems
                .iter()
                .filter(|problem| test(&problem.outcome))
                .count()
        };
        let tokens = run
            .problems
            .iter()
            .map(Tokens::of)
            .fold(Tokens::default(), Tokens::plus);
        let slots = |served: u32, asked: u32| if served > 0 { served } else { asked };
        Self {
            total: run.problems.len(),
            passed: run.passed(),
            errors: count(|outcome| matches!(outcome, ProblemOutcome::Error(_))),
            open: count(|outcome| matches!(outcome, ProblemOutcome::Open)),
            judgeable: run
                .spec
                .quarantine
                .as_ref()
                .map(|quarantine| Judgeable::of(run, quarantine)),
            audit: run.audit,
            times: Times::of(&run.times),
            tokens,
            calls_unaccounted: tokens.calls_unaccounted(&run.spec.model_at),
            workers: slots(run.generation_slots, run.spec.workers),
            eval_workers: slots(run.evaluation_slots, run.spec.eval_workers),
        }
    }

    /// Problems that passed, in percent of all; 0 of none.
    pub fn pass_at_1(&self) -> f64 {
        percent(self.passed as f64, self.total as f64)
    }

    /// Tokens per problem; none if they are not known.
    pub fn tokens_per_problem(&self) -> Option<f64> {
        self.tokens
            .total()
            .map(|total| ratio(total as f64, self.total as f64))
    }
}

/// The problems that can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgeable {
    /// How many they are.
    pub total: usize,
    /// Those of them that passed.
    pub passed: usize,
}

impl Judgeable {
    fn of(run: &RunSummary, quarantine: &Quarantine) -> Self {
        let quarantined = quarantine.positions();
        let problems = run.spec.problems.iter().zip(&run.problems);
        let mut others = Self { total: 0, passed: 0 };
        for (_, problem) in problems.filter(|(spec, _)| !quarantined.contains(&spec.position)) {
            others.total += 1;
            others.passed += usize::from(problem.outcome.is_pass());
        }
        others
    }

    /// Those that passed, in percent; 0 of none.
    pub fn rate(&self) -> f64 {
        percent(self.passed as f64, self.total as f64)
    }
}

/// Durations in hundredths of a second, as they are printed: evaluation is what is left of the total, so the two
/// parts always add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// First generation start to last verdict.
    pub total_cs: u64,
    /// First generation start to last generation end.
    pub generation_cs: u64,
}

impl Times {
    /// Rounds the durations of a run.
    pub fn of(times: &RunTimes) -> Self {
        let rounded = |ms: u64| ms.saturating_add(5) / 10;
        let total_cs = rounded(times.total_ms);
        Self {
            total_cs,
            generation_cs: rounded(times.generation_ms).min(total_cs),
        }
    }

    /// The tail after generation.
    pub fn evaluation_cs(&self) -> u64 {
        self.total_cs - self.generation_cs
    }
}

/// The calls of a session or of a run, and their tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Calls whose answer was accepted.
    pub calls: u64,
    /// Those of `calls` whose tokens the server counted.
    pub calls_counted: u64,
    /// Tries and calls beside them that may have been paid and brought no answer.
    pub calls_broken: u64,
    /// What it counted.
    pub usage: Usage,
}

impl Tokens {
    /// Counts those of a session.
    pub fn of(problem: &ProblemSummary) -> Self {
        let mut tokens = Self {
            calls_broken: problem.calls_unaccounted.into(),
            ..Self::default()
        };
        for event in &problem.events {
            if let SessionEvent::Said {
                usage, unaccounted, ..
            } = event
            {
                tokens = tokens.plus(Self {
                    calls: 1,
                    calls_counted: u64::from(usage.is_some()),
                    calls_broken: (*unaccounted).into(),
                    usage: usage.unwrap_or_default(),
                });
            }
        }
        tokens
    }

    /// Tokens used; none if no call's were counted.
    pub fn total(&self) -> Option<u64> {
        (self.calls_counted > 0).then(|| self.usage.total())
    }

    /// Calls that may have been paid and whose tokens are in no total: those that brought no answer, and those whose
    /// answer came without a count. Answers from blobs cost nothing; they are among these only beside others that
    /// have a count, since then the total says less than the session.
    pub fn calls_unaccounted(&self, model_at: &ModelAt) -> u64 {
        let without_count = match model_at {
            ModelAt::Offline if self.calls_counted == 0 => 0,
            ModelAt::Offline | ModelAt::Endpoint { .. } => self.calls - self.calls_counted,
        };
        without_count + self.calls_broken
    }

    fn plus(self, other: Self) -> Self {
        let (a, b) = (self.usage, other.usage);
        Self {
            calls: self.calls + other.calls,
            calls_counted: self.calls_counted + other.calls_counted,
            calls_broken: self.calls_broken + other.calls_broken,
            usage: Usage {
                input: a.input.saturating_add(b.input),
                cached_input: a.cached_input.saturating_add(b.cached_input),
                output: a.output.saturating_add(b.output),
                reasoning: a.reasoning.saturating_add(b.reasoning),
            },
        }
    }
}

/// What tokens cost, in US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// A million tokens, whichever they are.
    pub per_million: f64,
    /// A million tokens of prompts and a million of answers, where they are known apart.
    pub apart: Option<(f64, f64)>,
}

impl Default for Price {
    fn default() -> Self {
        Self {
            per_million: 0.27,
            apart: None,
        }
    }
}

impl Price {
    /// What so many tokens cost, whichever they are.
    pub fn estimate(&self, tokens: u64) -> f64 {
        tokens as f64 * self.per_million / 1e6
    }

    /// What they cost by the prices of prompts and answers; none if these are not known.
    pub fn exact(&self, usage: Usage) -> Option<f64> {
        self.apart
            .map(|(input, output)| (usage.input as f64 * input + usage.output as f64 * output) / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_parts_of_the_time_always_add_up() {
        for (total_ms, generation_ms) in [(0, 0), (10, 5), (14, 5), (1_045_770, 900_450), (7, 9)] {
            let times = Times::of(&RunTimes {
                total_ms,
                generation_ms,
                ..RunTimes::default()
            });
            assert_eq!(times.total_cs, times.generation_cs + times.evaluation_cs());
        }
        let times = Times::of(&RunTimes {
            total_ms: 1_045_770,
            generation_ms: 900_450,
            ..RunTimes::default()
        });
        assert_eq!(
            (times.total_cs, times.generation_cs, times.evaluation_cs()),
            (104_577, 90_045, 14_532)
        );
    }

    #[test]
    fn price_of_the_estimate_is_that_of_a_million_tokens() {
        assert_eq!(format!("{:.4}", Price::default().estimate(1_234_567)), "0.3333");
        let usage = Usage {
            input: 1_000_000,
            output: 500_000,
            ..Usage::default()
        };
        assert_eq!(Price::default().exact(usage), None);
        let apart = Price {
            apart: Some((0.5, 2.0)),
            ..Price::default()
        };
        assert_eq!(apart.exact(usage), Some(1.5));
    }
}
