//! How a session is held where the command line leaves it open: the defaults, and the settings of known experiments.
//!
//! Here and nowhere else flags, preset, recording and defaults become settings: a flag wins over the preset, the preset
//! over the settings of a recording that is played back, and those over the defaults.

use std::str::FromStr;

use roundhouse_proto::{FinalChoice, Method, Sampling, TesterMode};

use crate::recording::Settings;
use crate::run_args::SpecArgs;

/// Settings of a known experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Four rounds and a tester that runs nothing, as Dong et al. describe it (arXiv 2304.07590).
    Paper,
    /// The settings of the program that this project grew out of.
    Seed,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 2] = [Self::Paper, Self::Seed];

    /// The word used in flags.
    pub fn word(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Seed => "seed",
        }
    }

    fn choices(self) -> SessionChoices {
        let usual = SessionChoices::default();
        match self {
            Self::Paper => SessionChoices {
                max_rounds: 4,
                tester: TesterMode::Review,
                ..usual
            },
            Self::Seed => SessionChoices {
                max_rounds: 2,
                tester: TesterMode::Cases,
                sampling: Sampling {
                    temperature: 0.3,
                    max_tokens: 1400,
                    ..usual.sampling
                },
                ..usual
            },
        }
    }
}

/// A text that names no preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no preset is called `{0}`: expected `paper` or `seed`")]
pub struct UnknownPreset(pub String);

impl FromStr for Preset {
    type Err = UnknownPreset;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|preset| preset.word() == text);
        named.ok_or_else(|| UnknownPreset(text.to_owned()))
    }
}

/// What the command line comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionChoices {
    /// Which roles work.
    pub method: Method,
    /// Most coder turns.
    pub max_rounds: u32,
    /// What the tester does.
    pub tester: TesterMode,
    /// How the model is asked.
    pub sampling: Sampling,
    /// Which program is judged.
    pub final_choice: FinalChoice,
    /// Whether imports and a call of `main()` are added.
    pub patch: bool,
}

impl Default for SessionChoices {
    fn default() -> Self {
        Self {
            method: Method::default(),
            max_rounds: 2,
            tester: TesterMode::default(),
            sampling: Sampling::default(),
            final_choice: FinalChoice::default(),
            patch: true,
        }
    }
}

impl From<&Settings> for SessionChoices {
    fn from(recorded: &Settings) -> Self {
        Self {
            method: recorded.method,
            max_rounds: recorded.max_rounds,
            tester: recorded.tester,
            sampling: recorded.sampling,
            final_choice: recorded.final_program,
            patch: recorded.patch,
        }
    }
}

impl SessionChoices {
    /// What the command line comes to; `recorded` is what holds in a recording that is played back.
    pub fn of(args: &SpecArgs, recorded: Option<&Settings>) -> Self {
        let preset = args.preset.map(Preset::choices);
        let base = preset.or(recorded.map(Self::from)).unwrap_or_default();
        Self {
            method: args.method.unwrap_or(base.method),
            final_choice: args.final_choice.unwrap_or(base.final_choice),
            patch: base.patch && !args.no_patch,
            max_rounds: args.max_rounds.unwrap_or(base.max_rounds),
            tester: args.tester.unwrap_or(base.tester),
            sampling: Sampling {
                temperature: args.temperature.unwrap_or(base.sampling.temperature),
                top_p: args.top_p.unwrap_or(base.sampling.top_p),
                max_tokens: args.max_tokens.unwrap_or(base.sampling.max_tokens),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: SpecArgs,
    }

    fn chosen(flags: &str) -> SessionChoices {
        let words = ["run"].into_iter().chain(flags.split_whitespace());
        SessionChoices::of(&Line::try_parse_from(words).unwrap().run, None)
    }

    fn choices(max_rounds: u32, tester: TesterMode, temperature: f64, max_tokens: u32) -> SessionChoices {
        SessionChoices {
            max_rounds,
            tester,
            sampling: Sampling {
                temperature,
                top_p: 0.95,
                max_tokens,
            },
            ..SessionChoices::default()
        }
    }

    #[test]
    fn preset_fills_what_no_flag_says() {
        assert_eq!(chosen(""), choices(2, TesterMode::Cases, 0.0, 4096));
        assert_eq!(
            chosen("--preset paper"),
            choices(4, TesterMode::Review, 0.0, 4096)
        );
        assert_eq!(chosen("--preset seed"), choices(2, TesterMode::Cases, 0.3, 1400));
    }

    #[test]
    fn flag_wins_over_the_preset_also_with_the_value_of_the_default() {
        assert_eq!(
            chosen("--max-rounds 2 --preset paper --tester cases"),
            choices(2, TesterMode::Cases, 0.0, 4096)
        );
        let mut expected = choices(2, TesterMode::Public, 0.0, 4096);
        expected.sampling.top_p = 0.5;
        assert_eq!(
            chosen("--preset seed --temperature 0 --max-tokens 4096 --tester public --top-p 0.5"),
            expected
        );
    }

    #[test]
    fn flag_and_preset_win_over_the_recording_and_the_recording_over_the_defaults() {
        let recorded = Settings {
            method: Method::Direct,
            max_rounds: 3,
            tester: TesterMode::Public,
            final_program: FinalChoice::Public,
            sampling: Sampling {
                temperature: 0.5,
                top_p: 0.9,
                max_tokens: 7,
            },
            patch: false,
            comparator: "exact".to_owned(),
        };
        let chosen = |flags: &str| {
            let words = ["run"].into_iter().chain(flags.split_whitespace());
            SessionChoices::of(&Line::try_parse_from(words).unwrap().run, Some(&recorded))
        };
        let all = SessionChoices::from(&recorded);
        assert_eq!(chosen(""), all);
        let some = SessionChoices {
            max_rounds: 2,
            final_choice: FinalChoice::Last,
            method: Method::CoderTester,
            ..all
        };
        assert_eq!(chosen("--max-rounds 2 --final last --method coder-tester"), some);
        assert_eq!(
            chosen("--preset paper"),
            choices(4, TesterMode::Review, 0.0, 4096)
        );
    }

    #[test]
    fn help_says_the_defaults_that_hold() {
        let usual = SessionChoices::default();
        let command = Line::command();
        for (flag, value) in [
            ("max_rounds", usual.max_rounds.to_string()),
            ("tester", usual.tester.word().to_owned()),
            ("temperature", usual.sampling.temperature.to_string()),
            ("top_p", usual.sampling.top_p.to_string()),
            ("max_tokens", usual.sampling.max_tokens.to_string()),
            ("method", usual.method.word().to_owned()),
            ("final_choice", usual.final_choice.word().to_owned()),
        ] {
            let arg = command.get_arguments().find(|arg| arg.get_id() == flag).unwrap();
            let help = arg.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {value}]")), "{flag}: {help}");
        }
    }
}
