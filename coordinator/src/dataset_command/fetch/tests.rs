//! Facts about fetching, against a server of the test's own on this machine.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use roundhouse_proto::Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LISTING: &str = "/api/datasets/deepmind/code_contests/tree/main/data";
const FILE: &str = "/datasets/deepmind/code_contests/resolve/main/data/test-00000-of-00001-9c.parquet";

/// Bytes of a request's head that the server reads.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// One answer, given as it is; the connection ends after it.
type Answer = Vec<u8>;

/// Answers requests in order and keeps their heads; a request beyond the answers gets 500.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut answers = VecDeque::from(answers);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && head.len() < REQUEST_BYTES_MAX {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                let answer = answers
                    .pop_front()
                    .unwrap_or_else(|| answer("500 No Answer Left", "", b""));
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { endpoint, requests }
    }

    /// Method, path and range of each request.
    fn asked(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|head| {
                let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
                let range = head.lines().find_map(|line| line.strip_prefix("range: "));
                range.map_or_else(|| line.to_owned(), |range| format!("{line} {range}"))
            })
            .collect()
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Answer {
    promised(status, headers, body.len(), body)
}

/// An answer whose head promises another length than the body has.
fn promised(status: &str, headers: &str, length: usize, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn body() -> Vec<u8> {
    (0..200_000u32).map(|i| (i * 7 % 251) as u8).collect()
}

fn listing(bytes: usize, sha256: Digest) -> Answer {
    let json = format!(
        r#"[{{"type":"file","oid":"1f","size":{bytes},"lfs":{{"oid":"{sha256}","size":{bytes},"pointerSize":134}},"path":"data/test-00000-of-00001-9c.parquet"}}]"#
    );
    answer("200 OK", "content-type: application/json\r\n", json.as_bytes())
}

fn right_listing() -> Answer {
    listing(body().len(), Digest::of(&body()))
}

fn rest(from: usize) -> Answer {
    let body = body();
    let range = format!(
        "content-range: bytes {from}-{}/{}\r\n",
        body.len() - 1,
        body.len()
    );
    answer("206 Partial Content", &range, &body[from..])
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("Datasets/code_contests-test.parquet")
    }

    fn partial(&self) -> PathBuf {
        self.directory
            .path()
            .join("Datasets/code_contests-test.parquet.partial")
    }

    fn leave(&self, path: &Path, bytes: &[u8]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Names and sizes in the directory.
    fn files(&self) -> Vec<(String, u64)> {
        let mut files: Vec<_> = std::fs::read_dir(self.directory.path().join("Datasets"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (
                    entry.file_name().into_string().unwrap(),
                    entry.metadata().unwrap().len(),
                )
            })
            .collect();
        files.sort();
        files
    }

    async fn fetch(&self, server: &Server, token: Option<&str>) -> Result<Vec<PathBuf>, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            authorization: authorization(token).unwrap(),
            retries: Retries {
                fruitless_max: 3,
                tries_max: 10,
                wait_first: Duration::from_millis(1),
                wait_max: Duration::from_millis(5),
            },
        };
        let args = FetchArgs {
            dataset: PublicDataset::CodeContests,
            split: Split::Test,
            output: self.directory.path().join("Datasets"),
            endpoint: server.endpoint.clone(),
        };
        fetch(&client, &args).await.map_err(|error| {
            let text = format!("{error:#}");
            text.replace(&server.endpoint, "HUB")
                .replace(&self.directory.path().display().to_string(), "DIR")
        })
    }
}

#[tokio::test]
async fn fresh_download_is_saved_whole_and_a_second_one_does_nothing() {
    let place = Place::new();
    let server = Server::start(vec![
        right_listing(),
        answer("200 OK", "", &body()),
        right_listing(),
    ])
    .await;
    assert_eq!(place.fetch(&server, None).await, Ok(vec![place.target()]));
    assert_eq!(std::fs::read(place.target()).unwrap(), body());
    assert_eq!(
        place.files(),
        [("code_contests-test.parquet".to_owned(), 200_000)]
    );
    assert_eq!(place.fetch(&server, None).await, Ok(vec![place.target()]));
    assert_eq!(
        server.asked(),
        [
            format!("GET {LISTING}"),
            format!("GET {FILE}"),
            format!("GET {LISTING}")
        ]
    );
}

