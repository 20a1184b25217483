//! The prompt set: the templates from which every message of a session is made, and their hashes.
//!
//! The texts are in `prompts/`; a change there is a change of the method, so the hashes are kept with a run.

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use roundhouse_proto::{Digest, TesterMode};

/// A template of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// With what every role's first message begins: the team, the problem, its limits.
    Team,
    Analyst,
    AnalystAgain,
    Coder,
    CoderRepair,
    CoderReview,
    CoderAgain,
    Tester,
    TesterNext,
    TesterAgain,
    Review,
    ReviewNext,
    ReviewAgain,
}

impl Prompt {
    const ALL: [Self; 13] = [
        Self::Team,
        Self::Analyst,
        Self::AnalystAgain,
        Self::Coder,
        Self::CoderRepair,
        Self::CoderReview,
        Self::CoderAgain,
        Self::Tester,
        Self::TesterNext,
        Self::TesterAgain,
        Self::Review,
        Self::ReviewNext,
        Self::ReviewAgain,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Analyst => "analyst",
            Self::AnalystAgain => "analyst_again",
            Self::Coder => "coder",
            Self::CoderRepair => "coder_repair",
            Self::CoderReview => "coder_review",
            Self::CoderAgain => "coder_again",
            Self::Tester => "tester",
            Self::TesterNext => "tester_next",
            Self::TesterAgain => "tester_again",
            Self::Review => "review",
            Self::ReviewNext => "review_next",
            Self::ReviewAgain => "review_again",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Team => include_str!("../../prompts/team.j2"),
            Self::Analyst => include_str!("../../prompts/analyst.j2"),
            Self::AnalystAgain => include_str!("../../prompts/analyst_again.j2"),
            Self::Coder => include_str!("../../prompts/coder.j2"),
            Self::CoderRepair => include_str!("../../prompts/coder_repair.j2"),
            Self::CoderReview => include_str!("../../prompts/coder_review.j2"),
            Self::CoderAgain => include_str!("../../prompts/coder_again.j2"),
            Self::Tester => include_str!("../../prompts/tester.j2"),
            Self::TesterNext => include_str!("../../prompts/tester_next.j2"),
            Self::TesterAgain => include_str!("../../prompts/tester_again.j2"),
            Self::Review => include_str!("../../prompts/review.j2"),
            Self::ReviewNext => include_str!("../../prompts/review_next.j2"),
            Self::ReviewAgain => include_str!("../../prompts/review_again.j2"),
        }
    }
}

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("write the prompt `{name}`")]
pub struct PromptError {
    /// Name of the template.
    pub name: String,
    /// What is wrong with it.
    #[source]
    pub source: Box<minijinja::Error>,
}

/// The built-in templates by name, as they are written.
pub fn sources() -> BTreeMap<String, &'static str> {
    Prompt::ALL
        .iter()
        .map(|prompt| (prompt.name().to_owned(), prompt.source()))
        .collect()
}

/// The hash of every built-in template by name.
pub fn hashes() -> BTreeMap<String, Digest> {
    sources()
        .into_iter()
        .map(|(name, source)| (name, Digest::of(source.as_bytes())))
        .collect()
}

/// Templates ready to be filled in.
#[derive(Debug)]
pub struct Prompts {
    templates: Environment<'static>,
}

impl Prompts {
    /// The built-in set, with the templates in `overrides` (by name) in place of built-in ones.
    ///
    /// # Errors
    /// When a template is no template, or names a value that no message has.
    pub fn new(overrides: &BTreeMap<String, String>) -> Result<Self, PromptError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| AutoEscape::None);
        for prompt in Prompt::ALL {
            let name = prompt.name();
            match overrides.get(name) {
                Some(source) => templates.add_template_owned(name, source.clone()),
                None => templates.add_template(name, prompt.source()),
            }
            .map_err(|source| fault(name, source))?;
        }
        let prompts = Self { templates };
        prompts.check()?;
        Ok(prompts)
    }

    /// Fills every template in with values as sessions have them, so that each of its branches is taken.
    fn check(&self) -> Result<(), PromptError> {
        for tester in TesterMode::ALL {
            for value in [None, Some("value")] {
                let sample = context! {
                    language => "Python 3", tag => "python", statement => "statement", report => "report",
                    program => "program", tester => tester.word(),
                    time_limit => value, memory_limit => value, plan => value,
                };
                for prompt in Prompt::ALL {
                    self.fill(prompt, sample.clone())?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn fill(&self, prompt: Prompt, values: Value) -> Result<String, PromptError> {
        let name = prompt.name();
        self.templates
            .get_template(name)
            .and_then(|template| template.render(values))
            .map_err(|source| fault(name, source))
    }
}

fn fault(name: &str, source: minijinja::Error) -> PromptError {
    PromptError {
        name: name.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_of_the_set_has_a_hash_and_a_version() {
        assert_eq!(hashes().len(), Prompt::ALL.len());
        for (name, source) in sources() {
            assert!(source.starts_with("{#- prompt set 1 -#}\n"), "{name}");
        }
    }

    #[test]
    fn values_are_written_as_they_are() {
        let prompts = Prompts::new(&BTreeMap::new()).expect("the built-in set");
        let hostile = "{{ 7 * 7 }} <b> & {% raw %} \u{0}";
        let text = prompts
            .fill(
                Prompt::CoderRepair,
                context! { report => hostile, tester => "cases", tag => "python" },
            )
            .expect("fills in");
        assert!(
            text.contains(&format!("<report>\n{hostile}\n</report>")),
            "{text}"
        );
    }

    #[test]
    fn template_with_an_unknown_value_is_refused_by_name() {
        for broken in ["{{ statment }}", "{% if %}"] {
            let overrides = BTreeMap::from([("coder".to_owned(), broken.to_owned())]);
            let error = Prompts::new(&overrides).expect_err("it is broken");
            assert_eq!(error.to_string(), "write the prompt `coder`");
        }
    }
}
