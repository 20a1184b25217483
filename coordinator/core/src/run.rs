//! What a run is asked to do: fixed when it is submitted, stored once, never changed.

use std::collections::BTreeMap;

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
    /// The problems, in data-set order.
    pub problems: Vec<ProblemSpec>,
}
