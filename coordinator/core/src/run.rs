//! What a run is asked to do: fixed when it is submitted, stored once, never changed.

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_proto::{Comparator, Digest, Execution, Limits, RunId, SessionSettings, Tier};
use serde::{Deserialize, Serialize};

use crate::clock::Stamp;

/// How final programs are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSettings {
    /// Which tiers of the tests are judged, in the order public, private, generated.
    pub tiers: Vec<Tier>,
    /// By which rule outputs agree.
    pub comparator: Comparator,
    /// What each test may use.
    pub limits: Limits,
    /// Whether an exit status other than 0 is no failure.
    pub ignore_exit_status: bool,
    /// After how many cases that timed out the rest count as timed out; 0 runs all.
    pub timeouts_max: u32,
    /// Whether cases after the first failing one are left out.
    pub stop_on_first_failure: bool,
    /// How processes come into being, and when none is needed.
    #[serde(default)]
    pub execution: Execution,
    /// Whether programs may be judged by interpreters of several minor versions.
    #[serde(default)]
    pub mixed_versions: bool,
    /// When a problem has limits of its own.
    #[serde(default)]
    pub limits_rule: LimitsRule,
}

/// When a problem's final program has limits of its own in the place of the run's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsRule {
    /// Of CPU time.
    pub time: TimeRule,
    /// Of memory.
    pub memory: MemoryRule,
}

/// Whence the CPU time of a test comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeRule {
    /// The run's limit holds for every problem.
    #[default]
    Run,
    /// A problem's own limit, times a factor, where it is known.
    Problem {
        /// The factor in thousandths: original limits are for compiled languages.
        factor_per_mille: u32,
    },
}

/// Whence the memory of a test comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryRule {
    /// The run's limit holds for every problem.
    #[default]
    Run,
    /// A problem's own limit, where it is known.
    Problem {
        /// What an interpreter needs in any case, in bytes.
        floor_bytes: u64,
    },
}

/// Whence a limit of a problem came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitFrom {
    /// From the run: the rule says so, or the problem's own is not known.
    Run,
    /// From the problem.
    Problem,
    /// The problem's own is less than an interpreter needs.
    Floor,
}

/// What a problem's final program may use, and why so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemLimits {
    /// What it may use.
    pub limits: Limits,
    /// Whence its CPU time comes.
    pub time_from: LimitFrom,
    /// Whence its memory comes.
    pub memory_from: LimitFrom,
}

/// Most CPU time of a test, in milliseconds: data sets may say anything.
pub const CPU_MS_MAX: u64 = 60 * 60 * 1_000;
/// Most memory of a test, in bytes.
pub const MEMORY_BYTES_MAX: u64 = 1 << 40;

impl ProblemLimits {
    /// Those of one problem of a run. A limit of 0 is one that is not known.
    pub fn of(settings: &EvaluationSettings, problem: &ProblemSpec) -> Self {
        let mut limits = settings.limits;
        let known = |limit: Option<u64>| limit.filter(|limit| *limit > 0);
        let time_from = match (settings.limits_rule.time, known(problem.time_limit_ms)) {
            (TimeRule::Run, _) | (TimeRule::Problem { .. }, None) => LimitFrom::Run,
            (TimeRule::Problem { factor_per_mille }, Some(own_ms)) => {
                let scaled = own_ms.saturating_mul(factor_per_mille.into()).div_ceil(1_000);
                limits.cpu_ms = scaled.clamp(1, CPU_MS_MAX);
                limits.wall_ms = Limits::wall_for_cpu_ms(limits.cpu_ms);
                LimitFrom::Problem
            }
        };
        let memory_from = match (settings.limits_rule.memory, known(problem.memory_limit_bytes)) {
            (MemoryRule::Run, _) | (MemoryRule::Problem { .. }, None) => LimitFrom::Run,
            (MemoryRule::Problem { floor_bytes }, Some(own)) if own < floor_bytes => {
                limits.memory_bytes = floor_bytes;
                LimitFrom::Floor
            }
            (MemoryRule::Problem { .. }, Some(own)) => {
                limits.memory_bytes = own.min(MEMORY_BYTES_MAX);
                LimitFrom::Problem
            }
        };
        Self {
            limits,
            time_from,
            memory_from,
        }
    }
}

/// What each test of a problem's final program may use.
pub fn limits_of(settings: &EvaluationSettings, problem: &ProblemSpec) -> Limits {
    ProblemLimits::of(settings, problem).limits
}

