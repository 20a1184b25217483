//! The generation session: an analyst, a coder and a tester, each the same model in a role, work on a problem
//! in rounds.
//!
//! On the data's path it stands between a leased job and the events that the coordinator stores. The decisions
//! are in [`session`], which does no IO; [`hold()`] carries them out. Nothing here runs a program.
//!
//! Source of the method: Dong et al., Self-collaboration Code Generation via ChatGPT (arXiv 2304.07590).

pub mod cases;
pub mod extraction;
pub(crate) mod fence;
pub mod hold;
mod messages;
pub mod patch;
pub mod prompts;
mod python;
pub mod report_text;
pub mod review;
pub mod session;

pub use hold::{HoldError, SessionPort, hold};
pub use session::{Cause, ReplayFault, RoundTests, Session, SessionError, Step, Task, blobs_needed};
