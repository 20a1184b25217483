//! One file over HTTP, resumable and checked.
//!
//! The bytes go to `FILE.partial`, which only one process writes at a time. When its size and SHA-256 are those
//! that were announced it is made durable and renamed to `FILE`; so a `FILE` is always whole. A download that is
//! cut goes on where it stopped, by itself and in the next process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use reqwest::header::{AUTHORIZATION, CONTENT_RANGE, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use roundhouse_proto::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes read at once from a file that is checked.
const CHUNK_BYTES: usize = 1 << 16;

/// A file as it is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) url: Url,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
}

/// What was needed to have the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Nothing.
    AlreadyThere,
    /// A download, of which the first bytes were there from an earlier one.
    Downloaded {
        /// How many.
        resumed_at: u64,
    },
}

/// How often and how patiently a request is repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retries {
    /// Tries in a row without a new byte.
    pub(super) fruitless_max: u32,
    /// Tries in all, for a server that sends a little each time.
    pub(super) tries_max: u32,
    /// Before the second try; doubled each time.
    pub(super) wait_first: Duration,
    /// The longest, also when the server asks for a longer one.
    pub(super) wait_max: Duration,
}

impl Retries {
    pub(super) const DEFAULT: Self = Self {
        fruitless_max: 6,
        tries_max: 100,
        wait_first: Duration::from_millis(500),
        wait_max: Duration::from_secs(60),
    };

    fn wait(self, fruitless: u32, asked: Option<Duration>) -> Duration {
        let doubled = self
            .wait_first
            .saturating_mul(1 << fruitless.saturating_sub(1).min(16));
        asked.unwrap_or(doubled).max(self.wait_first).min(self.wait_max)
    }
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    /// The listing says something else than it should.
    #[error("use the listing at `{url}`: {why}")]
    Listing { url: String, why: String },
    /// The server's answer is not the file.
    #[error("get `{url}`: the server answered {status}{}", advice(*status))]
    Status {
        url: String,
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    /// No answer, or not all of it.
    #[error("get `{url}`")]
    Transport { url: String, source: reqwest::Error },
    /// All of an answer, but not all of the file.
    #[error("get `{url}`: the answer ended after {received} of {expected} bytes")]
    Short {
        url: String,
        received: u64,
        expected: u64,
    },
    /// The server has another file than the one announced.
    #[error("get `{url}`: the server has {found} bytes, the listing says {expected}")]
    Size { url: String, expected: u64, found: u64 },
    /// All bytes came, but not the right ones.
    #[error(
        "get `{url}`: the SHA-256 of what came is {found}, the listing says {expected}; it was thrown away"
    )]
    Checksum {
        url: String,
        expected: Digest,
        found: Digest,
    },
    /// Something else has the file's name.
    #[error("`{}` exists and is not the file at `{url}`; move it away, or save to another directory with `--output`", path.display())]
    Occupied { path: PathBuf, url: String },
    /// Another process is at it.
    #[error("`{}` is being written by another process", path.display())]
    Busy { path: PathBuf },
    /// The disk.
    #[error("{doing} `{}`", path.display())]
    Disk {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": set a token that may read it in `HF_TOKEN`",
        StatusCode::NOT_FOUND => ": check the hub's address (`HF_ENDPOINT`)",
        _ => "",
    }
}

impl DownloadError {
    /// Whether the same request may succeed later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is_builder() && !source.is_redirect(),
            Self::Short { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                    )
            }
            Self::Listing { .. }
            | Self::Size { .. }
            | Self::Checksum { .. }
            | Self::Occupied { .. }
            | Self::Busy { .. }
            | Self::Disk { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Asks the hub. Redirects to another host lose the authorization; the HTTP client sees to that.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) retries: Retries,
}

impl Client {
    /// A short text, with repeats.
    pub(super) async fn listing(&self, url: Url, bytes_max: u64) -> Result<Vec<u8>, DownloadError> {
        let mut tries = Tries::new(self.retries);
        loop {
            match self.listing_once(&url, bytes_max).await {
                Err(error) => tries.after(error, 0).await?,
                listing => return listing,
            }
        }
    }

