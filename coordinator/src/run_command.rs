//! `coordinator run`: the whole way on one machine, from a problems file to the report.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use roundhouse_core::Event;
use roundhouse_core::record::JobOutcome;
use roundhouse_proto::{Language, PromptSet};
use roundhouse_worker::generate::prompts;
use roundhouse_worker::language::Interpreter;

use crate::blobs::Blobs;
use crate::bundled::{self, BUNDLED};
use crate::console::{self, Console, text};
use crate::dataset::{self, Loaded};
use crate::driver::stamp;
use crate::exit;
use crate::foreground::Foreground;
use crate::prepare::{self, Plan, REFERENCE_MODEL};
use crate::prompts_command;
use crate::run_args::{RunArgs, SpecArgs};
use crate::run_dir::RunDir;
use crate::server::State;
use crate::state_dir::{STATE_DIR, state_dir_of, write_state_link};

/// Runs, or goes on with a run.
///
/// # Errors
/// Whatever keeps it from beginning; what happens to a problem is in the reports.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    // Asked for before anything is made: without it nothing can be judged.
    let interpreter = Interpreter::resolve(Language::Python3, args.python.as_deref())?;
    tracing::info!(interpreter = interpreter.name(), "programs are run with this");
    drop(interpreter);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let code = match &args.resume {
        Some(run_dir) => runtime.block_on(resume(args, run_dir)),
        None => runtime.block_on(start(args)),
    };
    // A thread that waits for a slow disk must not hold up the end: what counts is durable already.
    runtime.shutdown_background();
    code
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// The model, or the ways on where none is named.
fn model(args: &SpecArgs) -> anyhow::Result<&str> {
    match args.model.as_deref() {
        Some(REFERENCE_MODEL) => Ok(REFERENCE_MODEL),
        Some(model) => Err(exit::usage(format!(
            "no model `{model}` can be reached: this release has the offline model only\n\
             hint: `--model {REFERENCE_MODEL}` answers with the data set's own programs, without a key or a network\n\
             hint: models behind an API, with `OPENAI_API_KEY` or `DEEPSEEK_API_KEY` and `--base-url`, come with a \
             later release"
        ))),
        None => Err(exit::usage(format!(
            "no model is named\n\
             hint: `--model {REFERENCE_MODEL}` tries everything out without a key or a network\n\
             hint: models behind an API, with `OPENAI_API_KEY` or `DEEPSEEK_API_KEY` and `--base-url`, come with a \
             later release"
        ))),
    }
}

fn load(args: &SpecArgs, model: &str) -> anyhow::Result<(Loaded, String)> {
    match &args.problems {
        Some(path) => Ok((dataset::load(path)?, path.display().to_string())),
        None if model == REFERENCE_MODEL => Ok((bundled::load()?, BUNDLED.to_owned())),
        None => Err(exit::usage(
            "no problems are named\nhint: `--problems FILE`, or `coordinator dataset fetch code_contests --split test` \
             to get some"
                .to_owned(),
        )),
    }
}

async fn start(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let spec = &args.spec;
    let model = model(spec)?;
    let prompt_set = match &spec.prompts {
        Some(dir) => prompts_command::load(dir)?,
        None => PromptSet::default(),
    };
    let cores = cores();
    let mut console = Console::new(std::io::stdout(), &text::ZH);
    console.header();
    let (loaded, source) = load(spec, model)?;
    console.loading(loaded.info.format.title());
    let problems = dataset::select(&loaded.problems, spec.limit, &spec.ids, spec.filter.as_deref())?;
    crate::notices::loaded(&loaded, model);

    let started = stamp();
    let plan = Plan {
        args: spec,
        model,
        loaded: &loaded,
        source: &source,
        problems,
        prompts: prompts::hashes(&prompt_set.templates),
        prompt_set,
        workers: args.workers(cores),
        eval_workers: args.eval_workers(cores),
    };
    let elsewhere = args.data_dir.as_deref().map(open_new_state).transpose()?;
    let (run_dir, (spec, spec_blob)) = RunDir::create(&args.output_dir, started, |dir| {
        let own = dir.join(STATE_DIR);
        match &elsewhere {
            None => plan.store(&own, &Blobs::open(&own).context("make the state")?, started),
            Some(state) => {
                write_state_link(&own, &state.data_dir)?;
                plan.store(&state.data_dir, &state.blobs, started)
            }
        }
    })?;
    drop(loaded);
    let state = match elsewhere {
        Some(state) => state,
        None => State::open(&run_dir.path().join(STATE_DIR))?,
    };
    let spec = Arc::new(spec);

    console.loaded(spec.problems.len(), &run_dir.shown());
    console
        .copy_to(run_dir.path())
        .with_context(|| format!("write `{}`", console::LOG_FILE))?;
    let first = Event::Submitted {
        spec: Arc::clone(&spec),
        spec_blob,
    };
    Foreground::new(args, run_dir, spec, cores, console)
        .follow_to_the_end(state, first)
        .await
}

async fn resume(args: &RunArgs, path: &Path) -> anyhow::Result<ExitCode> {
    let run_dir = RunDir::open(path)?;
    let data_dir = state_dir_of(path)?;
    let state = State::open(&data_dir)?;
    run_dir.remove_leftovers()?;
    let specs = state.specs()?;
    let (spec, first) = match specs.values().next().cloned() {
        Some(spec) => (Arc::clone(&spec), Event::RetryRequested { run: spec.run }),
        // It was killed before its first record: what was asked for is there all the same.
        None => {
            let (spec, spec_blob) = prepare::submitted(&data_dir, &state.blobs)?;
            let spec = Arc::new(spec);
            (Arc::clone(&spec), Event::Submitted { spec, spec_blob })
        }
    };
    let record = state.stored.runs.iter().find(|record| record.run == spec.run);
    let is_finished = record.is_some_and(|record| record.finished.is_some());
    let has_errors = state
        .stored
        .jobs
        .iter()
        .any(|job| matches!(job.state.outcome(), Some(JobOutcome::Error(_))));
    if is_finished && !has_errors && state.stored.pending.is_empty() {
        crate::notices::note(&format!("`{}` is complete: nothing to do", path.display()));
        return Ok(exit::NOTHING_TO_DO.into());
    }
    let mut console = Console::new(std::io::stdout(), &text::ZH);
    console.header();
    console.loading(&spec.data_set.name);
    console.loaded(spec.problems.len(), &run_dir.shown());
    console
        .copy_to(run_dir.path())
        .with_context(|| format!("write `{}`", console::LOG_FILE))?;
    Foreground::new(args, run_dir, spec, cores(), console)
        .follow_to_the_end(state, first)
        .await
}

/// Opens the state in a directory that the user named; it must not hold another run's.
fn open_new_state(data_dir: &Path) -> anyhow::Result<State> {
    let state = State::open(data_dir)?;
    if !state.stored.runs.is_empty() || prepare::submitted(data_dir, &state.blobs).is_ok() {
        return Err(exit::usage(format!(
            "`{}` holds the state of another run\nhint: name an empty or new directory with `--data-dir`",
            data_dir.display()
        )));
    }
    Ok(state)
}
