//! `coordinator dataset verify`: judges every program that comes with the problems, as it is, each up to its first
//! failing case. A check of the data set and of the judge at once.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Comparator, Digest, EvaluateWork, Isolation, Language, Limits, Payload, Problem, Program, TestSet,
    Verdict,
};
use roundhouse_worker::evaluate::Cancellation;
use roundhouse_worker::evaluate::pool::{Evaluation, Pool, cages_for};
use roundhouse_worker::language::Interpreter;
use serde::Serialize;

use crate::exit;

/// Characters of an output that are kept: nobody reads them here.
const OUTPUT_CHARS: u32 = 0;

/// What is verified and how.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// The problems, with their programs
    #[arg(long, value_name = "FILE")]
    problems: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// By which rule outputs agree: code-contests, tokens, lines, exact, float, float:abs=1e-6,rel=1e-6
    #[arg(long, value_name = "RULE", default_value = "code-contests")]
    comparator: Comparator,
    /// The Python 3 that programs are run with [default: `python3` on the PATH]
    #[arg(long, value_name = "PATH", env = "ROUNDHOUSE_PYTHON")]
    python: Option<PathBuf>,
    /// Run programs even where the host lets nothing but resources be bounded
    #[arg(long)]
    i_know_this_is_unsafe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Correct,
    Incorrect,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Incorrect => "incorrect",
        }
    }
}

#[derive(Debug, Serialize)]
struct Judged {
    problem: String,
    kind: Kind,
    index: u32,
    verdict: Verdict,
    first_failing_case: Option<u32>,
}

impl Judged {
    fn agrees(&self) -> bool {
        match (self.kind, self.verdict) {
            // A program that could not be judged agrees with nothing.
            (_, Verdict::InternalError) => false,
            (Kind::Correct, verdict) => verdict == Verdict::Accepted,
            (Kind::Incorrect, verdict) => verdict != Verdict::Accepted,
        }
    }
}

#[derive(Debug, Serialize)]
struct Correct {
    total: usize,
    accepted: usize,
}

#[derive(Debug, Serialize)]
struct Incorrect {
    total: usize,
    rejected: usize,
}

#[derive(Debug, Serialize)]
struct Verified {
    problems: usize,
    correct: Correct,
    incorrect: Incorrect,
    programs: Vec<Judged>,
}

/// Verifies a data set.
///
/// # Errors
/// The file cannot be read, or programs cannot be run here.
pub fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let loaded = crate::dataset::load(&args.problems)?;
    let interpreter = Interpreter::resolve(Language::Python3, args.python.as_deref())?;
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let entry = std::env::current_exe().context("find this program's own file")?;
    let pool = Pool::start(entry, interpreter, cages_for(cores)).context("make the cages")?;
    match pool.isolation() {
        Isolation::None if !args.i_know_this_is_unsafe => bail!(
            "this host lets nothing be shut in but resources (isolation `none`): it allows no user namespaces\n\
             hint: `--i-know-this-is-unsafe` runs programs all the same; only for programs that you trust"
        ),
        Isolation::Full => {}
        level => crate::notices::warning(&format!("isolation is `{level}`")),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let verified = runtime.block_on(verify(args, &loaded.problems, &pool))?;
    print(&verified, args.json).context("write to standard output")?;
    let agree = verified.programs.iter().all(Judged::agrees);
    Ok(if agree {
        ExitCode::SUCCESS
    } else {
        exit::INCOMPLETE.into()
    })
}

async fn verify(args: &VerifyArgs, problems: &[Problem], pool: &Pool) -> anyhow::Result<Verified> {
    let mut waiting = Vec::new();
    for problem in problems {
        let tests = Arc::new(problem.tests.clone());
        let digest = Digest::of(&tests.to_bytes());
        let of_kind = |kind: Kind, programs: &'_ [Program]| {
            programs
                .iter()
                .map(move |program| (kind, program.clone()))
                .collect::<Vec<_>>()
        };
        let mut programs = of_kind(Kind::Correct, &problem.solutions);
        programs.extend(of_kind(Kind::Incorrect, &problem.incorrect_solutions));
        for (kind, program) in programs {
            waiting.push(judge(
                args,
                pool,
                problem,
                Arc::clone(&tests),
                digest,
                kind,
                program,
            ));
        }
    }
    let mut programs = Vec::with_capacity(waiting.len());
    // In order, with as many begun as there are cages and one more for each.
    let mut judged = futures_util::stream::iter(waiting).buffered(pool.cages() * 2);
    while let Some(judgement) = judged.next().await {
        programs.push(judgement?);
    }
    let of = |kind: Kind| programs.iter().filter(move |judged| judged.kind == kind);
    Ok(Verified {
        problems: problems.len(),
        correct: Correct {
            total: of(Kind::Correct).count(),
            accepted: of(Kind::Correct).filter(|judged| judged.agrees()).count(),
        },
        incorrect: Incorrect {
            total: of(Kind::Incorrect).count(),
            rejected: of(Kind::Incorrect).filter(|judged| judged.agrees()).count(),
        },
        programs,
    })
}

fn judge(
    args: &VerifyArgs,
    pool: &Pool,
    problem: &Problem,
    tests: Arc<TestSet>,
    digest: Digest,
    kind: Kind,
    program: Program,
) -> impl Future<Output = anyhow::Result<Judged>> + use<> {
    let text = Bytes::from(program.source);
    let has_tests = !tests.cases.is_empty();
    let report = pool.evaluate(Evaluation {
        work: EvaluateWork {
            execution: roundhouse_proto::Execution::default(),
            program: Payload::Inline(text.clone()),
            language: program.language,
            tests: digest,
            limits: Limits::default(),
            comparator: args.comparator,
            ignore_exit_status: false,
            timeouts_max: 1,
            stop_on_first_failure: true,
            entry_point: problem.entry_point.clone(),
            output_chars: OUTPUT_CHARS,
        },
        program: text,
        tests,
        checker: None,
        priority: Priority::NORMAL,
        cancellation: Cancellation::default(),
    });
    let (source_id, index) = (problem.source_id.clone(), program.index);
    async move {
        let report = report
            .await
            .with_context(|| format!("judge program {index} of `{source_id}`"))?;
        let failing = report.cases.iter().find(|case| case.verdict != Verdict::Accepted);
        let verdict = match failing {
            Some(case) => case.verdict,
            None if has_tests => Verdict::Accepted,
            // Without a case nothing is shown.
            None => Verdict::InternalError,
        };
        let first_failing_case = failing.map(|case| case.case);
        Ok(Judged {
            problem: source_id,
            kind,
            index,
            verdict,
            first_failing_case,
        })
    }
}

fn print(verified: &Verified, as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        serde_json::to_writer(&mut out, verified)?;
        return writeln!(out);
    }
    for judged in verified.programs.iter().filter(|judged| !judged.agrees()) {
        let Judged {
            problem,
            kind,
            index,
            verdict,
            first_failing_case,
        } = judged;
        let problem = crate::dataset::quote::plain(problem, 80);
        let at = first_failing_case.map_or_else(String::new, |case| format!(" on case {case}"));
        writeln!(out, "{problem}: program {index} ({}): {verdict}{at}", kind.word())?;
    }
    let Verified {
        problems,
        correct,
        incorrect,
        ..
    } = verified;
    writeln!(
        out,
        "{problems} problems: {} of {} correct programs accepted, {} of {} incorrect programs rejected",
        correct.accepted, correct.total, incorrect.rejected, incorrect.total
    )
}
