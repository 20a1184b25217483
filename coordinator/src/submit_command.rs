//! `coordinator submit`: hands a run to a coordinator, and with `--wait` watches it as `coordinator run` would.
//!
//! The problems are read and checked here; blobs go up first, then the specification, then the run. Its id follows
//! from what is asked, so that the same command again means the same run, whatever was lost on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use roundhouse_core::Stamp;
use roundhouse_core::run::{DataSet, RunSpec};
use roundhouse_proto::wire::{Fields, v1};
use roundhouse_proto::{Digest, PromptSet, RunId};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::client::find::brief;
use crate::client::seen::{SeenRun, SeenState};
use crate::client::table::{print, print_json};
use crate::client::upload::{Sent, upload};
use crate::client::{Client, CoordinatorArgs, block_on, bytes_of};
use crate::console::progress::tail_note;
use crate::console::text::Texts;
use crate::console::{Console, Mode, Progress, Terminal};
use crate::dataset;
use crate::driver::stamp;
use crate::exit;
use crate::follow::{self, Follower, to_the_end};
use crate::prepare::Plan;
use crate::report::line::{NAME_CHARS_MAX, one_line};
use crate::report::read_back::read_back;
use crate::run_args::{SpecArgs, percent};
use crate::run_dir::{RESULTS_FILE, name, write_results};
use crate::status_command::{state, way_on};
use crate::subject::Subject;

/// How often blobs go up that the coordinator says it lacks.
const ROUNDS_MAX: u32 = 3;
/// Keeps these ids apart from whatever else is hashed.
const ID_DOMAIN: &str = "roundhouse run 1";

/// What is submitted, and where to.
#[derive(Debug, Args)]
#[command(after_help = "\
The same command again is the same run: nothing is done twice, and with --wait it is watched again. `--new` starts \
another one.

Exit codes: 0 done · 1 error · 2 usage · 3 finished, but some problems have no verdict (with --wait) · \
100 --fail-under not met · 130 stopped watching; the run goes on")]
pub struct SubmitArgs {
    /// What the run is.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// The coordinator.
    #[command(flatten)]
    pub at: CoordinatorArgs,
    /// The endpoint of the generation workers that is asked [default: the one that they offer]
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// Stay, print what happens, and write the summary into the working directory
    #[arg(long)]
    pub wait: bool,
    /// Start a new run, also where the same was submitted before
    #[arg(long)]
    pub new: bool,
    /// Put the run directory below this one in the coordinator's output directory
    #[arg(long, value_name = "NAME", value_parser = directory_name, help_heading = "Where files go")]
    pub name: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "wait")]
    pub json: bool,
    /// Exit with 100 if Pass@1, in percent, is below this
    #[arg(
        long,
        value_name = "PERCENT",
        value_parser = percent(),
        requires = "wait",
        help_heading = "When things go wrong"
    )]
    pub fail_under: Option<f64>,
}

