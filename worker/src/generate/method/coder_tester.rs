//! `coder-tester`: a coder writes, a tester tests, in rounds, without a plan.
//!
//! Source: Dong et al., Self-collaboration Code Generation via ChatGPT (arXiv 2304.07590), the team without its analyst,
//! as in the paper's comparison of roles.

use roundhouse_proto::Speaker;

use super::{Shape, Testing};

pub(super) const SHAPE: Shape = Shape {
    first: Speaker::Coder,
    testing: Testing::Rounds,
};
