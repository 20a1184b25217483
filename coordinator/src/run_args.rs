//! The flags of `coordinator run`, and those that describe a run wherever it takes place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use roundhouse_core::run::Lang;
use roundhouse_proto::{FinalChoice, Method, Speaker, TesterMode, Tier};

use crate::endpoints::EndpointArgs;
use crate::judging_args::{JudgingArgs, RuleChoice};
use crate::preset::Preset;

/// Flags that say what a new run is, beside those that `--resume` names: these may also be set in the environment,
/// where they are for new runs and must not keep an old one from going on.
const OF_A_NEW_RUN: [&str; 4] = ["problems", "model", "output_dir", "data_dir"];

/// Fewer sessions at a time than these leave a machine idle while a model answers.
const FEW_SESSIONS: u32 = 8;

/// The first flag of `coordinator run` on the command line that does not go with `--resume` there.
pub fn flag_against_resume(run: &ArgMatches) -> Option<&'static str> {
    let is_given = |id: &str| run.value_source(id) == Some(ValueSource::CommandLine);
    if !is_given("resume") {
        return None;
    }
    OF_A_NEW_RUN.into_iter().find(|id| is_given(id))
}

/// Judge a model on a problem set: generate, evaluate, report
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
With a key in OPENAI_API_KEY or DEEPSEEK_API_KEY and problems in ./Datasets, `coordinator run` is enough. Without a \
key and without a network: `coordinator run --model reference` runs the bundled problems with an offline stand-in for a \
model.

Exit codes: 0 done · 1 error · 2 usage · 3 finished or paused, but some problems have no verdict · 4 nothing to do · \
100 --fail-under not met · 130 interrupted (state saved; the command that goes on is printed)")]
pub struct RunArgs {
    /// What the run is.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// Go on with a run that was interrupted, or try its errors again
    #[arg(
        long,
        value_name = "RUN_DIR",
        conflicts_with_all = [
            "limit", "ids", "filter", "sequential", "parallel", "staged", "problem_names", "preset", "max_rounds",
            "temperature", "top_p", "max_tokens", "tester", "final_choice", "prompts", "tests", "comparator",
            "timeouts_max", "stop_on_first_failure", "ignore_exit_status", "no_patch", "attempts_max", "model_for",
            "method", "lang", "mixed_versions", "evaluate_rounds", "zygote", "audit_rate", "no_cache", "time_limit",
            "memory_limit", "quarantine",
        ]
    )]
    pub resume: Option<PathBuf>,
    /// Where the model is.
    #[command(flatten)]
    pub endpoints: EndpointArgs,

    /// Sessions held at a time [default: half the cores, at least 1]
    #[arg(
        long,
        value_name = "N",
        env = "ROUNDHOUSE_WORKERS",
        value_parser = clap::value_parser!(u32).range(1..=4096),
        help_heading = "How much at a time"
    )]
    pub workers: Option<u32>,
    /// Evaluations in progress at a time; programs that run at once never exceed the cores
    /// [default: 4 × workers, at most 60]
    #[arg(
        long,
        value_name = "N",
        env = "ROUNDHOUSE_EVAL_WORKERS",
        value_parser = clap::value_parser!(u32).range(1..=4096),
        help_heading = "How much at a time"
    )]
    pub eval_workers: Option<u32>,

    /// Where run directories are made
    #[arg(
        long,
        value_name = "DIR",
        env = "ROUNDHOUSE_OUTPUT_DIR",
        default_value = "baseline_outputs",
        help_heading = "Where files go"
    )]
    pub output_dir: PathBuf,
    /// Where the state of the run is kept [default: RUN_DIR/.state]
    #[arg(
        long,
        value_name = "DIR",
        env = "ROUNDHOUSE_DATA_DIR",
        help_heading = "Where files go"
    )]
    pub data_dir: Option<PathBuf>,
    /// Keep every answer of the model in this file when the run ends; `--model recorded:FILE` plays them back
    #[arg(long, value_name = "FILE", help_heading = "Where files go")]
    pub record: Option<PathBuf>,

    /// The Python 3 that programs are run with [default: `python3` on the PATH]
    #[arg(
        long,
        value_name = "PATH",
        env = "ROUNDHOUSE_PYTHON",
        help_heading = "Judging"
    )]
    pub python: Option<PathBuf>,
    /// Run programs even where the host lets them be shut in only in part (isolation `partial`)
    #[arg(long, help_heading = "Judging")]
    pub allow_weak_isolation: bool,
    /// Run programs even where nothing but resources can be bounded (isolation `none`); never as root
    #[arg(long, help_heading = "Judging")]
    pub i_know_this_is_unsafe: bool,

    /// Exit with 100 if Pass@1, in percent, is below this
    #[arg(long, value_name = "PERCENT", value_parser = in_range(0.0, 100.0), help_heading = "When things go wrong")]
    pub fail_under: Option<f64>,
}

