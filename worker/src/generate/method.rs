//! The methods: which roles work on a problem. One file for each, which names its source.
//!
//! Asked by the session where methods differ: who speaks first, and whether a program is tested in rounds. What the
//! roles are told differs in the templates, which know the method by its word.

mod analyst_coder;
mod coder_tester;
mod direct;
mod self_collaboration;

use roundhouse_proto::{Method, Speaker};

/// What sets a method apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Who speaks first.
    pub(crate) first: Speaker,
    /// What becomes of a program.
    pub(crate) testing: Testing,
}

/// What becomes of a program that the coder wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Testing {
    /// It is tested and repaired, in rounds.
    Rounds,
    /// It is the last one: there is no tester.
    Never,
}

/// The shape of a method.
pub(crate) fn shape(method: Method) -> Shape {
    match method {
        Method::SelfCollaboration => self_collaboration::SHAPE,
        Method::Direct => direct::SHAPE,
        Method::AnalystCoder => analyst_coder::SHAPE,
        Method::CoderTester => coder_tester::SHAPE,
    }
}

/// What stands in the place of a round's report where the method has no tester.
pub(crate) fn untested(method: Method) -> String {
    format!("No test ran: the method `{}` has no tester.", method.word())
}
