//! summary.json: everything a run came to, for programs. The first keys are those that old readers know.
//!
//! A run's blobs are read once, by [`collect`]; what that gives is enough for summary.json and eval_checkpoint.json.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use roundhouse_core::run::{EvaluationSettings, Lang, LimitFrom, LimitsRule, ProblemLimits, ProblemSpec};
use roundhouse_core::summary::{ProblemOutcome, ProblemSummary, RunStatus, RunSummary};
use roundhouse_proto::{
    Clip, EvaluationReport, FailureClass, Isolation, SessionEvent, Speaker, TestSet, Tier, Verdict,
};
use serde::Serialize;

use super::figures::{Figures, Tokens};
use super::moment;
use super::number::{ratio, seconds_value};
use super::provenance::Provenance;
use super::rounds::{RoundResult, Rounds};
use super::session::{SessionHistory, final_solution, history};
use super::{
    BlobReader, Ordered, ReportError, SCHEMA_VERSION, Setting, blob, check_problems, content, json, text,
};

/// Name of the file.
pub const SUMMARY_FILE: &str = "summary.json";

/// Most characters of an input or an output in `test_results`.
const TEST_TEXT_CHARS_MAX: usize = 100;

/// The file, before it is bytes.
#[derive(Serialize)]
pub struct Collected<'a> {
    #[serde(rename = "summary")]
    pub(super) head: Head<'a>,
    pub(super) results: Vec<Entry<'a>>,
}

impl Collected<'_> {
    /// The bytes of summary.json.
    ///
    /// # Errors
    /// A value cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Bytes, ReportError> {
        json(SUMMARY_FILE, self)
    }
}

/// A number, or the word for not knowing it.
#[derive(Serialize)]
#[serde(untagged)]
enum Counted<T> {
    Known(T),
    Unknown(&'static str),
}

impl<T> From<Option<T>> for Counted<T> {
    fn from(number: Option<T>) -> Self {
        number.map_or(Self::Unknown("N/A"), Self::Known)
    }
}

#[derive(Serialize)]
pub(super) struct Head<'a> {
    pass_at_1: f64,
    passed: usize,
    total: usize,
    pub(super) time_cost: TimeCost,
    token_usage: TokenUsage<'a>,
    pub(super) config: Config,
    pub(super) timestamp: String,
    // From here on: keys that old readers do not know.
    schema_version: u64,
    run_id: String,
    status: String,
    errors: usize,
    open: usize,
    started: String,
    lang: Lang,
    model: &'a str,
    /// The model of each speaker that said something; only where they are not all the same.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    models: BTreeMap<Speaker, &'a str>,
    cost: Cost,
    tiers: Ordered<&'static str, TierFigures>,
    busy_s: Busy,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    rounds: Option<Rounds>,
    judge: Judge,
    /// Only where somebody said which problems cannot be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    judgeable: Option<JudgeablePart>,
    provenance: Provenance<'a>,
}

/// Seconds.
#[derive(Serialize)]
pub(super) struct TimeCost {
    total: f64,
    generation: f64,
    pub(super) evaluation: f64,
}

#[derive(Serialize)]
struct TokenUsage<'a> {
    total: Counted<u64>,
    average_per_problem: Counted<f64>,
    per_problem_details: Vec<ProblemTokens<'a>>,
    input: u64,
    cached_input: u64,
    output: u64,
    reasoning: u64,
    calls: u64,
    calls_unaccounted: u64,
}

#[derive(Serialize)]
struct ProblemTokens<'a> {
    instance_id: &'a str,
    tokens_used: u64,
    calls: u64,
}

#[derive(Serialize)]
pub(super) struct Config {
    parallel: bool,
    workers: u32,
    pub(super) eval_workers: u32,
}

/// US dollars.
#[derive(Serialize)]
struct Cost {
    usd_per_million_tokens: f64,
    estimate_usd: Counted<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact_usd: Option<f64>,
}

/// Slot-seconds.
#[derive(Serialize)]
struct Busy {
    generation: f64,
    evaluation: f64,
}

/// What the judge did to check itself, and to save work.
#[derive(Serialize)]
struct Judge {
    audited: u32,
    mismatched: u32,
    /// Final programs whose report was made for an equal program before.
    reused: usize,
}

