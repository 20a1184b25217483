//! Who answers the calls of a run, and which problems they are about: what the command line names, and what is taken
//! where it names nothing.
//!
//! Decided before anything is made. Where it cannot be decided, one message says every way on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use roundhouse_core::run::{ModelAt, RunSpec};
use roundhouse_proto::Speaker;

use crate::endpoints::{Chosen, Endpoints, Unanswered};
use crate::exit;
use crate::prepare::REFERENCE_MODEL;
use crate::recording::RECORDED_PREFIX;

/// Where problems are looked for that nobody names: the place of earlier programs, then where `dataset fetch
/// code_contests` puts its smaller splits.
const USUAL_PROBLEMS: [&str; 3] = [
    "./Datasets/code_contests.jsonl",
    "./Datasets/code_contests-test.parquet",
    "./Datasets/code_contests-valid.parquet",
];

const HINT_REFERENCE: &str =
    "hint: `--model reference` tries everything out without a key, a network or problems of your own";
const HINT_PROBLEMS: &str = "hint: `--problems FILE` names problems; `coordinator dataset fetch code_contests \
                             --split test` gets some";
const HINT_KEYS: &str = "hint: a model is asked with the key in `OPENAI_API_KEY` or `DEEPSEEK_API_KEY`; `--base-url \
                         URL --model NAME` asks a server of your own, with or without a key";

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// The data set's own programs.
    Reference,
    /// A recording, in this file.
    Recorded(PathBuf),
    /// A model at an endpoint of this machine.
    Model(Chosen),
    /// A model of a fleet.
    OfFleet {
        /// Name of the endpoint; none for the one that the fleet offers.
        endpoint: Option<String>,
        /// Name of the model.
        model: String,
    },
}

/// Which problems a run is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problems {
    /// Those that come with the program.
    Bundled,
    /// Those of this file.
    File(PathBuf),
    /// Those of this file, which nobody named.
    Usual(PathBuf),
    /// Nobody named any, and a recording answers: see [`problems_of_recording`].
    OfRecording,
}

/// What the command line names.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The model.
    pub model: Option<&'a str>,
    /// Models of single speakers.
    pub model_for: &'a BTreeMap<Speaker, String>,
    /// The problems.
    pub problems: Option<&'a Path>,
}

/// Who answers, and about which problems.
///
/// # Errors
/// An error in how the program was called, with every way on.
pub fn decide(
    named: Named<'_>,
    endpoints: &Endpoints,
    exists: impl Fn(&Path) -> bool,
) -> anyhow::Result<(Answerer, Problems)> {
    check_offline(named, endpoints)?;
    let answerer = answerer(named.model, endpoints)?;
    let problems = match (named.problems, &answerer) {
        (Some(file), _) => Some(Problems::File(file.to_owned())),
        (None, Ok(Answerer::Reference)) => Some(Problems::Bundled),
        (None, Ok(Answerer::Recorded(_))) => Some(Problems::OfRecording),
        (None, Ok(Answerer::Model(_) | Answerer::OfFleet { .. }) | Err(_)) => usual(exists),
    };
    match (answerer, problems) {
        (Ok(answerer), Some(problems)) => Ok((answerer, problems)),
        (Ok(_), None) => Err(no_problems()),
        (Err(unanswered), problems) => {
            let (error, mut hints) = ways_on(&unanswered);
            if problems.is_some() {
                return Err(exit::usage(format!("{error}\n{}", hints.join("\n"))));
            }
            hints.insert(0, HINT_PROBLEMS.to_owned());
            if hints.iter().all(|hint| hint != HINT_REFERENCE) {
                hints.push(HINT_REFERENCE.to_owned());
            }
            Err(exit::usage(format!(
                "{error}; and no problems are named, nor are any in `./Datasets`\n{}",
                hints.join("\n")
            )))
        }
    }
}

/// Who answers, and about which problems, for a run on a fleet, which alone knows its endpoints.
///
/// # Errors
/// An error in how the program was called, with every way on.
pub fn decide_for_fleet(
    named: Named<'_>,
    endpoint: Option<&str>,
    exists: impl Fn(&Path) -> bool,
) -> anyhow::Result<(Answerer, Problems)> {
    check_speakers(named)?;
    let answerer = match (named.model, endpoint) {
        (None, _) => {
            return Err(exit::usage(format!(
                "no model is named\nhint: `--model MODEL` names one that the generation workers' endpoints have; \
                 `--model {REFERENCE_MODEL}` tries everything out without any"
            )));
        }
        (Some(model), Some(_)) if is_offline(model) => return Err(asks_no_endpoint(model, "`--endpoint`")),
        (Some(model), _) => match offline(model)? {
            Some(offline) => offline,
            None => Answerer::OfFleet {
                endpoint: endpoint.map(str::to_owned),
                model: model.to_owned(),
            },
        },
    };
    let problems = match (named.problems, &answerer) {
        (Some(file), _) => Problems::File(file.to_owned()),
        (None, Answerer::Reference) => Problems::Bundled,
        (None, Answerer::Recorded(_)) => Problems::OfRecording,
        (None, Answerer::Model(_) | Answerer::OfFleet { .. }) => usual(exists).ok_or_else(no_problems)?,
    };
    Ok((answerer, problems))
}

/// The problems of a recording where nobody names any: the bundled ones, if it is of them.
///
/// # Errors
/// An error in how the program was called, with every way on.
pub fn problems_of_recording(
    is_of_bundled: bool,
    exists: impl Fn(&Path) -> bool,
) -> anyhow::Result<Problems> {
    if is_of_bundled {
        return Ok(Problems::Bundled);
    }
    usual(exists).ok_or_else(no_problems)
}

