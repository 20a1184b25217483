//! What is read from a recording, what is refused, and what is said of a run that plays it back.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use roundhouse_proto::{FinishReason, TestSet, Usage};

use super::*;
use crate::report::fixture::Fixture;

const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn head() -> String {
    format!(
        "{{\"roundhouse_recording\":1,\"run_id\":\"r\",\"model\":\"m\",\"model_for\":{{\"tester\":\"t\"}},\
         \"data_set\":{{\"name\":\"d\",\"sha256\":\"{SHA256}\"}},\"settings\":{{\"method\":\"self-collaboration\",\
         \"max_rounds\":4,\"tester\":\"public+cases\",\"final_program\":\"public\",\"sampling\":{{\"temperature\":0.0,\
         \"top_p\":0.95,\"max_tokens\":4096}},\"patch\":true,\"comparator\":\"code-contests\"}}}}\n"
    )
}

fn line(source_id: &str, position: u32, ask: u32) -> String {
    format!(
        "{{\"source_id\":\"{source_id}\",\"position\":{position},\"speaker\":\"coder\",\"round\":1,\"ask\":{ask},\
         \"model\":\"m\",\"prompt\":\"{SHA256}\",\"reply\":\"of {source_id}\",\"reasoning\":null,\"finish\":\"stop\",\
         \"usage\":{{\"input\":3,\"cached_input\":2,\"output\":1,\"reasoning\":0}},\"duration_ms\":9,\"later\":1}}\n"
    )
}

fn call(source_id: &str, ask: u32) -> RecordedCall {
    RecordedCall {
        speaker: Speaker::Coder,
        round: 1,
        ask,
        prompt: SHA256.parse().unwrap(),
        reply: format!("of {source_id}"),
        reasoning: None,
        finish: FinishReason::Stop,
        usage: Some(Usage {
            input: 3,
            cached_input: 2,
            output: 1,
            reasoning: 0,
        }),
    }
}

fn parse(text: &str) -> Result<Playback, PlaybackError> {
    Playback::parse(Path::new("f"), text.as_bytes())
}

fn problem(source_id: &str, position: u32) -> Problem {
    Problem {
        position,
        source_id: source_id.to_owned(),
        statement: String::new(),
        tests: TestSet::default(),
        time_limit_ms: None,
        memory_limit_bytes: None,
        solutions: Vec::new(),
        incorrect_solutions: Vec::new(),
        entry_point: None,
    }
}

#[test]
fn problems_are_known_by_their_ids_and_by_position_only_where_no_id_is_known() {
    let text = head() + &line("a", 1, 0) + &line("b", 2, 0) + &line("b", 2, 1) + "\n";
    let ended = "{\"source_id\":\"b\",\"position\":2,\"unanswered\":\"context_limit\"}\n";
    let playback = parse(&(text + ended)).unwrap();
    let of_a = Recording {
        calls: vec![call("a", 0)],
        unanswered: None,
    };
    let of_b = Recording {
        calls: vec![call("b", 0), call("b", 1)],
        unanswered: Some(StopReason::ContextLimit),
    };
    // The same ids in another order; a problem at a recorded place is not taken for the recorded one.
    let moved = [problem("b", 1), problem("c", 2), problem("a", 3)];
    assert_eq!(playback.answers(&moved), BTreeMap::from([(1, &of_b), (3, &of_a)]));
    let renamed = [problem("x", 1), problem("y", 2), problem("z", 3)];
    assert_eq!(
        playback.answers(&renamed),
        BTreeMap::from([(1, &of_a), (2, &of_b)])
    );
    assert_eq!(playback.model(), "recorded:m");
    let for_tester = BTreeMap::from([(Speaker::Tester, "recorded:t".to_owned())]);
    assert_eq!(playback.model_for(), for_tester);
}

