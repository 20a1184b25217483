//! From chosen problems to a run: their big parts become blobs, what is left becomes the [`RunSpec`].

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use roundhouse_core::Stamp;
use roundhouse_core::run::{DataSet, EvaluationSettings, ModelAt, ProblemSpec, RunSpec};
use roundhouse_proto::{
    Case, Digest, Language, Limits, Problem, PromptSet, Recording, ReferenceMaterial, RunId, SessionSettings,
    TestSet, Tier,
};
use uuid::Uuid;

use crate::blobs::Blobs;
use crate::dataset::Loaded;
use crate::judging::Judging;
use crate::preset::SessionChoices;
use crate::recording::playback::Playback;
use crate::run_args::{ProblemNames, SpecArgs};
use crate::run_dir::name::safe_names;

/// Name of the offline model.
pub const REFERENCE_MODEL: &str = "reference";
/// Names the blob with what the run was asked to do, until the store has a record of it.
const SUBMITTED_FILE: &str = "submitted";
/// Hidden cases that the offline tester gives where a problem has no public ones.
const REFERENCE_CASES_MAX: usize = 3;

/// What a run is about, before it has a directory.
pub struct Plan<'a> {
    /// The flags.
    pub args: &'a SpecArgs,
    /// The model, as reports name it.
    pub model: &'a str,
    /// Who answers.
    pub model_at: ModelAt,
    /// What is played back, if that is what answers.
    pub playback: Option<&'a Playback>,
    /// The data set.
    pub loaded: &'a Loaded,
    /// Where it came from, for people.
    pub source: &'a str,
    /// Those that were chosen.
    pub problems: Vec<&'a Problem>,
    /// Addresses of the prompt templates that are used.
    pub prompts: BTreeMap<String, Digest>,
    /// Those of them that are not built in.
    pub prompt_set: PromptSet,
    /// What the flags of judging name in files.
    pub judging: Judging,
    /// Generation slots asked for.
    pub workers: u32,
    /// Evaluation slots asked for.
    pub eval_workers: u32,
}

