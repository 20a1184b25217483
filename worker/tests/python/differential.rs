//! The comparison: every program of the corpus under every column.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use roundhouse_proto::StartMode;
use roundhouse_sandbox::Ended;

use crate::corpus::{Sample, samples};
use crate::server::Server;
use crate::stand::{Outcome, Stand};

/// Runs of one program by one server: what one leaves behind, another would find.
const RUNS: usize = 2;

/// A way to run programs, compared with the plain interpreter.
enum Column {
    /// A server that is started for every program.
    Fast,
    /// One server for all.
    Natural(Box<Server>),
}

impl Column {
    fn all(stand: &Stand) -> Vec<Self> {
        let mut natural = Server::start(stand, StartMode::Natural);
        natural.prepare().unwrap();
        vec![Self::Fast, Self::Natural(Box::new(natural))]
    }

    fn mode(&self) -> StartMode {
        match self {
            Self::Fast => StartMode::Fast,
            Self::Natural(_) => StartMode::Natural,
        }
    }

    /// What the program comes to, run after run; or why it is not served.
    fn outcomes(&mut self, stand: &Stand, sample: &Sample) -> Result<Vec<Outcome>, String> {
        let outcomes = |server: &mut Server| {
            let outcome = |_| {
                stand.load(&sample.program);
                server.run(&sample.input).outcome
            };
            (0..RUNS).map(outcome).collect()
        };
        match self {
            Self::Fast => {
                stand.load(&sample.program);
                let mut server = Server::start(stand, StartMode::Fast);
                let outcomes = server.prepare().map(|()| outcomes(&mut server));
                assert!(server.end().success());
                outcomes
            }
            Self::Natural(server) => Ok(outcomes(server)),
        }
    }
}

#[test]
fn every_program_writes_and_ends_alike_under_every_start() {
    let samples = samples();
    let next = AtomicUsize::new(0);
    let work = || {
        let stand = Stand::of(None);
        let mut columns = Column::all(&stand);
        let (minor, has_numpy) = (stand.minor(), stand.has_numpy());
        let mut faults = Vec::new();
        while let Some(sample) = samples.get(next.fetch_add(1, Ordering::Relaxed)) {
            if minor < sample.since {
                eprintln!("LEFT OUT: {}: needs Python 3.{}", sample.name, sample.since);
            } else if sample.needs_numpy && !has_numpy {
                eprintln!("LEFT OUT: {}: needs numpy", sample.name);
            } else {
                faults.extend(compare(&stand, &mut columns, sample));
            }
        }
        faults
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let faults: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

fn compare(stand: &Stand, columns: &mut [Column], sample: &Sample) -> Vec<String> {
    stand.load(&sample.program);
    let plain = stand.run_plainly(&sample.input);
    let mut faults = Vec::new();
    if sample.ended.is_some_and(|ended| ended != plain.ended) || plain.stdout.is_empty() != sample.is_silent {
        faults.push(format!(
            "{}: not what the corpus says:\n{}",
            sample.name,
            shown(&plain)
        ));
    }
    // A slower start than the one that a program gets must do as well.
    for column in columns.iter_mut().filter(|column| column.mode() >= sample.mode) {
        let word = column.mode().word();
        match column.outcomes(stand, sample) {
            Err(reason) if is_of_compiler(&plain, &reason) => {}
            Err(reason) => faults.push(format!("{}: `{word}` does not serve it: {reason}", sample.name)),
            Ok(outcomes) => {
                let differing = outcomes.iter().find(|outcome| !is_alike(sample, &plain, outcome));
                faults.extend(differing.map(|outcome| fault(sample, column.mode(), &plain, outcome)));
            }
        }
    }
    faults
}

/// Whether a server's reason is the compiler's: a slower start then shows what that has against the program.
pub(crate) fn is_of_compiler(executed: &Outcome, reason: &str) -> bool {
    reason.contains("does not compile") && executed.ended == Ended::Exit(1)
}

/// Whether two outcomes are equal in what is compared.
pub(crate) fn is_alike(sample: &Sample, plain: &Outcome, other: &Outcome) -> bool {
    plain.stdout == other.stdout
        && plain.ended == other.ended
        && (sample.stderr_varies || without_addresses(&plain.stderr) == without_addresses(&other.stderr))
}

/// A text without what stands behind each `0x`.
fn without_addresses(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut parts = text.split("0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |before, part| {
        let after = part.trim_start_matches(|character: char| character.is_ascii_hexdigit());
        format!("{before}0x{after}")
    })
}

/// Two outcomes that should be one.
pub(crate) fn fault(sample: &Sample, mode: StartMode, executed: &Outcome, other: &Outcome) -> String {
    let word = mode.word();
    format!(
        "{}: executed\n{}`{word}`\n{}",
        sample.name,
        shown(executed),
        shown(other)
    )
}

fn shown(outcome: &Outcome) -> String {
    let clipped = |bytes: &[u8]| {
        let text = bytes.escape_ascii().to_string();
        let start = text.len().saturating_sub(1500);
        text[start..].to_owned()
    };
    let Outcome {
        stdout,
        stderr,
        ended,
    } = outcome;
    format!(
        "  {ended:?}\n  stdout {}\n  stderr {}\n",
        clipped(stdout),
        clipped(stderr)
    )
}
