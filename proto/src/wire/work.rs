//! What is handed out to workers, to the wire and back.

use super::bounds::{EVENTS_MAX, REPORTS_MAX, TEMPLATES_MAX};
use super::fields::{number_of, same_words};
use super::{BLOB_VERSION, Fields, WireError, v1};
use crate::digest::{Digest, Payload};
use crate::work::{EvaluateWork, Execution, GenerateWork, PromptSet, StartMode, Work};

same_words!(StartMode { Fast, Natural, Fresh });

impl From<Work> for v1::Work {
    fn from(work: Work) -> Self {
        use v1::work::Kind;
        Self {
            kind: Some(match work {
                Work::Generate(work) => Kind::Generate(work.into()),
                Work::Evaluate(work) => Kind::Evaluate(work.into()),
            }),
        }
    }
}

impl TryFrom<v1::Work> for Work {
    type Error = WireError;
    fn try_from(work: v1::Work) -> Result<Self, WireError> {
        use v1::work::Kind;
        let fields = Fields::of("Work");
        Ok(match work.kind.ok_or_else(|| fields.missing("kind"))? {
            Kind::Generate(work) => Self::Generate(fields.part("generate", work)?),
            Kind::Evaluate(work) => Self::Evaluate(fields.part("evaluate", work)?),
        })
    }
}

impl From<GenerateWork> for v1::GenerateWork {
    fn from(work: GenerateWork) -> Self {
        Self {
            statement: work.statement.into(),
            public_cases: work.public_cases.map(Into::into),
            reference: work.reference.map(Into::into),
            time_limit_ms: work.time_limit_ms,
            memory_limit_bytes: work.memory_limit_bytes,
            settings: Some(work.settings.into()),
            resume: work.resume.into_iter().map(Into::into).collect(),
            reports: work.reports.into_iter().map(Into::into).collect(),
            prompts: work.prompts.map(Into::into),
            recording: work.recording.map(Into::into),
            endpoint: work.endpoint,
            entry_point: work.entry_point,
        }
    }
}

impl TryFrom<v1::GenerateWork> for GenerateWork {
    type Error = WireError;
    fn try_from(work: v1::GenerateWork) -> Result<Self, WireError> {
        let fields = Fields::of("GenerateWork");
        Ok(Self {
            statement: fields.digest("statement", &work.statement)?,
            public_cases: fields.optional_digest("public_cases", work.public_cases.as_ref())?,
            reference: fields.optional_digest("reference", work.reference.as_ref())?,
            time_limit_ms: work.time_limit_ms,
            memory_limit_bytes: work.memory_limit_bytes,
            settings: fields.required("settings", work.settings)?,
            resume: fields.each("resume", work.resume, EVENTS_MAX)?,
            reports: fields.each("reports", work.reports, REPORTS_MAX)?,
            prompts: fields.optional_digest("prompts", work.prompts.as_ref())?,
            recording: fields.optional_digest("recording", work.recording.as_ref())?,
            endpoint: fields.optional_name("endpoint", work.endpoint)?,
            entry_point: fields.optional_name("entry_point", work.entry_point)?,
        })
    }
}

impl From<PromptSet> for v1::PromptSet {
    fn from(set: PromptSet) -> Self {
        let template = |(name, text)| v1::PromptTemplate { name, text };
        Self {
            version: BLOB_VERSION,
            templates: set.templates.into_iter().map(template).collect(),
        }
    }
}

impl TryFrom<v1::PromptSet> for PromptSet {
    type Error = WireError;
    fn try_from(set: v1::PromptSet) -> Result<Self, WireError> {
        let fields = Fields::of("PromptSet");
        fields.version(set.version, BLOB_VERSION)?;
        Ok(Self {
            templates: fields.map("templates", set.templates, TEMPLATES_MAX)?,
        })
    }
}

impl TryFrom<v1::PromptTemplate> for (String, String) {
    type Error = WireError;
    fn try_from(template: v1::PromptTemplate) -> Result<Self, WireError> {
        let fields = Fields::of("PromptTemplate");
        Ok((
            fields.name("name", template.name)?,
            fields.text("text", template.text)?,
        ))
    }
}

impl From<(u32, Digest, Payload)> for v1::RoundReport {
    fn from((round, program, report): (u32, Digest, Payload)) -> Self {
        Self {
            round: round.into(),
            program: program.into(),
            report: Some(report.into()),
        }
    }
}

impl TryFrom<v1::RoundReport> for (u32, Digest, Payload) {
    type Error = WireError;
    fn try_from(report: v1::RoundReport) -> Result<Self, WireError> {
        let fields = Fields::of("RoundReport");
        Ok((
            fields.number("round", report.round)?,
            fields.digest("program", &report.program)?,
            fields.required("report", report.report)?,
        ))
    }
}

impl From<EvaluateWork> for v1::EvaluateWork {
    fn from(work: EvaluateWork) -> Self {
        Self {
            program: Some(work.program.into()),
            language: number_of::<_, v1::Language>(work.language),
            tests: work.tests.into(),
            limits: Some(work.limits.into()),
            comparator: work.comparator.to_string(),
            ignore_exit_status: work.ignore_exit_status,
            timeouts_max: work.timeouts_max.into(),
            stop_on_first_failure: work.stop_on_first_failure,
            output_chars: work.output_chars.into(),
            entry_point: work.entry_point,
            execution: Some(work.execution.into()),
        }
    }
}

impl TryFrom<v1::EvaluateWork> for EvaluateWork {
    type Error = WireError;
    fn try_from(work: v1::EvaluateWork) -> Result<Self, WireError> {
        let fields = Fields::of("EvaluateWork");
        Ok(Self {
            program: fields.required("program", work.program)?,
            language: fields.choice::<v1::Language, _>("language", work.language)?,
            tests: fields.digest("tests", &work.tests)?,
            limits: fields.required("limits", work.limits)?,
            comparator: fields.comparator("comparator", &work.comparator)?,
            ignore_exit_status: work.ignore_exit_status,
            timeouts_max: fields.number("timeouts_max", work.timeouts_max)?,
            stop_on_first_failure: work.stop_on_first_failure,
            output_chars: fields.number("output_chars", work.output_chars)?,
            entry_point: fields.optional_name("entry_point", work.entry_point)?,
            execution: fields.required("execution", work.execution)?,
        })
    }
}

impl From<Execution> for v1::Execution {
    fn from(execution: Execution) -> Self {
        Self {
            start: number_of::<_, v1::StartMode>(execution.start),
            audit_per_mille: execution.audit_per_mille.into(),
            reuse: execution.reuse,
        }
    }
}

impl TryFrom<v1::Execution> for Execution {
    type Error = WireError;
    fn try_from(execution: v1::Execution) -> Result<Self, WireError> {
        let fields = Fields::of("Execution");
        let audit_per_mille = fields.number("audit_per_mille", execution.audit_per_mille)?;
        if audit_per_mille > 1000 {
            return Err(fields.refuse("audit_per_mille", "at most 1000", audit_per_mille));
        }
        Ok(Self {
            start: fields.choice::<v1::StartMode, _>("start", execution.start)?,
            audit_per_mille,
            reuse: execution.reuse,
        })
    }
}
