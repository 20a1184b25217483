//! Which files of a public data set make up a split, as the hub lists them.
//!
//! The listing is `GET {endpoint}/api/datasets/{repository}/tree/main/data`: objects with `path`, `size` and, for
//! large files, `lfs.oid`, the SHA-256 of the content. The files are at
//! `{endpoint}/datasets/{repository}/resolve/main/{path}`.

use reqwest::Url;
use roundhouse_proto::Digest;
use serde::Deserialize;

use super::download::{DownloadError, Remote};

/// Where the files of a repository are.
const DIRECTORY: &str = "data/";

/// Bytes of a listing; the real one has some 20 KB.
pub(super) const LISTING_BYTES_MAX: u64 = 4 << 20;

/// Files of one split; the training split of CodeContests has 39.
const SHARDS_MAX: usize = 1_000;

/// Bytes of one file; the largest of CodeContests has some 200 MB.
const SHARD_BYTES_MAX: u64 = 8 << 30;

/// The user's address of the hub.
#[derive(Clone, Debug)]
pub(super) struct Endpoint(Url);

/// An address that cannot be a hub's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub's address (`HF_ENDPOINT`) {0}")]
pub(super) struct BadEndpoint(&'static str);

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let url = Url::parse(text.trim().trim_end_matches('/'))
            .map_err(|_| BadEndpoint("is not a URL: expected one like `https://huggingface.co`"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(BadEndpoint("has another scheme than `https` or `http`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadEndpoint(
                "holds a password: put a token into `HF_TOKEN` instead",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BadEndpoint(
                "has a query or a fragment: expected only a host and a path",
            ));
        }
        Ok(Self(url))
    }

    pub(super) fn listing(&self, repository: &str) -> Url {
        self.join(&["api", "datasets", repository, "tree", "main", "data"])
    }

    fn file(&self, repository: &str, name: &str) -> Url {
        self.join(&["datasets", repository, "resolve", "main", "data", name])
    }

    fn join(&self, parts: &[&str]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(parts.iter().flat_map(|part| part.split('/')));
        }
        url
    }
}

#[derive(Debug, Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    oid: String,
    size: Option<u64>,
}

/// The files of the split in a listing, in the order of their names.
pub(super) fn shards(
    endpoint: &Endpoint,
    repository: &str,
    split: &str,
    listing: &[u8],
) -> Result<Vec<Remote>, DownloadError> {
    let url = endpoint.listing(repository);
    let unusable = |why: String| DownloadError::Listing {
        url: url.to_string(),
        why,
    };
    let entries: Vec<Entry> = serde_json::from_slice(listing)
        .map_err(|error| unusable(format!("expected a JSON list of files: {error}")))?;
    let mut shards = Vec::new();
    for entry in entries {
        let Some(name) = entry.path.strip_prefix(DIRECTORY) else {
            continue;
        };
        let is_of_split = name
            .strip_prefix(split)
            .is_some_and(|rest| rest.starts_with(['-', '.']));
        if !is_of_split || !name.ends_with(".parquet") {
            continue;
        }
        // The name becomes part of a local path.
        if !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        {
            return Err(unusable(format!("a file is called `{}`", name.escape_default())));
        }
        let lfs = entry
            .lfs
            .ok_or_else(|| unusable(format!("`{name}` has no checksum (`lfs.oid`)")))?;
        let sha256: Digest = lfs
            .oid
            .strip_prefix("sha256:")
            .unwrap_or(&lfs.oid)
            .parse()
            .map_err(|_| unusable(format!("the checksum of `{name}` is not a SHA-256")))?;
        let bytes = lfs.size.unwrap_or(entry.size);
        if bytes == 0 || bytes > SHARD_BYTES_MAX {
            return Err(unusable(format!(
                "`{name}` has {bytes} bytes, expected 1 to {SHARD_BYTES_MAX}"
            )));
        }
        shards.push(Remote {
            url: endpoint.file(repository, name),
            name: name.to_owned(),
            bytes,
            sha256,
        });
        if shards.len() > SHARDS_MAX {
            return Err(unusable(format!("the split has more than {SHARDS_MAX} files")));
        }
    }
    if shards.is_empty() {
        return Err(unusable(format!(
            "no parquet file of the split `{split}` is in it"
        )));
    }
    shards.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(shards)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    fn entry(path: &str, bytes: u64) -> String {
        let oid = Digest::of(path.as_bytes());
        format!(
            r#"{{"type":"file","oid":"0b","size":{bytes},"lfs":{{"oid":"{oid}","size":{bytes},"pointerSize":134}},"path":"{path}"}}"#
        )
    }

    fn names(listing: &str) -> Result<Vec<String>, String> {
        let endpoint = Endpoint::parse("https://hub.example/mirror/").unwrap();
        shards(&endpoint, "deepmind/code_contests", "test", listing.as_bytes())
            .map(|shards| shards.iter().map(|shard| shard.url.to_string()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn shards_of_one_split_come_in_order_with_their_addresses() {
        let listing = format!(
            r#"[{{"type":"directory","oid":"1","size":0,"path":"data/test-x"}},{},{},{},{}]"#,
            entry("data/test-00001-of-00002-ab.parquet", 5),
            entry("data/test-00000-of-00002-cd.parquet", 6),
            entry("data/testing-00000-of-00001.parquet", 7),
            entry("data/train-00000-of-00001.parquet", 8),
        );
        let at = "https://hub.example/mirror/datasets/deepmind/code_contests/resolve/main/data";
        assert_eq!(
            names(&listing),
            Ok(vec![
                format!("{at}/test-00000-of-00002-cd.parquet"),
                format!("{at}/test-00001-of-00002-ab.parquet"),
            ])
        );
    }

    #[test]
    fn listing_that_could_lead_astray_is_refused() {
        let at = "use the listing at `https://hub.example/mirror/api/datasets/deepmind/code_contests/tree/main/data`";
        for (listing, why) in [
            (
                "<html>".to_owned(),
                "expected a JSON list of files: expected value at line 1 column 1",
            ),
            ("[]".to_owned(), "no parquet file of the split `test` is in it"),
            (
                format!("[{}]", entry("data/test-/../../x.parquet", 5)),
                "a file is called `test-/../../x.parquet`",
            ),
            (
                format!("[{}]", entry("data/test-a.parquet", 0)),
                "`test-a.parquet` has 0 bytes, expected 1 to 8589934592",
            ),
            (
                r#"[{"path":"data/test-a.parquet","size":5}]"#.to_owned(),
                "`test-a.parquet` has no checksum (`lfs.oid`)",
            ),
            (
                r#"[{"path":"data/test-a.parquet","size":5,"lfs":{"oid":"zz"}}]"#.to_owned(),
                "the checksum of `test-a.parquet` is not a SHA-256",
            ),
        ] {
            assert_eq!(names(&listing), Err(format!("{at}: {why}")));
        }
    }

    #[test]
    fn endpoint_with_a_password_or_another_scheme_is_refused() {
        for text in [
            "huggingface.co",
            "ftp://x",
            "https://a:b@x",
            "https://x/?token=1",
            "",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
        let endpoint = Endpoint::parse("http://127.0.0.1:8080/").unwrap();
        assert_eq!(
            endpoint.listing("a/b").as_str(),
            "http://127.0.0.1:8080/api/datasets/a/b/tree/main/data"
        );
    }
}