/// What a run is, wherever it takes place.
#[derive(Clone, Debug, Args)]
pub struct SpecArgs {
    /// The problems: CodeContests (parquet or JSONL), APPS, HumanEval, MBPP, or JSONL with `all_test_cases`; .gz and
    /// .zst too
    /// [default: `./Datasets/code_contests.jsonl`, else what `dataset fetch` put there; with `--model reference` the
    /// bundled problems]
    #[arg(long, value_name = "FILE", env = "ROUNDHOUSE_PROBLEMS")]
    pub problems: Option<PathBuf>,
    /// The model; `reference` is an offline stand-in that answers with the data set's own programs, and
    /// `recorded:FILE` answers with what `--record` kept [default, of `run`
    /// only: `deepseek-chat` or `gpt-4.1-mini`, whose key is set]
    #[arg(long, value_name = "MODEL", env = "ROUNDHOUSE_MODEL")]
    pub model: Option<String>,
    /// Another model for one speaker; may be given for each
    #[arg(long, value_name = "SPEAKER=MODEL", help_heading = "The session")]
    pub model_for: Vec<SpeakerModel>,
    /// Which roles of the model work on a problem: self-collaboration, direct, analyst-coder or coder-tester
    /// [default: self-collaboration]
    #[arg(long, value_name = "METHOD", help_heading = "The session")]
    pub method: Option<Method>,
    /// Language of the console and of REPORT.txt
    #[arg(
        long,
        value_name = "zh|en",
        default_value = "zh",
        help_heading = "Where files go"
    )]
    pub lang: Lang,
    /// Only the first N problems
    #[arg(long, value_name = "N", help_heading = "Which problems")]
    pub limit: Option<usize>,
    /// Only these: ids of the data set, `problem_007`, or positions, separated by commas
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        help_heading = "Which problems"
    )]
    pub ids: Vec<String>,
    /// Only those whose id holds this text
    #[arg(long, value_name = "TEXT", help_heading = "Which problems")]
    pub filter: Option<String>,

    /// Hold several sessions at a time (the default)
    #[arg(long, help_heading = "How much at a time")]
    pub parallel: bool,
    /// Hold one session at a time, in data-set order; overrides --parallel and --workers
    #[arg(long, help_heading = "How much at a time")]
    pub sequential: bool,
    /// Evaluate only after every session has ended
    #[arg(long, help_heading = "How much at a time")]
    pub staged: bool,

    /// After what the directories of problems are named: their `position` in the file (`problem_007`), or their id in
    /// the `source`, made safe
    #[arg(
        long,
        value_name = "position|source",
        default_value = "position",
        help_heading = "Where files go"
    )]
    pub problem_names: ProblemNames,
    /// Settings of a known experiment, where no flag says otherwise: `paper` has 4 rounds and `--tester review`;
    /// `seed` has 2 rounds, `--tester cases`, temperature 0.3 and 1400 tokens
    #[arg(long, value_name = "paper|seed", help_heading = "The session")]
    pub preset: Option<Preset>,
    /// Most programs the coder writes for one problem [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "The session")]
    pub max_rounds: Option<u32>,
    /// Sampling temperature, 0 to 2 [default: 0]
    #[arg(long, value_name = "T", value_parser = in_range(0.0, 2.0), help_heading = "The session")]
    pub temperature: Option<f64>,
    /// Share of the likeliest tokens considered, above 0, at most 1 [default: 0.95]
    #[arg(long, value_name = "P", value_parser = in_range(f64::MIN_POSITIVE, 1.0), help_heading = "The session")]
    pub top_p: Option<f64>,
    /// Most tokens of one answer [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "The session")]
    pub max_tokens: Option<u32>,
    /// What a round is tested with: `cases` the tester writes, the problem's `public` examples, both, or a `review`
    /// in which the tester reads the program and nothing is run [default: cases]
    #[arg(
        long,
        value_name = "cases|public|public+cases|review",
        help_heading = "The session"
    )]
    pub tester: Option<TesterMode>,
    /// Which program is judged: the `last` one, or the latest of those that pass most `public` examples
    /// [default: last]
    #[arg(long = "final", value_name = "last|public", help_heading = "The session")]
    pub final_choice: Option<FinalChoice>,
    /// Templates that replace built-in prompts, as files such as `coder.j2`; `coordinator prompts export DIR` writes
    /// the built-in ones
    #[arg(long, value_name = "DIR", help_heading = "The session")]
    pub prompts: Option<PathBuf>,
    /// Judge programs exactly as the coder wrote them: add no missing import and no call of `main()`
    #[arg(long, help_heading = "The session")]
    pub no_patch: bool,
    /// Judge the program of every round too, behind everything else; summary.json gets Pass@1 by round, and how often
    /// the tester was right. No model sees it
    #[arg(long, help_heading = "The session")]
    pub evaluate_rounds: bool,

    /// Which tests are judged: all, or some of public,private,generated
    #[arg(long, value_name = "TIERS", default_value = "all", value_parser = parse_tiers, help_heading = "Judging")]
    pub tests: Tiers,
    /// By which rule outputs agree: code-contests, tokens, lines, exact, float, float:abs=1e-6,rel=1e-6,
    /// unordered-lines, or checker:FILE, a program that is given input, output and expected output
    #[arg(
        long,
        value_name = "RULE",
        default_value = "code-contests",
        help_heading = "Judging"
    )]
    pub comparator: RuleChoice,
    /// After so many tests that timed out the rest count as timed out too; 0 runs all
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Judging")]
    pub timeouts_max: u32,
    /// Run no test of a program after the first that fails
    #[arg(long, help_heading = "Judging")]
    pub stop_on_first_failure: bool,
    /// An exit status other than 0 is no failure if the output is right
    #[arg(long, help_heading = "Judging")]
    pub ignore_exit_status: bool,
    /// Let workers of any Python judge; otherwise all programs are judged by one minor version, that of the first
    #[arg(long, help_heading = "Judging")]
    pub mixed_versions: bool,
    /// How processes are started and what they may use.
    #[command(flatten)]
    pub judging: JudgingArgs,
    /// Attempts of a job that lose their worker before the problem is given up as an error
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "When things go wrong")]
    pub attempts_max: u32,
}

