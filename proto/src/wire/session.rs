//! Session settings and session events to the wire and back.

use super::bounds::{NOTES_MAX, REASON_MAX_BYTES, SPEAKERS_MAX, TEMPERATURE_MAX};
use super::fields::{cut, number_of, same_words};
use super::{Fields, WireError, v1};
use crate::session::{
    FinalChoice, FinishReason, GenerationOutcome, Sampling, SessionEvent, SessionSettings, Speaker,
    StopReason, TesterMode, Usage,
};

same_words!(Speaker {
    Analyst,
    Coder,
    Tester
});
same_words!(FinishReason {
    Stop,
    Length,
    ContentFilter
});
same_words!(TesterMode {
    Cases,
    Public,
    PublicAndCases,
    Review
});
same_words!(FinalChoice { Last, Public });
same_words!(StopReason {
    Passed,
    RoundLimit,
    Unchanged,
    NoCode,
    NoCases,
    Budget,
    Refused,
    Truncated,
    ContextLimit,
    Disputed,
});

impl From<Usage> for v1::Usage {
    fn from(usage: Usage) -> Self {
        Self {
            input: usage.input,
            cached_input: usage.cached_input,
            output: usage.output,
            reasoning: usage.reasoning,
        }
    }
}

impl From<v1::Usage> for Usage {
    fn from(usage: v1::Usage) -> Self {
        Self {
            input: usage.input,
            cached_input: usage.cached_input,
            output: usage.output,
            reasoning: usage.reasoning,
        }
    }
}

impl From<Sampling> for v1::Sampling {
    fn from(sampling: Sampling) -> Self {
        Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            max_tokens: sampling.max_tokens.into(),
        }
    }
}

impl TryFrom<v1::Sampling> for Sampling {
    type Error = WireError;
    fn try_from(sampling: v1::Sampling) -> Result<Self, WireError> {
        let fields = Fields::of("Sampling");
        Ok(Self {
            temperature: fields.fraction("temperature", sampling.temperature, TEMPERATURE_MAX)?,
            top_p: fields.fraction("top_p", sampling.top_p, 1.0)?,
            max_tokens: fields.number("max_tokens", sampling.max_tokens)?,
        })
    }
}

