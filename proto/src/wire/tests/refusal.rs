//! What is missing, too short, too long, out of range or not known is refused by its name.

use std::error::Error;
use std::fmt::Debug;

use bytes::Bytes;

use super::samples;
use crate::wire::{
    CASES_MAX, NAME_MAX_BYTES, REASON_MAX_BYTES, TEXT_MAX_BYTES, WIRE_INLINE_MAX, WireError, v1,
};
use crate::{
    CaseResult, Clip, Comparator, EvaluateWork, EvaluationReport, Failure, FinalChoice, GenerateWork,
    GenerationOutcome, JobId, LeaseId, Limits, Payload, Problem, PromptSet, ReferenceMaterial, SessionEvent,
    SessionSettings, TestSet, Work,
};

/// What is said of `sample` once `change` has spoilt its wire form.
fn refusal<D, W>(sample: D, change: impl FnOnce(&mut W)) -> String
where
    W: From<D>,
    D: TryFrom<W, Error = WireError> + Debug,
{
    let mut message = W::from(sample);
    change(&mut message);
    D::try_from(message).expect_err("was spoilt").to_string()
}

/// Each spoilt field, with where it is and what is said of it.
macro_rules! refused {
    ($sample:expr, $domain:ty, $wire:ty: $($($field:ident).+ = $value:expr => $text:expr),+ $(,)?) => {{
        let name = stringify!($domain);
        $(
            let text = refusal::<$domain, $wire>($sample, |message| message$(.$field)+ = $value);
            assert_eq!(text, $text.replace("{}", name));
        )+
    }};
}

// After the macro, which it uses.
mod link;

fn short() -> Bytes {
    Bytes::from_static(b"abc")
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes + 1)
}

#[test]
fn unreadable_ids_are_refused_by_name() {
    refused!(samples::jobs()[0], JobId, v1::JobId:
        run = short() => "field `run` of {}: expected 16 bytes, got 3",
        problem = 0 => "field `problem` of {}: expected 1 to 4294967295, got 0",
        problem = 1 << 32 => "field `problem` of {}: expected 1 to 4294967295, got 4294967296",
        kind = None => "field `kind` of {}: expected a value, got none",
        kind = Some(v1::job_id::Kind::RoundTests(v1::RoundTests { round: 0, program: short() }))
            => "field `round_tests.program` of {}: expected 32 bytes, got 3",
        kind = Some(v1::job_id::Kind::RoundTests(v1::RoundTests { round: u64::MAX, program: short() }))
            => "field `round_tests.round` of {}: expected 0 to 4294967295, got 18446744073709551615",
        kind = Some(v1::job_id::Kind::EvaluateRound(v1::EvaluateRound { round: 0, program: short() }))
            => "field `evaluate_round.program` of {}: expected 32 bytes, got 3",
        kind = Some(v1::job_id::Kind::EvaluateRound(v1::EvaluateRound { round: u64::MAX, program: short() }))
            => "field `evaluate_round.round` of {}: expected 0 to 4294967295, got 18446744073709551615",
    );
    refused!(samples::lease(), LeaseId, v1::LeaseId:
        epoch = 0 => "field `epoch` of {}: expected 1 to 4294967295, got 0",
        seq = 0 => "field `seq` of {}: expected at least 1, got 0",
    );
}

#[test]
fn unreadable_payload_limits_and_failure_are_refused_by_name() {
    use v1::payload::Form;
    let too_long = Bytes::from(vec![0; WIRE_INLINE_MAX + 1]);
    refused!(Payload::text("x"), Payload, v1::Payload:
        form = None => "field `form` of {}: expected a value, got none",
        form = Some(Form::Blob(short())) => "field `blob` of {}: expected 32 bytes, got 3",
        form = Some(Form::Inline(too_long)) => "field `inline` of {}: expected at most 65536 bytes, got 65537",
    );
    refused!(samples::limits(), Limits, v1::Limits:
        processes = 1 << 32 => "field `processes` of {}: expected 0 to 4294967295, got 4294967296",
    );
    let classes = "Model, Job, InfraRetry, InfraFatal, Cancelled";
    refused!(samples::failures().remove(0), Failure, v1::Failure:
        class = 0 => format!("field `class` of {{}}: expected one of {classes}, got 0"),
        class = 6 => format!("field `class` of {{}}: expected one of {classes}, got 6"),
        class = -1 => format!("field `class` of {{}}: expected one of {classes}, got -1"),
        message = long(REASON_MAX_BYTES) => "field `message` of {}: expected at most 4096 bytes, got 4097",
    );
}