/// Why a data set's own accepted programs show that a problem cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineReason {
    /// More than one output is right, and the rule knows one.
    SeveralRightAnswers,
    /// The program is to talk with another one.
    Interactive,
    /// The program needs more time, memory or output than there is.
    Limit,
    /// The program needs something else of its surroundings: a file, a module, a deeper stack.
    Environment,
    /// Cases contradict each other or the programs.
    WrongData,
    /// None of these is seen.
    Unknown,
}

impl QuarantineReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SeveralRightAnswers,
        Self::Interactive,
        Self::Limit,
        Self::Environment,
        Self::WrongData,
        Self::Unknown,
    ];

    /// The word used in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::SeveralRightAnswers => "several-right-answers",
            Self::Interactive => "interactive",
            Self::Limit => "limit",
            Self::Environment => "environment",
            Self::WrongData => "wrong-data",
            Self::Unknown => "unknown",
        }
    }
}

/// Problems of a run that cannot be judged. They are run and count all the same; the rate of the others is told too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Address of the bytes of the file that said so.
    pub sha256: Digest,
    /// Those of the run, by position.
    pub problems: Vec<QuarantinedProblem>,
}

/// A problem that cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedProblem {
    /// 1-based position in the unfiltered data set.
    pub position: u32,
    /// Why not.
    pub reason: QuarantineReason,
}

impl Quarantine {
    /// The positions of its problems.
    pub fn positions(&self) -> BTreeSet<u32> {
        self.problems.iter().map(|problem| problem.position).collect()
    }
}

/// Where the problems came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSet {
    /// The name that reports print.
    pub name: String,
    /// The file as the user named it, or `bundled`.
    pub path: String,
    /// Address of the file's bytes.
    pub sha256: Digest,
    /// How the file was read, such as `code_contests parquet`.
    pub format: String,
    /// Rows of the file, before any were chosen.
    pub rows: u32,
}

/// One problem of a run. Its big parts are blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemSpec {
    /// 1-based position in the unfiltered data set.
    pub position: u32,
    /// Name of its directory.
    pub name: String,
    /// The data set's own id.
    pub source_id: String,
    /// Address of the statement.
    pub statement: Digest,
    /// Address of the encoded [`roundhouse_proto::TestSet`] that is judged; none if it has no case.
    pub tests: Option<Digest>,
    /// How many cases of each tier that set has, in its order.
    pub tiers: Vec<(Tier, u32)>,
    /// Address of the encoded public examples; none if there are none.
    pub public_cases: Option<Digest>,
    /// Address of the encoded [`roundhouse_proto::ReferenceMaterial`]; only with the offline model `reference`.
    pub reference: Option<Digest>,
    /// Address of the encoded [`roundhouse_proto::Recording`]; only with the offline model `recorded`.
    #[serde(default)]
    pub recording: Option<Digest>,
    /// The function that is asked for; none for a program from standard input to standard output.
    #[serde(default)]
    pub entry_point: Option<String>,
    /// The original time limit, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// The original memory limit, in bytes.
    pub memory_limit_bytes: Option<u64>,
}

impl ProblemSpec {
    /// How many cases are judged.
    pub fn cases_n(&self) -> u32 {
        self.tiers.iter().map(|(_, n)| n).sum()
    }
}

/// Who answers a run's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelAt {
    /// Nobody: answers come from blobs.
    #[default]
    Offline,
    /// An endpoint of the generation workers.
    Endpoint {
        /// Its name; none for the one that the fleet offers, which is chosen when the first session is handed out.
        name: Option<String>,
    },
}

/// The language of what people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lang {
    /// Chinese: readers of the files of earlier programs expect it.
    #[default]
    Zh,
    /// English.
    En,
}

impl Lang {
    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }
}

/// A text that names no language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no language is called `{0}`: expected `zh` or `en`")]
pub struct UnknownLang(pub String);

impl std::str::FromStr for Lang {
    type Err = UnknownLang;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "zh" => Ok(Self::Zh),
            "en" => Ok(Self::En),
            _ => Err(UnknownLang(text.to_owned())),
        }
    }
}

