//! The models that answer without a network, as one type: what a job is given instead of an endpoint.

use crate::llm::recorded::Recorded;
use crate::llm::reference::Reference;
use crate::llm::{Ask, AskError, Model, Reply};

/// A model that answers without a network.
#[derive(Clone, Debug)]
pub enum Offline {
    /// With the data set's own programs.
    Reference(Reference),
    /// With what a model once answered.
    Recorded(Recorded),
}

impl Model for Offline {
    async fn ask(&self, ask: &Ask) -> Result<Reply, AskError> {
        match self {
            Self::Reference(model) => model.ask(ask).await,
            Self::Recorded(model) => model.ask(ask).await,
        }
    }
}