#[test]
fn unreadable_test_set_and_problem_are_refused_by_name() {
    let case = v1::Case::default();
    refused!(samples::test_set(), TestSet, v1::TestSet:
        version = 0 => "field `version` of {}: expected 1, got 0",
        version = 2 => "field `version` of {}: expected 1, got 2",
        cases = vec![v1::Case { tier: 1, ..case.clone() }, case.clone()]
            => "field `cases[1].tier` of {}: expected one of Public, Private, Generated, got 0",
        cases = vec![case.clone(); CASES_MAX + 1]
            => "field `cases` of {}: expected at most 100000 entries, got 100001",
    );
    refused!(samples::reference(), ReferenceMaterial, v1::ReferenceMaterial:
        version = 2 => "field `version` of {}: expected 1, got 2",
        program = Some(long(TEXT_MAX_BYTES)) => "field `program` of {}: expected at most 8388608 bytes, got 8388609",
        cases = vec![case] => "field `cases[0].tier` of {}: expected one of Public, Private, Generated, got 0",
    );
    let program = v1::Program::default();
    refused!(samples::problem(), Problem, v1::Problem:
        position = 0 => "field `position` of {}: expected 1 to 4294967295, got 0",
        source_id = long(NAME_MAX_BYTES) => "field `source_id` of {}: expected at most 256 bytes, got 257",
        statement = long(TEXT_MAX_BYTES) => "field `statement` of {}: expected at most 8388608 bytes, got 8388609",
        tests = None => "field `tests` of {}: expected a value, got none",
        tests = Some(v1::TestSet::default()) => "field `tests.version` of {}: expected 1, got 0",
        solutions = vec![program.clone()]
            => "field `solutions[0].language` of {}: expected one of Python3, got 0",
        incorrect_solutions = vec![v1::Program { index: 1 << 32, ..program }]
            => "field `incorrect_solutions[0].index` of {}: expected 0 to 4294967295, got 4294967296",
    );
}

#[test]
fn unreadable_report_is_refused_by_name() {
    let verdicts = "Accepted, WrongAnswer, RuntimeError, OutputLimit, TimeLimit, MemoryLimit, CompileError, \
                    InternalError";
    refused!(samples::report().cases.remove(0), CaseResult, v1::CaseResult:
        case = 1 << 32 => "field `case` of {}: expected 0 to 4294967295, got 4294967296",
        verdict = 0 => format!("field `verdict` of {{}}: expected one of {verdicts}, got 0"),
        verdict = 9 => format!("field `verdict` of {{}}: expected one of {verdicts}, got 9"),
        exit_code = Some(1 << 31)
            => "field `exit_code` of {}: expected -2147483648 to 2147483647, got 2147483648",
        signal = Some(i64::MIN)
            => "field `signal` of {}: expected -2147483648 to 2147483647, got -9223372036854775808",
        stdout = None => "field `stdout` of {}: expected a value, got none",
        stderr_tail = long(TEXT_MAX_BYTES)
            => "field `stderr_tail` of {}: expected at most 8388608 bytes, got 8388609",
    );
    refused!(Clip::default(), Clip, v1::Clip:
        head = long(TEXT_MAX_BYTES) => "field `head` of {}: expected at most 8388608 bytes, got 8388609",
        tail = long(TEXT_MAX_BYTES) => "field `tail` of {}: expected at most 8388608 bytes, got 8388609",
    );
    refused!(samples::report(), EvaluationReport, v1::EvaluationReport:
        version = 0 => "field `version` of {}: expected 1, got 0",
        cases = vec![v1::CaseResult::default()]
            => format!("field `cases[0].verdict` of {{}}: expected one of {verdicts}, got 0"),
        isolation = 0 => "field `isolation` of {}: expected one of None, Partial, FullNocg, Full, got 0",
        interpreter = long(NAME_MAX_BYTES) => "field `interpreter` of {}: expected at most 256 bytes, got 257",
    );
}

