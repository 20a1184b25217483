//! The generation session as seen from outside: its settings, and the events it leaves behind, in order.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::comparator::Comparator;
use crate::digest::{Digest, Payload};
use crate::limits::Limits;
use crate::problem::Language;

/// Which role of the model speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// Plans.
    Analyst,
    /// Writes the program.
    Coder,
    /// Writes cases, or judges the program by reading it.
    Tester,
}

impl Speaker {
    /// The word used in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Analyst => "analyst",
            Self::Coder => "coder",
            Self::Tester => "tester",
        }
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Tokens of one call, as the server counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input: u64,
    /// Those of `input` that the server had cached.
    pub cached_input: u64,
    /// Tokens of the answer, reasoning included.
    pub output: u64,
    /// Those of `output` that were reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// What counts as used: prompt and answer.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// Why the server ended an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// It reached the most tokens it may write.
    Length,
    /// It was filtered or refused.
    ContentFilter,
}

/// How the model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 picks the likeliest token.
    pub temperature: f64,
    /// Share of the likeliest tokens that are considered.
    pub top_p: f64,
    /// Most tokens of one answer.
    pub max_tokens: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 0.95,
            max_tokens: 4096,
        }
    }
}

/// What the tester does in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TesterMode {
    /// The tester writes cases, which are run.
    #[default]
    Cases,
    /// The problem's public examples are run instead.
    Public,
    /// Public examples first, then the tester's cases, whose failures are its opinion.
    #[serde(rename = "public+cases")]
    PublicAndCases,
    /// The tester reads the program and says PASS or FAIL; nothing is run.
    Review,
}

impl TesterMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Cases, Self::Public, Self::PublicAndCases, Self::Review];

    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cases => "cases",
            Self::Public => "public",
            Self::PublicAndCases => "public+cases",
            Self::Review => "review",
        }
    }
}

/// A text that names no tester mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tester is called `{0}`: expected `cases`, `public`, `public+cases` or `review`")]
pub struct UnknownTesterMode(pub String);

impl FromStr for TesterMode {
    type Err = UnknownTesterMode;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|mode| mode.word() == text);
        named.ok_or_else(|| UnknownTesterMode(text.to_owned()))
    }
}

/// Which of a session's programs is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalChoice {
    /// The last one.
    #[default]
    Last,
    /// The latest of those that pass most of the problem's public examples.
    Public,
}

impl FinalChoice {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Last, Self::Public];

    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Public => "public",
        }
    }
}

/// A text that names no choice of a final program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no choice is called `{0}`: expected `last` or `public`")]
pub struct UnknownFinalChoice(pub String);

impl FromStr for FinalChoice {
    type Err = UnknownFinalChoice;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|choice| choice.word() == text);
        named.ok_or_else(|| UnknownFinalChoice(text.to_owned()))
    }
}

/// Which roles of the model work on a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// An analyst plans, a coder writes, a tester has the program run or reads it, in rounds (Dong et al. 2023,
    /// arXiv:2304.07590).
    #[default]
    SelfCollaboration,
    /// The coder is asked once.
    Direct,
    /// An analyst plans, the coder is asked once.
    AnalystCoder,
    /// Coder and tester in rounds, without a plan.
    CoderTester,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [
        Self::SelfCollaboration,
        Self::Direct,
        Self::AnalystCoder,
        Self::CoderTester,
    ];

    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::SelfCollaboration => "self-collaboration",
            Self::Direct => "direct",
            Self::AnalystCoder => "analyst-coder",
            Self::CoderTester => "coder-tester",
        }
    }
}

/// A text that names no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no method is called `{0}`: expected `self-collaboration`, `direct`, `analyst-coder` or `coder-tester`"
)]
pub struct UnknownMethod(pub String);

impl FromStr for Method {
    type Err = UnknownMethod;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|method| method.word() == text);
        named.ok_or_else(|| UnknownMethod(text.to_owned()))
    }
}

/// Everything that shapes a session apart from its problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSettings {
    /// Which roles work on a problem.
    pub method: Method,
    /// Name of the model; `reference` and `recorded` are the offline ones.
    pub model: String,
    /// Models of speakers that have another one.
    #[serde(default)]
    pub model_for: BTreeMap<Speaker, String>,
    /// How it is asked.
    pub sampling: Sampling,
    /// Most coder turns, at least 1.
    pub max_rounds: u32,
    /// What the tester does.
    pub tester: TesterMode,
    /// What programs are written in.
    pub language: Language,
    /// Whether missing imports and a missing call of `main()` are added before a program is run.
    pub patch: bool,
    /// By which rule a round's outputs agree.
    pub comparator: Comparator,
    /// What a test of a round may use.
    pub limits: Limits,
    /// Which program is judged; what was stored before there was a choice has the last one.
    #[serde(default)]
    pub final_choice: FinalChoice,
}

