//! REPORT.txt: what a run came to, for people. Made from summary.json and nothing else.

use std::fmt::Display;

use roundhouse_core::run::Lang;
use serde::Deserialize;

use super::line::{MESSAGE_CHARS_MAX, NAME_CHARS_MAX, report_line};
use super::number::{Passed, accuracy, seconds, thousands};
use super::{ReportError, SCHEMA_VERSION};
use crate::console::text::{Texts, fill, rule};

/// Name of the file.
pub const REPORT_FILE: &str = "REPORT.txt";

/// What is read of summary.json; keys that old files do not have are optional.
#[derive(Deserialize)]
struct Summary {
    summary: Head,
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Head {
    pass_at_1: f64,
    passed: u64,
    total: u64,
    time_cost: TimeCost,
    token_usage: TokenUsage,
    config: Config,
    timestamp: String,
    #[serde(default)]
    status: String,
    started: Option<String>,
    /// That of files from before there was a choice is the default.
    #[serde(default)]
    lang: Lang,
    judgeable: Option<Judgeable>,
    provenance: Option<Provenance>,
}

/// The problems that can be judged; only where somebody said which cannot.
#[derive(Deserialize)]
struct Judgeable {
    rate: f64,
    passed: u64,
    total: u64,
}

#[derive(Deserialize)]
struct TimeCost {
    total: f64,
    generation: f64,
}

#[derive(Deserialize)]
struct TokenUsage {
    total: Counted<u64>,
    average_per_problem: Counted<f64>,
    #[serde(default)]
    calls_unaccounted: u64,
}

/// A number, or a word for not knowing it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Counted<T> {
    Known(T),
    Unknown(#[expect(dead_code, reason = "any word means that it is not known")] String),
}

#[derive(Deserialize)]
struct Config {
    parallel: bool,
    workers: u64,
    eval_workers: u64,
}

#[derive(Deserialize)]
struct Provenance {
    data_set: DataSet,
}

#[derive(Deserialize)]
struct DataSet {
    name: String,
}

#[derive(Deserialize)]
struct Entry {
    instance_id: String,
    accuracy: f64,
    passed: bool,
    outcome: Option<String>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    message: String,
}

/// REPORT.txt from the value of summary.json, also of one from before there were schema versions.
///
/// # Errors
/// The value is no summary.json, or one of a newer version.
pub fn report(summary: &serde_json::Value) -> Result<String, ReportError> {
    check_version(summary["summary"]["schema_version"].as_u64())?;
    let summary = Summary::deserialize(summary).map_err(ReportError::Shape)?;
    Ok(write(&summary))
}

/// REPORT.txt from the bytes of summary.json; what it does not print is passed over, not kept.
///
/// # Errors
/// As [`report`].
pub fn report_of_bytes(summary: &[u8]) -> Result<String, ReportError> {
    #[derive(Deserialize)]
    struct Versioned {
        summary: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        schema_version: Option<u64>,
    }
    let versioned: Versioned = serde_json::from_slice(summary).map_err(ReportError::Shape)?;
    check_version(versioned.summary.schema_version)?;
    let summary = serde_json::from_slice(summary).map_err(ReportError::Shape)?;
    Ok(write(&summary))
}

pub(super) fn check_version(found: Option<u64>) -> Result<(), ReportError> {
    match found {
        Some(found) if found > SCHEMA_VERSION => Err(ReportError::Newer { found }),
        Some(_) | None => Ok(()),
    }
}

fn write(
    Summary {
        summary: head,
        results,
    }: &Summary,
) -> String {
    let texts = Texts::of(head.lang);
    let words = &texts.report;
    let rule = rule();
    let mut page = Page::default();
    page.line(&rule);
    page.line(words.title);
    page.line(&rule);

    page.line("");
    let started = head.started.as_ref().unwrap_or(&head.timestamp);
    page.fill(words.started, &[&to_the_second(started)]);
    let data_set = head
        .provenance
        .as_ref()
        .map_or("CodeContests", |provenance| &provenance.data_set.name);
    page.fill(words.data_set, &[&report_line(data_set, NAME_CHARS_MAX)]);
    page.fill(words.problems, &[&head.total]);

    page.line("");
    page.line(words.settings);
    let parallel = if head.config.parallel {
        texts.parallel_on
    } else {
        texts.parallel_off
    };
    page.fill(words.parallel_mode, &[&parallel]);
    page.fill(words.workers, &[&head.config.workers]);
    page.fill(words.eval_workers, &[&head.config.eval_workers]);

    page.line("");
    page.line(words.figures);
    let pass_at_1 = format!("{:.2}", head.pass_at_1);
    page.fill(words.pass_at_1, &[&pass_at_1, &head.passed, &head.total]);
    if let Some(Judgeable { rate, passed, total }) = &head.judgeable {
        page.fill(texts.judgeable, &[&format!("{rate:.1}"), passed, total]);
    }
    // Through whole hundredths, so that the parts add up in old files too.
    let total = centiseconds(head.time_cost.total);
    let generation = centiseconds(head.time_cost.generation).min(total);
    page.fill(words.total_time, &[&seconds(total)]);
    page.fill(words.generation_time, &[&seconds(generation)]);
    page.fill(words.evaluation_time, &[&seconds(total - generation)]);
    match &head.token_usage.total {
        Counted::Known(total) => page.fill(words.tokens, &[&thousands(*total)]),
        Counted::Unknown(_) => page.line(words.tokens_unknown),
    }
    if let Counted::Known(average) = &head.token_usage.average_per_problem {
        page.fill(words.tokens_per_problem, &[&format!("{average:.0}")]);
    }
    if head.token_usage.calls_unaccounted > 0 {
        page.fill(words.calls_unaccounted, &[&head.token_usage.calls_unaccounted]);
    }
    let with_outcome = |outcome: &str| {
        results
            .iter()
            .filter(|entry| entry.outcome.as_deref() == Some(outcome))
            .count()
    };
    let (errors, open) = (with_outcome("error"), with_outcome("open"));
    if errors > 0 {
        page.fill(words.errors, &[&errors]);
    }
    if open > 0 {
        page.fill(
            words.open,
            &[&open, &report_line(&head.status, MESSAGE_CHARS_MAX)],
        );
    }

    page.line("");
    page.line(words.details);
    for entry in results {
        let name = report_line(&entry.instance_id, NAME_CHARS_MAX);
        match entry.outcome.as_deref() {
            Some("error") => {
                let message = entry.error.as_ref().map_or("", |failure| &failure.message);
                page.fill(words.error, &[&name, &report_line(message, MESSAGE_CHARS_MAX)]);
            }
            Some("open") => page.fill(words.unsettled, &[&name]),
            Some(_) | None if entry.passed => {
                page.fill(words.pass, &[&name, &accuracy(entry.accuracy, Passed::Yes)]);
            }
            Some(_) | None => page.fill(words.fail, &[&name, &accuracy(entry.accuracy, Passed::No)]),
        }
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn fill(&mut self, template: &str, values: &[&dyn Display]) {
        self.line(&fill(template, values));
    }
}

/// `2026-02-09T15:30:45.705519` as `2026-02-09 15:30:45`.
fn to_the_second(iso: &str) -> String {
    let line = report_line(iso, MESSAGE_CHARS_MAX);
    let second = line.split('.').next().unwrap_or_default();
    second.replacen('T', " ", 1)
}

fn centiseconds(seconds: f64) -> u64 {
    (seconds * 100.0).round() as u64
}
