//! `direct`: the coder is asked once. What every other method is held against.
//!
//! Source: Chen et al., Evaluating Large Language Models Trained on Code (arXiv 2107.03374): one sample of the model
//! for each problem, without a plan and without feedback.

use roundhouse_proto::Speaker;

use super::{Shape, Testing};

pub(super) const SHAPE: Shape = Shape {
    first: Speaker::Coder,
    testing: Testing::Never,
};
