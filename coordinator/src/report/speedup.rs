//! How much faster one run was than another, as `compare` prints it.

use super::number::ratio;
use crate::console::text::{Texts, fill};

/// Which duration a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// First generation start to last generation end.
    Generation,
    /// The evaluation.
    Evaluation,
    /// All of it.
    Total,
}

/// One line: `⏱️  生成耗时: 900 秒 (~15 分钟) ⚡ 4x 加速`. The baseline itself has no ⚡; a run that is not faster
/// than the baseline has its factor all the same (`⚡ 0.5x 加速`), and one that took no time has none.
pub fn speedup_line(texts: &Texts, span: Span, seconds: f64, baseline_seconds: Option<f64>) -> String {
    let label = match span {
        Span::Generation => texts.compare_generation,
        Span::Evaluation => texts.compare_evaluation,
        Span::Total => texts.compare_total,
    };
    let whole = format!("{seconds:.0}");
    let mut line = fill(label, &[&whole, &one_decimal(seconds / 60.0)]);
    if let Some(baseline) = baseline_seconds
        && seconds > 0.0
    {
        line.push_str(&fill(
            texts.compare_factor,
            &[&one_decimal(ratio(baseline, seconds))],
        ));
    }
    line
}

/// One decimal, `.0` dropped.
fn one_decimal(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::text::{EN, ZH};

    #[test]
    fn speedup_lines_are_those_of_the_published_sample() {
        let lines = |generation, evaluation, baseline: Option<(f64, f64)>| {
            let total = baseline.map(|(g, e)| g + e);
            [
                speedup_line(&ZH, Span::Generation, generation, baseline.map(|b| b.0)),
                speedup_line(&ZH, Span::Evaluation, evaluation, baseline.map(|b| b.1)),
                speedup_line(&ZH, Span::Total, generation + evaluation, total),
            ]
        };
        assert_eq!(
            lines(3600.0, 300.0, None),
            [
                "⏱️  生成耗时: 3600 秒 (~60 分钟)",
                "⏱️  评估耗时: 300 秒 (~5 分钟)",
                "⏱️  总耗时: 3900 秒 (~65 分钟)"
            ]
        );
        assert_eq!(
            lines(900.0, 150.0, Some((3600.0, 300.0))),
            [
                "⏱️  生成耗时: 900 秒 (~15 分钟) ⚡ 4x 加速",
                "⏱️  评估耗时: 150 秒 (~2.5 分钟) ⚡ 2x 加速",
                "⏱️  总耗时: 1050 秒 (~17.5 分钟) ⚡ 3.7x 加速"
            ]
        );
        assert_eq!(
            lines(450.0, 100.0, Some((3600.0, 300.0))),
            [
                "⏱️  生成耗时: 450 秒 (~7.5 分钟) ⚡ 8x 加速",
                "⏱️  评估耗时: 100 秒 (~1.7 分钟) ⚡ 3x 加速",
                "⏱️  总耗时: 550 秒 (~9.2 分钟) ⚡ 7.1x 加速"
            ]
        );
    }

    #[test]
    fn speedup_lines_are_in_the_language_of_the_table() {
        assert_eq!(
            speedup_line(&EN, Span::Total, 1050.0, Some(3900.0)),
            "⏱️  Total time: 1050 s (~17.5 min) ⚡ 3.7x speed-up"
        );
    }

    #[test]
    fn speedup_of_no_time_has_no_factor() {
        assert_eq!(
            speedup_line(&ZH, Span::Evaluation, 0.0, Some(3.0)),
            "⏱️  评估耗时: 0 秒 (~0 分钟)"
        );
    }
}
