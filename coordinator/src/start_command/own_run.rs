//! The run that the flags of `coordinator start` describe: it is submitted as soon as the coordinator is up.
//!
//! Its id follows from what is asked, as that of a run that a client submits: the same command again goes on with the
//! same run.

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use roundhouse_core::run::RunSpec;
use roundhouse_core::status::RunState;
use roundhouse_proto::wire::v1;
use roundhouse_proto::{Digest, RunId};
use tokio::task::JoinHandle;

use super::StartArgs;
use crate::blobs::Blobs;
use crate::client::find::brief;
use crate::rpc::Submissions;
use crate::run_args::SpecArgs;
use crate::server::{Server, Url};
use crate::subject::Subject;
use crate::submit_command::{Templates, id_of, put_together};

/// Whether the command line describes a run. What the environment alone says, such as a model for clients, does not.
pub(crate) fn is_described(start: &ArgMatches) -> bool {
    let of_run = SpecArgs::augment_args(Command::new("run"));
    let is_given = |id: &str| start.value_source(id) == Some(ValueSource::CommandLine);
    of_run.get_arguments().any(|arg| is_given(arg.get_id().as_str())) || is_given("endpoint")
}

/// The run, before it is submitted.
pub(super) struct OwnRun {
    spec: RunSpec,
    parts: Vec<Bytes>,
}

/// A run that is being submitted; what people are told about it, if anything.
pub(super) type Submitting = JoinHandle<anyhow::Result<Option<String>>>;

impl OwnRun {
    /// The run that the flags describe; none if they describe none.
    ///
    /// # Errors
    /// Something is missing, or the problems cannot be read.
    pub(super) fn of(args: &StartArgs) -> anyhow::Result<Option<Self>> {
        if !args.describes_run {
            return Ok(None);
        }
        let subject = Subject::of_fleet(&args.spec, args.endpoint.as_deref())?;
        let templates = Templates::of(args.spec.prompts.as_deref())?;
        let (loaded, source) = subject.load()?;
        let (mut spec, parts) = put_together(&args.spec, &subject, templates, (&loaded, &source))?;
        spec.run = id_of(&spec, "")?;
        Ok(Some(Self { spec, parts }))
    }

    /// Which run it is.
    pub(super) fn id(&self) -> RunId {
        self.spec.run
    }

    /// Submits it. In a task of its own: what people are told must be read meanwhile.
    pub(super) fn submit(
        self,
        submissions: Submissions,
        server: &Server,
        blobs: Blobs,
        url: &Url,
    ) -> Submitting {
        let run = self.spec.run;
        let is_known = server.registry.find(run).is_some();
        let (events, url) = (server.events.clone(), url.clone());
        tokio::spawn(async move {
            if is_known {
                let view = events
                    .look(move |core, now| core.run_view(now, run))
                    .await
                    .flatten();
                return Ok(Some(of_known(run, view.as_ref().map(|view| &view.state), &url)));
            }
            let Self { spec, mut parts } = self;
            let text = serde_json::to_vec(&spec).context("encode the run")?;
            let digest = Digest::of(&text);
            parts.push(text.into());
            let stored = tokio::task::spawn_blocking(move || blobs.put_all(parts));
            stored.await?.context("store the problems")?;
            let request = v1::SubmitRequest {
                run: run.into(),
                name: String::new(),
                spec: digest.into(),
            };
            let reply = submissions
                .submit(request)
                .await
                .map_err(|status| anyhow!("failed to submit the run: {}", status.message()))?;
            if !reply.missing.is_empty() {
                bail!(
                    "failed to submit the run: {} of its blobs were lost",
                    reply.missing.len()
                );
            }
            Ok(None)
        })
    }
}