fn usual(exists: impl Fn(&Path) -> bool) -> Option<Problems> {
    let mut usual = USUAL_PROBLEMS.iter().map(Path::new);
    usual
        .find(|file| exists(file))
        .map(|file| Problems::Usual(file.to_owned()))
}

fn no_problems() -> anyhow::Error {
    exit::usage(format!(
        "no problems are named, and there are none in `./Datasets`\n{HINT_PROBLEMS}\n{HINT_REFERENCE}"
    ))
}

fn answerer(model: Option<&str>, endpoints: &Endpoints) -> anyhow::Result<Result<Answerer, Unanswered>> {
    let Some(model) = model else {
        return Ok(endpoints.choose(None).map(Answerer::Model));
    };
    match offline(model)? {
        Some(offline) => Ok(Ok(offline)),
        None => Ok(endpoints.choose(Some(model)).map(Answerer::Model)),
    }
}

/// The offline model of this name; none if it is the name of another model.
fn offline(model: &str) -> anyhow::Result<Option<Answerer>> {
    if model == REFERENCE_MODEL {
        return Ok(Some(Answerer::Reference));
    }
    match model.strip_prefix(RECORDED_PREFIX) {
        Some("") => Err(no_recording()),
        Some(file) => Ok(Some(Answerer::Recorded(file.into()))),
        None if format!("{model}:") == RECORDED_PREFIX => Err(no_recording()),
        None => Ok(None),
    }
}

fn no_recording() -> anyhow::Error {
    exit::usage(format!(
        "no recording is named\nhint: `--model {RECORDED_PREFIX}FILE` plays back what `--record FILE` kept"
    ))
}

fn is_offline(model: &str) -> bool {
    model == REFERENCE_MODEL || model.starts_with(RECORDED_PREFIX)
}

fn asks_no_endpoint(model: &str, flags: &str) -> anyhow::Error {
    exit::usage(format!("`{model}` asks no endpoint\nhint: leave out {flags}"))
}

/// An offline model answers for every speaker and asks no endpoint.
fn check_offline(named: Named<'_>, endpoints: &Endpoints) -> anyhow::Result<()> {
    check_speakers(named)?;
    match named.model.filter(|model| is_offline(model)) {
        Some(model) if endpoints.is_flagged() => {
            Err(asks_no_endpoint(model, "`--base-url` and `--endpoint`"))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_speakers(named: Named<'_>) -> anyhow::Result<()> {
    if let Some(model) = named.model_for.values().find(|model| is_offline(model)) {
        return Err(exit::usage(format!(
            "`{model}` answers for every speaker or for none\nhint: name it with `--model`, without `--model-for`"
        )));
    }
    let Some(model) = named.model.filter(|model| is_offline(model)) else {
        return Ok(());
    };
    if !named.model_for.is_empty() {
        return Err(exit::usage(format!(
            "`{model}` answers for every speaker\nhint: leave out `--model-for`"
        )));
    }
    Ok(())
}

/// What is missing, and the hints that help.
fn ways_on(unanswered: &Unanswered) -> (String, Vec<String>) {
    let usual = [HINT_KEYS, HINT_REFERENCE].map(str::to_owned);
    match unanswered {
        Unanswered::NoModel => (
            "no model is named, and the environment holds no key of one".to_owned(),
            usual.to_vec(),
        ),
        Unanswered::NoEndpoint { model } => (
            format!("the model `{model}` cannot be asked: there is neither a key nor an address"),
            usual.to_vec(),
        ),
        Unanswered::UnknownEndpoint { name, known } if known.is_empty() => {
            let hints = [hint_address(name)].into_iter().chain(usual);
            (
                format!("the endpoint `{name}` is not known here"),
                hints.collect(),
            )
        }
        Unanswered::UnknownEndpoint { name, known } => (
            format!(
                "the endpoint `{name}` is not known here, only {}",
                listed("", known, ", ")
            ),
            vec![hint_address(name)],
        ),
        Unanswered::ManyEndpoints { names } => (
            format!(
                "a run asks one endpoint, and there are {}",
                listed("", names, " and ")
            ),
            vec![format!("hint: choose: {}", listed("--endpoint ", names, " or "))],
        ),
        Unanswered::NoModelAt { endpoint } => (
            format!("no model is named for the endpoint `{endpoint}`"),
            vec!["hint: `--model NAME`, by the name that the server has for it".to_owned()],
        ),
    }
}

fn hint_address(name: &str) -> String {
    format!("hint: `--endpoint {name}=URL` says where it is")
}

fn listed(before: &str, names: &[String], between: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{before}{name}`")).collect();
    quoted.join(between)
}

/// Whether this machine can go on with a run: the endpoint that its model is asked at is known here.
///
/// # Errors
/// An error in how the program was called, with every way on.
pub fn check_resumed(spec: &RunSpec, endpoints: &Endpoints) -> anyhow::Result<()> {
    let model = &spec.session.model;
    match &spec.model_at {
        ModelAt::Offline if endpoints.is_flagged() => Err(exit::usage(format!(
            "`{model}` asks no endpoint\nhint: leave out `--base-url` and `--endpoint`"
        ))),
        ModelAt::Offline | ModelAt::Endpoint { name: None } => Ok(()),
        ModelAt::Endpoint { name: Some(name) } => {
            if let Some(other) = endpoints.asked().filter(|asked| asked != name) {
                return Err(exit::usage(format!(
                    "the run asks the endpoint `{name}`, not `{other}`\nhint: a run keeps its endpoint and its model; \
                     a new run can ask another"
                )));
            }
            if endpoints.has(name) {
                return Ok(());
            }
            Err(exit::usage(format!(
                "the run asks `{model}` at the endpoint `{name}`, which is not known here\n{}\n{HINT_KEYS}",
                hint_address(name)
            )))
        }
    }
}

#[cfg(test)]
mod tests;
