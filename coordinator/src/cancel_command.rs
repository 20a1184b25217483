//! `coordinator cancel RUN`: ends a run; what is settled stays.

use std::process::ExitCode;

use clap::Args;
use roundhouse_proto::wire::v1;

use crate::client::find::{brief, find};
use crate::client::seen::{SeenRun, SeenState};
use crate::client::table::print;
use crate::client::{Client, CoordinatorArgs, block_on, bytes_of};
use crate::exit;
use crate::status_command::way_on;

/// Which run is ended.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The run: its id or the beginning of it, its directory, or `last`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Why, for people: the run's reports say it
    #[arg(long, value_name = "TEXT", default_value = "on request")]
    pub reason: String,
    /// The coordinator.
    #[command(flatten)]
    pub at: CoordinatorArgs,
}

/// Ends it. A run that has ended stays as it is.
///
/// # Errors
/// The coordinator does not answer, or no such run is known.
pub fn run(args: &CancelArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let client = Client::new(&args.at.coordinator);
        let before = find(&client, &args.run).await?;
        let after = cancel(&client, &before, &args.reason).await?;
        print(&format!("{} {}\n", after.run, after.state.word()))?;
        Ok(match after.state {
            SeenState::Cancelled => {
                crate::notices::note(&format!(
                    "{} of {} problems are settled and stay so",
                    after.settled_n(),
                    after.problems_n
                ));
                if let Some(way_on) = way_on(&client, &after) {
                    crate::notices::hint(&way_on);
                }
                ExitCode::SUCCESS
            }
            SeenState::Active | SeenState::Paused => {
                crate::notices::note(&format!(
                    "it is ending; `{}` shows how far it is",
                    client.command(&format!("status {}", brief(after.run)))
                ));
                ExitCode::SUCCESS
            }
            SeenState::Complete | SeenState::Incomplete => {
                crate::notices::note("the run had ended already: nothing to do");
                exit::NOTHING_TO_DO.into()
            }
        })
    })
}

async fn cancel(client: &Client, run: &SeenRun, reason: &str) -> anyhow::Result<SeenRun> {
    let request = v1::CancelRequest {
        run: bytes_of(run.run),
        reason: reason.to_owned(),
    };
    let status = client
        .ask(|| {
            let (mut control, request) = (client.control(), request.clone());
            async move { control.cancel(request).await }
        })
        .await?;
    Ok(status.try_into()?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use crate::client::fake::{Fake, status};

    #[tokio::test]
    async fn cancelling_twice_leaves_the_run_as_the_first_time_did() {
        let fake = Fake::start().await;
        fake.known().runs.push(status(5));
        let client = fake.client();
        let before = find(&client, "last").await.unwrap();
        let after = cancel(&client, &before, "too dear").await.unwrap();
        assert_eq!(
            (after.state, after.reason.as_str()),
            (SeenState::Cancelled, "too dear")
        );
        assert_eq!(cancel(&client, &before, "again").await.unwrap(), after);
    }
}
