//! The offline model `reference`: answers with the data set's own programs and cases, so that a run can be tried
//! without a model. It measures no model.
//!
//! Its first program is wrong on purpose, so that every session has a failing round and a repair.

use roundhouse_proto::{FinishReason, ReferenceMaterial, Speaker};

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

/// The offline model for one problem.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    material: ReferenceMaterial,
}

impl Reference {
    /// The model that answers with this material.
    pub fn new(material: ReferenceMaterial) -> Self {
        Self { material }
    }

    fn text(&self, speaker: Speaker, round: u32) -> String {
        match (speaker, round, &self.material.program) {
            (Speaker::Analyst, _, _) => PLAN.to_owned(),
            (Speaker::Coder, 0, _) => fence::block("python", WRONG_PROGRAM),
            (Speaker::Coder, _, Some(program)) => fence::block("python", program),
            (Speaker::Coder, _, None) => String::new(),
            (Speaker::Tester, _, _) => cases::render(&self.material.cases, 1),
        }
    }
}

impl Model for Reference {
    async fn ask(&self, ask: &Ask) -> Result<Reply, AskError> {
        Ok(Reply {
            text: self.text(ask.speaker, ask.round),
            reasoning: None,
            usage: None,
            finish: FinishReason::Stop,
        })
    }
}
