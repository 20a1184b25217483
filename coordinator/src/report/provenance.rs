//! What a run's result depends on and comes from, as summary.json has it: data set, method, model, rules, machines.

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_core::run::ModelAt;
use roundhouse_core::summary::RunSummary;
use roundhouse_proto::{Digest, Isolation, Limits, Sampling, SessionEvent, Speaker};
use serde::Serialize;

use crate::judging_args::{MemoryLimit, TimeLimit};

/// Most remarks that are listed; the rest is counted. They are few, unless an endpoint says something new each time.
const REMARKS_MAX: usize = 100;

#[derive(Serialize)]
pub(super) struct Provenance<'a> {
    version: &'a str,
    output: &'a str,
    data_set: DataSet<'a>,
    method: &'a str,
    prompts: &'a BTreeMap<String, Digest>,
    model: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    model_for: &'a BTreeMap<Speaker, String>,
    /// None for the offline models, and before one was chosen.
    endpoint: Option<&'a str>,
    /// Whether answers came from blobs: then no model was measured.
    offline: bool,
    measured: bool,
    #[serde(flatten)]
    remarks: Remarks<'a>,
    sampling: Sampling,
    max_rounds: u32,
    tester: &'static str,
    final_program: &'static str,
    language: &'static str,
    patch: bool,
    round_tests: RoundTests,
    comparator: String,
    tests: Vec<&'static str>,
    limits: Limits,
    /// The same as flags have it, or `problem`: then each result has its own.
    time_limit: String,
    memory_limit: String,
    zygote: &'static str,
    /// In percent.
    audit_rate: f64,
    cache: bool,
    ignore_exit_status: bool,
    timeouts_max: u32,
    stop_on_first_failure: bool,
    mixed_versions: bool,
    staged: bool,
    workers: u32,
    eval_workers: u32,
    evaluate_rounds: bool,
    attempts_max: u32,
    cores: u32,
    isolation: Option<Isolation>,
    interpreters: BTreeSet<String>,
    /// The file that says which problems cannot be judged, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine: Option<QuarantinePart>,
}

impl<'a> Provenance<'a> {
    /// That of a run in `run_dir`, whose programs were run at least as isolated as `isolation` by `interpreters`.
    pub(super) fn of(
        run: &'a RunSummary,
        run_dir: &'a str,
        isolation: Option<Isolation>,
        interpreters: BTreeSet<String>,
    ) -> Self {
        let spec = &*run.spec;
        let (session, evaluation, data_set) = (&spec.session, &spec.evaluation, &spec.data_set);
        let is_offline = spec.model_at == ModelAt::Offline;
        Self {
            version: &spec.version,
            output: run_dir,
            data_set: DataSet {
                name: &data_set.name,
                path: &data_set.path,
                sha256: data_set.sha256,
                format: &data_set.format,
                rows: data_set.rows,
            },
            method: session.method.word(),
            prompts: &spec.prompts,
            model: &session.model,
            model_for: &session.model_for,
            endpoint: run.endpoint.as_deref(),
            offline: is_offline,
            measured: !is_offline,
            remarks: Remarks::of(run),
            sampling: session.sampling,
            max_rounds: session.max_rounds,
            tester: session.tester.word(),
            final_program: session.final_choice.word(),
            language: session.language.word(),
            patch: session.patch,
            round_tests: RoundTests {
                comparator: session.comparator.to_string(),
                limits: session.limits,
            },
            comparator: evaluation.comparator.to_string(),
            tests: evaluation.tiers.iter().map(|tier| tier.word()).collect(),
            limits: evaluation.limits,
            time_limit: TimeLimit::of(evaluation).to_string(),
            memory_limit: MemoryLimit::of(evaluation).to_string(),
            zygote: evaluation.execution.start.word(),
            audit_rate: f64::from(evaluation.execution.audit_per_mille) / 10.0,
            cache: evaluation.execution.reuse,
            ignore_exit_status: evaluation.ignore_exit_status,
            timeouts_max: evaluation.timeouts_max,
            stop_on_first_failure: evaluation.stop_on_first_failure,
            mixed_versions: evaluation.mixed_versions,
            staged: spec.staged,
            workers: spec.workers,
            eval_workers: spec.eval_workers,
            evaluate_rounds: spec.evaluate_rounds,
            attempts_max: spec.attempts_max,
            cores: run.cores,
            isolation,
            interpreters,
            quarantine: spec.quarantine.as_ref().map(|quarantine| QuarantinePart {
                sha256: quarantine.sha256,
                problems: quarantine.problems.len(),
            }),
        }
    }
}

/// What was unusual about calls: each remark once, in the order of the problems and of their sessions.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Remarks<'a> {
    remarks: Vec<&'a str>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    remarks_left_out: usize,
}

impl<'a> Remarks<'a> {
    fn of(run: &'a RunSummary) -> Self {
        let mut known = BTreeSet::new();
        let mut remarks = Vec::new();
        for event in run.problems.iter().flat_map(|problem| &problem.events) {
            if let SessionEvent::Said { remarks: said, .. } = event {
                remarks.extend(
                    said.iter()
                        .map(String::as_str)
                        .filter(|remark| known.insert(*remark)),
                );
                remarks.truncate(REMARKS_MAX);
            }
        }
        let remarks_left_out = known.len() - remarks.len();
        Self {
            remarks,
            remarks_left_out,
        }
    }
}

#[derive(Serialize)]
struct DataSet<'a> {
    name: &'a str,
    path: &'a str,
    sha256: Digest,
    format: &'a str,
    rows: u32,
}

#[derive(Serialize)]
struct QuarantinePart {
    sha256: Digest,
    /// Those of the run.
    problems: usize,
}

#[derive(Serialize)]
struct RoundTests {
    comparator: String,
    limits: Limits,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}
