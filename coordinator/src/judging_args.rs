//! The flags that say how processes are started and what they may use, and the words that these flags take.
//!
//! A word reads back from its own text, so that reports name a setting as the flag does.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use roundhouse_core::run::{
    CPU_MS_MAX, EvaluationSettings, LimitsRule, MEMORY_BYTES_MAX, MemoryRule, TimeRule,
};
use roundhouse_proto::comparator::UnknownComparator;
use roundhouse_proto::{Comparator, Execution, Language, Limits, StartMode};

/// What an interpreter needs in any case, whatever a problem says, in bytes.
const MEMORY_FLOOR_BYTES: u64 = 256 << 20;
/// Less memory than this starts no interpreter.
const MEMORY_BYTES_MIN: u64 = 16 << 20;
/// Greatest factor of a problem's time limit, in thousandths.
const FACTOR_MAX: u32 = 1_000_000;

/// How processes are started and what they may use.
#[derive(Clone, Debug, Args)]
pub struct JudgingArgs {
    /// How the process of a test is started: `fast`, forked from an interpreter that has compiled the program;
    /// `natural`, forked from one that has not read it; `fresh`, an interpreter of its own
    #[arg(
        long,
        value_name = "fast|natural|fresh",
        default_value = "fast",
        help_heading = "Judging"
    )]
    pub zygote: StartMode,
    /// Percentage of tests that are run once more by a fresh interpreter; where that shows a fork server to be at
    /// fault, its verdict stands
    #[arg(
        long,
        value_name = "PERCENT",
        default_value = "1",
        allow_negative_numbers = true,
        help_heading = "Judging"
    )]
    pub audit_rate: AuditRate,
    /// Judge equal programs anew, every time
    #[arg(long, help_heading = "Judging")]
    pub no_cache: bool,
    /// CPU time of each test of a final program: `10s`, `500ms`, or `problem`, the problem's own limit times 5;
    /// `problem*3` takes another factor. A problem without a limit has 10 s
    #[arg(long, value_name = "LIMIT", default_value = "10s", help_heading = "Judging")]
    pub time_limit: TimeLimit,
    /// Memory of each test of a final program: `1GiB`, `256MiB`, or `problem`, the problem's own limit, but at least
    /// 256MiB. A problem without a limit has 1 GiB
    #[arg(long, value_name = "LIMIT", default_value = "1GiB", help_heading = "Judging")]
    pub memory_limit: MemoryLimit,
    /// Problems that cannot be judged, as `coordinator dataset verify --write-quarantine FILE` wrote them: they count
    /// as ever, and the pass rate of the others is reported too
    #[arg(long, value_name = "FILE", help_heading = "Judging")]
    pub quarantine: Option<PathBuf>,
}

impl JudgingArgs {
    /// How processes come into being.
    pub fn execution(&self) -> Execution {
        Execution {
            start: self.zygote,
            audit_per_mille: self.audit_rate.per_mille,
            reuse: !self.no_cache,
        }
    }

    /// What each test may use where its problem does not say, and when it does.
    pub fn limits(&self, language: Language) -> (Limits, LimitsRule) {
        let mut limits = Limits::default();
        let time = match self.time_limit {
            TimeLimit::Fixed { cpu_ms } => {
                limits.cpu_ms = cpu_ms;
                limits.wall_ms = Limits::wall_for_cpu_ms(cpu_ms);
                TimeRule::Run
            }
            TimeLimit::Problem { factor_per_mille } => TimeRule::Problem {
                factor_per_mille: factor_per_mille.unwrap_or(usual_factor(language)),
            },
        };
        let memory = match self.memory_limit {
            MemoryLimit::Fixed { bytes } => {
                limits.memory_bytes = bytes;
                MemoryRule::Run
            }
            MemoryLimit::Problem => MemoryRule::Problem {
                floor_bytes: MEMORY_FLOOR_BYTES,
            },
        };
        (limits, LimitsRule { time, memory })
    }
}

/// By how much a language is slower than those that original limits are made for, in thousandths.
fn usual_factor(language: Language) -> u32 {
    match language {
        Language::Python3 => 5_000,
    }
}

/// A percentage with at most one decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRate {
    /// In thousandths, 0 to 1000.
    pub per_mille: u32,
}

/// A text that is no rate of audits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a percentage from 0 to 100 with at most one decimal, such as `1` or `0.5`")]
pub struct AuditRateFormat;

