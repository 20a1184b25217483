//! The generation session: roles such as an analyst, a coder and a tester, each a model, work on a problem in rounds.
//!
//! On the data's path it stands between a leased job and the events that the coordinator stores. The decisions
//! are in [`session`], which does no IO; [`hold()`] carries them out. Nothing here runs a program.
//!
//! Which roles work on it is the method's choice; each file in `method` names its source.

pub mod asserts;
pub mod cases;
pub mod extraction;
pub(crate) mod fence;
pub mod hold;
mod messages;
mod method;
pub mod patch;
pub mod prompts;
mod python;
pub mod report_text;
pub mod review;
pub mod session;
pub mod signature;

pub use hold::{HoldError, SessionPort, hold};
pub use session::{Cause, ReplayFault, RoundTests, Session, SessionError, Step, Task, blobs_needed};