/// One part of a path that leads nowhere else.
fn directory_name(text: &str) -> Result<String, String> {
    match name::check(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => Err(
            "expected one part of a path: no `/`, no `\\`, no control character, not beginning with a dot, at most \
             255 bytes"
                .to_owned(),
        ),
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Submitted {
    run: RunId,
    dir: String,
    repeated: bool,
}

/// Submits.
///
/// # Errors
/// The problems cannot be read, the coordinator does not answer, or it refuses.
pub fn run(args: &SubmitArgs) -> anyhow::Result<ExitCode> {
    block_on(submit(args))
}

async fn submit(args: &SubmitArgs) -> anyhow::Result<ExitCode> {
    let spec_args = &args.spec;
    let subject = Subject::of_fleet(spec_args, args.endpoint.as_deref())?;
    let (prompt_set, prompts) = prompts(spec_args.prompts.as_deref())?;
    let client = Client::new(&args.at.coordinator);
    let mut console = args
        .wait
        .then(|| Console::new(std::io::stdout(), Texts::of(spec_args.lang)));
    if let Some(console) = &mut console {
        console.header();
    }
    let (loaded, source) = subject.load()?;
    if let Some(console) = &mut console {
        console.loading(loaded.info.format.title());
    }
    let problems = dataset::select(
        &loaded.problems,
        spec_args.limit,
        &spec_args.ids,
        spec_args.filter.as_deref(),
    )?;
    crate::notices::loaded(&loaded, &subject.model);
    let plan = Plan {
        args: spec_args,
        model: &subject.model,
        model_at: subject.model_at.clone(),
        playback: subject.playback.as_ref(),
        loaded: &loaded,
        source: &source,
        problems,
        prompts,
        prompt_set,
        // The fleet has what it has.
        workers: 0,
        eval_workers: 0,
    };
    let (mut spec, parts) = plan.put_together(stamp());
    drop(loaded);
    if let Some(playback) = &subject.playback {
        for warning in playback.warnings(&spec) {
            crate::notices::warning(&warning);
        }
    }
    let under = args.name.as_deref().unwrap_or_default();
    spec.run = if args.new {
        RunId(Uuid::new_v4())
    } else {
        id_of(&spec, under)?
    };
    let blobs = parts.into_iter().map(|part| (Digest::of(&part), part)).collect();
    let submitted = hand_over(&client, &spec, under, blobs).await?;
    if submitted.repeated {
        crate::notices::note(&format!(
            "run {} was submitted before; `--new` starts another",
            brief(spec.run)
        ));
    }
    match console {
        Some(console) => watch(&client, args, &spec, &submitted, console).await,
        None => {
            if args.json {
                print_json(&submitted)?;
            } else {
                print(&format!("{}\n{}\n", submitted.run, submitted.dir))?;
            }
            let run = brief(spec.run);
            crate::notices::hint(&format!(
                "`{}` shows how far it is; the same command with `--wait` watches it; `{}` brings its files here",
                client.command(&format!("status {run}")),
                client.command(&format!("fetch {run}"))
            ));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The templates that replace built-in ones, and the addresses of all.
#[cfg(feature = "local")]
fn prompts(dir: Option<&Path>) -> anyhow::Result<(PromptSet, BTreeMap<String, Digest>)> {
    let set = dir
        .map(crate::prompts_command::load)
        .transpose()?
        .unwrap_or_default();
    let hashes = crate::prompts_command::addresses(&set);
    Ok((set, hashes))
}

/// A build without workers has no templates: the run's provenance names none, and none can be checked.
#[cfg(not(feature = "local"))]
fn prompts(dir: Option<&Path>) -> anyhow::Result<(PromptSet, BTreeMap<String, Digest>)> {
    match dir {
        None => Ok((PromptSet::default(), BTreeMap::new())),
        Some(_) => Err(exit::usage(
            "`--prompts` needs a build that knows the templates\nhint: build the coordinator with its default features"
                .to_owned(),
        )),
    }
}

/// The id of a run of which this is asked: all that makes a difference to what comes out, and where it is put.
fn id_of(spec: &RunSpec, name: &str) -> anyhow::Result<RunId> {
    let asked = RunSpec {
        run: RunId(Uuid::nil()),
        started: Stamp {
            unix_us: 0,
            offset_s: 0,
        },
        version: String::new(),
        workers: 0,
        eval_workers: 0,
        data_set: DataSet {
            // The file is known by its content.
            path: String::new(),
            ..spec.data_set.clone()
        },
        ..spec.clone()
    };
    let text = serde_json::to_vec(&(ID_DOMAIN, name, asked)).context("encode the run")?;
    let mut id = [0; 16];
    id.copy_from_slice(&Digest::of(&text).0[..16]);
    Ok(RunId(uuid::Builder::from_custom_bytes(id).into_uuid()))
}

/// Makes the coordinator take the run in, or finds that it has.
async fn hand_over(
    client: &Client,
    spec: &RunSpec,
    name: &str,
    mut blobs: BTreeMap<Digest, Bytes>,
) -> anyhow::Result<Submitted> {
    if let Some(before) = client.run(spec.run).await? {
        return Ok(Submitted {
            run: spec.run,
            dir: before.dir,
            repeated: true,
        });
    }
    let text = Bytes::from(serde_json::to_vec(spec).context("encode the run")?);
    let digest = Digest::of(&text);
    blobs.insert(digest, text);
    let request = v1::SubmitRequest {
        run: bytes_of(spec.run),
        name: name.to_owned(),
        spec: Bytes::copy_from_slice(&digest.0),
    };
    for _ in 0..ROUNDS_MAX {
        send(client, &blobs).await?;
        let reply = client
            .ask(|| {
                let (mut control, request) = (client.control(), request.clone());
                async move { control.submit(request).await }
            })
            .await?;
        if reply.missing.is_empty() {
            return Ok(Submitted {
                run: spec.run,
                dir: one_line(&reply.dir, NAME_CHARS_MAX),
                repeated: reply.repeated,
            });
        }
        for bytes in &reply.missing {
            let missing = Fields::of("SubmitReply").digest("missing", bytes)?;
            if !blobs.contains_key(&missing) {
                bail!("the coordinator asks for blob {missing}, which this run does not have");
            }
        }
    }
    bail!("the coordinator keeps losing blobs: after {ROUNDS_MAX} uploads some are still missing")
}

async fn send(client: &Client, blobs: &BTreeMap<Digest, Bytes>) -> anyhow::Result<()> {
    let target = if Terminal::detect().bars {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(0), target).with_style(
        ProgressStyle::with_template("upload     [{bar:30}] {bytes}/{total_bytes}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    let tell = |sent: Sent| {
        bar.set_length(sent.bytes);
        bar.set_position(sent.bytes_done);
    };
    let sent = upload(client, blobs, tell).await;
    bar.finish_and_clear();
    sent.map(drop).context("send the problems")
}

/// Watches the run to its end, or until the one who watches has seen enough.
async fn watch(
    client: &Client,
    args: &SubmitArgs,
    spec: &RunSpec,
    submitted: &Submitted,
    mut console: Console<std::io::Stdout>,
) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for a request to end")?;
    let leaving = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let watching = async {
        let working_dir = std::env::current_dir().context("find the working directory")?;
        console.loaded(spec.problems.len(), &submitted.dir);
        let Some(run) = client.run(spec.run).await? else {
            bail!("the coordinator has forgotten run {}", spec.run)
        };
        let names = spec.problems.iter().map(|problem| problem.name.clone());
        let mode = if spec.parallel {
            Mode::Parallel
        } else {
            Mode::Sequential
        };
        let n = spec.problems.len() as u64;
        let bars = Progress::new(&Terminal::detect(), n, counts(&run), Instant::now());
        console.share_terminal_with(bars.clone());
        let mut follower = Follower::new(console, names.collect(), mode, run);
        let followed = to_the_end(client, spec.run, &mut follower, &bars).await;
        bars.finish();
        let summary = followed?;
        write_results(&working_dir, &summary)?;
        let read = read_back(&summary)?;
        follower.finish(&read);
        crate::notices::note(&tail_note(spec.lang, &read.times));
        Ok(ended(client, args, follower.run(), read.figures.pass_at_1()))
    };
    tokio::select! {
        ended = watching => ended.inspect_err(|_| follow::leave(client, spec.run)),
        () = leaving => {
            follow::leave(client, spec.run);
            Ok(exit::INTERRUPTED.into())
        }
    }
}

fn counts(run: &SeenRun) -> crate::console::Counts {
    crate::console::Counts {
        generated: run.generated_n,
        settled: run.settled_n(),
    }
}

/// Says where everything is and what is left to do; the exit code that goes with it.
fn ended(client: &Client, args: &SubmitArgs, run: &SeenRun, pass_at_1: f64) -> ExitCode {
    crate::notices::note(&format!(
        "`{RESULTS_FILE}` is here, the run directory is at the coordinator"
    ));
    crate::notices::hint(&format!(
        "`{}` brings it here",
        client.command(&format!("fetch {}", brief(run.run)))
    ));
    let is_complete = match run.state {
        SeenState::Complete => true,
        SeenState::Active | SeenState::Paused | SeenState::Incomplete | SeenState::Cancelled => false,
    };
    if !is_complete {
        crate::notices::note(&format!("the run is {}", state(run)));
        if let Some(way_on) = way_on(client, run) {
            crate::notices::hint(&way_on);
        }
        return exit::INCOMPLETE.into();
    }
    match args.fail_under.filter(|least| pass_at_1 < *least) {
        Some(least) => {
            crate::notices::note(&format!("Pass@1 is below {least} %"));
            exit::FAIL_UNDER.into()
        }
        None => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use clap::Parser;

    use super::*;
    use crate::client::fake::Fake;
    use crate::client::find::find;
    use crate::report::fixture::Fixture;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        submit: SubmitArgs,
    }

    fn args(flags: &str) -> Result<SubmitArgs, clap::Error> {
        let words = ["submit"].into_iter().chain(flags.split_whitespace());
        Line::try_parse_from(words).map(|line| line.submit)
    }

    fn spec() -> RunSpec {
        (*Fixture::sample().run.spec).clone()
    }

    #[test]
    fn id_follows_from_what_is_asked_and_from_nothing_else() {
        let asked = spec();
        let id = id_of(&asked, "").unwrap();
        assert_eq!(id.0.get_version_num(), 8);
        let mut same = asked.clone();
        same.run = RunId(Uuid::new_v4());
        same.started.unix_us += 1;
        same.version = "9.9.9".to_owned();
        same.data_set.path = "elsewhere.jsonl".to_owned();
        assert_eq!(id_of(&same, "").unwrap(), id);

        let mut others = vec![id_of(&asked, "a").unwrap()];
        let mut other = asked.clone();
        other.session.model = "another".to_owned();
        others.push(id_of(&other, "").unwrap());
        let mut other = asked.clone();
        other.session.sampling.temperature = 0.5;
        others.push(id_of(&other, "").unwrap());
        let mut other = asked.clone();
        other.problems.pop();
        others.push(id_of(&other, "").unwrap());
        others.push(id);
        others.sort();
        others.dedup();
        assert_eq!(others.len(), 5);
    }

    #[tokio::test]
    async fn run_is_handed_over_with_its_blobs_once_and_the_second_time_it_is_the_same() {
        let fake = Fake::start().await;
        let client = fake.client();
        let asked = spec();
        let part = Bytes::from_static(b"a statement");
        let blobs: BTreeMap<Digest, Bytes> = [(Digest::of(&part), part)].into();
        let first = hand_over(&client, &asked, "mine", blobs.clone()).await.unwrap();
        assert_eq!((first.run, first.repeated), (asked.run, false));
        let request = fake.known().submitted[0].clone();
        assert_eq!(
            (&request.run, request.name.as_str()),
            (&bytes_of(asked.run), "mine")
        );
        let digest = Digest(request.spec[..].try_into().unwrap());
        let stored: RunSpec = serde_json::from_slice(&fake.blob(digest)).unwrap();
        assert_eq!(stored, asked);
        assert_eq!(fake.written().len(), 2);

        let mut later = asked.clone();
        later.started.unix_us += 1;
        let second = hand_over(&client, &later, "mine", blobs).await.unwrap();
        assert_eq!((second.run, second.repeated), (asked.run, true));
        assert_eq!((fake.written().len(), fake.known().submitted.len()), (2, 1));
        assert_eq!(
            find(&client, &asked.run.to_string()).await.unwrap().dir,
            second.dir
        );
    }

    #[test]
    fn name_is_one_part_of_a_path() {
        assert_eq!(args("--name exp-1").unwrap().name.as_deref(), Some("exp-1"));
        for name in ["../up", "a/b", "/abs", ".hidden", "..", "a\\b"] {
            assert!(args(&format!("--name {name}")).is_err(), "{name}");
        }
    }

    #[test]
    fn flags_of_one_who_waits_need_wait() {
        assert!(args("--fail-under 50").is_err());
        assert!(args("--wait --json").is_err());
        assert_eq!(args("--wait --fail-under 50").unwrap().fail_under, Some(50.0));
    }
}
