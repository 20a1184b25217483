//! Taking runs in: checked, given a directory, entered in the registry, and only then told to the core.
//!
//! After a crash at any instruction the run is either not there, and the client's repeat takes it in, or it is in the
//! registry, from which the next start submits it anew. At worst an empty directory stays behind.

use std::path::PathBuf;
use std::sync::Arc;

use roundhouse_core::Event;
use roundhouse_core::run::RunSpec;
use roundhouse_proto::wire::{DIGESTS_MAX, Fields, v1};
use roundhouse_proto::{Digest, RunId};
use tokio::sync::Mutex;
use tonic::Status;

use super::{look, refuse, run_of, spec, tell};
use crate::blobs::{BlobError, Blobs};
use crate::driver::Events;
use crate::registry::{Entry, Registry, RegistryError};
use crate::rpc::blobs::{blocking, refuse as refuse_blob};
use crate::run_dir::{RunDir, RunDirError, name};
use crate::store::in_full;

/// Bytes of what a run is asked to do; 100,000 problems have less.
const SPEC_BYTES_MAX: u64 = 256 << 20;
/// How the name of a run directory begins; no directory of runs is called so.
pub const RUN_DIR_PREFIX: &str = "run_";

/// Takes runs in. A clone is another handle on the same.
#[derive(Clone)]
pub struct Submissions(Arc<Inner>);

struct Inner {
    output_dir: PathBuf,
    events: Events,
    blobs: Blobs,
    registry: Arc<Registry>,
    /// One at a time, so that a run that comes twice at once is one.
    turn: Mutex<()>,
}

/// What was found of a run that is asked for.
enum Asked {
    /// Blobs it names are not there.
    Lacking(Vec<Digest>),
    /// All of it.
    Whole(Arc<RunSpec>),
}

impl Submissions {
    /// Takes runs in whose directories are made below `output_dir`, an absolute path.
    pub fn new(output_dir: PathBuf, events: Events, blobs: Blobs, registry: Arc<Registry>) -> Self {
        Self(Arc::new(Inner {
            output_dir,
            events,
            blobs,
            registry,
            turn: Mutex::new(()),
        }))
    }

    /// Takes a run in; durable when it is answered. A repeat with the same run is the same run.
    ///
    /// # Errors
    /// A status for people: the run cannot be read or may not be so, its id is another run's, or the disk refuses.
    pub async fn submit(&self, request: v1::SubmitRequest) -> Result<v1::SubmitReply, Status> {
        let fields = Fields::of("SubmitRequest");
        let run = run_of(fields, &request.run)?;
        let spec = fields
            .digest("spec", &request.spec)
            .map_err(|error| refuse(&error))?;
        let name = request.name;
        if !name.is_empty() && (name::check(&name).is_err() || name.starts_with(RUN_DIR_PREFIX)) {
            let expected = format!(
                "one part of a path that does not begin with `.` or `{RUN_DIR_PREFIX}`, such as `nightly`"
            );
            let got = format!("`{}`", name.escape_debug());
            return Err(refuse(&fields.refuse("name", expected, got)));
        }
        // A task of its own: the caller may go away in the middle, and what was begun is to be finished.
        let submissions = self.clone();
        let taken = tokio::spawn(async move { submissions.take_in(run, spec, name).await });
        taken.await.map_err(|error| Status::internal(error.to_string()))?
    }