impl SessionSettings {
    /// The model that a speaker asks.
    pub fn model_of(&self, speaker: Speaker) -> &str {
        self.model_for.get(&speaker).unwrap_or(&self.model)
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A round passed all its cases.
    Passed,
    /// The last allowed round was written.
    RoundLimit,
    /// The coder returned the same program again.
    Unchanged,
    /// A reply held no program, also after asking again.
    NoCode,
    /// The tester gave no usable case, also after asking again.
    NoCases,
    /// The budget was reached.
    Budget,
    /// The model refused, or its answer was filtered.
    Refused,
    /// The answer was cut off at the token limit before a program was complete, also with twice the tokens.
    Truncated,
    /// The prompt did not fit the model's context.
    ContextLimit,
    /// Only cases of the tester's own fail, and they have earned their repair already.
    Disputed,
}

impl StopReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Passed,
        Self::RoundLimit,
        Self::Unchanged,
        Self::NoCode,
        Self::NoCases,
        Self::Budget,
        Self::Refused,
        Self::Truncated,
        Self::ContextLimit,
        Self::Disputed,
    ];

    /// The word used in files and on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::RoundLimit => "round_limit",
            Self::Unchanged => "unchanged",
            Self::NoCode => "no_code",
            Self::NoCases => "no_cases",
            Self::Budget => "budget",
            Self::Refused => "refused",
            Self::Truncated => "truncated",
            Self::ContextLimit => "context_limit",
            Self::Disputed => "disputed",
        }
    }
}

/// What a session came to. No program is the model's failure; ours is a [`crate::work::Failure`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationOutcome {
    /// The program to be judged, patches included; none: generation failed, and the problem with it.
    pub program: Option<Payload>,
    /// Why the session ended.
    pub stop_reason: StopReason,
    /// What was added to the program before it is run, in order, such as `import sys`.
    pub patched: Vec<String>,
    /// Replies that broke a rule and what was done, such as `empty plan: asked again`.
    pub notes: Vec<String>,
    /// Where the session ended with a call that brought no answer: its tries that may have been paid all the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unaccounted: u32,
}

/// What a session leaves behind. Each is stored before the next call to the model starts; a new attempt replays
/// them and goes on after the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEvent {
    /// The model answered.
    Said {
        /// In which role.
        speaker: Speaker,
        /// In which round, from 0; the analyst speaks in round 0.
        round: u32,
        /// 0 for the first asking of this turn, 1 for asking again.
        ask: u32,
        /// The user message that was new in this call.
        prompt: Payload,
        /// The answer, reasoning stripped.
        reply: Payload,
        /// Reasoning that the server sent apart from the answer.
        reasoning: Option<Payload>,
        /// Why the answer ended.
        finish: FinishReason,
        /// Tokens, where the server counted them.
        usage: Option<Usage>,
        /// How long the call took, in milliseconds.
        duration_ms: u64,
        /// What was unusual about the call, such as `temperature is left out: the endpoint does not support it`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remarks: Vec<String>,
        /// Tries of this call that may have been paid and broke before they told their tokens.
        #[serde(default, skip_serializing_if = "is_zero")]
        unaccounted: u32,
    },
    /// A program is to be run against the round's cases; after the round's end, against the public examples only, for
    /// the choice of the final program.
    TestRequest {
        /// In which round, from 0.
        round: u32,
        /// The program as it is run, patches included.
        program: Payload,
        /// Address of the cases, an encoded [`crate::TestSet`].
        cases: Digest,
        /// How many cases there are.
        cases_n: u32,
    },
    /// A round is over; its directory can be written.
    RoundEnd {
        /// Which round, from 0.
        round: u32,
        /// The program as the coder wrote it.
        code: Payload,
        /// What the coder is told, or why no test ran.
        report: Payload,
        /// The tester's answer as it is; empty when nobody was asked.
        tests_raw: Payload,
        /// The cases that the coder is told of, as text; none when no test ran.
        tests_used: Option<Payload>,
        /// The program as it is run, patches included; none where that is `code` itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<Payload>,
        /// Whether it passed the round's tests, or the tester's review; none when there was neither.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passed: Option<bool>,
    },
    /// The session is over.
    Finished(GenerationOutcome),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl SessionEvent {
    /// The values it carries that may be large, for whoever keeps them elsewhere.
    pub fn payloads_mut(&mut self) -> Vec<&mut Payload> {
        match self {
            Self::Said {
                prompt,
                reply,
                reasoning,
                ..
            } => [Some(prompt), Some(reply), reasoning.as_mut()]
                .into_iter()
                .flatten()
                .collect(),
            Self::TestRequest { program, .. } => vec![program],
            Self::RoundEnd {
                code,
                report,
                tests_raw,
                tests_used,
                program,
                ..
            } => [Some(code), Some(report), Some(tests_raw)]
                .into_iter()
                .chain([tests_used.as_mut(), program.as_mut()])
                .flatten()
                .collect(),
            Self::Finished(outcome) => outcome.program.iter_mut().collect(),
        }
    }
}
