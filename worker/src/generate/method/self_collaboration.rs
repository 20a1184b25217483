//! `self-collaboration`: an analyst plans, a coder writes, a tester tests, in rounds.
//!
//! Source: Dong et al., Self-collaboration Code Generation via ChatGPT (arXiv 2304.07590).

use roundhouse_proto::Speaker;

use super::{Shape, Testing};

pub(super) const SHAPE: Shape = Shape {
    first: Speaker::Analyst,
    testing: Testing::Rounds,
};
