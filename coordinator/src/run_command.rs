//! `coordinator run`: the whole way on one machine, from a problems file to the report.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use roundhouse_core::Event;
use roundhouse_core::interpreter::minor;
use roundhouse_core::record::{JobOutcome, RunRecord};
use roundhouse_core::run::{ModelAt, RunSpec};
use roundhouse_proto::{Language, PromptSet};
use roundhouse_worker::generate::prompts;
use roundhouse_worker::language::Interpreter;

use crate::answerer;
use crate::blobs::Blobs;
use crate::console::text::Texts;
use crate::console::{self, Console};
use crate::dataset;
use crate::driver::stamp;
use crate::endpoints::{Endpoints, WorkerFlags};
use crate::exit;
use crate::foreground::Foreground;
use crate::judging::Judging;
use crate::notices;
use crate::prepare::{self, Plan};
use crate::prompts_command;
use crate::recording;
use crate::run_args::RunArgs;
use crate::run_dir::RunDir;
use crate::server::State;
use crate::state_dir::{STATE_DIR, state_dir_of, write_state_link};
use crate::subject::Subject;

/// Runs, or goes on with a run.
///
/// # Errors
/// Whatever keeps it from beginning; what happens to a problem is in the reports.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    // Asked for before anything is made: without it nothing can be judged.
    let interpreter = Interpreter::resolve(Language::Python3, args.python.as_deref())?;
    tracing::info!(interpreter = interpreter.name(), "programs are run with this");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let code = match &args.resume {
        Some(run_dir) => runtime.block_on(resume(args, run_dir, interpreter.name())),
        None => runtime.block_on(start(args)),
    };
    // A thread that waits for a slow disk must not hold up the end: what counts is durable already.
    runtime.shutdown_background();
    code
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// The endpoints of this machine, as the generation worker will know them.
fn endpoints(args: &RunArgs) -> anyhow::Result<Endpoints> {
    let endpoints = Endpoints::of(&args.endpoints, |name| std::env::var(name).ok())
        .map_err(|error| exit::usage(error.to_string()))?;
    for file in &args.endpoints.api_key_file {
        let path = &file.path;
        std::fs::File::open(path).with_context(|| format!("read the key in `{}`", path.display()))?;
    }
    Ok(endpoints)
}

async fn start(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let spec = &args.spec;
    let endpoints = endpoints(args)?;
    let subject = Subject::of_machine(spec, &endpoints)?;
    if let (None, ModelAt::Endpoint { name: Some(name) }) = (&spec.model, &subject.model_at) {
        notices::note(&format!(
            "no model is named: `{}` is asked at the endpoint `{name}`; `--model NAME` asks another",
            subject.model
        ));
    }
    if let Some(file) = &args.record {
        recording::check(file)?;
    }
    let prompt_set = match &spec.prompts {
        Some(dir) => prompts_command::load(dir)?,
        None => PromptSet::default(),
    };
    let cores = cores();
    let mut console = Console::new(std::io::stdout(), Texts::of(spec.lang));
    console.header();
    let (loaded, source) = subject.load()?;
    console.loading(loaded.info.format.title());
    let problems = dataset::select(&loaded.problems, spec.limit, &spec.ids, spec.filter.as_deref())?;
    notices::loaded(&loaded, &subject.model);
    let judging = Judging::of(spec, &loaded)?;

    let started = stamp();
    let plan = Plan {
        args: spec,
        model: &subject.model,
        model_at: subject.model_at.clone(),
        playback: subject.playback.as_ref(),
        loaded: &loaded,
        source: &source,
        problems,
        prompts: prompts::hashes(&prompt_set.templates),
        prompt_set,
        judging,
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
    for warning in subject
        .playback
        .iter()
        .flat_map(|playback| playback.warnings(&spec))
    {
        notices::warning(&warning);
    }
    if args.holds_few_sessions(cores) && spec.model_at != ModelAt::Offline {
        notices::hint("`--workers N` holds more sessions at a time; generation waits for the network");
    }

    console.loaded(spec.problems.len(), &run_dir.shown());
    console
        .copy_to(run_dir.path())
        .with_context(|| format!("write `{}`", console::LOG_FILE))?;
    let first = Event::Submitted {
        spec: Arc::clone(&spec),
        spec_blob,
    };
    let flags = flags_of_worker(&spec, &endpoints);
    Foreground::new(args, run_dir, spec, cores, console, flags)
        .follow_to_the_end(state, first)
        .await
}

async fn resume(args: &RunArgs, path: &Path, interpreter: &str) -> anyhow::Result<ExitCode> {
    let endpoints = endpoints(args)?;
    if let Some(file) = &args.record {
        recording::check(file)?;
    }
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
        if let Some(file) = &args.record {
            notices::recorded(recording::write(path, file)?, file);
            return Ok(ExitCode::SUCCESS);
        }
        notices::note(&format!("`{}` is complete: nothing to do", path.display()));
        return Ok(exit::NOTHING_TO_DO.into());
    }
    answerer::check_resumed(&spec, &endpoints)?;
    check_interpreter(&spec, record, interpreter)?;
    let mut console = Console::new(std::io::stdout(), Texts::of(spec.lang));
    console.header();
    console.loading(&spec.data_set.name);
    console.loaded(spec.problems.len(), &run_dir.shown());
    console
        .copy_to(run_dir.path())
        .with_context(|| format!("write `{}`", console::LOG_FILE))?;
    let flags = flags_of_worker(&spec, &endpoints);
    Foreground::new(args, run_dir, spec, cores(), console, flags)
        .follow_to_the_end(state, first)
        .await
}

