//! The offline model `reference`: answers with the data set's own programs and cases, so that a run can be tried
//! without a model. It measures no model.
//!
//! Its first program is wrong on purpose, so that every session has a failing round and a repair.

use roundhouse_proto::{FinishReason, ReferenceMaterial, Speaker, TesterMode};

use crate::generate::asserts;
use crate::generate::cases;
use crate::generate::fence;
use crate::llm::{Ask, AskError, Model, Reply};

/// The name by which a run asks for it.
pub const NAME: &str = "reference";

const PLAN: &str = r#"{
  "note": "offline model: this plan was not written by a model",
  "algorithm": "the program that comes with the data set"
}"#;

const WRONG_PROGRAM: &str = "print(\"deliberately wrong\")\n";

const REVIEW_FAIL: &str = "This is the offline model: nothing was compared. The first program is wrong on purpose.\n\n\
                           VERDICT: FAIL\n";
const REVIEW_PASS: &str = "This is the offline model: nothing was compared. This program comes with the data set.\n\n\
                           VERDICT: PASS\n";

/// The offline model for one problem.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    material: ReferenceMaterial,
    tester: TesterMode,
}

impl Reference {
    /// The model that answers with this material, as a tester in this mode.
    pub fn new(material: ReferenceMaterial, tester: TesterMode) -> Self {
        Self { material, tester }
    }

    fn text(&self, speaker: Speaker, round: u32) -> String {
        match (speaker, round, &self.material.program) {
            (Speaker::Analyst, _, _) => PLAN.to_owned(),
            (Speaker::Coder, 0, _) => fence::block("python", WRONG_PROGRAM),
            (Speaker::Coder, _, Some(program)) => fence::block("python", program),
            (Speaker::Coder, _, None) => String::new(),
            (Speaker::Tester, round, _) => match self.tester {
                TesterMode::Cases | TesterMode::Public | TesterMode::PublicAndCases => {
                    match is_code(&self.material) {
                        true => asserts::render(&self.material.cases),
                        false => cases::render(&self.material.cases, 1),
                    }
                }
                TesterMode::Review if round == 0 => REVIEW_FAIL.to_owned(),
                TesterMode::Review => REVIEW_PASS.to_owned(),
            },
        }
    }
}

/// Whether the cases are those of a function task: code to run, which expects no output.
fn is_code(material: &ReferenceMaterial) -> bool {
    let cases = &material.cases;
    !cases.is_empty() && cases.iter().all(|case| case.expected.is_empty())
}

impl Model for Reference {
    async fn ask(&self, ask: &Ask) -> Result<Reply, AskError> {
        Ok(Reply {
            text: self.text(ask.speaker, ask.round),
            reasoning: None,
            usage: None,
            finish: FinishReason::Stop,
            remarks: Vec::new(),
            unaccounted: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roundhouse_proto::{Case, Tier};

    use super::*;

    #[test]
    fn tester_writes_assertions_where_the_cases_are_code() {
        let case = |input: &'static str, expected: &'static str| Case {
            tier: Tier::Private,
            input: Bytes::from_static(input.as_bytes()),
            expected: Bytes::from_static(expected.as_bytes()),
        };
        let said = |case: Case| {
            let material = ReferenceMaterial {
                program: None,
                cases: vec![case],
            };
            Reference::new(material, TesterMode::Cases).text(Speaker::Tester, 0)
        };
        assert_eq!(
            said(case("assert candidate(1) == 2\n", "")),
            "```python\nassert candidate(1) == 2\n```"
        );
        assert_eq!(
            said(case("1\n", "2\n")),
            "### Test 1\nInput:\n```\n1\n```\nExpected Output:\n```\n2\n```\n"
        );
    }
}
