//! The endpoints whose models this machine can ask, and which of them a run asks.
//!
//! Decided before anything of a run is made, from flags and from the environment that the generation worker inherits.
//! Only whether there is a key is known here; the key itself stays where it is, and the worker reads it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use roundhouse_core::endpoint::named_after;

/// The endpoint that `--base-url` gives an address.
pub const BASE_URL_ENDPOINT: &str = "openai";
/// Bytes of an endpoint's name.
const NAME_BYTES_MAX: usize = 64;

/// Which endpoints there are. They are about this machine, not about the run.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The model's endpoint")]
pub struct EndpointArgs {
    /// Address of a server with the OpenAI interface, such as `http://127.0.0.1:8080/v1`; its key is that in
    /// OPENAI_API_KEY, if there is one
    #[arg(long, value_name = "URL")]
    pub base_url: Option<EndpointUrl>,
    /// An endpoint of this name at this address; without an address, the one that the run asks
    #[arg(long, value_name = "NAME[=URL]")]
    pub endpoint: Vec<EndpointFlag>,
    /// File with the key of an endpoint and nothing else; without a name, of the first one that a flag gives an
    /// address, else of `openai`
    #[arg(long, value_name = "[NAME=]FILE")]
    pub api_key_file: Vec<KeyFileFlag>,
    /// Ask for whole answers instead of streams, for servers that cannot stream
    #[arg(long)]
    pub no_stream: bool,
}

/// A file with a key on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFileFlag {
    /// Whose key it is, where that is said.
    pub endpoint: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// The whole flag, for the worker, which reads it likewise.
    text: String,
}

impl FromStr for KeyFileFlag {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A path with a `=` in it is a path, unless a name stands before the `=`.
        let named = text.split_once('=').filter(|(name, _)| is_name(name));
        Ok(Self {
            endpoint: named.map(|(name, _)| name.to_owned()),
            path: named.map_or(text, |(_, path)| path).into(),
            text: text.to_owned(),
        })
    }
}

/// Whether a text is the name of an endpoint.
fn is_name(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(pub String);

/// A text that is no address of an endpoint. One with a password is none, since every address is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `http://HOST…` or `https://HOST…`, without a user, a password or a query")]
pub struct UrlFormat;

impl FromStr for EndpointUrl {
    type Err = UrlFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = reqwest::Url::parse(text).map_err(|_| UrlFormat)?;
        let is_http = matches!(url.scheme(), "http" | "https");
        let is_open = url.username().is_empty() && url.password().is_none();
        let is_base = url.query().is_none() && url.fragment().is_none() && url.has_host();
        if is_http && is_open && is_base {
            Ok(Self(text.to_owned()))
        } else {
            Err(UrlFormat)
        }
    }
}

/// An endpoint on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointFlag {
    /// It is the one to ask.
    Asked(String),
    /// It is at this address.
    At(NamedUrl),
}

/// An endpoint and its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUrl {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
}

/// A text that names no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointFormat {
    /// The name.
    #[error("expected a name of `a-z`, `0-9`, `.`, `_`, `-`, or `NAME=URL`")]
    Name,
    /// The address.
    #[error(transparent)]
    Url(#[from] UrlFormat),
}

impl FromStr for EndpointFlag {
    type Err = EndpointFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, url) = match text.split_once('=') {
            Some((name, url)) => (name, Some(url.parse::<EndpointUrl>()?)),
            None => (text, None),
        };
        if !is_name(name) {
            return Err(EndpointFormat::Name);
        }
        let name = name.to_owned();
        Ok(match url {
            None => Self::Asked(name),
            Some(EndpointUrl(url)) => Self::At(NamedUrl { name, url }),
        })
    }
}

/// An endpoint that a variable of the environment gives.
#[derive(Debug)]
struct Vendor {
    name: &'static str,
    key_variable: &'static str,
    /// Names another address, where other models are.
    url_variable: &'static str,
    /// Whether an address alone makes it: a server of one's own that asks for no key.
    may_lack_key: bool,
    /// Asked where no model is named.
    model: &'static str,
}

/// The model of OpenAI that is asked where none is named. A cheap one that takes temperature, top_p and max_tokens as
/// they are: a reasoning model refuses the first two and spends the third on its thoughts, so that a run would not be
/// what its settings say.
pub const OPENAI_MODEL: &str = "gpt-4.1-mini";

/// The model of DeepSeek that is asked where none is named.
pub const DEEPSEEK_MODEL: &str = "deepseek-chat";