#[tokio::test]
async fn a_cut_connection_goes_on_where_it_stopped() {
    let place = Place::new();
    let cut = promised("200 OK", "", 200_000, &body()[..120_000]);
    let server = Server::start(vec![right_listing(), cut, rest(120_000)]).await;
    assert_eq!(place.fetch(&server, None).await, Ok(vec![place.target()]));
    assert_eq!(std::fs::read(place.target()).unwrap(), body());
    assert_eq!(
        server.asked(),
        [
            format!("GET {LISTING}"),
            format!("GET {FILE}"),
            format!("GET {FILE} bytes=120000-")
        ]
    );
}

#[tokio::test]
async fn what_an_earlier_process_left_is_kept_if_right_and_replaced_if_wrong() {
    let place = Place::new();
    place.leave(&place.partial(), &body()[..150_000]);
    let server = Server::start(vec![right_listing(), rest(150_000)]).await;
    assert_eq!(place.fetch(&server, None).await, Ok(vec![place.target()]));
    assert_eq!(std::fs::read(place.target()).unwrap(), body());
    assert_eq!(server.asked()[1], format!("GET {FILE} bytes=150000-"));

    let place = Place::new();
    place.leave(&place.partial(), &[1; 150_000]);
    let server = Server::start(vec![
        right_listing(),
        rest(150_000),
        answer("200 OK", "", &body()),
    ])
    .await;
    assert_eq!(place.fetch(&server, None).await, Ok(vec![place.target()]));
    assert_eq!(std::fs::read(place.target()).unwrap(), body());
    assert_eq!(server.asked()[2], format!("GET {FILE}"));
}

#[tokio::test]
async fn a_server_that_ignores_the_range_is_read_from_the_start() {
    let place = Place::new();
    place.leave(&place.partial(), &[1; 150_000]);
    let server = Server::start(vec![right_listing(), answer("200 OK", "", &body())]).await;
    assert_eq!(place.fetch(&server, None).await, Ok(vec![place.target()]));
    assert_eq!(std::fs::read(place.target()).unwrap(), body());
}

#[tokio::test]
async fn wrong_bytes_are_thrown_away_with_an_error() {
    let place = Place::new();
    let mut wrong = body();
    wrong[77] ^= 1;
    let server = Server::start(vec![right_listing(), answer("200 OK", "", &wrong)]).await;
    assert_eq!(
        place.fetch(&server, None).await,
        Err(format!(
            "get `HUB{FILE}`: the SHA-256 of what came is {}, the listing says {}; it was thrown away",
            Digest::of(&wrong),
            Digest::of(&body())
        ))
    );
    assert_eq!(place.files(), []);
}

#[tokio::test]
async fn a_file_of_another_size_is_refused() {
    let place = Place::new();
    let server = Server::start(vec![right_listing(), answer("200 OK", "", &body()[..100])]).await;
    assert_eq!(
        place.fetch(&server, None).await,
        Err(format!(
            "get `HUB{FILE}`: the server has 100 bytes, the listing says 200000"
        ))
    );
    assert_eq!(place.files(), []);

    let place = Place::new();
    place.leave(&place.partial(), &body()[..150_000]);
    let beyond = answer("416 Range Not Satisfiable", "content-range: bytes */100\r\n", b"");
    let server = Server::start(vec![right_listing(), beyond]).await;
    assert_eq!(
        place.fetch(&server, None).await,
        Err(format!(
            "get `HUB{FILE}`: the server has 100 bytes, the listing says 200000"
        ))
    );
}

