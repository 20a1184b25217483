//! Who answers, and about what, for every way of naming them.

use clap::Parser as _;
use roundhouse_core::run::RunSpec;

use super::*;
use crate::endpoints::EndpointArgs;
use crate::report::fixture::Fixture;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    endpoints: EndpointArgs,
}

fn endpoints(flags: &str, set: &[&str]) -> Endpoints {
    let words = ["run"].into_iter().chain(flags.split_whitespace());
    let args = Line::try_parse_from(words)
        .expect("the flags are right")
        .endpoints;
    let variable = |name: &str| set.contains(&name).then(|| "value".to_owned());
    Endpoints::of(&args, variable).expect("no flag contradicts another")
}

/// What is decided, or the message. `files` are there.
fn decided(
    model: Option<&str>,
    problems: Option<&str>,
    endpoints: &Endpoints,
    files: &[&str],
) -> Result<(Answerer, Problems), String> {
    let named = Named {
        model,
        model_for: &BTreeMap::new(),
        problems: problems.map(Path::new),
    };
    let exists = |file: &Path| files.iter().any(|known| Path::new(known) == file);
    decide(named, endpoints, exists).map_err(|error| error.to_string())
}

fn model(endpoint: &str, model: &str) -> Answerer {
    Answerer::Model(Chosen {
        endpoint: endpoint.to_owned(),
        model: model.to_owned(),
    })
}

#[test]
fn bare_run_takes_the_key_of_the_environment_and_the_usual_problems() {
    let deepseek = endpoints("", &["DEEPSEEK_API_KEY"]);
    let (old, fetched) = (
        "./Datasets/code_contests.jsonl",
        "./Datasets/code_contests-test.parquet",
    );
    let answered = model("deepseek", "deepseek-chat");
    let usual = |file: &str| Ok((answered.clone(), Problems::Usual(file.into())));
    assert_eq!(decided(None, None, &deepseek, &[fetched, old]), usual(old));
    assert_eq!(decided(None, None, &deepseek, &[fetched]), usual(fetched));
    let named = Ok((answered.clone(), Problems::File("p.jsonl".into())));
    assert_eq!(decided(None, Some("p.jsonl"), &deepseek, &[old]), named);
    let bundled = Ok((Answerer::Reference, Problems::Bundled));
    assert_eq!(decided(Some("reference"), None, &deepseek, &[old]), bundled);
}

#[test]
fn one_message_says_every_way_on() {
    const REFERENCE: &str =
        "hint: `--model reference` tries everything out without a key, a network or problems of your own";
    const PROBLEMS: &str = "hint: `--problems FILE` names problems; `coordinator dataset fetch code_contests --split \
                            test` gets some\n";
    const KEYS: &str = "hint: a model is asked with the key in `OPENAI_API_KEY` or `DEEPSEEK_API_KEY`; `--base-url \
                        URL --model NAME` asks a server of your own, with or without a key\n";
    let none = Endpoints::default();
    let both = endpoints("", &["OPENAI_API_KEY", "DEEPSEEK_API_KEY"]);
    let own = endpoints("--base-url http://h/v1", &[]);
    let unknown = endpoints("--endpoint lab", &["OPENAI_API_KEY"]);
    for (endpoints, model, problems, message) in [
        (
            &none,
            None,
            None,
            format!(
                "no model is named, and the environment holds no key of one; and no problems are named, nor are any in \
                 `./Datasets`\n{PROBLEMS}{KEYS}{REFERENCE}"
            ),
        ),
        (
            &none,
            None,
            Some("p"),
            format!("no model is named, and the environment holds no key of one\n{KEYS}{REFERENCE}"),
        ),
        (
            &none,
            Some("m"),
            Some("p"),
            format!(
                "the model `m` cannot be asked: there is neither a key nor an address\n{KEYS}{REFERENCE}"
            ),
        ),
        (
            &own,
            Some("m"),
            None,
            format!("no problems are named, and there are none in `./Datasets`\n{PROBLEMS}{REFERENCE}"),
        ),
        (
            &own,
            None,
            Some("p"),
            "no model is named for the endpoint `openai`\nhint: `--model NAME`, by the name that the server has for it".to_owned(),
        ),
        (
            &both,
            None,
            Some("p"),
            "a run asks one endpoint, and there are `deepseek` and `openai`\nhint: choose: `--endpoint deepseek` or \
                 `--endpoint openai`".to_owned(),
        ),
        (
            &unknown,
            Some("m"),
            Some("p"),
            "the endpoint `lab` is not known here, only `openai`\nhint: `--endpoint lab=URL` says where it is".to_owned(),
        ),
    ] {
        assert_eq!(decided(model, problems, endpoints, &[]), Err(message));
    }
}