/// A speaker with a model of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerModel {
    /// Who.
    pub speaker: Speaker,
    /// Which model.
    pub model: String,
}

/// A text that gives no speaker a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `SPEAKER=MODEL`, where the speaker is `analyst`, `coder` or `tester`")]
pub struct SpeakerModelFormat;

impl FromStr for SpeakerModel {
    type Err = SpeakerModelFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (word, model) = text.split_once('=').ok_or(SpeakerModelFormat)?;
        let mut speakers = [Speaker::Analyst, Speaker::Coder, Speaker::Tester].into_iter();
        let speaker = speakers
            .find(|speaker| speaker.word() == word)
            .ok_or(SpeakerModelFormat)?;
        if model.is_empty() {
            return Err(SpeakerModelFormat);
        }
        Ok(Self {
            speaker,
            model: model.to_owned(),
        })
    }
}

/// After what the directories of problems are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemNames {
    /// Their position in the data set.
    Position,
    /// Their id in the data set.
    Source,
}

/// A text that names no way to name problems.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("problems cannot be named after `{0}`: expected `position` or `source`")]
pub struct UnknownProblemNames(pub String);

impl FromStr for ProblemNames {
    type Err = UnknownProblemNames;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "position" => Ok(Self::Position),
            "source" => Ok(Self::Source),
            _ => Err(UnknownProblemNames(text.to_owned())),
        }
    }
}

/// Tiers of tests, in the order public, private, generated, each at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers(pub Vec<Tier>);

fn parse_tiers(text: &str) -> Result<Tiers, String> {
    if text == "all" {
        return Ok(Tiers(Tier::ALL.to_vec()));
    }
    let unknown = text
        .split(',')
        .find(|word| !Tier::ALL.iter().any(|tier| tier.word() == *word));
    if let Some(word) = unknown {
        return Err(format!(
            "`{word}` is no tier of tests: expected `all`, or some of `public,private,generated`"
        ));
    }
    let is_named = |tier: &&Tier| text.split(',').any(|word| word == tier.word());
    Ok(Tiers(Tier::ALL.iter().filter(is_named).copied().collect()))
}

/// A share in percent.
pub(crate) fn percent() -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    in_range(0.0, 100.0)
}