#[test]
fn unreadable_settings_are_refused_by_name() {
    let sampling = v1::Sampling::from(samples::settings().sampling);
    refused!(samples::settings(), SessionSettings, v1::SessionSettings:
        method = "alone".to_owned() => "field `method` of {}: expected the name of a method, got alone",
        model = long(NAME_MAX_BYTES) => "field `model` of {}: expected at most 256 bytes, got 257",
        sampling = None => "field `sampling` of {}: expected a value, got none",
        sampling = Some(v1::Sampling { temperature: f64::NAN, ..sampling })
            => "field `sampling.temperature` of {}: expected 0 to 100, got NaN",
        sampling = Some(v1::Sampling { top_p: 1.5, ..sampling })
            => "field `sampling.top_p` of {}: expected 0 to 1, got 1.5",
        sampling = Some(v1::Sampling { max_tokens: 1 << 32, ..sampling })
            => "field `sampling.max_tokens` of {}: expected 0 to 4294967295, got 4294967296",
        max_rounds = 0 => "field `max_rounds` of {}: expected 1 to 4294967295, got 0",
        tester = 0 => "field `tester` of {}: expected one of Cases, Public, PublicAndCases, Review, got 0",
        language = 0 => "field `language` of {}: expected one of Python3, got 0",
        comparator = "tokenz".to_owned()
            => "field `comparator` of {}: expected the name of a comparator, got `tokenz`",
        limits = None => "field `limits` of {}: expected a value, got none",
        final_choice = Some(0) => "field `final_choice` of {}: expected one of Last, Public, got 0",
    );
}

#[test]
fn settings_without_a_choice_of_the_final_program_have_the_last_one() {
    let message = v1::SessionSettings {
        final_choice: None,
        ..samples::settings().into()
    };
    let expected = SessionSettings {
        final_choice: FinalChoice::Last,
        ..samples::settings()
    };
    assert_eq!(SessionSettings::try_from(message), Ok(expected));
}

#[test]
fn unreadable_session_events_are_refused_by_name() {
    use v1::session_event::Event;
    /// What is said of an event once the fields of its kind are spoilt.
    macro_rules! spoilt {
        ($sample:expr, $kind:ident: $($field:ident = $value:expr => $text:expr),+ $(,)?) => {{
            $(
                let text = refusal::<SessionEvent, v1::SessionEvent>($sample, |message| match &mut message.event {
                    Some(Event::$kind(event)) => event.$field = $value,
                    other => panic!("not a sample of this kind: {other:?}"),
                });
                assert_eq!(text, format!("field `{}` of SessionEvent: expected {}", $text.0, $text.1));
            )+
        }};
    }
    let (value, number) = ("a value, got none", "0 to 4294967295, got 4294967296");
    refused!(samples::said(), SessionEvent, v1::SessionEvent:
        event = None => "field `event` of {}: expected a value, got none",
    );
    spoilt!(samples::said(), Said:
        speaker = 0 => ("said.speaker", "one of Analyst, Coder, Tester, got 0"),
        round = 1 << 32 => ("said.round", number),
        ask = 1 << 32 => ("said.ask", number),
        prompt = None => ("said.prompt", value),
        reply = None => ("said.reply", value),
        reasoning = Some(v1::Payload { form: None }) => ("said.reasoning.form", value),
        finish = 0 => ("said.finish", "one of Stop, Length, ContentFilter, got 0"),
    );
    spoilt!(samples::test_request(), TestRequest:
        round = 1 << 32 => ("test_request.round", number),
        program = None => ("test_request.program", value),
        cases = short() => ("test_request.cases", "32 bytes, got 3"),
        cases_n = 1 << 32 => ("test_request.cases_n", number),
    );
    spoilt!(samples::round_end(), RoundEnd:
        round = 1 << 32 => ("round_end.round", number),
        code = None => ("round_end.code", value),
        report = None => ("round_end.report", value),
        tests_raw = None => ("round_end.tests_raw", value),
        tests_used = Some(v1::Payload { form: None }) => ("round_end.tests_used.form", value),
        program = Some(v1::Payload { form: None }) => ("round_end.program.form", value),
    );
    let reasons = "Passed, RoundLimit, Unchanged, NoCode, NoCases, Budget, Refused, Truncated, ContextLimit, \
                   Disputed";
    refused!(samples::outcome(), GenerationOutcome, v1::GenerationOutcome:
        program = Some(v1::Payload { form: None }) => "field `program.form` of {}: expected a value, got none",
        stop_reason = 0 => format!("field `stop_reason` of {{}}: expected one of {reasons}, got 0"),
        patched = vec![String::new(), long(REASON_MAX_BYTES)]
            => "field `patched[1]` of {}: expected at most 4096 bytes, got 4097",
        notes = vec![String::new(); 1_025] => "field `notes` of {}: expected at most 1024 entries, got 1025",
    );
}