#[derive(Serialize)]
struct JudgeablePart {
    total: usize,
    passed: usize,
    /// In percent, as `pass_at_1`.
    rate: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct TierFigures {
    cases: u64,
    cases_passed: u64,
    problems: u64,
    problems_passed: u64,
}

#[derive(Serialize)]
pub(super) struct Entry<'a> {
    pub(super) instance_id: &'a str,
    problem_dir: String,
    code: String,
    pub(super) accuracy: f64,
    pub(super) passed: bool,
    tokens_used: u64,
    pub(super) test_results: Vec<TestEntry>,
    session_history: SessionHistory,
    // From here on: keys that old readers do not know.
    source_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_point: Option<&'a str>,
    name: &'a str,
    position: u32,
    pub(super) outcome: &'static str,
    pub(super) test_count: u32,
    pub(super) passed_tests: u32,
    stop_reason: Option<&'static str>,
    patched: &'a [String],
    notes: &'a [String],
    rounds: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    round_results: Vec<RoundResult>,
    attempts: u32,
    error: Option<ErrorEntry<'a>>,
    /// Only where problems have limits of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<EntryLimits>,
    /// Why it cannot be judged, if somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<&'static str>,
}

/// What each test of a problem's program may use, and whence that comes: from the `problem`, from the `run` since the
/// problem's own is not known, or from the `floor` since the problem's own is below it.
#[derive(Serialize)]
struct EntryLimits {
    cpu_ms: u64,
    wall_ms: u64,
    memory_bytes: u64,
    time_from: LimitFrom,
    memory_from: LimitFrom,
}

impl EntryLimits {
    fn of(settings: &EvaluationSettings, spec: &ProblemSpec) -> Option<Self> {
        if settings.limits_rule == LimitsRule::default() {
            return None;
        }
        let ProblemLimits {
            limits,
            time_from,
            memory_from,
        } = ProblemLimits::of(settings, spec);
        Some(Self {
            cpu_ms: limits.cpu_ms,
            wall_ms: limits.wall_ms,
            memory_bytes: limits.memory_bytes,
            time_from,
            memory_from,
        })
    }
}

#[derive(Serialize)]
struct ErrorEntry<'a> {
    class: FailureClass,
    message: &'a str,
}

#[derive(Serialize)]
pub(super) struct TestEntry {
    pub(super) status: &'static str,
    /// Seconds on the clock.
    time_cost: f64,
    stdin: String,
    stdout: String,
    expected: String,
    #[serde(skip_serializing_if = "is_false")]
    not_run: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Reads what the run's records name and puts it in the shape of summary.json.
///
/// # Errors
/// A blob is missing or is not what it should be, or the summary does not fit its own specification.
pub fn collect<'a>(
    run: &'a RunSummary,
    setting: &'a Setting,
    blobs: &dyn BlobReader,
) -> Result<Collected<'a>, ReportError> {
    check_problems(run)?;
    let run_dir = setting.run_dir.trim_end_matches('/');
    let quarantine: BTreeMap<u32, &'static str> = run
        .spec
        .quarantine
        .iter()
        .flat_map(|quarantine| &quarantine.problems)
        .map(|problem| (problem.position, problem.reason.word()))
        .collect();
    let mut judging = Judging::default();
    let mut results = Vec::with_capacity(run.problems.len());
    for (spec, problem) in run.spec.problems.iter().zip(&run.problems) {
        let judged = Judged::read(spec, problem, blobs)?;
        judging.add(spec, &judged);
        results.push(Entry {
            quarantined: quarantine.get(&spec.position).copied(),
            ..entry(run, run_dir, spec, problem, &judged, blobs)?
        });
    }
    Ok(Collected {
        head: head(run, setting, run_dir, judging),
        results,
    })
}

/// What the reports of a run say together.
#[derive(Default)]
struct Judging {
    tiers: BTreeMap<Tier, TierFigures>,
    isolation: Option<Isolation>,
    interpreters: BTreeSet<String>,
    reused: usize,
}

impl Judging {
    fn add(&mut self, spec: &ProblemSpec, judged: &Judged) {
        let mut verdicts = judged.report.iter().flat_map(|report| &report.cases);
        for (tier, cases) in spec.tiers.iter().filter(|(_, cases)| *cases > 0) {
            let passed = verdicts
                .by_ref()
                .take(*cases as usize)
                .filter(|case| case.verdict == Verdict::Accepted)
                .count() as u64;
            let cases = u64::from(*cases);
            let figures = self.tiers.entry(*tier).or_default();
            figures.cases += cases;
            figures.cases_passed += passed;
            figures.problems += 1;
            figures.problems_passed += u64::from(passed == cases);
        }
        if let Some(report) = &judged.report {
            self.reused += usize::from(report.reused);
            let lowest = self
                .isolation
                .map_or(report.isolation, |known| known.min(report.isolation));
            self.isolation = Some(lowest);
            if !self.interpreters.contains(&report.interpreter) {
                self.interpreters.insert(report.interpreter.clone());
            }
        }
    }
}

/// The report of one problem, with the cases it is about.
struct Judged {
    report: Option<EvaluationReport>,
    tests: TestSet,
}

