//! What a coordinator of many runs is asked to do, put together from flags: by `submit` for another machine's, by
//! `start` for its own.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use roundhouse_core::Stamp;
use roundhouse_core::run::{DataSet, RunSpec};
use roundhouse_proto::{Digest, PromptSet, RunId};
use uuid::Uuid;

use crate::dataset::{self, Loaded};
use crate::driver::stamp;
use crate::judging::Judging;
use crate::prepare::Plan;
use crate::run_args::SpecArgs;
use crate::subject::Subject;

/// Keeps these ids apart from whatever else is hashed.
const ID_DOMAIN: &str = "roundhouse run 1";

/// Templates that are checked before any problem is read.
pub struct Templates {
    set: PromptSet,
    addresses: BTreeMap<String, Digest>,
}

impl Templates {
    /// Those in a directory, in place of the built-in ones.
    ///
    /// # Errors
    /// They cannot be read or used.
    #[cfg(feature = "local")]
    pub fn of(dir: Option<&Path>) -> anyhow::Result<Self> {
        let set = dir
            .map(crate::prompts_command::load)
            .transpose()?
            .unwrap_or_default();
        let addresses = crate::prompts_command::addresses(&set);
        Ok(Self { set, addresses })
    }

    /// A build without workers has no templates: the run's provenance names none, and none can be checked.
    ///
    /// # Errors
    /// Some are named.
    #[cfg(not(feature = "local"))]
    pub fn of(dir: Option<&Path>) -> anyhow::Result<Self> {
        match dir {
            None => Ok(Self {
                set: PromptSet::default(),
                addresses: BTreeMap::new(),
            }),
            Some(_) => Err(crate::exit::usage(
                "`--prompts` needs a build that knows the templates\nhint: build the coordinator with its default \
                 features"
                    .to_owned(),
            )),
        }
    }
}

/// The run that flags describe, with an id of its own, and the blobs that it names. Says what is odd about it.
///
/// # Errors
/// No problem is chosen, or a file that a flag names cannot be used.
pub fn put_together(
    args: &SpecArgs,
    subject: &Subject,
    templates: Templates,
    (loaded, source): (&Loaded, &str),
) -> anyhow::Result<(RunSpec, Vec<Bytes>)> {
    let problems = dataset::select(&loaded.problems, args.limit, &args.ids, args.filter.as_deref())?;
    crate::notices::loaded(loaded, &subject.model);
    let judging = Judging::of(args, loaded)?;
    let plan = Plan {
        args,
        model: &subject.model,
        model_at: subject.model_at.clone(),
        playback: subject.playback.as_ref(),
        loaded,
        source,
        problems,
        prompts: templates.addresses,
        prompt_set: templates.set,
        judging,
        // The fleet has what it has.
        workers: 0,
        eval_workers: 0,
    };
    let (spec, parts) = plan.put_together(stamp());
    if let Some(playback) = &subject.playback {
        for warning in playback.warnings(&spec) {
            crate::notices::warning(&warning);
        }
    }
    Ok((spec, parts))
}

/// The id of a run of which this is asked: all that makes a difference to what comes out, and where it is put.
///
/// # Errors
/// It cannot be encoded.
pub fn id_of(spec: &RunSpec, name: &str) -> anyhow::Result<RunId> {
    let asked = RunSpec {
        run: RunId(Uuid::nil()),
        started: Stamp {
            unix_us: 0,
            offset_s: 0,
        },
        version: String::new(),
        workers: 0,
        eval_workers: 0,
        data_set: DataSet {
            // The file is known by its content.
            path: String::new(),
            ..spec.data_set.clone()
        },
        ..spec.clone()
    };
    let text = serde_json::to_vec(&(ID_DOMAIN, name, asked)).context("encode the run")?;
    let mut id = [0; 16];
    id.copy_from_slice(&Digest::of(&text).0[..16]);
    Ok(RunId(uuid::Builder::from_custom_bytes(id).into_uuid()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use crate::report::fixture::Fixture;

    #[test]
    fn id_follows_from_what_is_asked_and_from_nothing_else() {
        let asked = RunSpec::clone(&Fixture::sample().run.spec);
        let id = id_of(&asked, "").unwrap();
        assert_eq!(id.0.get_version_num(), 8);
        let mut same = asked.clone();
        same.run = RunId(Uuid::new_v4());
        same.started.unix_us += 1;
        same.version = "9.9.9".to_owned();
        same.data_set.path = "elsewhere.jsonl".to_owned();
        assert_eq!(id_of(&same, "").unwrap(), id);

        let mut others = vec![id_of(&asked, "a").unwrap()];
        let mut other = asked.clone();
        other.session.model = "another".to_owned();
        others.push(id_of(&other, "").unwrap());
        let mut other = asked.clone();
        other.session.sampling.temperature = 0.5;
        others.push(id_of(&other, "").unwrap());
        let mut other = asked.clone();
        other.problems.pop();
        others.push(id_of(&other, "").unwrap());
        others.push(id);
        others.sort();
        others.dedup();
        assert_eq!(others.len(), 5);
    }
}