const VENDORS: [Vendor; 2] = [
    Vendor {
        name: "deepseek",
        key_variable: "DEEPSEEK_API_KEY",
        url_variable: "DEEPSEEK_BASE_URL",
        may_lack_key: false,
        model: DEEPSEEK_MODEL,
    },
    Vendor {
        name: BASE_URL_ENDPOINT,
        key_variable: "OPENAI_API_KEY",
        url_variable: "OPENAI_BASE_URL",
        may_lack_key: true,
        model: OPENAI_MODEL,
    },
];

/// The endpoints of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Given by flags, in their order.
    by_flag: Vec<NamedUrl>,
    /// Given by the environment or by a key alone, and where they are.
    by_variable: Vec<(&'static str, At)>,
    /// The one that a flag chooses.
    asked: Option<String>,
    key_files: Vec<String>,
    streams: Streams,
}

/// Whether answers are asked for as streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// They are.
    #[default]
    Asked,
    /// Whole answers are.
    Never,
}

/// Where an endpoint is that the environment gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Where its vendor has it.
    Home,
    /// Where a variable says.
    Elsewhere,
}

/// The model that a run asks, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Name of the endpoint.
    pub endpoint: String,
    /// Name of the model.
    pub model: String,
}

/// What the generation worker is told of endpoints beside its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerFlags {
    /// Endpoints and their addresses.
    pub endpoints: Vec<NamedUrl>,
    /// Files with keys, as `[NAME=]FILE`.
    pub key_files: Vec<String>,
    /// Whether answers are asked for as streams.
    pub streams: Streams,
}

/// Flags that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagsError {
    /// An endpoint has two addresses.
    #[error("the endpoint `{name}` has two addresses: name it once, in `--endpoint` or by `--base-url`")]
    Twice {
        /// Its name.
        name: String,
    },
    /// Two endpoints are to be asked.
    #[error("a run asks one endpoint: name one with `--endpoint NAME`")]
    TwoAsked,
    /// There is a key of an endpoint that nobody gives an address.
    #[error(
        "`--api-key-file` has a key of `{name}`, whose address is not known: add `--endpoint {name}=URL`"
    )]
    KeyAlone {
        /// Its name.
        name: String,
    },
}