impl Judged {
    fn read(
        spec: &ProblemSpec,
        problem: &ProblemSummary,
        blobs: &dyn BlobReader,
    ) -> Result<Self, ReportError> {
        let ProblemOutcome::Judged {
            report: Some(report), ..
        } = &problem.outcome
        else {
            return Ok(Self {
                report: None,
                tests: TestSet::default(),
            });
        };
        let decode = |what, source: Box<dyn std::error::Error + Send + Sync>| ReportError::Decode {
            problem: spec.name.clone(),
            what,
            source,
        };
        let bytes = content(report, &spec.name, "evaluation report", blobs)?;
        let report =
            EvaluationReport::from_bytes(bytes).map_err(|err| decode("evaluation report", err.into()))?;
        let tests = match &spec.tests {
            Some(digest) => TestSet::from_bytes(blob(digest, &spec.name, "test set", blobs)?)
                .map_err(|err| decode("test set", err.into()))?,
            None => TestSet::default(),
        };
        Ok(Self {
            report: Some(report),
            tests,
        })
    }

    fn entries(&self) -> Vec<TestEntry> {
        let cases = self.report.iter().flat_map(|report| &report.cases);
        cases
            .map(|case| {
                let asked = self.tests.cases.get(case.case as usize);
                TestEntry {
                    status: case.verdict.code(),
                    time_cost: case.wall_ms as f64 / 1_000.0,
                    stdin: asked.map(|asked| cut_bytes(&asked.input)).unwrap_or_default(),
                    stdout: cut_clip(&case.stdout),
                    expected: asked.map(|asked| cut_bytes(&asked.expected)).unwrap_or_default(),
                    not_run: case.not_run,
                }
            })
            .collect()
    }
}

fn entry<'a>(
    run: &'a RunSummary,
    run_dir: &str,
    spec: &'a ProblemSpec,
    problem: &'a ProblemSummary,
    judged: &Judged,
    blobs: &dyn BlobReader,
) -> Result<Entry<'a>, ReportError> {
    let (outcome, passed_tests, error) = match &problem.outcome {
        ProblemOutcome::Open => ("open", 0, None),
        ProblemOutcome::Judged { passed, .. } if problem.outcome.is_pass() => ("passed", *passed, None),
        ProblemOutcome::Judged { passed, .. } => ("failed", *passed, None),
        ProblemOutcome::NoProgram(_) => ("failed", 0, None),
        ProblemOutcome::Error(failure) => {
            let error = ErrorEntry {
                class: failure.class,
                message: &failure.message,
            };
            ("error", 0, Some(error))
        }
    };
    let test_count = match &problem.outcome {
        ProblemOutcome::Judged { total, .. } => *total,
        ProblemOutcome::Open | ProblemOutcome::NoProgram(_) | ProblemOutcome::Error(_) => spec.cases_n(),
    };
    let generation = problem.generation.as_ref();
    let stop_reason = match (&problem.outcome, generation) {
        (_, Some(generation)) => Some(generation.stop_reason.word()),
        (ProblemOutcome::NoProgram(stop_reason), None) => Some(stop_reason.word()),
        (ProblemOutcome::Open | ProblemOutcome::Judged { .. } | ProblemOutcome::Error(_), None) => None,
    };
    let code = final_solution(run.spec.session.language, &spec.name, problem, blobs)?;
    let rounds = problem
        .events
        .iter()
        .filter(|event| matches!(event, SessionEvent::RoundEnd { .. }));
    Ok(Entry {
        instance_id: &spec.name,
        problem_dir: format!("{run_dir}/{}", spec.name),
        code: text(&code),
        accuracy: ratio(f64::from(passed_tests), f64::from(test_count)),
        passed: problem.outcome.is_pass(),
        tokens_used: Tokens::of(problem).total().unwrap_or(0),
        test_results: judged.entries(),
        session_history: history(&spec.name, &problem.events, blobs)?,
        source_id: &spec.source_id,
        entry_point: spec.entry_point.as_deref(),
        name: &spec.name,
        position: spec.position,
        outcome,
        test_count,
        passed_tests,
        stop_reason,
        patched: generation.map_or(&[], |generation| &generation.patched),
        notes: generation.map_or(&[], |generation| &generation.notes),
        rounds: rounds.count(),
        round_results: problem.rounds.iter().map(RoundResult::of).collect(),
        attempts: problem.attempts,
        error,
        limits: EntryLimits::of(&run.spec.evaluation, spec),
        quarantined: None,
    })
}