#[test]
fn offline_model_asks_no_endpoint_and_answers_for_every_speaker() {
    let none = Endpoints::default();
    let recorded = Ok((Answerer::Recorded("a:b".into()), Problems::File("p".into())));
    assert_eq!(decided(Some("recorded:a:b"), Some("p"), &none, &[]), recorded);
    let unnamed = "no recording is named\nhint: `--model recorded:FILE` plays back what `--record FILE` kept";
    for model in ["recorded", "recorded:"] {
        assert_eq!(
            decided(Some(model), Some("p"), &none, &[]),
            Err(unnamed.to_owned())
        );
    }
    let flagged = endpoints("--base-url http://h", &[]);
    assert_eq!(
        decided(Some("reference"), None, &flagged, &[]),
        Err("`reference` asks no endpoint\nhint: leave out `--base-url` and `--endpoint`".to_owned())
    );
    let for_tester = |model: &'static str, own: &str| {
        let named = Named {
            model: Some(model),
            model_for: &[(Speaker::Tester, own.to_owned())].into(),
            problems: None,
        };
        decide(named, &none, |_| true).map_err(|error| error.to_string())
    };
    assert_eq!(
        for_tester("recorded:f", "m"),
        Err("`recorded:f` answers for every speaker\nhint: leave out `--model-for`".to_owned())
    );
    assert_eq!(
        for_tester("m", "reference"),
        Err(
            "`reference` answers for every speaker or for none\nhint: name it with `--model`, without `--model-for`"
                .to_owned()
        )
    );
}

#[test]
fn recording_of_the_bundled_problems_is_played_back_on_them() {
    let recorded = Ok((Answerer::Recorded("f".into()), Problems::OfRecording));
    let none = Endpoints::default();
    assert_eq!(decided(Some("recorded:f"), None, &none, &[]), recorded);
    let chosen = |is_of_bundled, there| problems_of_recording(is_of_bundled, |_| there).ok();
    assert_eq!(chosen(true, true), Some(Problems::Bundled));
    let usual = Problems::Usual("./Datasets/code_contests.jsonl".into());
    assert_eq!(chosen(false, true), Some(usual));
    assert_eq!(chosen(false, false), None);
}

#[test]
fn run_goes_on_only_where_its_endpoint_is_known() {
    let asking = |model_at| RunSpec {
        model_at,
        ..(*Fixture::empty().run.spec).clone()
    };
    let deepseek = asking(ModelAt::Endpoint {
        name: Some("deepseek".to_owned()),
    });
    let refused = |spec: &RunSpec, endpoints: &Endpoints| {
        check_resumed(spec, endpoints)
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(refused(&deepseek, &endpoints("", &["DEEPSEEK_API_KEY"])), None);
    assert_eq!(
        refused(&deepseek, &endpoints("--endpoint deepseek=http://h", &[])),
        None
    );
    assert_eq!(
        refused(&deepseek, &endpoints("", &["OPENAI_API_KEY"])),
        Some(
            "the run asks `deepseek-chat` at the endpoint `deepseek`, which is not known here\nhint: `--endpoint \
             deepseek=URL` says where it is\nhint: a model is asked with the key in `OPENAI_API_KEY` or \
             `DEEPSEEK_API_KEY`; `--base-url URL --model NAME` asks a server of your own, with or without a key"
                .to_owned()
        )
    );
    let other = endpoints("--endpoint openai", &["OPENAI_API_KEY", "DEEPSEEK_API_KEY"]);
    assert_eq!(
        refused(&deepseek, &other),
        Some(
            "the run asks the endpoint `deepseek`, not `openai`\nhint: a run keeps its endpoint and its model; a new \
             run can ask another"
                .to_owned()
        )
    );
    assert_eq!(refused(&asking(ModelAt::Offline), &Endpoints::default()), None);
    assert!(refused(&asking(ModelAt::Offline), &endpoints("--base-url http://h", &[])).is_some());
}
