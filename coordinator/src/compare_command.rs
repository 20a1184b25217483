//! `coordinator compare BASELINE RUN...`: how much faster runs were than the first one, and whether the results agree.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use roundhouse_core::run::Lang;
use serde::Deserialize;

use crate::console::text::Texts;
use crate::report::speedup::{Span, speedup_line};
use crate::report::summary::SUMMARY_FILE;

/// Which runs are compared.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Run directories or summary.json files; the first is the baseline
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// Language of the lines [default: that of the baseline's report]
    #[arg(long, value_name = "zh|en")]
    lang: Option<Lang>,
}

#[derive(Debug, Deserialize)]
struct Compared {
    summary: Summary,
}

#[derive(Debug, Deserialize)]
struct Summary {
    passed: u64,
    total: u64,
    time_cost: TimeCost,
    /// That of files from before there was a choice is the default.
    #[serde(default)]
    lang: Lang,
    busy_s: Option<Busy>,
    provenance: Option<Provenance>,
}

#[derive(Debug, Deserialize)]
struct TimeCost {
    total: f64,
    generation: f64,
    evaluation: f64,
}

#[derive(Debug, Deserialize)]
struct Busy {
    evaluation: f64,
}

#[derive(Debug, Deserialize)]
struct Provenance {
    staged: bool,
}

impl Summary {
    /// Whether its evaluation time is that of a stage of its own; a summary of another program's always is.
    fn is_staged(&self) -> bool {
        self.provenance
            .as_ref()
            .is_none_or(|provenance| provenance.staged)
    }

    /// Seconds that evaluation took: of the stage, or of the busy slots.
    fn evaluation(&self, staged: bool) -> f64 {
        match &self.busy_s {
            Some(busy) if !staged => busy.evaluation,
            _ => self.time_cost.evaluation,
        }
    }
}

/// Prints the comparison.
///
/// # Errors
/// A summary cannot be read.
pub fn run(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let runs = args
        .runs
        .iter()
        .map(|path| read(path))
        .collect::<anyhow::Result<Vec<Summary>>>()?;
    let Some(baseline) = runs.first() else {
        bail!("no run is named")
    };
    let texts = Texts::of(args.lang.unwrap_or(baseline.lang));
    let staged = runs.iter().all(Summary::is_staged);
    if !staged {
        crate::notices::note(&format!(
            "{} is the time that evaluation slots were busy, since not every run has a stage of its own for it",
            texts.evaluation_time_name
        ));
    }
    let blocks = args.runs.iter().zip(&runs).enumerate().map(|(n, (path, run))| {
        let baseline = (n > 0).then_some(baseline);
        block(texts, path, run, baseline, staged)
    });
    let printed = blocks.collect::<Vec<_>>().join("\n");
    std::io::stdout()
        .write_all(printed.as_bytes())
        .context("write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed of one run; the baseline itself has none.
fn block(texts: &Texts, path: &Path, run: &Summary, baseline: Option<&Summary>, staged: bool) -> String {
    let shown = crate::dataset::quote::plain(&path.display().to_string(), 200);
    let line = |span, seconds: fn(&Summary, bool) -> f64| {
        let of_baseline = baseline.map(|baseline| seconds(baseline, staged));
        speedup_line(texts, span, seconds(run, staged), of_baseline)
    };
    format!(
        "{shown} ({}/{})\n{}\n{}\n{}\n",
        run.passed,
        run.total,
        line(Span::Generation, |run, _| run.time_cost.generation),
        line(Span::Evaluation, Summary::evaluation),
        line(Span::Total, |run, _| run.time_cost.total),
    )
}

fn read(path: &Path) -> anyhow::Result<Summary> {
    let file = if path.is_dir() {
        path.join(SUMMARY_FILE)
    } else {
        path.to_owned()
    };
    let bytes = std::fs::read(&file).with_context(|| {
        format!(
            "read `{}`: expected a run directory with {SUMMARY_FILE}, or such a file",
            file.display()
        )
    })?;
    let compared: Compared =
        serde_json::from_slice(&bytes).with_context(|| format!("read `{}` as a summary", file.display()))?;
    Ok(compared.summary)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    fn summary(lang: Option<&str>, seconds: f64) -> Summary {
        let mut value = serde_json::json!({
            "passed": 1, "total": 2,
            "time_cost": {"total": seconds * 3.0, "generation": seconds * 2.0, "evaluation": seconds},
            "busy_s": {"evaluation": 90.0},
            "provenance": {"staged": true},
        });
        if let Some(lang) = lang {
            value["lang"] = lang.into();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn block_is_in_the_language_of_its_table_and_the_baseline_has_no_factor() {
        let (slow, fast) = (summary(None, 120.0), summary(Some("en"), 60.0));
        assert_eq!((slow.lang, fast.lang), (Lang::Zh, Lang::En));
        assert_eq!(
            block(Texts::of(fast.lang), Path::new("a\x1b"), &fast, Some(&slow), true),
            "a\\u{1b} (1/2)\n\
             ⏱️  Generation time: 120 s (~2 min) ⚡ 2x speed-up\n\
             ⏱️  Evaluation time: 60 s (~1 min) ⚡ 2x speed-up\n\
             ⏱️  Total time: 180 s (~3 min) ⚡ 2x speed-up\n"
        );
        assert_eq!(
            block(Texts::of(slow.lang), Path::new("b"), &slow, None, false),
            "b (1/2)\n\
             ⏱️  生成耗时: 240 秒 (~4 分钟)\n\
             ⏱️  评估耗时: 90 秒 (~1.5 分钟)\n\
             ⏱️  总耗时: 360 秒 (~6 分钟)\n"
        );
    }
}