fn head<'a>(run: &'a RunSummary, setting: &'a Setting, run_dir: &'a str, judging: Judging) -> Head<'a> {
    let spec = &*run.spec;
    let figures = Figures::of(run);
    let tokens = figures.tokens;
    // An unfinished run has no end; its own clock says how far it came.
    let timestamp = run
        .finished
        .unwrap_or_else(|| moment::later(spec.started, run.times.total_ms));
    Head {
        pass_at_1: figures.pass_at_1(),
        passed: figures.passed,
        total: figures.total,
        time_cost: TimeCost {
            total: seconds_value(figures.times.total_cs),
            generation: seconds_value(figures.times.generation_cs),
            evaluation: seconds_value(figures.times.evaluation_cs()),
        },
        token_usage: TokenUsage {
            total: tokens.total().into(),
            average_per_problem: figures.tokens_per_problem().into(),
            per_problem_details: per_problem(run),
            input: tokens.usage.input,
            cached_input: tokens.usage.cached_input,
            output: tokens.usage.output,
            reasoning: tokens.usage.reasoning,
            calls: tokens.calls,
            calls_unaccounted: figures.calls_unaccounted,
        },
        config: Config {
            parallel: spec.parallel,
            workers: figures.workers,
            eval_workers: figures.eval_workers,
        },
        timestamp: moment::iso(timestamp),
        schema_version: SCHEMA_VERSION,
        run_id: spec.run.to_string(),
        status: status(&run.status),
        errors: figures.errors,
        open: figures.open,
        started: moment::iso(spec.started),
        lang: spec.lang,
        model: &spec.session.model,
        models: models(run),
        cost: Cost {
            usd_per_million_tokens: setting.price.per_million,
            estimate_usd: tokens.total().map(|total| setting.price.estimate(total)).into(),
            exact_usd: tokens.total().and(setting.price.exact(tokens.usage)),
        },
        tiers: Ordered(
            judging
                .tiers
                .iter()
                .map(|(tier, figures)| (tier.word(), *figures))
                .collect(),
        ),
        busy_s: Busy {
            generation: run.times.generation_busy_ms as f64 / 1_000.0,
            evaluation: run.times.evaluation_busy_ms as f64 / 1_000.0,
        },
        rounds: Rounds::of(run),
        judge: Judge {
            audited: figures.audit.audited,
            mismatched: figures.audit.mismatched,
            reused: judging.reused,
        },
        judgeable: figures.judgeable.map(|judgeable| JudgeablePart {
            total: judgeable.total,
            passed: judgeable.passed,
            rate: judgeable.rate(),
        }),
        provenance: Provenance::of(run, run_dir, judging.isolation, judging.interpreters),
    }
}

fn status(status: &RunStatus) -> String {
    match status {
        RunStatus::Running => "running".to_owned(),
        RunStatus::Complete => "complete".to_owned(),
        RunStatus::Incomplete { reason } => format!("incomplete ({reason})"),
        RunStatus::Cancelled { reason } => format!("cancelled ({reason})"),
    }
}

fn models(run: &RunSummary) -> BTreeMap<Speaker, &str> {
    let session = &run.spec.session;
    if session.model_for.is_empty() {
        return BTreeMap::new();
    }
    let events = run.problems.iter().flat_map(|problem| &problem.events);
    events
        .filter_map(|event| match event {
            SessionEvent::Said { speaker, .. } => Some((*speaker, session.model_of(*speaker))),
            SessionEvent::TestRequest { .. } | SessionEvent::RoundEnd { .. } | SessionEvent::Finished(_) => {
                None
            }
        })
        .collect()
}

fn per_problem(run: &RunSummary) -> Vec<ProblemTokens<'_>> {
    let problems = run.spec.problems.iter().zip(&run.problems);
    problems
        .map(|(spec, problem)| {
            let tokens = Tokens::of(problem);
            ProblemTokens {
                instance_id: &spec.name,
                tokens_used: tokens.total().unwrap_or(0),
                calls: tokens.calls,
            }
        })
        .collect()
}

/// The first characters of some bytes. No more bytes are looked at than so many characters can have.
fn cut_bytes(bytes: &[u8]) -> String {
    const BYTES_A_CHAR_MAX: usize = 4;
    // One character more, since the last one may be cut in the middle.
    let looked_at = bytes.len().min((TEST_TEXT_CHARS_MAX + 1) * BYTES_A_CHAR_MAX);
    cut(&String::from_utf8_lossy(&bytes[..looked_at]))
}

fn cut_clip(clip: &Clip) -> String {
    if clip.left_out == 0 {
        return cut(&format!("{}{}", cut(&clip.head), cut(&clip.tail)));
    }
    cut(&format!(
        "{}({} characters left out){}",
        cut(&clip.head),
        clip.left_out,
        cut(&clip.tail)
    ))
}

fn cut(text: &str) -> String {
    text.chars().take(TEST_TEXT_CHARS_MAX).collect()
}