fn in_range(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ if least == f64::MIN_POSITIVE => Err(format!("expected a number above 0 and at most {most}")),
        _ => Err(format!("expected a number from {least} to {most}")),
    }
}

impl SpecArgs {
    /// Models of speakers that have another one; the last flag holds.
    pub fn models_for(&self) -> BTreeMap<Speaker, String> {
        let models = self.model_for.iter();
        models.map(|own| (own.speaker, own.model.clone())).collect()
    }
}

impl RunArgs {
    /// Sessions at a time.
    pub fn workers(&self, cores: u32) -> u32 {
        if self.spec.sequential {
            1
        } else {
            self.workers.unwrap_or((cores / 2).max(1))
        }
    }

    /// Whether nobody chose how many sessions are held at a time, and so many cores give few of them.
    pub fn holds_few_sessions(&self, cores: u32) -> bool {
        self.workers.is_none() && !self.spec.sequential && cores / 2 < FEW_SESSIONS
    }

    /// Evaluations in progress at a time.
    pub fn eval_workers(&self, cores: u32) -> u32 {
        self.eval_workers
            .unwrap_or_else(|| self.workers(cores).saturating_mul(4).min(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(words: &[&str]) -> Result<ArgMatches, clap::Error> {
        let command = RunArgs::augment_args(clap::Command::new("run"));
        command.try_get_matches_from([&["run"], words].concat())
    }

    #[test]
    fn flag_of_a_new_run_does_not_go_with_resume_on_the_command_line() {
        let against = |words: &[&str]| matches(words).map(|run| flag_against_resume(&run)).ok();
        assert_eq!(against(&["--resume", "d"]), Some(None));
        assert_eq!(against(&["--resume", "d", "--workers", "2"]), Some(None));
        assert_eq!(against(&["--model", "m", "--output-dir", "o"]), Some(None));
        let both = ["--resume", "d", "--model", "m"];
        assert_eq!(against(&both), Some(Some("model")));
        assert_eq!(
            against(&["--resume", "d", "--data-dir", "o"]),
            Some(Some("data_dir"))
        );
        // Those that no environment variable sets are refused by the parser.
        assert_eq!(against(&["--resume", "d", "--limit", "1"]), None);
    }

    #[test]
    fn every_flag_against_resume_that_the_environment_can_set_is_left_to_the_check() {
        let command = RunArgs::augment_args(clap::Command::new("run"));
        let resume = command.get_arguments().find(|arg| arg.get_id() == "resume");
        let conflicts = command.get_arg_conflicts_with(resume.expect("there is `--resume`"));
        let from_environment = conflicts.iter().filter(|arg| arg.get_env().is_some()).count();
        assert_eq!((from_environment, conflicts.is_empty()), (0, false));
        let is_known = |id: &&str| command.get_arguments().any(|arg| arg.get_id() == id);
        assert!(OF_A_NEW_RUN.iter().all(is_known));
    }

    #[test]
    fn speaker_gets_a_model_of_its_own_and_anything_else_is_refused() {
        let own = SpeakerModel {
            speaker: Speaker::Tester,
            model: "a=b".to_owned(),
        };
        assert_eq!("tester=a=b".parse(), Ok(own));
        for text in ["", "tester", "tester=", "=m", "judge=m"] {
            assert_eq!(text.parse::<SpeakerModel>(), Err(SpeakerModelFormat), "{text}");
        }
    }

    #[test]
    fn tiers_are_put_in_order_and_an_unknown_one_is_named() {
        assert_eq!(parse_tiers("all"), Ok(Tiers(Tier::ALL.to_vec())));
        assert_eq!(
            parse_tiers("private,public,private"),
            Ok(Tiers(vec![Tier::Public, Tier::Private]))
        );
        let error = "`hidden` is no tier of tests: expected `all`, or some of `public,private,generated`";
        assert_eq!(parse_tiers("public,hidden"), Err(error.to_owned()));
        assert!(parse_tiers("").is_err());
    }

    #[test]
    fn number_out_of_range_or_not_a_number_is_refused_with_the_range() {
        assert_eq!(in_range(0.0, 2.0)("2"), Ok(2.0));
        for text in ["nan", "2.1", "-1", "x"] {
            assert_eq!(
                in_range(0.0, 2.0)(text),
                Err("expected a number from 0 to 2".to_owned())
            );
        }
        assert_eq!(
            in_range(f64::MIN_POSITIVE, 1.0)("0"),
            Err("expected a number above 0 and at most 1".to_owned())
        );
    }
}
