//! The prompt set: the templates from which every message of a session is made, and their hashes.
//!
//! The texts are in `prompts/`; a change there is a change of the method, so the hashes are kept with a run.

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use roundhouse_proto::{Digest, Method, TesterMode};

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

    fn purpose(self) -> &'static str {
        match self {
            Self::Team => "with what every role's first message begins: the team, the problem, its limits",
            Self::Analyst => "asks the analyst for its plan",
            Self::AnalystAgain => "asks again after an empty plan",
            Self::Coder => "asks the coder for its first program",
            Self::CoderRepair => "gives the coder the report on its program's tests",
            Self::CoderReview => "gives the coder what the tester found (`--tester review`)",
            Self::CoderAgain => "asks again after an answer without a program",
            Self::Tester => "asks the tester for cases",
            Self::TesterNext => "asks the tester for further cases in a later round",
            Self::TesterAgain => "asks again after an answer without cases",
            Self::Review => "asks the tester to read the program (`--tester review`)",
            Self::ReviewNext => "asks the tester to read the changed program in a later round",
            Self::ReviewAgain => "asks again after an answer without PASS or FAIL",
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
pub enum PromptError {
    /// No message is made from it.
    #[error("no prompt is called `{name}`: expected one of {}", names().join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// It is no template, or names a value that no message has.
    #[error("write the prompt `{name}`")]
    Template {
        /// Name of the template.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// A message must not be empty.
    #[error("the prompt `{name}` comes to an empty text")]
    Empty {
        /// Name of the template.
        name: String,
    },
}

/// The names of all templates, in the order in which a session first needs them.
pub fn names() -> [&'static str; Prompt::ALL.len()] {
    Prompt::ALL.map(Prompt::name)
}

/// What the message is for that a template gives.
pub fn purpose(name: &str) -> Option<&'static str> {
    let prompt = Prompt::ALL.into_iter().find(|prompt| prompt.name() == name);
    prompt.map(Prompt::purpose)
}

/// The built-in templates by name, as they are written.
pub fn sources() -> BTreeMap<String, &'static str> {
    Prompt::ALL
        .iter()
        .map(|prompt| (prompt.name().to_owned(), prompt.source()))
        .collect()
}

/// The hash of every template by name, those in `overrides` in place of built-in ones.
pub fn hashes(overrides: &BTreeMap<String, String>) -> BTreeMap<String, Digest> {
    sources()
        .into_iter()
        .map(|(name, built_in)| {
            let source = overrides.get(&name).map_or(built_in, String::as_str);
            let digest = Digest::of(source.as_bytes());
            (name, digest)
        })
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
    /// When a name is unknown, or a template is none, names a value that no message has, or gives an empty text.
    pub fn new(overrides: &BTreeMap<String, String>) -> Result<Self, PromptError> {
        if let Some(name) = overrides.keys().find(|name| !names().contains(&name.as_str())) {
            return Err(PromptError::Unknown { name: name.clone() });
        }
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
        let methods = Method::ALL.into_iter();
        let modes = methods.flat_map(|method| TesterMode::ALL.map(|tester| (method, tester)));
        let values = [None, Some("value")];
        let choices = modes.flat_map(|mode| values.map(|value| (mode, value)));
        for (((method, tester), value), entry_point) in
            choices.flat_map(|choice| values.map(|entry_point| (choice, entry_point)))
        {
            let sample = context! {
                language => "Python 3", tag => "python", statement => "statement", report => "report",
                program => "program", tester => tester.word(), method => method.word(), entry_point,
                time_limit => value, memory_limit => value, plan => value,
            };
            for prompt in Prompt::ALL {
                if self.fill(prompt, sample.clone())?.trim().is_empty() {
                    let name = prompt.name().to_owned();
                    return Err(PromptError::Empty { name });
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
    PromptError::Template {
        name: name.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_of_the_set_has_a_hash_and_a_version() {
        assert_eq!(hashes(&BTreeMap::new()).len(), Prompt::ALL.len());
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
                context! { report => hostile, tester => "cases", tag => "python", entry_point => None::<&str> },
            )
            .expect("fills in");
        assert!(
            text.contains(&format!("<report>\n{hostile}\n</report>")),
            "{text}"
        );
    }

    #[test]
    fn template_that_no_message_can_be_made_of_is_refused_by_name() {
        for (name, text, error) in [
            ("coder", "{{ statment }}", "write the prompt `coder`"),
            ("coder", "{% if %}", "write the prompt `coder`"),
            // Only a session without a plan takes this branch.
            (
                "coder",
                "a{% if not plan %}{{ plann }}{% endif %}",
                "write the prompt `coder`",
            ),
            (
                "team",
                "a{% if tester == 'review' %}{{ x }}{% endif %}",
                "write the prompt `team`",
            ),
            (
                "coder",
                "a{% if method == 'direct' %}{{ x }}{% endif %}",
                "write the prompt `coder`",
            ),
            (
                "tester",
                "a{% if entry_point %}{{ x }}{% endif %}",
                "write the prompt `tester`",
            ),
            ("tester", " \n", "the prompt `tester` comes to an empty text"),
            (
                "codr",
                "a",
                "no prompt is called `codr`: expected one of team, analyst, analyst_again, coder, coder_repair, \
                 coder_review, coder_again, tester, tester_next, tester_again, review, review_next, review_again",
            ),
        ] {
            let overrides = BTreeMap::from([(name.to_owned(), text.to_owned())]);
            let found = Prompts::new(&overrides).expect_err("it is broken");
            assert_eq!(found.to_string(), error, "{text}");
        }
    }

    #[test]
    fn replaced_template_is_used_and_hashed_and_the_others_stay() {
        let overrides = BTreeMap::from([("analyst".to_owned(), "Plan in {{ language }}.\n".to_owned())]);
        let prompts = Prompts::new(&overrides).expect("it is a template");
        let text = prompts.fill(Prompt::Analyst, context! { language => "Python 3" });
        assert_eq!(text.expect("fills in"), "Plan in Python 3.");
        let mut expected = hashes(&BTreeMap::new());
        expected.insert("analyst".to_owned(), Digest::of(b"Plan in {{ language }}.\n"));
        assert_eq!(hashes(&overrides), expected);
        assert!(names().iter().all(|name| purpose(name).is_some()));
    }
}
