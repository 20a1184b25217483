//! What flags and environment come to; neither is this process's own.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    endpoints: EndpointFlags,
}

/// What is found: name, address, key as the header has it.
type Found = Vec<(String, String, Option<String>)>;

fn gathered(flags: &[&str], environment: &[(&str, &str)]) -> Result<(Found, Vec<String>), String> {
    let words = ["worker"].iter().chain(flags);
    let flags = Flags::try_parse_from(words)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let read = |path: &Path| {
        let text = path.display().to_string();
        let key = ApiKey::parse(&format!("key-in-{text}"));
        let key = key.map_err(|why| KeyFileError::Format {
            path: path.to_owned(),
            why,
        })?;
        Ok(KeyFile {
            key,
            open_to_others: text.starts_with("open").then_some(0o644),
        })
    };
    let (endpoints, warnings) =
        gather(&flags.endpoints, variable, read).map_err(|error| error.to_string())?;
    let found = endpoints.into_iter().map(|endpoint| {
        let url = endpoint.url.completions().to_string();
        let url = url.strip_suffix("/chat/completions").unwrap().to_owned();
        let key = endpoint.key.map(|key| key.bearer().to_str().unwrap().to_owned());
        (endpoint.name.to_string(), url, key)
    });
    Ok((found.collect(), warnings))
}

fn endpoint(name: &str, url: &str, key: Option<&str>) -> (String, String, Option<String>) {
    let key = key.map(|key| format!("Bearer {key}"));
    (name.to_owned(), url.to_owned(), key)
}

/// The endpoints, where nothing is warned of.
fn found(flags: &[&str], environment: &[(&str, &str)]) -> Found {
    let (found, warnings) = gathered(flags, environment).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    found
}

const OPENAI_URL: &str = "https://api.openai.com/v1";

#[test]
fn environment_without_keys_gives_no_endpoint() {
    assert_eq!(found(&[], &[]), []);
    assert_eq!(
        found(
            &[],
            &[("OPENAI_API_KEY", " "), ("DEEPSEEK_BASE_URL", "http://h/v1")]
        ),
        []
    );
}

#[test]
fn keys_in_the_environment_give_endpoints_at_their_usual_or_another_address() {
    assert_eq!(
        found(&[], &[("OPENAI_API_KEY", "sk-1"), ("DEEPSEEK_API_KEY", "sk-2")]),
        [
            endpoint("openai", OPENAI_URL, Some("sk-1")),
            endpoint("deepseek", "https://api.deepseek.com/v1", Some("sk-2")),
        ]
    );
    assert_eq!(
        found(
            &[],
            &[
                ("OPENAI_API_KEY", "sk-1\n"),
                ("OPENAI_BASE_URL", "https://o/v1/"),
                ("DEEPSEEK_API_KEY", "sk-2"),
                ("DEEPSEEK_BASE_URL", "https://d"),
            ]
        ),
        [
            endpoint("openai", "https://o/v1", Some("sk-1")),
            endpoint("deepseek", "https://d", Some("sk-2")),
        ]
    );
}

#[test]
fn base_url_alone_is_a_server_without_a_key() {
    assert_eq!(
        found(&[], &[("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")]),
        [endpoint("openai", "http://127.0.0.1:8080/v1", None)]
    );
}

#[test]
fn flag_wins_over_the_environment_and_takes_the_key_of_its_name() {
    let environment = [
        ("OPENAI_API_KEY", "sk-1"),
        ("OPENAI_BASE_URL", "https://ignored/v1"),
    ];
    assert_eq!(
        found(&["--endpoint", "openai=https://mine/v1"], &environment),
        [endpoint("openai", "https://mine/v1", Some("sk-1"))]
    );
    assert_eq!(
        found(
            &[
                "--endpoint",
                "openai=https://mine/v1",
                "--api-key-file",
                "openai=f"
            ],
            &environment
        ),
        [endpoint("openai", "https://mine/v1", Some("key-in-f"))]
    );
    assert_eq!(
        found(&["--endpoint", "local=http://localhost:1"], &environment[..1]),
        [
            endpoint("local", "http://localhost:1", None),
            endpoint("openai", OPENAI_URL, Some("sk-1")),
        ]
    );
}

#[test]
fn key_file_without_a_name_is_for_the_first_endpoint() {
    assert_eq!(
        found(&["--api-key-file", "f"], &[]),
        [endpoint("openai", OPENAI_URL, Some("key-in-f"))]
    );
    assert_eq!(
        found(
            &[
                "--endpoint",
                "a=https://a",
                "--endpoint",
                "b=https://b",
                "--api-key-file",
                "/x=y/f"
            ],
            &[]
        ),
        [
            endpoint("a", "https://a", Some("key-in-/x=y/f")),
            endpoint("b", "https://b", None)
        ]
    );
}

#[test]
fn key_that_others_may_read_on_disk_or_on_the_way_is_warned_of() {
    let (_, warnings) = gathered(
        &["--endpoint", "far=http://far/v1", "--api-key-file", "far=open"],
        &[],
    )
    .unwrap();
    assert_eq!(
        warnings,
        [
            "warning: others may read the key in `open` (its mode is 644)\nhint: `chmod 600 open`",
            "warning: the key of endpoint `far` is sent unencrypted: its URL begins with `http://`",
        ]
    );
}

#[test]
fn mistakes_name_the_flag_or_the_variable() {
    for (flags, environment, expected) in [
        (
            &["--endpoint", "a=http://h", "--endpoint", "a=http://i"][..],
            &[][..],
            "`--endpoint a=…` is given twice: every endpoint needs a name of its own",
        ),
        (
            &["--api-key-file", "b=f"],
            &[],
            "`--api-key-file b=…`: no endpoint is called `b`\nhint: add `--endpoint b=URL`",
        ),
        (
            &["--api-key-file", "f", "--api-key-file", "openai=g"],
            &[],
            "`--api-key-file` names the key of `openai` twice",
        ),
        (
            &["--endpoint", "a=h/v1"],
            &[],
            "error: invalid value 'a=h/v1' for '--endpoint <NAME=URL>': `h/v1` is no base URL of an endpoint: it is \
             no URL; expected `http://HOST/PATH` or `https://HOST/PATH`, to which `/chat/completions` is appended",
        ),
        (
            &["--endpoint", "http://h/v1"],
            &[],
            "error: invalid value 'http://h/v1' for '--endpoint <NAME=URL>': expected `NAME=URL`, such as \
             `local=http://127.0.0.1:8080/v1`",
        ),
        (
            &[],
            &[("OPENAI_API_KEY", "sk one")],
            "`OPENAI_API_KEY` holds a space, a line break or another character that no key has: expected the key \
             alone, on one line",
        ),
        (
            &[],
            &[("OPENAI_BASE_URL", "localhost")],
            "`OPENAI_BASE_URL`: `localhost` is no base URL of an endpoint: it is no URL; expected `http://HOST/PATH` \
             or `https://HOST/PATH`, to which `/chat/completions` is appended",
        ),
    ] {
        assert_eq!(gathered(flags, environment).map(|_| ()), Err(expected.to_owned()));
    }
}