#[tokio::test]
async fn a_missing_file_is_an_error_at_once_and_a_busy_server_is_asked_again() {
    let place = Place::new();
    let server = Server::start(vec![right_listing(), answer("404 Not Found", "", b"")]).await;
    assert_eq!(
        place.fetch(&server, None).await,
        Err(format!(
            "get `HUB{FILE}`: the server answered 404 Not Found: check the hub's address (`HF_ENDPOINT`)"
        ))
    );
    assert_eq!(server.asked().len(), 2);
    assert_eq!(place.files(), []);

    let busy = || answer("503 Service Unavailable", "retry-after: 1\r\n", b"");
    let server = Server::start(vec![
        busy(),
        right_listing(),
        busy(),
        busy(),
        answer("200 OK", "", &body()),
    ])
    .await;
    assert_eq!(place.fetch(&server, None).await, Ok(vec![place.target()]));
    assert_eq!(std::fs::read(place.target()).unwrap(), body());
}

#[tokio::test]
async fn tries_without_a_new_byte_end_at_the_bound_and_keep_what_came() {
    let place = Place::new();
    let cut = promised("200 OK", "", 200_000, &body()[..120_000]);
    let server = Server::start(vec![right_listing(), cut]).await;
    let error = place.fetch(&server, None).await.unwrap_err();
    assert!(
        error.ends_with("the server answered 500 Internal Server Error"),
        "{error}"
    );
    assert_eq!(server.asked().len(), 5);
    assert_eq!(
        place.files(),
        [("code_contests-test.parquet.partial".to_owned(), 120_000)]
    );
}

#[tokio::test]
async fn another_file_of_that_name_is_left_alone() {
    let place = Place::new();
    place.leave(&place.target(), b"mine");
    let server = Server::start(vec![right_listing()]).await;
    assert_eq!(
        place.fetch(&server, None).await,
        Err(format!(
            "`DIR/Datasets/code_contests-test.parquet` exists and is not the file at `HUB{FILE}`; move it away, or \
             save to another directory with `--output`"
        ))
    );
    assert_eq!(std::fs::read(place.target()).unwrap(), b"mine");
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_not_touched() {
    let place = Place::new();
    place.leave(&place.partial(), b"x");
    let other = std::fs::File::open(place.partial()).unwrap();
    other.lock().unwrap();
    let server = Server::start(vec![right_listing()]).await;
    assert_eq!(
        place.fetch(&server, None).await,
        Err(
            "`DIR/Datasets/code_contests-test.parquet.partial` is being written by another process"
                .to_owned()
        )
    );
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_not_to_where_it_redirects() {
    let place = Place::new();
    let storage = Server::start(vec![answer("200 OK", "", &body())]).await;
    let elsewhere = format!("location: {}/blob?signature=s\r\n", storage.endpoint);
    let hub = Server::start(vec![right_listing(), answer("302 Found", &elsewhere, b"")]).await;
    assert_eq!(
        place.fetch(&hub, Some("hf_secret")).await,
        Ok(vec![place.target()])
    );
    let sent = |server: &Server| {
        let heads = server.requests.lock().unwrap();
        heads
            .iter()
            .map(|head| head.contains("Bearer hf_secret"))
            .collect::<Vec<_>>()
    };
    assert_eq!((sent(&hub), sent(&storage)), (vec![true, true], vec![false]));
}

#[test]
fn several_files_go_into_a_directory_of_the_split() {
    let args = FetchArgs {
        dataset: PublicDataset::CodeContests,
        split: Split::Train,
        output: PathBuf::from("out"),
        endpoint: String::new(),
    };
    let shard = |name: &str| Remote {
        url: reqwest::Url::parse("https://hub.example/").unwrap(),
        name: name.to_owned(),
        bytes: 1,
        sha256: Digest::of(b""),
    };
    let shards = [shard("train-0.parquet"), shard("train-1.parquet")];
    let paths: Vec<_> = places(&args, &shards).into_iter().map(|(_, path)| path).collect();
    assert_eq!(
        paths,
        [
            PathBuf::from("out/code_contests-train/train-0.parquet"),
            PathBuf::from("out/code_contests-train/train-1.parquet"),
        ]
    );
}
