//! The words of Roundhouse and their wire form.
//!
//! Every crate speaks in these types. They know nothing of a disk, a network or a clock; the wire form
//! ([`wire`]) is met only at the edges, where a fallible conversion names the field it could not read.

#[cfg(feature = "rpc")]
pub mod address;
pub mod comparator;
pub mod digest;
pub mod evaluation;
pub mod ids;
pub mod limits;
pub mod link;
pub mod problem;
pub mod recording;
pub mod session;
pub mod verdict;
pub mod wire;
pub mod work;

#[cfg(feature = "rpc")]
pub use address::CoordinatorAddress;
pub use comparator::Comparator;
pub use digest::{Digest, Payload};
pub use evaluation::{Audit, CaseResult, Clip, EvaluationReport, Isolation};
pub use ids::{JobId, JobKind, LeaseId, RunId, WorkerId};
pub use limits::Limits;
pub use problem::{Case, Language, Problem, Program, ReferenceMaterial, TestSet, Tier};
pub use recording::{RecordedCall, Recording};
pub use session::{
    FinalChoice, FinishReason, GenerationOutcome, Method, Sampling, SessionEvent, SessionSettings, Speaker,
    StopReason, TesterMode, Usage,
};
pub use verdict::Verdict;
pub use wire::WireError;
pub use work::{
    EvaluateWork, Execution, Failure, FailureClass, GenerateWork, PromptSet, Role, StartMode, Work,
};
