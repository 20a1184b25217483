//! `coordinator compare BASELINE RUN...`: how much faster runs were than the first one, and whether the results agree.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use crate::console::text::ZH;
use crate::report::speedup::{Span, speedup_line};
use crate::report::summary::SUMMARY_FILE;

/// Which runs are compared.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Run directories or summary.json files; the first is the baseline
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
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
    let staged = runs.iter().all(Summary::is_staged);
    if !staged {
        crate::notices::note(
            "评估耗时 is the time that evaluation slots were busy, since not every run has a stage of its own for it",
        );
    }
    let mut out = std::io::stdout().lock();
    for (n, (path, run)) in args.runs.iter().zip(&runs).enumerate() {
        let of_baseline = |seconds: fn(&Summary, bool) -> f64| (n > 0).then(|| seconds(baseline, staged));
        let line = |span, seconds: fn(&Summary, bool) -> f64| {
            speedup_line(&ZH, span, seconds(run, staged), of_baseline(seconds))
        };
        let blank = if n > 0 { "\n" } else { "" };
        let shown = crate::dataset::quote::plain(&path.display().to_string(), 200);
        writeln!(out, "{blank}{shown} ({}/{})", run.passed, run.total)?;
        writeln!(
            out,
            "{}",
            line(Span::Generation, |run, _| run.time_cost.generation)
        )?;
        writeln!(out, "{}", line(Span::Evaluation, Summary::evaluation))?;
        writeln!(out, "{}", line(Span::Total, |run, _| run.time_cost.total))?;
    }
    Ok(ExitCode::SUCCESS)
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