    async fn listing_once(&self, url: &Url, bytes_max: u64) -> Result<Vec<u8>, DownloadError> {
        let mut response = self.get(url, None).await?;
        if response.status() != StatusCode::OK {
            return Err(status_error(url, &response));
        }
        let mut listing = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport(url, error))? {
            listing.extend_from_slice(&chunk);
            if listing.len() as u64 > bytes_max {
                let why = format!("it is longer than {bytes_max} bytes");
                return Err(DownloadError::Listing {
                    url: url.to_string(),
                    why,
                });
            }
        }
        Ok(listing)
    }

    /// Sees to it that `path` is the file announced.
    pub(super) async fn download(
        &self,
        remote: &Remote,
        path: &Path,
        progress: &ProgressBar,
    ) -> Result<Fetched, DownloadError> {
        match File::open(path) {
            Ok(file) => {
                let url = remote.url.to_string();
                let size = file.metadata().map_err(disk("read", path))?.len();
                let is_right = size == remote.bytes && hash(file, path)?.1 == remote.sha256;
                return if is_right {
                    Ok(Fetched::AlreadyThere)
                } else {
                    Err(DownloadError::Occupied {
                        path: path.to_owned(),
                        url,
                    })
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(disk("read", path)(error)),
        }
        let mut partial = Partial::open(remote, path)?;
        progress.set_position(partial.bytes);
        let fetched = self.complete(remote, path, &mut partial, progress).await;
        if fetched.is_err() && partial.bytes == 0 {
            // Nothing to go on from; that it stays would be no harm.
            let _ = std::fs::remove_file(&partial.path);
        }
        fetched
    }

    async fn complete(
        &self,
        remote: &Remote,
        path: &Path,
        partial: &mut Partial,
        progress: &ProgressBar,
    ) -> Result<Fetched, DownloadError> {
        let mut tries = Tries::new(self.retries);
        loop {
            let before = partial.bytes;
            if before < remote.bytes
                && let Err(error) = self.append(remote, partial, progress).await
            {
                tries.after(error, partial.bytes.saturating_sub(before)).await?;
                continue;
            }
            let resumed_at = partial.kept;
            match partial.finish(remote, path) {
                // What an earlier process left may have been of another version; once more, from the start.
                Err(DownloadError::Checksum { .. }) if resumed_at > 0 => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Fetched::Downloaded { resumed_at }),
            }
        }
    }

    /// Asks for what is missing and appends what comes.
    async fn append(
        &self,
        remote: &Remote,
        partial: &mut Partial,
        progress: &ProgressBar,
    ) -> Result<(), DownloadError> {
        let url = &remote.url;
        let wrong_size = |found| DownloadError::Size {
            url: url.to_string(),
            expected: remote.bytes,
            found,
        };
        let mut response = self
            .get(url, Some(partial.bytes).filter(|bytes| *bytes > 0))
            .await?;
        let (start, total) = match response.status() {
            StatusCode::OK => (0, response.content_length()),
            StatusCode::PARTIAL_CONTENT => content_range(&response).unwrap_or((u64::MAX, None)),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart()?;
                return Err(wrong_size(
                    content_range(&response).and_then(|range| range.1).unwrap_or(0),
                ));
            }
            _ => return Err(status_error(url, &response)),
        };
        if let Some(found) = total.filter(|total| *total != remote.bytes) {
            return Err(wrong_size(found));
        }
        if start != partial.bytes {
            partial.restart()?;
            progress.set_position(0);
            if start != 0 {
                return Err(DownloadError::Short {
                    url: url.to_string(),
                    received: 0,
                    expected: remote.bytes,
                });
            }
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| transport(url, error))? {
            let bytes = partial.bytes + chunk.len() as u64;
            if bytes > remote.bytes {
                partial.restart()?;
                return Err(wrong_size(bytes));
            }
            partial.append(&chunk)?;
            progress.set_position(bytes);
        }
        if partial.bytes < remote.bytes {
            let received = partial.bytes;
            return Err(DownloadError::Short {
                url: url.to_string(),
                received,
                expected: remote.bytes,
            });
        }
        Ok(())
    }

    async fn get(&self, url: &Url, from: Option<u64>) -> Result<Response, DownloadError> {
        let mut request = self.http.get(url.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(from) = from {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        request.send().await.map_err(|error| transport(url, error))
    }
}

/// The count of tries of one file.
struct Tries {
    retries: Retries,
    all: u32,
    fruitless: u32,
}

impl Tries {
    fn new(retries: Retries) -> Self {
        Self {
            retries,
            all: 0,
            fruitless: 0,
        }
    }

    /// Waits before the next try, or gives the error back if there should be none.
    async fn after(&mut self, error: DownloadError, gained: u64) -> Result<(), DownloadError> {
        self.all += 1;
        self.fruitless = if gained > 0 { 0 } else { self.fruitless + 1 };
        let enough = self.all >= self.retries.tries_max || self.fruitless >= self.retries.fruitless_max;
        if enough || !error.is_transient() {
            return Err(error);
        }
        let wait = self.retries.wait(self.fruitless, error.retry_after());
        tracing::info!(%error, ?wait, "download failed, trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// `FILE.partial`, locked. It is written without giving way to other tasks: there are none beside the download.
struct Partial {
    file: File,
    path: PathBuf,
    bytes: u64,
    sha256: Sha256,
    /// Bytes that an earlier process left and that still count.
    kept: u64,
}

impl Partial {
    fn open(remote: &Remote, target: &Path) -> Result<Self, DownloadError> {
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(disk("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DownloadError::Busy { path }),
            Err(TryLockError::Error(error)) => return Err(disk("open", &path)(error)),
        }
        let (sha256, _) = hash(&file, &path)?;
        let bytes = file.metadata().map_err(disk("open", &path))?.len();
        let mut partial = Self {
            file,
            path,
            bytes,
            sha256,
            kept: bytes,
        };
        if bytes > remote.bytes {
            partial.restart()?;
        }
        Ok(partial)
    }

    fn append(&mut self, chunk: &[u8]) -> Result<(), DownloadError> {
        self.file.write_all(chunk).map_err(disk("write", &self.path))?;
        self.sha256.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), DownloadError> {
        let failed = disk("empty", &self.path);
        self.file.set_len(0).map_err(&failed)?;
        self.file.seek(SeekFrom::Start(0)).map_err(&failed)?;
        self.sha256 = Sha256::new();
        self.bytes = 0;
        self.kept = 0;
        Ok(())
    }

    /// Checks the whole, makes it durable and gives it its name; throws it away if it is wrong.
    fn finish(&mut self, remote: &Remote, target: &Path) -> Result<(), DownloadError> {
        let found = Digest(self.sha256.clone().finalize().into());
        if found != remote.sha256 {
            self.restart()?;
            let url = remote.url.to_string();
            return Err(DownloadError::Checksum {
                url,
                expected: remote.sha256,
                found,
            });
        }
        self.file.sync_all().map_err(disk("sync", &self.path))?;
        std::fs::rename(&self.path, target).map_err(disk("rename", &self.path))?;
        let parent = target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(disk("sync", parent))
    }
}

/// The state after all bytes of a file, and the digest.
fn hash(mut file: impl io::Read, path: &Path) -> Result<(Sha256, Digest), DownloadError> {
    let mut sha256 = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => {
                let digest = Digest(sha256.clone().finalize().into());
                return Ok((sha256, digest));
            }
            Ok(read) => sha256.update(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(disk("read", path)(error)),
        }
    }
}

/// First byte and size of the whole in `Content-Range: bytes 5-9/10`, of `bytes */10` only the second one.
fn content_range(response: &Response) -> Option<(u64, Option<u64>)> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range
        .split_once('-')
        .and_then(|(start, _)| start.trim().parse().ok());
    Some((start.unwrap_or(u64::MAX), total.trim().parse().ok()))
}

fn status_error(url: &Url, response: &Response) -> DownloadError {
    let seconds = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    DownloadError::Status {
        url: url.to_string(),
        status: response.status(),
        retry_after: seconds.map(Duration::from_secs),
    }
}

/// Without the address where it happened: after a redirect that holds a signature.
fn transport(url: &Url, error: reqwest::Error) -> DownloadError {
    DownloadError::Transport {
        url: url.to_string(),
        source: error.without_url(),
    }
}

fn disk<'p>(doing: &'static str, path: &'p Path) -> impl Fn(io::Error) -> DownloadError + use<'p> {
    move |source| DownloadError::Disk {
        doing,
        path: path.to_owned(),
        source,
    }
}
