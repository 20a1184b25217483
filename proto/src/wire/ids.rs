//! Names of things, values, limits and failures to the wire and back.

use bytes::Bytes;

use super::bounds::WIRE_INLINE_MAX;
use super::fields::{cut, number_of, same_words};
use super::{Fields, WireError, v1};
use crate::digest::{Digest, Payload};
use crate::evaluation::Isolation;
use crate::ids::{JobId, JobKind, LeaseId, RunId, WorkerId};
use crate::limits::Limits;
use crate::problem::Language;
use crate::work::{Failure, FailureClass, Role};

same_words!(Role { Gen, Eval });
same_words!(Language { Python3 });
same_words!(Isolation {
    None,
    Partial,
    FullNocg,
    Full
});
same_words!(FailureClass {
    Model,
    Job,
    InfraRetry,
    InfraFatal,
    Cancelled
});

impl From<Digest> for Bytes {
    fn from(digest: Digest) -> Self {
        Self::copy_from_slice(&digest.0)
    }
}

impl From<RunId> for Bytes {
    fn from(run: RunId) -> Self {
        Self::copy_from_slice(run.0.as_bytes())
    }
}

impl From<WorkerId> for Bytes {
    fn from(worker: WorkerId) -> Self {
        Self::copy_from_slice(worker.0.as_bytes())
    }
}

impl From<JobId> for v1::JobId {
    fn from(job: JobId) -> Self {
        use v1::job_id::Kind;
        Self {
            run: job.run.into(),
            problem: job.problem.into(),
            kind: Some(match job.kind {
                JobKind::Generate => Kind::Generate(v1::Empty {}),
                JobKind::RoundTests { round, program } => Kind::RoundTests(v1::RoundTests {
                    round: round.into(),
                    program: program.into(),
                }),
                JobKind::Evaluate => Kind::Evaluate(v1::Empty {}),
                JobKind::EvaluateRound { round, program } => Kind::EvaluateRound(v1::EvaluateRound {
                    round: round.into(),
                    program: program.into(),
                }),
            }),
        }
    }
}

impl TryFrom<v1::JobId> for JobId {
    type Error = WireError;
    fn try_from(job: v1::JobId) -> Result<Self, WireError> {
        use v1::job_id::Kind;
        let fields = Fields::of("JobId");
        Ok(Self {
            run: RunId(fields.uuid("run", &job.run)?),
            problem: fields.number_from_1("problem", job.problem)?,
            kind: match job.kind.ok_or_else(|| fields.missing("kind"))? {
                Kind::Generate(v1::Empty {}) => JobKind::Generate,
                Kind::RoundTests(tests) => fields.part("round_tests", tests)?,
                Kind::Evaluate(v1::Empty {}) => JobKind::Evaluate,
                Kind::EvaluateRound(round) => fields.part("evaluate_round", round)?,
            },
        })
    }
}

impl TryFrom<v1::RoundTests> for JobKind {
    type Error = WireError;
    fn try_from(tests: v1::RoundTests) -> Result<Self, WireError> {
        let fields = Fields::of("RoundTests");
        Ok(Self::RoundTests {
            round: fields.number("round", tests.round)?,
            program: fields.digest("program", &tests.program)?,
        })
    }
}

impl TryFrom<v1::EvaluateRound> for JobKind {
    type Error = WireError;
    fn try_from(evaluated: v1::EvaluateRound) -> Result<Self, WireError> {
        let fields = Fields::of("EvaluateRound");
        Ok(Self::EvaluateRound {
            round: fields.number("round", evaluated.round)?,
            program: fields.digest("program", &evaluated.program)?,
        })
    }
}

impl From<LeaseId> for v1::LeaseId {
    fn from(lease: LeaseId) -> Self {
        Self {
            epoch: lease.epoch.into(),
            seq: lease.seq,
        }
    }
}

impl TryFrom<v1::LeaseId> for LeaseId {
    type Error = WireError;
    fn try_from(lease: v1::LeaseId) -> Result<Self, WireError> {
        let fields = Fields::of("LeaseId");
        if lease.seq == 0 {
            return Err(fields.refuse("seq", "at least 1", 0));
        }
        Ok(Self {
            epoch: fields.number_from_1("epoch", lease.epoch)?,
            seq: lease.seq,
        })
    }
}

impl From<Payload> for v1::Payload {
    fn from(payload: Payload) -> Self {
        use v1::payload::Form;
        Self {
            form: Some(match payload {
                Payload::Inline(bytes) => Form::Inline(bytes),
                Payload::Blob(digest) => Form::Blob(digest.into()),
            }),
        }
    }
}

impl TryFrom<v1::Payload> for Payload {
    type Error = WireError;
    fn try_from(payload: v1::Payload) -> Result<Self, WireError> {
        use v1::payload::Form;
        let fields = Fields::of("Payload");
        match payload.form.ok_or_else(|| fields.missing("form"))? {
            Form::Inline(bytes) => {
                fields.bounded("inline", bytes.len(), WIRE_INLINE_MAX, "bytes")?;
                Ok(Self::Inline(bytes))
            }
            Form::Blob(digest) => Ok(Self::Blob(fields.digest("blob", &digest)?)),
        }
    }
}

impl From<Limits> for v1::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            cpu_ms: limits.cpu_ms,
            wall_ms: limits.wall_ms,
            memory_bytes: limits.memory_bytes,
            output_bytes: limits.output_bytes,
            processes: limits.processes.into(),
        }
    }
}

impl TryFrom<v1::Limits> for Limits {
    type Error = WireError;
    fn try_from(limits: v1::Limits) -> Result<Self, WireError> {
        Ok(Self {
            cpu_ms: limits.cpu_ms,
            wall_ms: limits.wall_ms,
            memory_bytes: limits.memory_bytes,
            output_bytes: limits.output_bytes,
            processes: Fields::of("Limits").number("processes", limits.processes)?,
        })
    }
}

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            class: number_of::<_, v1::FailureClass>(failure.class),
            message: cut(failure.message),
        }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = WireError;
    fn try_from(failure: v1::Failure) -> Result<Self, WireError> {
        let fields = Fields::of("Failure");
        Ok(Self {
            class: fields.choice::<v1::FailureClass, _>("class", failure.class)?,
            message: fields.reason("message", failure.message)?,
        })
    }
}