/// What a run is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Its id, made by the client.
    pub run: RunId,
    /// When it was started.
    pub started: Stamp,
    /// The version that started it.
    pub version: String,
    /// How sessions are held.
    pub session: SessionSettings,
    /// Who answers.
    #[serde(default)]
    pub model_at: ModelAt,
    /// The language of the reports.
    #[serde(default)]
    pub lang: Lang,
    /// Addresses of the prompt templates, by name; of those that are used, wherever they come from.
    pub prompts: BTreeMap<String, Digest>,
    /// Address of the encoded [`roundhouse_proto::PromptSet`]; none where all templates are the built-in ones.
    #[serde(default)]
    pub prompt_set: Option<Digest>,
    /// How final programs are judged.
    pub evaluation: EvaluationSettings,
    /// Whether more than one session is held at a time.
    pub parallel: bool,
    /// Whether evaluation waits until every session has ended.
    pub staged: bool,
    /// Generation slots asked for.
    pub workers: u32,
    /// Evaluation slots asked for.
    pub eval_workers: u32,
    /// Whether the program of every round is judged as a final one is, for the summary alone.
    #[serde(default)]
    pub evaluate_rounds: bool,
    /// After how many grants of a job, each of which lost its worker, the job is given up.
    pub attempts_max: u32,
    /// Where the problems came from.
    pub data_set: DataSet,
    /// Which of them cannot be judged; none if nobody said.
    #[serde(default)]
    pub quarantine: Option<Quarantine>,
    /// The problems, in data-set order.
    pub problems: Vec<ProblemSpec>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn settings(time: TimeRule, memory: MemoryRule) -> EvaluationSettings {
        EvaluationSettings {
            mixed_versions: false,
            tiers: Tier::ALL.to_vec(),
            comparator: Comparator::CodeContests,
            limits: Limits {
                processes: 7,
                ..Limits::default()
            },
            ignore_exit_status: false,
            timeouts_max: 3,
            stop_on_first_failure: false,
            execution: Execution::default(),
            limits_rule: LimitsRule { time, memory },
        }
    }

    fn problem(time_limit_ms: Option<u64>, memory_limit_bytes: Option<u64>) -> ProblemSpec {
        ProblemSpec {
            position: 1,
            name: "problem_001".to_owned(),
            source_id: "a".to_owned(),
            statement: Digest::of(b""),
            tests: None,
            tiers: Vec::new(),
            public_cases: None,
            reference: None,
            recording: None,
            entry_point: None,
            time_limit_ms,
            memory_limit_bytes,
        }
    }

    /// CPU time, wall time and memory, with whence the first and the last come.
    fn found(limits: ProblemLimits) -> (u64, u64, u64, LimitFrom, LimitFrom) {
        let ProblemLimits {
            limits,
            time_from,
            memory_from,
        } = limits;
        assert_eq!((limits.processes, limits.output_bytes), (7, 64 * MIB));
        (
            limits.cpu_ms,
            limits.wall_ms,
            limits.memory_bytes,
            time_from,
            memory_from,
        )
    }

    #[test]
    fn limits_of_the_run_hold_whatever_a_problem_says() {
        let settings = settings(TimeRule::Run, MemoryRule::Run);
        let own = ProblemLimits::of(&settings, &problem(Some(2_000), Some(64 * MIB)));
        let run = (10_000, 40_000, 1024 * MIB, LimitFrom::Run, LimitFrom::Run);
        assert_eq!(found(own), run);
    }

    #[test]
    fn limits_of_a_problem_are_scaled_and_what_is_not_known_is_the_run_s() {
        let time = TimeRule::Problem {
            factor_per_mille: 2_500,
        };
        let memory = MemoryRule::Problem {
            floor_bytes: 256 * MIB,
        };
        let settings = settings(time, memory);
        let of = |time, memory| found(ProblemLimits::of(&settings, &problem(time, memory)));
        let (run, own, floor) = (LimitFrom::Run, LimitFrom::Problem, LimitFrom::Floor);
        assert_eq!(
            of(Some(2_000), Some(512 * MIB)),
            (5_000, 20_000, 512 * MIB, own, own)
        );
        assert_eq!(of(Some(1), Some(64 * MIB)), (3, 5_003, 256 * MIB, own, floor));
        let unknown = (10_000, 40_000, 1024 * MIB, run, run);
        assert_eq!((of(None, None), of(Some(0), Some(0))), (unknown, unknown));
        let most = of(Some(u64::MAX), Some(u64::MAX));
        assert_eq!(
            (most.0, most.1, most.2),
            (CPU_MS_MAX, 4 * CPU_MS_MAX, MEMORY_BYTES_MAX)
        );
        let problem = problem(Some(4_000), None);
        assert_eq!(limits_of(&settings, &problem).cpu_ms, 10_000);
    }
}
