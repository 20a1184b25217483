//! `coordinator submit`: hands a run to a coordinator, and with `--wait` watches it as `coordinator run` would.
//!
//! The problems are read and checked here; blobs go up first, then the specification, then the run. Its id follows
//! from what is asked, so that the same command again means the same run, whatever was lost on the way.

mod asked;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use roundhouse_core::run::RunSpec;
use roundhouse_proto::wire::{Fields, v1};
use roundhouse_proto::{Digest, RunId};
use serde::Serialize;
use tonic::Code;
use uuid::Uuid;

pub use self::asked::{Templates, id_of, put_together};
use crate::client::find::brief;
use crate::client::seen::{SeenRun, SeenState};
use crate::client::table::{print, print_json};
use crate::client::upload::{Sent, upload};
use crate::client::{Client, ClientError, CoordinatorArgs, block_on, bytes_of};
use crate::console::progress::tail_note;
use crate::console::text::Texts;
use crate::console::{Console, Mode, Progress, Terminal};
use crate::exit;
use crate::follow::{self, Again, Follower, to_the_end};
use crate::interrupts::Interrupts;
use crate::report::line::{NAME_CHARS_MAX, one_line};
use crate::report::read_back::read_back;
use crate::rpc::RUN_DIR_PREFIX;
use crate::run_args::{SpecArgs, percent};
use crate::run_dir::{RESULTS_FILE, name, write_results};
use crate::status_command::{state, way_on};
use crate::subject::Subject;

/// How often blobs go up that the coordinator says it lacks.
const ROUNDS_MAX: u32 = 3;

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
        Ok(()) if text.starts_with(RUN_DIR_PREFIX) => {
            Err(format!("expected a name that does not begin with `{RUN_DIR_PREFIX}` as those of runs do"))
        }
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
    let templates = Templates::of(spec_args.prompts.as_deref())?;
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
    let (mut spec, parts) = put_together(spec_args, &subject, templates, (&loaded, &source))?;
    drop(loaded);
    let under = args.name.as_deref().unwrap_or_default();
    spec.run = if args.new {
        RunId(Uuid::new_v4())
    } else {
        id_of(&spec, under)?
    };
    let blobs = parts.into_iter().map(|part| (Digest::of(&part), part)).collect();
    let submitted = hand_over(&client, &spec, under, blobs).await?;
    let known = match submitted.repeated {
        true => client.run(spec.run).await?,
        false => None,
    };
    if let Some(known) = &known {
        let (note, hint) = of_repeated(&client, known);
        crate::notices::note(&note);
        crate::notices::hint(&hint);
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
            if known.is_some_and(|known| known.state.is_at_rest()) {
                crate::notices::hint(&format!(
                    "`{}` brings its files here",
                    client.command(&format!("fetch {run}"))
                ));
                return Ok(ExitCode::SUCCESS);
            }
            crate::notices::hint(&format!(
                "`{}` shows how far it is; the same command with `--wait` watches it; `{}` brings its files here",
                client.command(&format!("status {run}")),
                client.command(&format!("fetch {run}"))
            ));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What is said of a run that was there before: how it stands, and how to go on.
fn of_repeated(client: &Client, known: &SeenRun) -> (String, String) {
    let before = format!("run {} was submitted before", brief(known.run));
    let another = "`--new` starts another";
    if !known.state.is_at_rest() {
        return (before, another.to_owned());
    }
    let way_on = way_on(client, known).map(|way_on| format!("{way_on}; "));
    (
        format!("{before} and is {}", state(known)),
        way_on.unwrap_or_default() + another,
    )
}

/// Makes the coordinator take the run in, or finds that it has.
async fn hand_over(
    client: &Client,
    spec: &RunSpec,
    name: &str,
    mut blobs: BTreeMap<Digest, Bytes>,
) -> anyhow::Result<Submitted> {
    let known = async || {
        let known = client.run(spec.run).await?;
        anyhow::Ok(known.map(|known| Submitted {
            run: known.run,
            dir: known.dir,
            repeated: true,
        }))
    };
    if let Some(known) = known().await? {
        return Ok(known);
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
            .await;
        let reply = match reply {
            // Somebody else submitted the same a moment ago: all that differs is when.
            Err(ClientError::Refused {
                code: Code::AlreadyExists,
                message,
            }) => match known().await? {
                Some(known) => return Ok(known),
                None => bail!(message),
            },
            reply => reply?,
        };
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
    let mut interrupts = Interrupts::listen().context("listen for Ctrl-C")?;
    let again = match args.new {
        true => Again::Another,
        false => Again::TheSame,
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
        crate::notices::audited(read.figures.audit);
        Ok(ended(client, args, follower.run(), read.figures.pass_at_1()))
    };
    tokio::select! {
        ended = watching => ended.inspect_err(|_| follow::leave(client, spec.run, again)),
        _ = interrupts.next() => {
            follow::leave(client, spec.run, again);
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

    #[tokio::test]
    async fn run_that_somebody_else_submits_at_the_same_time_is_the_same_run() {
        let fake = Fake::start().await;
        let asked = spec();
        // It comes between this client's first look and its own submission.
        fake.known().submitted_by_another = true;
        let submitted = hand_over(&fake.client(), &asked, "", BTreeMap::new()).await;
        let submitted = submitted.unwrap();
        assert_eq!((submitted.run, submitted.repeated), (asked.run, true));
        assert_eq!(submitted.dir, fake.known().runs[0].dir);
    }

    #[tokio::test]
    async fn run_that_was_submitted_before_is_told_of_with_the_way_on() {
        use roundhouse_proto::wire::v1::RunState;

        let fake = Fake::start().await;
        let client = fake.client();
        let at = fake.address();
        let run = "00000000";
        for (state, note, hint) in [
            (RunState::Active, String::new(), String::new()),
            (RunState::Complete, " and is complete".to_owned(), String::new()),
            (
                RunState::Incomplete,
                " and is incomplete: why".to_owned(),
                format!("`coordinator retry {run} --coordinator {at}` tries only the errors again; "),
            ),
            (
                RunState::Cancelled,
                " and is cancelled: why".to_owned(),
                format!("`coordinator retry {run} --coordinator {at}` goes on with what is not settled; "),
            ),
        ] {
            let mut status = crate::client::fake::status(5);
            status.state = state.into();
            if !matches!(state, RunState::Active | RunState::Complete) {
                status.reason = "why".to_owned();
            }
            let told = of_repeated(&client, &status.try_into().unwrap());
            let before = format!("run {run} was submitted before");
            assert_eq!(told, (before + &note, hint + "`--new` starts another"));
        }
    }

    #[test]
    fn name_is_one_part_of_a_path() {
        assert_eq!(args("--name exp-1").unwrap().name.as_deref(), Some("exp-1"));
        for name in ["run_1", "../up", "a/b", "/abs", ".hidden", "..", "a\\b"] {
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
