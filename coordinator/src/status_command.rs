//! `coordinator status`: the runs of a coordinator in a table, or one of them in full.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use roundhouse_proto::Role;
use serde::Serialize;

use crate::client::find::{brief, find, short, short_chars};
use crate::client::seen::{SeenRun, SeenState, SeenWorker, SeenWorkerState};
use crate::client::table::{print, print_json, table};
use crate::client::{Client, CoordinatorArgs, RUNS_MAX, block_on};
use crate::report::number::{percent, thousands};

/// Which runs are looked at.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run: its id or the beginning of it, its directory, or `last` [default: all runs, newest first]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The coordinator.
    #[command(flatten)]
    pub at: CoordinatorArgs,
}

/// Everything that `--json` prints without a run.
#[derive(Serialize)]
struct Overview<'a> {
    runs: &'a [SeenRun],
    /// Whether there are older ones.
    more: bool,
    workers: &'a [SeenWorker],
}

/// Prints how runs are doing.
///
/// # Errors
/// The coordinator does not answer, or no such run is known.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let client = Client::new(&args.at.coordinator);
        if let Some(asked) = &args.run {
            let run = find(&client, asked).await?;
            if args.json {
                print_json(&run)?;
            } else {
                print(&details(&run))?;
                if let Some(way_on) = way_on(&client, &run) {
                    crate::notices::hint(&way_on);
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        let (runs, more) = client.runs().await?;
        let workers = client.workers().await?;
        if args.json {
            print_json(&Overview {
                runs: &runs,
                more,
                workers: &workers,
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        print(&overview(&runs, &workers))?;
        if runs.is_empty() {
            crate::notices::note("no run was submitted yet");
            crate::notices::hint(&format!(
                "`{}` submits one",
                client.command("submit --problems FILE --model MODEL")
            ));
        }
        if more {
            crate::notices::note(&format!("only the newest {RUNS_MAX} runs are listed"));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// All runs, the fleet in one line, and why runs do not move.
fn overview(runs: &[SeenRun], workers: &[SeenWorker]) -> String {
    let mut text = String::new();
    let chars = short_chars(runs);
    if !runs.is_empty() {
        let headings = [
            "RUN",
            "STATE",
            "DONE",
            "PASS@1",
            "ERRORS",
            "MODEL",
            "DATA SET",
            "DIRECTORY",
        ];
        let row = |run: &SeenRun| {
            [
                short(run.run, chars),
                run.state.word().to_owned(),
                format!("{}/{}", run.settled_n(), run.problems_n),
                pass_at_1(run),
                run.errors_n.to_string(),
                run.model.clone(),
                run.data_set.clone(),
                run.dir.clone(),
            ]
        };
        text.push_str(&table(headings, &runs.iter().map(row).collect::<Vec<_>>()));
        text.push('\n');
    }
    text.push_str(&fleet(workers));
    for run in runs {
        for warning in &run.warnings {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "warning: run {} cannot move: {warning}",
                short(run.run, chars)
            );
        }
    }
    text
}

/// Pass@1 of what is settled so far.
fn pass_at_1(run: &SeenRun) -> String {
    match run.settled_n() {
        0 => "-".to_owned(),
        settled => format!("{:.2}%", percent(run.passed_n as f64, settled as f64)),
    }
}

/// The workers in one line.
fn fleet(workers: &[SeenWorker]) -> String {
    let count = |state| workers.iter().filter(|worker| worker.state == state).count();
    let (joined, lost) = (count(SeenWorkerState::Joined), count(SeenWorkerState::Lost));
    let load = |role: Role| {
        let here = workers
            .iter()
            .filter(|worker| worker.state == SeenWorkerState::Joined)
            .flat_map(|worker| &worker.roles)
            .filter(|load| load.role == role);
        here.fold((0_u64, 0_u64), |(busy, slots), load| {
            (busy + u64::from(load.busy), slots + u64::from(load.slots))
        })
    };
    let (generation, evaluation) = (load(Role::Gen), load(Role::Eval));
    let lost = if lost > 0 {
        format!(", {lost} lost")
    } else {
        String::new()
    };
    format!(
        "workers: {joined} joined{lost}; generation {}/{} slots busy, evaluation {}/{} slots busy\n",
        generation.0, generation.1, evaluation.0, evaluation.1
    )
}

/// One run in full.
fn details(run: &SeenRun) -> String {
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
    row("run", run.run.to_string());
    row("state", state(run));
    row("directory", run.dir.clone());
    row("data set", run.data_set.clone());
    let endpoint = if run.endpoint.is_empty() {
        String::new()
    } else {
        format!(" at {}", run.endpoint)
    };
    row("model", run.model.clone() + &endpoint);
    row("started", run.started.clone());
    row("active", format!("{:.2} s", run.active_ms as f64 / 1_000.0));
    row(
        "problems",
        format!(
            "{}: {} passed, {} failed, {} errors, {} open",
            run.problems_n,
            run.passed_n,
            run.failed_n,
            run.errors_n,
            run.problems_n.saturating_sub(run.settled_n())
        ),
    );
    row(
        "Pass@1",
        format!("{} of {} settled", pass_at_1(run), run.settled_n()),
    );
    row(
        "sessions",
        format!("{} of {} ended", run.generated_n, run.problems_n),
    );
    row(
        "jobs",
        format!("{} waiting, {} at work", run.jobs_ready_n, run.jobs_leased_n),
    );
    row("tokens", tokens(run));
    row(
        "served by",
        format!(
            "{} generation slots and {} evaluation slots at most, on hosts with {} cores",
            run.generation_slots, run.evaluation_slots, run.cores
        ),
    );
    let mut text = String::new();
    let widest = rows.iter().map(|[name, _]| name.len()).max().unwrap_or(0);
    for [name, value] in &rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:widest$}  {value}");
    }
    for warning in &run.warnings {
        let _ = writeln!(text, "warning: the run cannot move: {warning}");
    }
    text
}

/// The state and why.
pub(crate) fn state(run: &SeenRun) -> String {
    if run.reason.is_empty() {
        run.state.word().to_owned()
    } else {
        format!("{}: {}", run.state.word(), run.reason)
    }
}

fn tokens(run: &SeenRun) -> String {
    let unaccounted = if run.calls_unaccounted_n > 0 {
        format!(
            ", and {} calls whose tokens are not known",
            run.calls_unaccounted_n
        )
    } else {
        String::new()
    };
    format!(
        "{} of {} calls ({} in, of these {} cached; {} out, of these {} reasoning){unaccounted}",
        thousands(run.usage.total()),
        run.calls_n,
        thousands(run.usage.input),
        thousands(run.usage.cached_input),
        thousands(run.usage.output),
        thousands(run.usage.reasoning),
    )
}

/// How to go on with a run at rest, for people; none if there is nothing to do.
pub(crate) fn way_on(client: &Client, run: &SeenRun) -> Option<String> {
    let retry = client.command(&format!("retry {}", brief(run.run)));
    match run.state {
        SeenState::Active | SeenState::Complete => None,
        SeenState::Incomplete => Some(format!("`{retry}` tries only the errors again")),
        SeenState::Cancelled => Some(format!("`{retry}` goes on with what is not settled")),
        // The warnings have the command that brings a key.
        SeenState::Paused => Some(format!(
            "it goes on by itself once a generation worker joins with a key that works; `{}` shows the workers",
            client.command("workers")
        )),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use crate::client::fake::status;
    use crate::workers_command::tests::fleet_of_three;

    #[test]
    fn overview_is_a_table_with_the_fleet_and_the_warnings_below() {
        let mut stuck = status(0x1b4e_28ba << 96);
        stuck.warnings =
            vec!["no evaluation worker has joined\x1b[2J\nhint: `worker join --role eval`".to_owned()];
        let mut done = status(0xabcd_ef01 << 96);
        done.state = roundhouse_proto::wire::v1::RunState::Incomplete.into();
        (done.passed_n, done.failed_n, done.errors_n) = (2, 1, 1);
        done.model = "reference".to_owned();
        done.dir = "baseline_outputs/a/run_20260208_000000".to_owned();
        let mut new = status(1);
        (new.passed_n, new.failed_n) = (0, 0);
        let runs: Vec<SeenRun> = [stuck, done, new]
            .into_iter()
            .map(|status| status.try_into().unwrap())
            .collect();
        let wanted = "\
RUN       STATE       DONE  PASS@1  ERRORS  MODEL          DATA SET      DIRECTORY
1b4e28ba  active      2/4   50.00%  0       deepseek-chat  CodeContests  baseline_outputs/run_20260209_153045
abcdef01  incomplete  4/4   50.00%  1       reference      CodeContests  baseline_outputs/a/run_20260208_000000
00000000  active      0/4   -       0       deepseek-chat  CodeContests  baseline_outputs/run_20260209_153045

workers: 2 joined, 1 lost; generation 5/8 slots busy, evaluation 1/2 slots busy
warning: run 1b4e28ba cannot move: no evaluation worker has joined [2J
hint: `worker join --role eval`
";
        assert_eq!(overview(&runs, &fleet_of_three()), wanted);
        assert_eq!(
            overview(&[], &[]),
            "workers: 0 joined; generation 0/0 slots busy, evaluation 0/0 slots busy\n"
        );
    }

    #[test]
    fn details_say_everything_about_one_run() {
        let mut asked = status(0x1b4e_28ba << 96);
        asked.state = roundhouse_proto::wire::v1::RunState::Paused.into();
        asked.reason = "no key works for `deepseek`".to_owned();
        asked.calls_unaccounted_n = 2;
        asked.warnings = vec!["no worker has a key that works\nhint: `worker join`".to_owned()];
        let wanted = "\
run        1b4e28ba-0000-0000-0000-000000000000
state      paused: no key works for `deepseek`
directory  baseline_outputs/run_20260209_153045
data set   CodeContests
model      deepseek-chat at deepseek
started    2026-02-09 15:30:45
active     61.50 s
problems   4: 1 passed, 1 failed, 0 errors, 2 open
Pass@1     50.00% of 2 settled
sessions   3 of 4 ended
jobs       1 waiting, 2 at work
tokens     1,234,567 of 12 calls (1,000,000 in, of these 0 cached; 234,567 out, of these 0 reasoning), and 2 calls \
whose tokens are not known
served by  8 generation slots and 4 evaluation slots at most, on hosts with 16 cores
warning: the run cannot move: no worker has a key that works
hint: `worker join`
";
        assert_eq!(details(&asked.try_into().unwrap()), wanted);
    }
}