#[test]
fn line_that_is_wrong_is_refused_with_file_line_field_and_what_was_expected() {
    let wrong = |from: &str, to: &str| {
        let text = line("a", 1, 0);
        assert!(text.contains(from), "{from}");
        let text = head() + &line("b", 2, 0) + &text.replace(from, to);
        parse(&text).unwrap_err().to_string()
    };
    for (from, to, said) in [
        (
            "\"round\":1,",
            "",
            "field `round`: expected a whole number from 0, found nothing",
        ),
        (
            "\"round\":1",
            "\"round\":-1",
            "field `round`: expected a whole number from 0, found `-1`",
        ),
        (
            "\"coder\"",
            "\"critic\"",
            "field `speaker`: expected `analyst`, `coder` or `tester`, found `\"critic\"`",
        ),
        (
            SHA256,
            "12",
            "field `prompt`: expected 64 hexadecimal digits, found `\"12\"`",
        ),
        (
            "\"of a\"",
            "7",
            "field `reply`: expected a text of at most 8 MiB, found `7`",
        ),
        (
            "\"reasoning\":null",
            "\"reasoning\":[]",
            "field `reasoning`: expected a text of at most 8 MiB, found `[]`",
        ),
        (
            "\"finish\":\"stop\"",
            "\"finish\":null",
            "field `finish`: expected `stop`, `length` or `content_filter`, found `null`",
        ),
        (
            "\"input\":3,",
            "",
            "field `usage`: expected `input`, `cached_input`, `output` and `reasoning` as whole numbers, found \
             `{\"cached_input\":2,\"output\":1,\"reasoning\"…`",
        ),
        (
            "\"a\",\"position\":1",
            "\"b\",\"position\":2",
            "coder, round 1, ask 0 of `b` is recorded in an earlier line already",
        ),
        (
            "\"later\":1}",
            "\"later\":1",
            "expected a JSON object: EOF while parsing an object at line 2 column 0",
        ),
    ] {
        let expected = format!("read the recording `f`, line 3: {said}");
        assert_eq!(wrong(from, to), expected);
    }
    let ended = head() + "{\"source_id\":\"b\",\"position\":2,\"unanswered\":\"passed\"}\n";
    assert_eq!(
        parse(&ended).unwrap_err().to_string(),
        "read the recording `f`, line 2: field `unanswered`: expected `context_limit` or `budget`, found `\"passed\"`"
    );
}

#[test]
fn file_that_is_no_recording_or_a_newer_one_is_refused_with_what_to_do() {
    for text in ["", "\n", "{}", "{\"name\": 1}\n", "PAR1"] {
        let error = parse(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`f` is no recording: its first line has no `roundhouse_recording`"
        );
        assert!(error.hint().unwrap().contains("--record FILE"));
    }
    let newer = parse("{\"roundhouse_recording\":2}\n").unwrap_err();
    assert_eq!(
        newer.to_string(),
        "the recording `f` has version 2, but this program knows versions up to 1"
    );
    assert!(newer.hint().is_some());
    let unknown = parse(&head().replace("self-collaboration", "solo")).unwrap_err();
    assert!(
        unknown
            .to_string()
            .starts_with("read the recording `f`, line 1: field `settings`: expected `method`,"),
        "{unknown}"
    );
}

#[test]
fn run_that_plays_back_is_told_that_it_measures_nothing_and_where_it_can_differ() {
    let playback = parse(&(head() + &line("1575_1. Sorting?", 1, 0))).unwrap();
    let mut spec = (*Fixture::mixed().run.spec).clone();
    spec.problems.truncate(3);
    let nothing = Digest::of(&Recording::default().to_bytes());
    for problem in &mut spec.problems {
        problem.recording = Some(nothing);
    }
    let known = &playback.sessions["1575_1. Sorting?"].recording;
    spec.problems[0].recording = Some(Digest::of(&known.to_bytes()));
    assert_eq!(
        playback.warnings(&spec),
        [
            "`recorded:` is no model: it repeats what `m` answered in run r, so nothing new is measured"
                .to_owned(),
            format!("the problems are not those of the recording, whose data set has the sha256 {SHA256}"),
            "`--max-rounds` is `2`, but was `4` when it was recorded: the result can differ".to_owned(),
            "`--tester` is `cases`, but was `public+cases` when it was recorded: the result can differ"
                .to_owned(),
            "`--final` is `last`, but was `public` when it was recorded: the result can differ".to_owned(),
            "nothing is recorded for 2 of 3 problems, the first of them `problem_002`: they end as errors"
                .to_owned(),
        ]
    );
}