impl FromStr for AuditRate {
    type Err = AuditRateFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match thousandths(text) {
            Some(percent) if percent <= 100_000 && percent.is_multiple_of(100) => Ok(Self {
                per_mille: percent / 100,
            }),
            Some(_) | None => Err(AuditRateFormat),
        }
    }
}

impl fmt::Display for AuditRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.per_mille * 100)
    }
}

/// How much CPU time a test has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLimit {
    /// The same for all problems.
    Fixed {
        /// In milliseconds.
        cpu_ms: u64,
    },
    /// What the problem says, times a factor.
    Problem {
        /// In thousandths; none for that of the language.
        factor_per_mille: Option<u32>,
    },
}

/// A text that is no time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a time of at most an hour such as `10s` or `500ms`, or the problem's own limit: `problem`, or \
     `problem*3` with a factor from 0.1 to 1000"
)]
pub struct TimeLimitFormat;

impl TimeLimit {
    /// The one of a run.
    pub fn of(settings: &EvaluationSettings) -> Self {
        match settings.limits_rule.time {
            TimeRule::Run => Self::Fixed {
                cpu_ms: settings.limits.cpu_ms,
            },
            TimeRule::Problem { factor_per_mille } => Self::Problem {
                factor_per_mille: Some(factor_per_mille),
            },
        }
    }
}

impl FromStr for TimeLimit {
    type Err = TimeLimitFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "problem" {
            return Ok(Self::Problem {
                factor_per_mille: None,
            });
        }
        if let Some(factor) = text.strip_prefix("problem*") {
            return match thousandths(factor) {
                Some(factor @ 100..=FACTOR_MAX) => Ok(Self::Problem {
                    factor_per_mille: Some(factor),
                }),
                Some(_) | None => Err(TimeLimitFormat),
            };
        }
        let cpu_ms = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(milliseconds), _) => whole(milliseconds),
            (None, Some(seconds)) => thousandths(seconds).map(u64::from),
            (None, None) => None,
        };
        match cpu_ms {
            Some(cpu_ms @ 1..=CPU_MS_MAX) => Ok(Self::Fixed { cpu_ms }),
            Some(_) | None => Err(TimeLimitFormat),
        }
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Fixed { cpu_ms } if cpu_ms.is_multiple_of(1_000) => write!(f, "{}s", cpu_ms / 1_000),
            Self::Fixed { cpu_ms } => write!(f, "{cpu_ms}ms"),
            Self::Problem {
                factor_per_mille: None,
            } => f.write_str("problem"),
            Self::Problem {
                factor_per_mille: Some(factor),
            } => {
                f.write_str("problem*")?;
                decimal(f, factor)
            }
        }
    }
}

/// How much memory a test has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// The same for all problems.
    Fixed {
        /// In bytes.
        bytes: u64,
    },
    /// What the problem says.
    Problem,
}

/// A text that is no memory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an amount from 16MiB to 1024GiB such as `1GiB` or `256MiB`, or `problem`, the problem's own limit"
)]
pub struct MemoryLimitFormat;

/// Units, the greatest first.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl MemoryLimit {
    /// The one of a run.
    pub fn of(settings: &EvaluationSettings) -> Self {
        match settings.limits_rule.memory {
            MemoryRule::Run => Self::Fixed {
                bytes: settings.limits.memory_bytes,
            },
            MemoryRule::Problem { .. } => Self::Problem,
        }
    }
}

impl FromStr for MemoryLimit {
    type Err = MemoryLimitFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "problem" {
            return Ok(Self::Problem);
        }
        let amount = UNITS.iter().find_map(|(unit, bytes)| {
            let number = whole(text.strip_suffix(unit)?)?;
            number.checked_mul(*bytes)
        });
        match amount {
            Some(bytes @ MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX) => Ok(Self::Fixed { bytes }),
            Some(_) | None => Err(MemoryLimitFormat),
        }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Problem => f.write_str("problem"),
            Self::Fixed { bytes } => match UNITS.iter().find(|(_, unit)| bytes.is_multiple_of(*unit)) {
                Some((word, unit)) => write!(f, "{}{word}", bytes / unit),
                None => write!(f, "{bytes} bytes"),
            },
        }
    }
}

/// A rule, or the file of a program that knows one.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleChoice {
    /// A rule that workers know.
    Known(Comparator),
    /// A program in this file.
    Checker(PathBuf),
}

impl FromStr for RuleChoice {
    type Err = UnknownComparator;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("checker:") {
            Some("") => Err(UnknownComparator(text.to_owned())),
            Some(file) => Ok(Self::Checker(file.into())),
            None => text.parse().map(Self::Known),
        }
    }
}