/// Why it is not known which model is asked where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No model is named, and nothing in the environment suggests one.
    NoModel,
    /// The model has no endpoint.
    NoEndpoint {
        /// The model.
        model: String,
    },
    /// The endpoint to be asked is not known here.
    UnknownEndpoint {
        /// Its name.
        name: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// There are several endpoints, and none is chosen.
    ManyEndpoints {
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// The endpoint has no model that is asked where none is named.
    NoModelAt {
        /// Its name.
        endpoint: String,
    },
}

impl Endpoints {
    /// What flags and environment give; an empty variable counts as none.
    ///
    /// # Errors
    /// The flags contradict each other.
    pub fn of(args: &EndpointArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Self, FlagsError> {
        let mut by_flag: Vec<NamedUrl> = Vec::new();
        let mut asked = None;
        let base_url = args.base_url.iter().map(|url| NamedUrl {
            name: BASE_URL_ENDPOINT.to_owned(),
            url: url.0.clone(),
        });
        let named = args.endpoint.iter().cloned();
        for flag in base_url.map(EndpointFlag::At).chain(named) {
            match flag {
                EndpointFlag::At(at) if by_flag.iter().any(|other| other.name == at.name) => {
                    return Err(FlagsError::Twice { name: at.name });
                }
                EndpointFlag::At(at) => by_flag.push(at),
                EndpointFlag::Asked(name) => {
                    if asked.replace(name).is_some() {
                        return Err(FlagsError::TwoAsked);
                    }
                }
            }
        }
        let first = by_flag.first().map_or(BASE_URL_ENDPOINT, |at| at.name.as_str());
        let keys: BTreeSet<&str> = args
            .api_key_file
            .iter()
            .map(|file| file.endpoint.as_deref().unwrap_or(first))
            .collect();
        let is_known = |name: &str| {
            let mut vendors = VENDORS.iter();
            by_flag.iter().any(|at| at.name == name) || vendors.any(|vendor| vendor.name == name)
        };
        if let Some(name) = keys.iter().find(|name| !is_known(name)) {
            return Err(FlagsError::KeyAlone {
                name: (*name).to_owned(),
            });
        }
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.trim().is_empty());
        let by_variable = VENDORS.iter().filter_map(|vendor| {
            let has_key = keys.contains(vendor.name) || is_set(vendor.key_variable);
            let at = if is_set(vendor.url_variable) {
                At::Elsewhere
            } else {
                At::Home
            };
            let is_there = has_key || (vendor.may_lack_key && at == At::Elsewhere);
            is_there.then_some((vendor.name, at))
        });
        let by_variable = by_variable
            .filter(|(name, _)| !by_flag.iter().any(|at| at.name == *name))
            .collect();
        Ok(Self {
            by_flag,
            by_variable,
            asked,
            key_files: args.api_key_file.iter().map(|file| file.text.clone()).collect(),
            streams: if args.no_stream {
                Streams::Never
            } else {
                Streams::Asked
            },
        })
    }

    /// Whether a flag says anything of endpoints.
    pub fn is_flagged(&self) -> bool {
        !self.by_flag.is_empty() || !self.key_files.is_empty() || self.asked.is_some()
    }

    /// The one that a flag chooses.
    pub fn asked(&self) -> Option<&str> {
        self.asked.as_deref()
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.names().iter().any(|known| known == name)
    }

    /// The names of all, sorted.
    pub fn names(&self) -> Vec<String> {
        let flags = self.by_flag.iter().map(|at| at.name.clone());
        let variables = self.by_variable.iter().map(|(name, _)| (*name).to_owned());
        let names: BTreeSet<String> = flags.chain(variables).collect();
        names.into_iter().collect()
    }

    /// What the generation worker is told.
    pub fn worker_flags(&self) -> WorkerFlags {
        WorkerFlags {
            endpoints: self.by_flag.clone(),
            key_files: self.key_files.clone(),
            streams: self.streams,
        }
    }

    /// Which model is asked where: at the endpoint that a flag chooses, else at the only one that a flag gives an
    /// address, else at the only one of the environment; of several at the one that the model is named after.
    ///
    /// # Errors
    /// It cannot be known.
    pub fn choose(&self, model: Option<&str>) -> Result<Chosen, Unanswered> {
        let endpoint = self.endpoint(model)?;
        let home = self
            .by_variable
            .iter()
            .find(|(name, at)| *name == endpoint && *at == At::Home);
        let usual = home.and_then(|(name, _)| VENDORS.iter().find(|vendor| vendor.name == *name));
        match model.or(usual.map(|vendor| vendor.model)) {
            Some(model) => Ok(Chosen {
                endpoint,
                model: model.to_owned(),
            }),
            None => Err(Unanswered::NoModelAt { endpoint }),
        }
    }

    fn endpoint(&self, model: Option<&str>) -> Result<String, Unanswered> {
        if let Some(name) = &self.asked {
            return if self.has(name) {
                Ok(name.clone())
            } else {
                Err(Unanswered::UnknownEndpoint {
                    name: name.clone(),
                    known: self.names(),
                })
            };
        }
        let flagged: Vec<&str> = self.by_flag.iter().map(|at| at.name.as_str()).collect();
        let set: Vec<&str> = self.by_variable.iter().map(|(name, _)| *name).collect();
        let offered = if flagged.is_empty() { set } else { flagged };
        match (&offered[..], model) {
            ([only], _) => Ok((*only).to_owned()),
            ([], Some(model)) => Err(Unanswered::NoEndpoint {
                model: model.to_owned(),
            }),
            ([], None) => Err(Unanswered::NoModel),
            (many, model) => {
                let named = model.and_then(|model| named_after(model, many.iter().copied()));
                named.map(str::to_owned).ok_or_else(|| {
                    let names: BTreeSet<String> = many.iter().map(|name| (*name).to_owned()).collect();
                    Unanswered::ManyEndpoints {
                        names: names.into_iter().collect(),
                    }
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        endpoints: EndpointArgs,
    }

    /// Flags, and the variables that are set.
    fn endpoints(flags: &str, set: &[&str]) -> Result<Endpoints, FlagsError> {
        let words = ["run"].into_iter().chain(flags.split_whitespace());
        let args = Line::try_parse_from(words).unwrap().endpoints;
        Endpoints::of(&args, |name| set.contains(&name).then(|| "value".to_owned()))
    }

    fn choice(flags: &str, set: &[&str], model: Option<&str>) -> Result<(String, String), Unanswered> {
        let chosen = endpoints(flags, set).unwrap().choose(model)?;
        Ok((chosen.endpoint, chosen.model))
    }

    fn answered(endpoint: &str, model: &str) -> Result<(String, String), Unanswered> {
        Ok((endpoint.to_owned(), model.to_owned()))
    }

    #[test]
    fn key_in_the_environment_chooses_endpoint_and_model() {
        let (openai, deepseek) = ("OPENAI_API_KEY", "DEEPSEEK_API_KEY");
        assert_eq!(
            choice("", &[deepseek], None),
            answered("deepseek", "deepseek-chat")
        );
        assert_eq!(choice("", &[openai], None), answered("openai", OPENAI_MODEL));
        assert_eq!(choice("", &[openai], Some("m")), answered("openai", "m"));
        let both = ["deepseek", "openai"].map(str::to_owned).to_vec();
        let many = Err(Unanswered::ManyEndpoints { names: both });
        assert_eq!(choice("", &[openai, deepseek], None), many);
        assert_eq!(choice("", &[openai, deepseek], Some("qwen")), many);
        assert_eq!(
            choice("", &[openai, deepseek], Some("deepseek-reasoner")),
            answered("deepseek", "deepseek-reasoner")
        );
        assert_eq!(
            choice("", &[openai, deepseek], Some("GPT-4o")),
            answered("openai", "GPT-4o")
        );
        assert_eq!(
            choice("--endpoint deepseek", &[openai, deepseek], None),
            answered("deepseek", "deepseek-chat")
        );
        assert_eq!(choice("", &[], None), Err(Unanswered::NoModel));
        let model = "m".to_owned();
        assert_eq!(choice("", &[], Some("m")), Err(Unanswered::NoEndpoint { model }));
    }

    #[test]
    fn address_in_a_flag_wins_over_the_environment_and_its_server_has_no_usual_model() {
        let base = "--base-url http://127.0.0.1:8080/v1";
        let keys = ["OPENAI_API_KEY", "DEEPSEEK_API_KEY"];
        assert_eq!(choice(base, &keys, Some("qwen")), answered("openai", "qwen"));
        let endpoint = "openai".to_owned();
        let unknown = Err(Unanswered::NoModelAt { endpoint });
        assert_eq!(choice(base, &keys, None), unknown);
        assert_eq!(choice("", &["OPENAI_BASE_URL"], None), unknown);
        // DeepSeek's server asks for a key.
        assert_eq!(choice("", &["DEEPSEEK_BASE_URL"], None), Err(Unanswered::NoModel));
        assert_eq!(
            choice("--api-key-file deepseek=k", &[], None),
            answered("deepseek", "deepseek-chat")
        );
        assert_eq!(
            choice("--api-key-file k", &[], None),
            answered("openai", OPENAI_MODEL)
        );
        assert_eq!(
            choice("--endpoint here=https://h/v1", &keys, Some("m")),
            answered("here", "m")
        );
        let two = "--endpoint b=http://h/1 --endpoint a=http://h/2";
        let names = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(
            choice(two, &[], Some("m")),
            Err(Unanswered::ManyEndpoints { names })
        );
        assert_eq!(
            choice(&format!("{two} --endpoint a"), &[], Some("m")),
            answered("a", "m")
        );
        assert_eq!(choice(two, &[], Some("b-2")), answered("b", "b-2"));
        let unknown = Unanswered::UnknownEndpoint {
            name: "c".to_owned(),
            known: ["a", "b"].map(str::to_owned).to_vec(),
        };
        assert_eq!(
            choice(&format!("{two} --endpoint c"), &[], Some("m")),
            Err(unknown)
        );
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        let twice = |name: &str| FlagsError::Twice {
            name: name.to_owned(),
        };
        for (flags, error) in [
            ("--base-url http://h --endpoint openai=http://h", twice("openai")),
            ("--endpoint a=http://h --endpoint a=http://i", twice("a")),
            ("--endpoint a --endpoint b", FlagsError::TwoAsked),
            (
                "--api-key-file a=f --endpoint a",
                FlagsError::KeyAlone { name: "a".to_owned() },
            ),
        ] {
            assert_eq!(endpoints(flags, &[]), Err(error), "{flags}");
        }
    }

    #[test]
    fn worker_is_told_what_flags_give_and_nothing_of_the_environment() {
        let flags =
            "--endpoint a=https://i --base-url http://h/v1 --api-key-file k --api-key-file a=b=c --no-stream";
        let told = endpoints(flags, &["DEEPSEEK_API_KEY"]).unwrap().worker_flags();
        let at = |name: &str, url: &str| NamedUrl {
            name: name.to_owned(),
            url: url.to_owned(),
        };
        let expected = WorkerFlags {
            endpoints: vec![at("openai", "http://h/v1"), at("a", "https://i")],
            key_files: ["k", "a=b=c"].map(str::to_owned).to_vec(),
            streams: Streams::Never,
        };
        assert_eq!(told, expected);
        assert_eq!(
            endpoints("", &["OPENAI_API_KEY"]).unwrap().worker_flags(),
            WorkerFlags::default()
        );
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "ftp://h",
            "h:80",
            "http://",
            "https://user:secret@h/v1",
            "http://h?k=1",
            "",
        ] {
            assert_eq!(text.parse::<EndpointUrl>(), Err(UrlFormat), "{text}");
        }
        for text in ["", "=http://h", "a b", "a/b", "ä", "A"] {
            assert_eq!(text.parse::<EndpointFlag>(), Err(EndpointFormat::Name), "{text}");
        }
        let wrong = EndpointFormat::Url(UrlFormat);
        assert_eq!("a=h".parse::<EndpointFlag>(), Err(wrong));
    }
}