#[test]
fn unreadable_prompt_set_is_refused_by_name() {
    let template = |name: &str| v1::PromptTemplate {
        name: name.to_owned(),
        text: String::new(),
    };
    let nameless = v1::PromptTemplate {
        name: long(NAME_MAX_BYTES),
        text: String::new(),
    };
    let endless = v1::PromptTemplate {
        name: String::new(),
        text: long(TEXT_MAX_BYTES),
    };
    refused!(samples::prompt_set(), PromptSet, v1::PromptSet:
        version = 2 => "field `version` of {}: expected 1, got 2",
        templates = vec![template("a"), template("a")]
            => "field `templates[1]` of {}: expected each key once, got one again",
        templates = vec![template("a"); 65] => "field `templates` of {}: expected at most 64 entries, got 65",
        templates = vec![nameless] => "field `templates[0].name` of {}: expected at most 256 bytes, got 257",
        templates = vec![endless]
            => "field `templates[0].text` of {}: expected at most 8388608 bytes, got 8388609",
    );
}

#[test]
fn unreadable_work_is_refused_by_name() {
    refused!(samples::works().remove(0), Work, v1::Work:
        kind = None => "field `kind` of {}: expected a value, got none",
    );
    let round_report = v1::GenerateWork::from(samples::generate()).reports.remove(0);
    refused!(samples::generate(), GenerateWork, v1::GenerateWork:
        statement = Bytes::new() => "field `statement` of {}: expected 32 bytes, got 0",
        public_cases = Some(short()) => "field `public_cases` of {}: expected 32 bytes, got 3",
        reference = Some(Bytes::new()) => "field `reference` of {}: expected 32 bytes, got 0",
        prompts = Some(short()) => "field `prompts` of {}: expected 32 bytes, got 3",
        settings = None => "field `settings` of {}: expected a value, got none",
        resume = vec![v1::SessionEvent { event: None }]
            => "field `resume[0].event` of {}: expected a value, got none",
        resume = vec![v1::SessionEvent { event: None }; 4_097]
            => "field `resume` of {}: expected at most 4096 entries, got 4097",
        reports = vec![v1::RoundReport { program: short(), ..round_report.clone() }]
            => "field `reports[0].program` of {}: expected 32 bytes, got 3",
        reports = vec![v1::RoundReport { round: 1 << 32, ..round_report.clone() }]
            => "field `reports[0].round` of {}: expected 0 to 4294967295, got 4294967296",
        reports = vec![v1::RoundReport { report: None, ..round_report }]
            => "field `reports[0].report` of {}: expected a value, got none",
    );
    refused!(samples::evaluate(Comparator::Exact), EvaluateWork, v1::EvaluateWork:
        program = None => "field `program` of {}: expected a value, got none",
        language = 0 => "field `language` of {}: expected one of Python3, got 0",
        tests = short() => "field `tests` of {}: expected 32 bytes, got 3",
        limits = None => "field `limits` of {}: expected a value, got none",
        comparator = String::new() => "field `comparator` of {}: expected the name of a comparator, got ``",
        comparator = long(NAME_MAX_BYTES) => "field `comparator` of {}: expected at most 256 bytes, got 257",
        timeouts_max = 1 << 32 => "field `timeouts_max` of {}: expected 0 to 4294967295, got 4294967296",
        output_chars = 1 << 32 => "field `output_chars` of {}: expected 0 to 4294967295, got 4294967296",
    );
}

#[test]
fn bytes_of_another_kind_are_refused_with_their_cause() {
    let error = TestSet::from_bytes(Bytes::from_static(b"\xff\xff\xff")).expect_err("is no test set");
    assert_eq!(error.to_string(), "read the bytes of TestSet");
    let cause = error.source().expect("says why").to_string();
    assert!(cause.contains("varint"), "{cause}");
    // No bytes at all would otherwise be a test set without cases.
    let error = TestSet::from_bytes(Bytes::new()).expect_err("is no test set");
    assert_eq!(error.to_string(), "field `version` of TestSet: expected 1, got 0");
}