/// What is said of a run that was there before.
fn of_known(run: RunId, state: Option<&RunState>, url: &Url) -> String {
    let run = brief(run);
    let another = format!("`coordinator submit --new … --coordinator {url}` starts another");
    let (how, way_on) = match state {
        None | Some(RunState::Active | RunState::Paused { .. }) => ("and goes on", String::new()),
        Some(RunState::Complete) => ("and is complete", String::new()),
        Some(RunState::Incomplete { .. }) => (
            "and has errors",
            format!("`coordinator retry {run} --coordinator {url}` tries only the errors again; "),
        ),
        Some(RunState::Cancelled { .. }) => (
            "and was cancelled",
            format!("`coordinator retry {run} --coordinator {url}` goes on with what is not settled; "),
        ),
    };
    format!("note: this is run {run}, which was submitted before {how}\nhint: {way_on}{another}")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::time::Duration;

    use clap::{FromArgMatches, Parser};
    use tokio::net::TcpListener;

    use super::*;
    use crate::server::{Setting, State};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        start: StartArgs,
    }

    fn args(flags: &str) -> StartArgs {
        let words = ["start"].into_iter().chain(flags.split_whitespace());
        let matches = <Line as clap::CommandFactory>::command()
            .try_get_matches_from(words)
            .unwrap();
        let mut args = Line::from_arg_matches(&matches).unwrap().start;
        args.describes_run = is_described(&matches);
        args
    }

    #[test]
    fn run_is_described_by_any_flag_of_one_and_by_none_of_the_coordinator() {
        assert!(!args("--listen 127.0.0.1:0 --exit-when-done").describes_run);
        for flags in [
            "--model reference",
            "--problems p.jsonl",
            "--limit 1",
            "--endpoint e",
        ] {
            assert!(args(flags).describes_run, "{flags}");
        }
        assert!(OwnRun::of(&args("--insecure")).unwrap().is_none());
        let error = OwnRun::of(&args("--limit 1")).err().unwrap().to_string();
        assert!(error.starts_with("no model is named\nhint: "), "{error}");
    }

    #[test]
    fn run_that_was_cancelled_is_told_of_with_the_command_that_goes_on() {
        let url = Url::of_port("127.0.0.1:7717".parse().unwrap(), "host");
        let reason = "why".to_owned();
        let cancelled = of_known(
            RunId(uuid::Uuid::nil()),
            Some(&RunState::Cancelled { reason }),
            &url,
        );
        assert_eq!(
            cancelled,
            "note: this is run 00000000, which was submitted before and was cancelled\n\
             hint: `coordinator retry 00000000 --coordinator http://127.0.0.1:7717` goes on with what is not settled; \
             `coordinator submit --new … --coordinator http://127.0.0.1:7717` starts another"
        );
    }

    #[tokio::test]
    async fn run_of_the_flags_is_taken_in_once_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let args = args("--model reference --limit 2");
        let mut told = Vec::new();
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let bound = listener.local_addr().unwrap();
            let url = Url::of_port(bound, "host");
            let output_dir = dir.path().join("outputs");
            let setting = Setting {
                listener,
                url,
                output_dir,
            };
            let own = OwnRun::of(&args).unwrap().unwrap();
            let run = own.spec.run;
            let state = State::open(&dir.path().join("data")).unwrap();
            let blobs = state.blobs.clone();
            let server = Server::start_for_many(state, setting).await.unwrap();
            let submissions = server.submissions.clone().unwrap();
            let url = Url::of_port(bound, "host");
            let submitting = own.submit(submissions, &server, blobs, &url);
            let submitted = tokio::time::timeout(Duration::from_secs(30), submitting).await;
            told.push(
                submitted
                    .unwrap()
                    .unwrap()
                    .unwrap()
                    .map(|text| text.contains(&brief(run))),
            );
            let view = server.events.look(move |core, now| core.run_view(now, run)).await;
            assert_eq!(view.unwrap().unwrap().spec.problems.len(), 2);
            assert!(server.stop().await);
        }
        assert_eq!(told, [None, Some(true)]);
        assert_eq!(std::fs::read_dir(dir.path().join("outputs")).unwrap().count(), 1);
    }
}
