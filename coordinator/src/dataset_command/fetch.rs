//! `dataset fetch`: a public data set from the hub that publishes it.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::header::HeaderValue;

use super::download::{Client, Fetched, Remote, Retries};
use super::hub::{self, Endpoint};

/// A connection that is not made in this time failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection on which nothing came for this time failed.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// `dataset fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Which data set
    #[arg(value_enum)]
    pub dataset: PublicDataset,
    /// Which part of it
    #[arg(long, value_enum)]
    pub split: Split,
    /// Directory to save it in
    #[arg(long, value_name = "DIR", default_value = "./Datasets")]
    pub output: PathBuf,
    /// Address of the hub; a token in HF_TOKEN is sent to it alone
    #[arg(
        long,
        value_name = "URL",
        env = "HF_ENDPOINT",
        default_value = "https://huggingface.co"
    )]
    pub endpoint: String,
}

/// A data set that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PublicDataset {
    /// CodeContests, CC BY 4.0
    #[value(name = "code_contests")]
    CodeContests,
}

/// Part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Split {
    /// 165 problems
    Test,
    /// 117 problems
    Valid,
    /// Some 13,000 problems in many files
    Train,
}

impl PublicDataset {
    fn repository(self) -> &'static str {
        match self {
            Self::CodeContests => "deepmind/code_contests",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::CodeContests => "code_contests",
        }
    }
}

impl Split {
    fn word(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Valid => "valid",
            Self::Train => "train",
        }
    }
}

pub(super) fn run(args: &FetchArgs) -> anyhow::Result<ExitCode> {
    // Another part of the process may have been first; then that provider serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let token = std::env::var("HF_TOKEN")
        .ok()
        .filter(|token| !token.trim().is_empty());
    let http = reqwest::Client::builder()
        .user_agent(concat!("roundhouse/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()
        .context("prepare the connection to the hub")?;
    let client = Client {
        http,
        authorization: authorization(token.as_deref())?,
        retries: Retries::DEFAULT,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime of the download")?;
    let files = runtime.block_on(fetch(&client, args))?;
    let mut text = String::new();
    for file in files {
        text.push_str(&file.to_string_lossy());
        text.push('\n');
    }
    super::write_stdout(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The header that carries the token; its value is never printed.
fn authorization(token: Option<&str>) -> anyhow::Result<Option<HeaderValue>> {
    let Some(token) = token else {
        return Ok(None);
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| anyhow::anyhow!("`HF_TOKEN` holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Gets every file of the split; the paths in the order of the shards.
async fn fetch(client: &Client, args: &FetchArgs) -> anyhow::Result<Vec<PathBuf>> {
    let endpoint = Endpoint::parse(&args.endpoint)?;
    let repository = args.dataset.repository();
    let listing = client
        .listing(endpoint.listing(repository), hub::LISTING_BYTES_MAX)
        .await?;
    let shards = hub::shards(&endpoint, repository, args.split.word(), &listing)?;
    let mut files = Vec::new();
    for (number, (remote, path)) in (1..).zip(places(args, &shards)) {
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).with_context(|| format!("create `{}`", parent.display()))?;
        let progress = progress(remote.bytes);
        let fetched = client.download(remote, &path, &progress).await;
        progress.finish_and_clear();
        let what = match fetched? {
            Fetched::AlreadyThere => "is already there and right".to_owned(),
            Fetched::Downloaded { resumed_at: 0 } => format!("{} bytes", remote.bytes),
            Fetched::Downloaded { resumed_at } => {
                format!(
                    "{} bytes, the first {resumed_at} from an earlier download",
                    remote.bytes
                )
            }
        };
        super::say(&format!(
            "file {number} of {}: `{}`, {what}",
            shards.len(),
            path.display()
        ));
        files.push(path);
    }
    Ok(files)
}

/// Where each file goes: one file by the name of the split, several under the hub's names in a directory of it.
fn places<'r>(args: &FetchArgs, shards: &'r [Remote]) -> Vec<(&'r Remote, PathBuf)> {
    let name = format!("{}-{}", args.dataset.word(), args.split.word());
    match shards {
        [only] => vec![(only, args.output.join(format!("{name}.parquet")))],
        many => many
            .iter()
            .map(|shard| (shard, args.output.join(&name).join(&shard.name)))
            .collect(),
    }
}

fn progress(bytes: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(bytes), target).with_style(style)
}

#[cfg(test)]
mod tests;
