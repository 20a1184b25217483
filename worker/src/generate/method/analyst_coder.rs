//! `analyst-coder`: an analyst plans, the coder is asked once.
//!
//! Source: Dong et al., Self-collaboration Code Generation via ChatGPT (arXiv 2304.07590), the team without its tester,
//! as in the paper's comparison of roles.

use roundhouse_proto::Speaker;

use super::{Shape, Testing};

pub(super) const SHAPE: Shape = Shape {
    first: Speaker::Analyst,
    testing: Testing::Never,
};