impl Plan<'_> {
    /// Makes the blobs durable and puts together what the run is asked to do; gives its own blob's address with it.
    /// The address is written into `data_dir` last: from then on [`submitted`] finds it.
    ///
    /// # Errors
    /// A blob cannot be stored.
    pub fn store(&self, data_dir: &Path, blobs: &Blobs, started: Stamp) -> anyhow::Result<(RunSpec, Digest)> {
        let (spec, mut parts) = self.put_together(started);
        let text = serde_json::to_vec(&spec).context("encode the run")?;
        let spec_blob = Digest::of(&text);
        parts.push(Bytes::from(text));
        blobs.put_all(parts).context("store the problems")?;
        let place = data_dir.join(SUBMITTED_FILE);
        write_synced(&place, &format!("{spec_blob}\n"))
            .with_context(|| format!("write `{}`", place.display()))?;
        Ok((spec, spec_blob))
    }

    /// What the run is asked to do, with an id of its own, and the blobs that it names.
    pub fn put_together(&self, started: Stamp) -> (RunSpec, Vec<Bytes>) {
        let mut parts = Vec::new();
        let names = self.source_names();
        let answers = self
            .playback
            .map(|playback| playback.answers(&self.loaded.problems));
        let problems = self
            .problems
            .iter()
            .map(|problem| {
                let name = names.get(&problem.position).cloned();
                // A problem that nothing is recorded for has a recording too: an empty one.
                let recording = answers.as_ref().map(|answers| {
                    answers
                        .get(&problem.position)
                        .copied()
                        .cloned()
                        .unwrap_or_default()
                });
                let name = name.unwrap_or_else(|| problem.name());
                self.problem(problem, name, recording.as_ref(), &mut parts)
            })
            .collect();
        let mut spec = self.spec(started, problems);
        if !self.prompt_set.templates.is_empty() {
            let set = self.prompt_set.to_bytes();
            spec.prompt_set = Some(Digest::of(&set));
            parts.push(set);
        }
        parts.extend(self.judging.checker.clone());
        (spec, parts)
    }

    /// The names of all problems of the data set by position, if they are named after its ids: whatever was chosen,
    /// a problem has the same name.
    fn source_names(&self) -> BTreeMap<u32, String> {
        match self.args.problem_names {
            ProblemNames::Position => BTreeMap::new(),
            ProblemNames::Source => {
                let rows = self.loaded.problems.iter();
                let rows: Vec<(u32, &str)> = rows
                    .map(|problem| (problem.position, problem.source_id.as_str()))
                    .collect();
                let names = safe_names(&rows);
                rows.iter().map(|(position, _)| *position).zip(names).collect()
            }
        }
    }

    fn problem(
        &self,
        problem: &Problem,
        name: String,
        recording: Option<&Recording>,
        parts: &mut Vec<Bytes>,
    ) -> ProblemSpec {
        let mut part = |bytes: Bytes| {
            let digest = Digest::of(&bytes);
            parts.push(bytes);
            digest
        };
        let of_tier = |tier: Tier| problem.tests.cases.iter().filter(move |case| case.tier == tier);
        // Cases are numbered over public, private, generated, in that order.
        let judged: Vec<Case> = self
            .args
            .tests
            .0
            .iter()
            .flat_map(|tier| of_tier(*tier))
            .cloned()
            .collect();
        let count = |tier: Tier| u32::try_from(of_tier(tier).count()).unwrap_or(u32::MAX);
        let tiers = self
            .args
            .tests
            .0
            .iter()
            .map(|tier| (*tier, count(*tier)))
            .filter(|(_, n)| *n > 0)
            .collect();
        let public = TestSet {
            cases: of_tier(Tier::Public).cloned().collect(),
        };
        let is_reference = self.model == REFERENCE_MODEL;
        ProblemSpec {
            position: problem.position,
            name,
            source_id: problem.source_id.clone(),
            statement: part(Bytes::copy_from_slice(problem.statement.as_bytes())),
            tests: (!judged.is_empty()).then(|| part(TestSet { cases: judged }.to_bytes())),
            tiers,
            public_cases: (!public.cases.is_empty()).then(|| part(public.to_bytes())),
            reference: is_reference.then(|| part(reference_material(problem).to_bytes())),
            recording: recording.map(|recording| part(recording.to_bytes())),
            entry_point: problem.entry_point.clone(),
            time_limit_ms: problem.time_limit_ms,
            memory_limit_bytes: problem.memory_limit_bytes,
        }
    }

    fn spec(&self, started: Stamp, problems: Vec<ProblemSpec>) -> RunSpec {
        let args = self.args;
        let choices = SessionChoices::of(args, self.playback.map(Playback::settings));
        let language = Language::Python3;
        let (limits, limits_rule) = args.judging.limits(language);
        let quarantine = self.judging.quarantine.as_ref();
        RunSpec {
            run: RunId(Uuid::new_v4()),
            started,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            session: SessionSettings {
                method: choices.method,
                model: self.model.to_owned(),
                model_for: match self.playback {
                    Some(playback) => playback.model_for(),
                    None => args.models_for(),
                },
                sampling: choices.sampling,
                max_rounds: choices.max_rounds,
                tester: choices.tester,
                language,
                patch: choices.patch,
                comparator: self.judging.comparator,
                // Those of the final program change what is judged, and not what a session is told.
                limits: Limits::default(),
                final_choice: choices.final_choice,
            },
            model_at: self.model_at.clone(),
            lang: args.lang,
            prompts: self.prompts.clone(),
            prompt_set: None,
            evaluation: EvaluationSettings {
                execution: args.judging.execution(),
                tiers: args.tests.0.clone(),
                comparator: self.judging.comparator,
                limits,
                limits_rule,
                ignore_exit_status: args.ignore_exit_status,
                timeouts_max: args.timeouts_max,
                stop_on_first_failure: args.stop_on_first_failure,
                mixed_versions: args.mixed_versions,
            },
            parallel: !args.sequential,
            staged: args.staged,
            workers: self.workers,
            eval_workers: self.eval_workers,
            evaluate_rounds: args.evaluate_rounds,
            attempts_max: args.attempts_max,
            data_set: DataSet {
                name: self.loaded.info.format.title().to_owned(),
                path: self.source.to_owned(),
                sha256: self.loaded.info.sha256,
                format: format!(
                    "{} {}",
                    self.loaded.info.format.word(),
                    self.loaded.info.container.word()
                ),
                rows: self.loaded.info.rows,
            },
            quarantine: quarantine.map(|quarantine| quarantine.of_run(&self.problems)),
            problems,
        }
    }
}

fn reference_material(problem: &Problem) -> ReferenceMaterial {
    let program = problem
        .solutions
        .iter()
        .chain(&problem.incorrect_solutions)
        .next();
    let public: Vec<Case> = problem
        .tests
        .cases
        .iter()
        .filter(|case| case.tier == Tier::Public)
        .cloned()
        .collect();
    let cases = if public.is_empty() {
        let mut hidden: Vec<&Case> = problem.tests.cases.iter().collect();
        hidden.sort_by_key(|case| case.input.len() + case.expected.len());
        hidden.into_iter().take(REFERENCE_CASES_MAX).cloned().collect()
    } else {
        public
    };
    ReferenceMaterial {
        program: program.map(|program| program.source.clone()),
        cases,
    }
}

/// What a run was asked to do whose state has no record yet.
///
/// # Errors
/// Nothing was asked, or it cannot be read.
pub fn submitted(data_dir: &Path, blobs: &Blobs) -> anyhow::Result<(RunSpec, Digest)> {
    let place = data_dir.join(SUBMITTED_FILE);
    let text = std::fs::read_to_string(&place).with_context(|| format!("read `{}`", place.display()))?;
    let spec_blob: Digest = text
        .trim_end()
        .parse()
        .with_context(|| format!("read `{}`", place.display()))?;
    let spec =
        serde_json::from_slice(&blobs.read(&spec_blob)?).context("read what the run was asked to do")?;
    Ok((spec, spec_blob))
}

fn write_synced(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The command that goes on with a run.
pub fn resume_command(run_dir: &Path) -> String {
    format!("coordinator run --resume {}", run_dir.display())
}
