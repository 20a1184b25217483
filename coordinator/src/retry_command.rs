//! `coordinator retry RUN`: queues those problems of a run again that ended by a failure of ours, or were cancelled.

use std::process::ExitCode;

use clap::Args;
use roundhouse_proto::wire::v1;

use crate::client::find::{brief, find};
use crate::client::seen::SeenRun;
use crate::client::table::print;
use crate::client::{Client, CoordinatorArgs, block_on, bytes_of};
use crate::exit;

/// Which run is tried again.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The run: its id or the beginning of it, its directory, or `last`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The coordinator.
    #[command(flatten)]
    pub at: CoordinatorArgs,
}

/// Queues them. What has a verdict keeps it.
///
/// # Errors
/// The coordinator does not answer, or no such run is known.
pub fn run(args: &RetryArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let client = Client::new(&args.at.coordinator);
        let run = find(&client, &args.run).await?;
        let problems = retry(&client, &run).await?;
        print(&format!("{} {problems}\n", run.run))?;
        if problems == 0 {
            crate::notices::note(&format!(
                "run {} has no problem to try again: nothing to do",
                brief(run.run)
            ));
            return Ok(exit::NOTHING_TO_DO.into());
        }
        let problems_are = if problems == 1 {
            "problem is"
        } else {
            "problems are"
        };
        crate::notices::note(&format!("{problems} {problems_are} tried again"));
        crate::notices::hint(&format!(
            "`{}` shows how far it is",
            client.command(&format!("status {}", brief(run.run)))
        ));
        Ok(ExitCode::SUCCESS)
    })
}

/// How many problems are queued again.
async fn retry(client: &Client, run: &SeenRun) -> anyhow::Result<u64> {
    let reply = client
        .ask(|| {
            let mut control = client.control();
            async move {
                let request = v1::RetryRequest {
                    run: bytes_of(run.run),
                };
                control.retry(request).await
            }
        })
        .await?;
    Ok(reply.problems_n)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use crate::client::fake::{Fake, status};

    #[tokio::test]
    async fn second_retry_finds_nothing_left_to_try_again() {
        let fake = Fake::start().await;
        fake.known().runs.push(status(5));
        fake.known().retried = 3;
        let client = fake.client();
        let run = find(&client, "last").await.unwrap();
        assert_eq!(retry(&client, &run).await.unwrap(), 3);
        assert_eq!(retry(&client, &run).await.unwrap(), 0);
    }
}