/// Refuses to go on with a run by another interpreter than the one that judged its first programs.
fn check_interpreter(spec: &RunSpec, record: Option<&RunRecord>, interpreter: &str) -> anyhow::Result<()> {
    let bound = record.and_then(|record| record.interpreter.as_deref());
    match bound {
        Some(bound) if !spec.evaluation.mixed_versions && bound != minor(interpreter) => {
            Err(exit::usage(format!(
                "the run's programs are judged by {bound}, and this is {interpreter}\n\
                 hint: name a {bound} with `--python PATH`; only a run that was begun with `--mixed-versions` takes any"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

/// What the generation worker of a run is told of endpoints; nothing where it asks none.
fn flags_of_worker(spec: &RunSpec, endpoints: &Endpoints) -> Option<WorkerFlags> {
    match spec.model_at {
        ModelAt::Offline => None,
        ModelAt::Endpoint { .. } => Some(endpoints.worker_flags()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::Fixture;

    fn record(spec: &RunSpec, interpreter: Option<&str>) -> RunRecord {
        RunRecord {
            run: spec.run,
            spec: roundhouse_proto::Digest::of(b"spec"),
            first_grant_ms: None,
            generation_slots: 0,
            evaluation_slots: 0,
            cores: 0,
            finished: None,
            cancelled: None,
            endpoint: None,
            interpreter: interpreter.map(str::to_owned),
        }
    }

    #[test]
    fn run_goes_on_only_with_the_interpreter_that_judged_its_first_programs() {
        let mut spec = Arc::unwrap_or_clone(Fixture::empty().run.spec);
        let check = |spec: &RunSpec, bound: Option<&str>| {
            let checked = check_interpreter(spec, Some(&record(spec, bound)), "CPython 3.12.1");
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(check(&spec, None), Ok(()));
        assert_eq!(check(&spec, Some("CPython 3.12")), Ok(()));
        assert_eq!(
            check(&spec, Some("CPython 3.11")),
            Err(
                "the run's programs are judged by CPython 3.11, and this is CPython 3.12.1\n\
                 hint: name a CPython 3.11 with `--python PATH`; only a run that was begun with `--mixed-versions` \
                 takes any"
                    .to_owned()
            )
        );
        spec.evaluation.mixed_versions = true;
        assert_eq!(check(&spec, Some("CPython 3.11")), Ok(()));
    }
}