    async fn take_in(&self, run: RunId, digest: Digest, name: String) -> Result<v1::SubmitReply, Status> {
        let _turn = self.0.turn.lock().await;
        let known = self.0.registry.find(run);
        if let Some(known) = &known
            && known.spec != digest
        {
            // It may have been entered and not told: whoever entered it then gave up.
            let blobs = self.0.blobs.clone();
            let spec_blob = known.spec;
            if let Asked::Whole(spec) = blocking(move || read(&blobs, run, &spec_blob)).await? {
                tell(&self.0.events, Event::Submitted { spec, spec_blob }).await?;
            }
            return Err(Status::already_exists(format!(
                "run {run} was submitted before and asks for something else\nhint: every run needs an id of its own"
            )));
        }
        let blobs = self.0.blobs.clone();
        let asked = blocking(move || read(&blobs, run, &digest)).await?;
        let spec = match asked {
            Asked::Whole(spec) => spec,
            Asked::Lacking(missing) => {
                return Ok(v1::SubmitReply {
                    repeated: false,
                    missing: missing.into_iter().take(DIGESTS_MAX).map(Into::into).collect(),
                    dir: String::new(),
                });
            }
        };
        let repeated = known.is_some();
        let entry = match known {
            Some(known) => known,
            None => {
                let submissions = self.clone();
                let started = spec.started;
                blocking(move || submissions.enter(run, digest, name, started)).await?
            }
        };
        // The core knows a run that it was told of before.
        let event = Event::Submitted {
            spec,
            spec_blob: digest,
        };
        tell(&self.0.events, event).await?;
        look(&self.0.events, |_, _| ()).await?;
        Ok(v1::SubmitReply {
            repeated,
            missing: Vec::new(),
            dir: entry.dir.display().to_string(),
        })
    }

    /// Makes the run's directory and enters it.
    fn enter(
        &self,
        run: RunId,
        spec: Digest,
        name: String,
        started: roundhouse_core::Stamp,
    ) -> Result<Arc<Entry>, Status> {
        let output_dir = match name.as_str() {
            "" => self.0.output_dir.clone(),
            name => self.0.output_dir.join(name),
        };
        let made = RunDir::create::<(), RunDirError>(&output_dir, started, |_| Ok(()));
        let (run_dir, ()) = made.map_err(|error| no_directory(&error))?;
        let dir = run_dir.path().to_owned();
        let entry = Entry { run, spec, dir, name };
        if let Err(error) = self.0.registry.add(entry.clone()) {
            // It is empty: nobody was told of it.
            let _ = std::fs::remove_dir(run_dir.path());
            return Err(not_entered(&error));
        }
        Ok(Arc::new(entry))
    }
}

/// What a run is asked to do, checked, or what is missing for it.
fn read(blobs: &Blobs, run: RunId, digest: &Digest) -> Result<Asked, Status> {
    match blobs.len(digest) {
        Ok(bytes) if bytes > SPEC_BYTES_MAX => {
            return Err(Status::invalid_argument(format!(
                "what the run is asked to do has {bytes} bytes, at most {SPEC_BYTES_MAX} can be taken in"
            )));
        }
        Ok(_) => {}
        Err(BlobError::Missing { digest }) => return Ok(Asked::Lacking(vec![digest])),
        Err(error) => return Err(refuse_blob(&error)),
    }
    let text = blobs.read(digest).map_err(|error| refuse_blob(&error))?;
    let spec = spec::read(&text)?;
    spec::check(&spec, run).map_err(|error| refuse(&error))?;
    let mut missing = Vec::new();
    for digest in spec::blobs_of(&spec) {
        match blobs.len(&digest) {
            Ok(_) => {}
            Err(BlobError::Missing { digest }) => missing.push(digest),
            Err(error) => return Err(refuse_blob(&error)),
        }
    }
    Ok(if missing.is_empty() {
        Asked::Whole(Arc::new(spec))
    } else {
        Asked::Lacking(missing)
    })
}

fn no_directory(error: &RunDirError) -> Status {
    let text = format!("failed to {}", in_full(error));
    match error {
        RunDirError::Make { source, .. }
        | RunDirError::Open { source, .. }
        | RunDirError::Write { source, .. }
            if source.kind() == std::io::ErrorKind::StorageFull =>
        {
            Status::resource_exhausted(text)
        }
        RunDirError::Make { .. } | RunDirError::Taken { .. } | RunDirError::Open { .. } => {
            Status::failed_precondition(format!(
                "{text}\nhint: the coordinator makes run directories where its `--output-dir` says"
            ))
        }
        RunDirError::Write { .. } | RunDirError::Name { .. } | RunDirError::Report(_) => {
            Status::internal(text)
        }
    }
}

fn not_entered(error: &RegistryError) -> Status {
    let text = in_full(error);
    match error {
        RegistryError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Status::resource_exhausted(text)
        }
        RegistryError::Io { .. } | RegistryError::Damaged { .. } | RegistryError::Newer { .. } => {
            Status::internal(text)
        }
    }
}
