//! What a run is about, before its problems are read: who answers, and which problems. Decided by
//! [`crate::answerer`]; here recordings and problems are read.

use std::collections::BTreeMap;
use std::path::Path;

use roundhouse_core::run::ModelAt;
use roundhouse_proto::Speaker;

use crate::answerer::{self, Answerer, Named, Problems};
use crate::bundled::{self, BUNDLED};
use crate::dataset::{self, Loaded};
use crate::endpoints::Chosen;
#[cfg(feature = "local")]
use crate::endpoints::Endpoints;
use crate::notices;
use crate::prepare::REFERENCE_MODEL;
use crate::recording::playback::Playback;
use crate::run_args::SpecArgs;

/// What a run is about.
pub struct Subject {
    /// The model, as reports name it.
    pub model: String,
    /// Who answers.
    pub model_at: ModelAt,
    /// What is played back, if that is what answers.
    pub playback: Option<Playback>,
    problems: Problems,
}

impl Subject {
    /// For a run on this machine, with the endpoints that it knows.
    ///
    /// # Errors
    /// Something is missing; the message has every way on.
    #[cfg(feature = "local")]
    pub fn of_machine(spec: &SpecArgs, endpoints: &Endpoints) -> anyhow::Result<Self> {
        let model_for = spec.models_for();
        Self::of(answerer::decide(
            named(spec, &model_for),
            endpoints,
            Path::exists,
        )?)
    }

    /// For a run on a fleet, which alone knows its endpoints; `endpoint` names one of them.
    ///
    /// # Errors
    /// Something is missing; the message has every way on.
    pub fn of_fleet(spec: &SpecArgs, endpoint: Option<&str>) -> anyhow::Result<Self> {
        let model_for = spec.models_for();
        Self::of(answerer::decide_for_fleet(
            named(spec, &model_for),
            endpoint,
            Path::exists,
        )?)
    }

    fn of((answerer, mut problems): (Answerer, Problems)) -> anyhow::Result<Self> {
        let (model, model_at, playback) = match answerer {
            Answerer::Reference => (REFERENCE_MODEL.to_owned(), ModelAt::Offline, None),
            Answerer::Recorded(file) => {
                let playback = Playback::read(&file)?;
                if problems == Problems::OfRecording {
                    let is_of_bundled = playback.data_set() == bundled::digest();
                    problems = answerer::problems_of_recording(is_of_bundled, Path::exists)?;
                }
                (playback.model(), ModelAt::Offline, Some(playback))
            }
            Answerer::Model(Chosen { endpoint, model }) => {
                let name = Some(endpoint);
                (model, ModelAt::Endpoint { name }, None)
            }
            Answerer::OfFleet { endpoint, model } => (model, ModelAt::Endpoint { name: endpoint }, None),
        };
        Ok(Self {
            model,
            model_at,
            playback,
            problems,
        })
    }

    /// The problems, and where they come from, for people.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn load(&self) -> anyhow::Result<(Loaded, String)> {
        match &self.problems {
            Problems::Bundled | Problems::OfRecording => Ok((bundled::load()?, BUNDLED.to_owned())),
            Problems::File(path) => Ok((dataset::load(path)?, path.display().to_string())),
            Problems::Usual(path) => {
                notices::note(&format!(
                    "no problems are named: those of `{}` are taken",
                    path.display()
                ));
                Ok((dataset::load(path)?, path.display().to_string()))
            }
        }
    }
}

fn named<'a>(spec: &'a SpecArgs, model_for: &'a BTreeMap<Speaker, String>) -> Named<'a> {
    Named {
        model: spec.model.as_deref(),
        model_for,
        problems: spec.problems.as_deref(),
    }
}
