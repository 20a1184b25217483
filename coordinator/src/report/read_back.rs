//! The figures of a run out of its summary.json: for whoever has the file and not the store.

use roundhouse_core::summary::RunTimes;
use roundhouse_proto::{Audit, Usage};
use serde::Deserialize;

use super::ReportError;
use super::figures::{Figures, Judgeable, Price, Times, Tokens};
use super::readable::check_version;

/// What a run came to, as its summary.json says.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadBack {
    /// Its figures.
    pub figures: Figures,
    /// How long it took.
    pub times: RunTimes,
    /// What its cost was estimated with.
    pub price: Price,
}

#[derive(Deserialize)]
struct File {
    summary: Head,
}

#[derive(Deserialize)]
struct Head {
    passed: usize,
    total: usize,
    time_cost: TimeCost,
    token_usage: TokenUsage,
    config: Config,
    schema_version: Option<u64>,
    #[serde(default)]
    errors: usize,
    #[serde(default)]
    open: usize,
    judgeable: Option<JudgeablePart>,
    #[serde(default)]
    judge: Judge,
    cost: Option<Cost>,
    busy_s: Option<Busy>,
}

#[derive(Deserialize)]
struct TimeCost {
    total: f64,
    generation: f64,
}

#[derive(Deserialize)]
struct TokenUsage {
    /// A number, or a word for not knowing it.
    total: serde_json::Value,
    #[serde(default)]
    input: u64,
    #[serde(default)]
    cached_input: u64,
    #[serde(default)]
    output: u64,
    #[serde(default)]
    reasoning: u64,
    #[serde(default)]
    calls: u64,
    #[serde(default)]
    calls_unaccounted: u64,
}

#[derive(Deserialize)]
struct Config {
    workers: u32,
    eval_workers: u32,
}

#[derive(Deserialize)]
struct JudgeablePart {
    passed: usize,
    total: usize,
}

/// What files from before there were audits do not have.
#[derive(Default, Deserialize)]
struct Judge {
    audited: u32,
    mismatched: u32,
}

#[derive(Deserialize)]
struct Cost {
    usd_per_million_tokens: f64,
}

#[derive(Deserialize)]
struct Busy {
    generation: f64,
    evaluation: f64,
}

/// Reads them.
///
/// # Errors
/// The bytes are no summary.json, or one of a newer version.
pub fn read_back(summary: &[u8]) -> Result<ReadBack, ReportError> {
    let File { summary: head } = serde_json::from_slice(summary).map_err(ReportError::Shape)?;
    check_version(head.schema_version)?;
    let busy = head.busy_s.as_ref();
    let times = RunTimes {
        total_ms: milliseconds(head.time_cost.total),
        generation_ms: milliseconds(head.time_cost.generation),
        generation_busy_ms: busy.map_or(0, |busy| milliseconds(busy.generation)),
        evaluation_busy_ms: busy.map_or(0, |busy| milliseconds(busy.evaluation)),
    };
    Ok(ReadBack {
        figures: Figures {
            total: head.total,
            passed: head.passed,
            errors: head.errors,
            open: head.open,
            judgeable: head.judgeable.map(|part| Judgeable {
                total: part.total,
                passed: part.passed,
            }),
            audit: Audit {
                audited: head.judge.audited,
                mismatched: head.judge.mismatched,
            },
            times: Times::of(&times),
            tokens: head.token_usage.tokens(),
            calls_unaccounted: head.token_usage.calls_unaccounted,
            workers: head.config.workers,
            eval_workers: head.config.eval_workers,
        },
        times,
        price: head.cost.map_or_else(Price::default, |cost| Price {
            per_million: cost.usd_per_million_tokens,
            apart: None,
        }),
    })
}

impl TokenUsage {
    fn tokens(&self) -> Tokens {
        let Some(total) = self.total.as_u64() else {
            return Tokens {
                calls: self.calls,
                ..Tokens::default()
            };
        };
        // A file from before there were parts has the total only.
        let known = self.input.saturating_add(self.output) == total;
        Tokens {
            calls_broken: 0,
            calls: self.calls.max(1),
            calls_counted: self.calls.saturating_sub(self.calls_unaccounted).max(1),
            usage: Usage {
                input: if known { self.input } else { total },
                cached_input: self.cached_input,
                output: if known { self.output } else { 0 },
                reasoning: self.reasoning,
            },
        }
    }
}

/// Seconds as milliseconds; what is no time is none.
fn milliseconds(seconds: f64) -> u64 {
    // A cast from a float is bounded at both ends, and 0 for what is no number.
    (seconds * 1_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use crate::report::fixture::Fixture;
    use crate::report::summary::collect;
    use crate::report::{Setting, number};

    fn read(fixture: &Fixture) -> ReadBack {
        let setting = Setting {
            run_dir: "d".to_owned(),
            price: Price::default(),
        };
        let collected = collect(&fixture.run, &setting, &fixture.reader()).unwrap();
        read_back(&collected.to_bytes().unwrap()).unwrap()
    }

    #[test]
    fn figures_of_a_summary_are_those_it_was_written_from() {
        for fixture in [Fixture::sample(), Fixture::empty()] {
            let (found, wanted) = (read(&fixture), Figures::of(&fixture.run));
            assert_eq!(found.figures, wanted);
            assert_eq!(
                (found.times.evaluation_busy_ms, found.price),
                (fixture.run.times.evaluation_busy_ms, Price::default())
            );
        }
    }

    #[test]
    fn summary_of_an_older_program_has_its_figures_too() {
        let old = br#"{"summary": {"pass_at_1": 50.0, "passed": 1, "total": 2,
            "time_cost": {"total": 10.5, "generation": 10.0, "evaluation": 0.5},
            "token_usage": {"total": 1000, "average_per_problem": 500.0, "per_problem_details": []},
            "config": {"parallel": true, "workers": 4, "eval_workers": 16}, "timestamp": "x"}, "results": []}"#;
        let found = read_back(old).unwrap();
        assert_eq!(found.figures.tokens.total(), Some(1000));
        assert_eq!(number::seconds(found.figures.times.evaluation_cs()), "0.50");
    }

    #[test]
    fn newer_summary_is_refused() {
        let newer = br#"{"summary": {"passed": 1, "total": 2, "schema_version": 99,
            "time_cost": {"total": 1, "generation": 1}, "token_usage": {"total": "N/A"},
            "config": {"workers": 4, "eval_workers": 16}}}"#;
        assert!(matches!(read_back(newer), Err(ReportError::Newer { found: 99 })));
    }
}