impl From<SessionSettings> for v1::SessionSettings {
    fn from(settings: SessionSettings) -> Self {
        Self {
            method: settings.method.word().to_owned(),
            model: settings.model,
            sampling: Some(settings.sampling.into()),
            max_rounds: settings.max_rounds.into(),
            tester: number_of::<_, v1::TesterMode>(settings.tester),
            language: number_of::<_, v1::Language>(settings.language),
            patch: settings.patch,
            comparator: settings.comparator.to_string(),
            limits: Some(settings.limits.into()),
            final_choice: Some(number_of::<_, v1::FinalChoice>(settings.final_choice)),
            model_for: settings.model_for.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::SessionSettings> for SessionSettings {
    type Error = WireError;
    fn try_from(settings: v1::SessionSettings) -> Result<Self, WireError> {
        let fields = Fields::of("SessionSettings");
        Ok(Self {
            method: settings
                .method
                .parse()
                .map_err(|_| fields.refuse("method", "the name of a method", &settings.method))?,
            model: fields.name("model", settings.model)?,
            sampling: fields.required("sampling", settings.sampling)?,
            max_rounds: fields.number_from_1("max_rounds", settings.max_rounds)?,
            tester: fields.choice::<v1::TesterMode, _>("tester", settings.tester)?,
            language: fields.choice::<v1::Language, _>("language", settings.language)?,
            patch: settings.patch,
            comparator: fields.comparator("comparator", &settings.comparator)?,
            limits: fields.required("limits", settings.limits)?,
            final_choice: match settings.final_choice {
                Some(choice) => fields.choice::<v1::FinalChoice, _>("final_choice", choice)?,
                None => FinalChoice::Last,
            },
            model_for: fields.map("model_for", settings.model_for, SPEAKERS_MAX)?,
        })
    }
}

impl From<(Speaker, String)> for v1::SpeakerModel {
    fn from((speaker, model): (Speaker, String)) -> Self {
        Self {
            speaker: number_of::<_, v1::Speaker>(speaker),
            model,
        }
    }
}

impl TryFrom<v1::SpeakerModel> for (Speaker, String) {
    type Error = WireError;
    fn try_from(part: v1::SpeakerModel) -> Result<Self, WireError> {
        let fields = Fields::of("SpeakerModel");
        Ok((
            fields.choice::<v1::Speaker, _>("speaker", part.speaker)?,
            fields.name("model", part.model)?,
        ))
    }
}

impl From<SessionEvent> for v1::SessionEvent {
    fn from(event: SessionEvent) -> Self {
        use v1::session_event::Event;
        let event = match event {
            SessionEvent::Said {
                speaker,
                round,
                ask,
                prompt,
                reply,
                reasoning,
                finish,
                usage,
                duration_ms,
                remarks,
                unaccounted,
            } => Event::Said(v1::Said {
                speaker: number_of::<_, v1::Speaker>(speaker),
                round: round.into(),
                ask: ask.into(),
                prompt: Some(prompt.into()),
                reply: Some(reply.into()),
                reasoning: reasoning.map(Into::into),
                finish: number_of::<_, v1::FinishReason>(finish),
                usage: usage.map(Into::into),
                duration_ms,
                remarks: remarks.into_iter().map(cut).collect(),
                unaccounted: unaccounted.into(),
            }),
            SessionEvent::TestRequest {
                round,
                program,
                cases,
                cases_n,
            } => Event::TestRequest(v1::TestRequest {
                round: round.into(),
                program: Some(program.into()),
                cases: cases.into(),
                cases_n: cases_n.into(),
            }),
            SessionEvent::RoundEnd {
                round,
                code,
                report,
                tests_raw,
                tests_used,
                program,
                passed,
            } => Event::RoundEnd(v1::RoundEnd {
                round: round.into(),
                code: Some(code.into()),
                report: Some(report.into()),
                tests_raw: Some(tests_raw.into()),
                tests_used: tests_used.map(Into::into),
                program: program.map(Into::into),
                passed,
            }),
            SessionEvent::Finished(outcome) => Event::Finished(outcome.into()),
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<v1::SessionEvent> for SessionEvent {
    type Error = WireError;
    fn try_from(event: v1::SessionEvent) -> Result<Self, WireError> {
        use v1::session_event::Event;
        let fields = Fields::of("SessionEvent");
        match event.event.ok_or_else(|| fields.missing("event"))? {
            Event::Said(said) => fields.part("said", said),
            Event::TestRequest(request) => fields.part("test_request", request),
            Event::RoundEnd(end) => fields.part("round_end", end),
            Event::Finished(outcome) => Ok(Self::Finished(fields.part("finished", outcome)?)),
        }
    }
}

impl TryFrom<v1::Said> for SessionEvent {
    type Error = WireError;
    fn try_from(said: v1::Said) -> Result<Self, WireError> {
        let fields = Fields::of("Said");
        Ok(Self::Said {
            speaker: fields.choice::<v1::Speaker, _>("speaker", said.speaker)?,
            round: fields.number("round", said.round)?,
            ask: fields.number("ask", said.ask)?,
            prompt: fields.required("prompt", said.prompt)?,
            reply: fields.required("reply", said.reply)?,
            reasoning: fields.optional("reasoning", said.reasoning)?,
            finish: fields.choice::<v1::FinishReason, _>("finish", said.finish)?,
            usage: said.usage.map(Into::into),
            duration_ms: said.duration_ms,
            remarks: fields.texts("remarks", said.remarks, NOTES_MAX, REASON_MAX_BYTES)?,
            unaccounted: fields.number("unaccounted", said.unaccounted)?,
        })
    }
}

impl TryFrom<v1::TestRequest> for SessionEvent {
    type Error = WireError;
    fn try_from(request: v1::TestRequest) -> Result<Self, WireError> {
        let fields = Fields::of("TestRequest");
        Ok(Self::TestRequest {
            round: fields.number("round", request.round)?,
            program: fields.required("program", request.program)?,
            cases: fields.digest("cases", &request.cases)?,
            cases_n: fields.number("cases_n", request.cases_n)?,
        })
    }
}

impl TryFrom<v1::RoundEnd> for SessionEvent {
    type Error = WireError;
    fn try_from(end: v1::RoundEnd) -> Result<Self, WireError> {
        let fields = Fields::of("RoundEnd");
        Ok(Self::RoundEnd {
            round: fields.number("round", end.round)?,
            code: fields.required("code", end.code)?,
            report: fields.required("report", end.report)?,
            tests_raw: fields.required("tests_raw", end.tests_raw)?,
            tests_used: fields.optional("tests_used", end.tests_used)?,
            program: fields.optional("program", end.program)?,
            passed: end.passed,
        })
    }
}

impl From<GenerationOutcome> for v1::GenerationOutcome {
    fn from(outcome: GenerationOutcome) -> Self {
        Self {
            program: outcome.program.map(Into::into),
            stop_reason: number_of::<_, v1::StopReason>(outcome.stop_reason),
            patched: outcome.patched.into_iter().map(cut).collect(),
            notes: outcome.notes.into_iter().map(cut).collect(),
            unaccounted: outcome.unaccounted.into(),
        }
    }
}

impl TryFrom<v1::GenerationOutcome> for GenerationOutcome {
    type Error = WireError;
    fn try_from(outcome: v1::GenerationOutcome) -> Result<Self, WireError> {
        let fields = Fields::of("GenerationOutcome");
        Ok(Self {
            program: fields.optional("program", outcome.program)?,
            stop_reason: fields.choice::<v1::StopReason, _>("stop_reason", outcome.stop_reason)?,
            patched: fields.texts("patched", outcome.patched, NOTES_MAX, REASON_MAX_BYTES)?,
            notes: fields.texts("notes", outcome.notes, NOTES_MAX, REASON_MAX_BYTES)?,
            unaccounted: fields.number("unaccounted", outcome.unaccounted)?,
        })
    }
}
