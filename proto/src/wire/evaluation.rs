//! Evaluation reports to the wire and back.

use super::bounds::CASES_MAX;
use super::fields::{number_of, same_words};
use super::{BLOB_VERSION, Fields, WireError, v1};
use crate::evaluation::{Audit, CaseResult, Clip, EvaluationReport};
use crate::verdict::Verdict;

same_words!(Verdict {
    Accepted,
    WrongAnswer,
    RuntimeError,
    OutputLimit,
    TimeLimit,
    MemoryLimit,
    CompileError,
    InternalError,
});

impl From<Clip> for v1::Clip {
    fn from(clip: Clip) -> Self {
        Self {
            head: clip.head,
            left_out: clip.left_out,
            tail: clip.tail,
        }
    }
}

impl TryFrom<v1::Clip> for Clip {
    type Error = WireError;
    fn try_from(clip: v1::Clip) -> Result<Self, WireError> {
        let fields = Fields::of("Clip");
        Ok(Self {
            head: fields.text("head", clip.head)?,
            left_out: clip.left_out,
            tail: fields.text("tail", clip.tail)?,
        })
    }
}

impl From<CaseResult> for v1::CaseResult {
    fn from(result: CaseResult) -> Self {
        Self {
            case: result.case.into(),
            verdict: number_of::<_, v1::Verdict>(result.verdict),
            not_run: result.not_run,
            cpu_ms: result.cpu_ms,
            wall_ms: result.wall_ms,
            memory_bytes: result.memory_bytes,
            exit_code: result.exit_code.map(i64::from),
            signal: result.signal.map(i64::from),
            stdout: Some(result.stdout.into()),
            stderr_tail: result.stderr_tail,
        }
    }
}

impl TryFrom<v1::CaseResult> for CaseResult {
    type Error = WireError;
    fn try_from(result: v1::CaseResult) -> Result<Self, WireError> {
        let fields = Fields::of("CaseResult");
        let status = |field, value: Option<i64>| value.map(|value| fields.signed(field, value)).transpose();
        Ok(Self {
            case: fields.number("case", result.case)?,
            verdict: fields.choice::<v1::Verdict, _>("verdict", result.verdict)?,
            not_run: result.not_run,
            cpu_ms: result.cpu_ms,
            wall_ms: result.wall_ms,
            memory_bytes: result.memory_bytes,
            exit_code: status("exit_code", result.exit_code)?,
            signal: status("signal", result.signal)?,
            stdout: fields.required("stdout", result.stdout)?,
            stderr_tail: fields.text("stderr_tail", result.stderr_tail)?,
        })
    }
}

impl From<EvaluationReport> for v1::EvaluationReport {
    fn from(report: EvaluationReport) -> Self {
        Self {
            version: BLOB_VERSION,
            cases: report.cases.into_iter().map(Into::into).collect(),
            isolation: number_of::<_, v1::Isolation>(report.isolation),
            interpreter: report.interpreter,
            busy_ms: report.busy_ms,
            audit: Some(report.audit.into()),
            reused: report.reused,
        }
    }
}

impl TryFrom<v1::EvaluationReport> for EvaluationReport {
    type Error = WireError;
    fn try_from(report: v1::EvaluationReport) -> Result<Self, WireError> {
        let fields = Fields::of("EvaluationReport");
        fields.version(report.version, BLOB_VERSION)?;
        Ok(Self {
            cases: fields.each("cases", report.cases, CASES_MAX)?,
            isolation: fields.choice::<v1::Isolation, _>("isolation", report.isolation)?,
            interpreter: fields.name("interpreter", report.interpreter)?,
            busy_ms: report.busy_ms,
            audit: fields.optional("audit", report.audit)?.unwrap_or_default(),
            reused: report.reused,
        })
    }
}

impl From<Audit> for v1::Audit {
    fn from(audit: Audit) -> Self {
        Self {
            audited: audit.audited.into(),
            mismatched: audit.mismatched.into(),
        }
    }
}

impl TryFrom<v1::Audit> for Audit {
    type Error = WireError;
    fn try_from(audit: v1::Audit) -> Result<Self, WireError> {
        let fields = Fields::of("Audit");
        Ok(Self {
            audited: fields.number("audited", audit.audited)?,
            mismatched: fields.number("mismatched", audit.mismatched)?,
        })
    }
}