/// Digits only: neither a sign nor white space.
fn whole(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// A number with at most three decimals, in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 3 {
        return None;
    }
    let fraction = whole(&format!("{fraction:0<3}")).filter(|_| whole(fraction).is_some())?;
    let sum = whole(integer)?.checked_mul(1_000)?.checked_add(fraction)?;
    u32::try_from(sum).ok()
}

/// Thousandths as a number without needless zeros.
fn decimal(f: &mut fmt::Formatter<'_>, thousandths: u32) -> fmt::Result {
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        judging: JudgingArgs,
    }

    fn args(flags: &str) -> JudgingArgs {
        let words = ["run"].into_iter().chain(flags.split_whitespace());
        Line::try_parse_from(words).unwrap().judging
    }

    #[test]
    fn without_a_flag_everything_is_as_it_was_before_there_were_any() {
        let usual = args("");
        assert_eq!(usual.execution(), Execution::default());
        let limits = (Limits::default(), LimitsRule::default());
        assert_eq!(usual.limits(Language::Python3), limits);
        assert_eq!(usual.quarantine, None);
    }

    #[test]
    fn flags_become_settings() {
        let own =
            args("--zygote natural --audit-rate 2.5 --no-cache --time-limit problem --memory-limit problem");
        let execution = Execution {
            start: StartMode::Natural,
            audit_per_mille: 25,
            reuse: false,
        };
        assert_eq!(own.execution(), execution);
        let rule = LimitsRule {
            time: TimeRule::Problem {
                factor_per_mille: 5_000,
            },
            memory: MemoryRule::Problem {
                floor_bytes: 256 << 20,
            },
        };
        assert_eq!(own.limits(Language::Python3), (Limits::default(), rule));

        let fixed = args("--time-limit 500ms --memory-limit 64MiB").limits(Language::Python3);
        let limits = Limits {
            cpu_ms: 500,
            wall_ms: 5_500,
            memory_bytes: 64 << 20,
            ..Limits::default()
        };
        assert_eq!(fixed, (limits, LimitsRule::default()));
    }

    #[test]
    fn every_word_reads_back_from_its_own_text() {
        for text in ["10s", "500ms", "3600s", "problem", "problem*3", "problem*2.5"] {
            assert_eq!(text.parse::<TimeLimit>().unwrap().to_string(), text);
        }
        assert_eq!("1.5s".parse(), Ok(TimeLimit::Fixed { cpu_ms: 1_500 }));
        for text in ["1GiB", "256MiB", "16385KiB", "problem"] {
            assert_eq!(text.parse::<MemoryLimit>().unwrap().to_string(), text);
        }
        for text in ["0", "1", "0.5", "100", "99.9"] {
            assert_eq!(text.parse::<AuditRate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_such_word_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "0s",
            "3601s",
            "-1s",
            "+1s",
            "1.2345s",
            "1.s",
            ".5s",
            "1.5ms",
            "problem*",
            "problem*0",
            "problem*0.05",
            "problem*1001",
            "problem3",
            "Problem",
            "99999999999999999999s",
        ] {
            assert_eq!(text.parse::<TimeLimit>(), Err(TimeLimitFormat), "{text}");
        }
        for text in [
            "",
            "1",
            "1GB",
            "1gib",
            "15MiB",
            "1025GiB",
            "1.5GiB",
            "-1GiB",
            "problem*2",
            "99999999999999999999KiB",
        ] {
            assert_eq!(text.parse::<MemoryLimit>(), Err(MemoryLimitFormat), "{text}");
        }
        // A negative number is a value of the flag, not a flag.
        assert_eq!(
            Line::try_parse_from(["run", "--audit-rate", "-1"])
                .unwrap_err()
                .kind(),
            clap::error::ErrorKind::ValueValidation
        );
        for text in ["", "-1", "100.1", "101", "0.25", "1%", "nan", "1.", ".5"] {
            assert_eq!(text.parse::<AuditRate>(), Err(AuditRateFormat), "{text}");
        }
    }

    #[test]
    fn rule_is_one_that_is_known_or_a_file() {
        let known = |text: &str| text.parse::<RuleChoice>();
        assert_eq!(
            known("unordered-lines"),
            Ok(RuleChoice::Known(Comparator::UnorderedLines))
        );
        assert_eq!(known("checker:a:b.py"), Ok(RuleChoice::Checker("a:b.py".into())));
        for text in ["checker:", "checker", "token"] {
            assert_eq!(known(text), Err(UnknownComparator(text.to_owned())));
        }
    }
}
