//! The runs of a world: what each is asked to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use roundhouse_core::Stamp;
use roundhouse_core::run::{DataSet, EvaluationSettings, Lang, ModelAt, ProblemSpec, RunSpec};
use roundhouse_proto::{
    Comparator, Digest, FinalChoice, Language, Limits, Method, RunId, Sampling, SessionSettings, TesterMode,
    Tier, WorkerId,
};

/// Cases of every test set.
pub(crate) const CASES: u32 = 4;

pub(crate) fn run_id(n: usize) -> RunId {
    format!("00000000-0000-4000-8000-{n:012x}")
        .parse()
        .expect("it has the form of a uuid")
}

pub(crate) fn worker_id(n: usize) -> WorkerId {
    format!("00000000-0000-4000-9000-{n:012x}")
        .parse()
        .expect("it has the form of a uuid")
}

/// The clock on the wall at some time of the world, in milliseconds.
pub(crate) fn stamp(ms: u64) -> Stamp {
    Stamp {
        unix_us: 1_700_000_000_000_000 + i64::try_from(ms).expect("worlds are short") * 1_000,
        offset_s: 3_600,
    }
}

pub(crate) fn spec_blob(spec: &RunSpec) -> Digest {
    Digest::of(format!("spec of {}", spec.run).as_bytes())
}

pub(crate) fn round_cases(problem: u32, round: u32) -> Digest {
    // Nobody reads them, so that their address need be none.
    let mut address = [7; 32];
    address[..4].copy_from_slice(&problem.to_be_bytes());
    address[4..8].copy_from_slice(&round.to_be_bytes());
    Digest(address)
}

/// What distinguishes the runs of a world.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its number, from 1; later runs are younger.
    pub(crate) n: usize,
    pub(crate) problems: u32,
    /// Problems (from 1) that have no case.
    pub(crate) untested: Vec<u32>,
    pub(crate) parallel: bool,
    pub(crate) staged: bool,
    pub(crate) attempts_max: u32,
    pub(crate) model_at: ModelAt,
    pub(crate) mixed_versions: bool,
    pub(crate) evaluate_rounds: bool,
}

impl Asked {
    pub(crate) fn spec(&self) -> Arc<RunSpec> {
        let problem = |position| {
            let is_tested = !self.untested.contains(&position);
            problem(position, is_tested)
        };
        Arc::new(RunSpec {
            run: run_id(self.n),
            started: stamp(u64::try_from(self.n).expect("there are few runs")),
            version: "0.1.0".to_owned(),
            session: SessionSettings {
                method: Method::SelfCollaboration,
                model: "m".to_owned(),
                model_for: BTreeMap::new(),
                sampling: Sampling::default(),
                max_rounds: 4,
                tester: TesterMode::Cases,
                language: Language::Python3,
                patch: true,
                comparator: Comparator::Lines,
                limits: Limits::default(),
                final_choice: FinalChoice::Last,
            },
            model_at: self.model_at.clone(),
            lang: Lang::En,
            prompts: BTreeMap::new(),
            prompt_set: None,
            evaluation: EvaluationSettings {
                execution: roundhouse_proto::Execution::default(),
                limits_rule: roundhouse_core::run::LimitsRule::default(),
                tiers: Tier::ALL.to_vec(),
                comparator: Comparator::CodeContests,
                limits: Limits::default(),
                ignore_exit_status: false,
                timeouts_max: 3,
                stop_on_first_failure: false,
                mixed_versions: self.mixed_versions,
            },
            parallel: self.parallel,
            staged: self.staged,
            workers: 2,
            eval_workers: 2,
            evaluate_rounds: self.evaluate_rounds,
            attempts_max: self.attempts_max,
            quarantine: None,
            data_set: DataSet {
                name: "small".to_owned(),
                path: "small.jsonl".to_owned(),
                sha256: Digest([1; 32]),
                format: "jsonl".to_owned(),
                rows: self.problems,
            },
            problems: (1..=self.problems).map(problem).collect(),
        })
    }
}

fn problem(position: u32, is_tested: bool) -> ProblemSpec {
    ProblemSpec {
        position,
        name: format!("problem_{position:03}"),
        source_id: format!("source {position}"),
        statement: Digest([2; 32]),
        tests: is_tested.then_some(Digest([3; 32])),
        tiers: if is_tested {
            vec![(Tier::Private, CASES)]
        } else {
            Vec::new()
        },
        public_cases: None,
        reference: None,
        recording: None,
        entry_point: None,
        time_limit_ms: Some(2_000),
        memory_limit_bytes: None,
    }
}
