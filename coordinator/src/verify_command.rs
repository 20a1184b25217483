//! `coordinator dataset verify`: judges every program that comes with the problems, as it is, each up to its first
//! failing case. A check of the data set and of the judge at once.

mod quarantine;

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use roundhouse_core::run::QuarantineReason;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    CaseResult, Comparator, Digest, EvaluateWork, Language, Limits, Payload, Problem, Program, TestSet,
    Verdict,
};
use roundhouse_worker::evaluate::Cancellation;
use roundhouse_worker::evaluate::pool::{Evaluation, Pool, cages_for};
use roundhouse_worker::isolation::{self, Admission, Host, IsolationFlags};
use roundhouse_worker::language::Interpreter;
use roundhouse_worker::log::say;
use serde::Serialize;

use crate::exit;
use crate::judging;
use crate::judging_args::RuleChoice;
use crate::quarantine::{Report, Target};

/// Characters of an output that are kept where nobody reads them.
const OUTPUT_CHARS: u32 = 0;
/// Characters of an output that are kept to see why it is not the expected one.
const OUTPUT_CHARS_TO_COMPARE: u32 = 20_000;

/// Characters of the reason why a program could not be judged.
const REASON_CHARS_MAX: usize = 400;

/// What is verified and how.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 every program is judged as the data set says · 1 error · 2 usage · 3 some are not")]
pub struct VerifyArgs {
    /// The problems, with their programs
    #[arg(long, value_name = "FILE")]
    problems: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// By which rule outputs agree: code-contests, tokens, lines, exact, float, float:abs=1e-6,rel=1e-6,
    /// unordered-lines, or checker:FILE, a Python program of yours
    #[arg(long, value_name = "RULE", default_value = "code-contests")]
    comparator: RuleChoice,
    /// Write the problems of whose accepted programs half or more fail into this file, with the reasons, for `run
    /// --quarantine`
    #[arg(long, value_name = "FILE")]
    write_quarantine: Option<PathBuf>,
    /// The Python 3 that programs are run with [default: `python3` on the PATH]
    #[arg(long, value_name = "PATH", env = "ROUNDHOUSE_PYTHON")]
    python: Option<PathBuf>,
    /// How well programs must be shut in.
    #[command(flatten)]
    isolation: IsolationFlags,
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

/// How programs are judged.
struct Rule {
    comparator: Comparator,
    /// The text of the program that the rule is, if it is one.
    checker: Option<Bytes>,
    /// How much of an output is kept.
    output_chars: u32,
}

#[derive(Debug, Serialize)]
struct Judged {
    problem: String,
    kind: Kind,
    index: u32,
    verdict: Verdict,
    first_failing_case: Option<u32>,
    /// What is known of it, to see why it failed.
    #[serde(skip)]
    failing: Option<CaseResult>,
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
    let (comparator, checker) = judging::chosen(&args.comparator)?;
    let rule = Rule {
        comparator,
        checker,
        output_chars: match args.write_quarantine {
            Some(_) => OUTPUT_CHARS_TO_COMPARE,
            None => OUTPUT_CHARS,
        },
    };
    let loaded = crate::dataset::load(&args.problems)?;
    let interpreter = Interpreter::resolve(Language::Python3, args.python.as_deref())?;
    // Before an hour of judging, not after it.
    let target = args.write_quarantine.as_deref().map(Target::open).transpose()?;
    let interpreter_name = interpreter.name().to_owned();
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let entry = std::env::current_exe().context("find this program's own file")?;
    let pool = Pool::start(entry, interpreter, cages_for(cores)).context("make the cages")?;
    match isolation::admit(pool.found(), args.isolation.agreed(), &Host::look()) {
        Admission::Granted(None) => {}
        Admission::Granted(Some(warning)) => say(&warning),
        Admission::Refused(why) => {
            say(&why);
            return Ok(isolation::EXIT_REFUSED.into());
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let verified = runtime.block_on(verify(&rule, &loaded.problems, &pool))?;
    print(&verified, args.json).context("write to standard output")?;
    if let Some(target) = target {
        let problems = quarantine::entries(&loaded.problems, &verified.programs);
        let rule = rule.comparator.to_string();
        let report = Report::of(&loaded.info, rule, Limits::default(), &interpreter_name, problems);
        crate::notices::note(&told(&report.counts(), loaded.problems.len()));
        target.write(&report)?;
    }
    let agree = verified.programs.iter().all(Judged::agrees);
    Ok(if agree {
        ExitCode::SUCCESS
    } else {
        exit::INCOMPLETE.into()
    })
}

async fn verify(rule: &Rule, problems: &[Problem], pool: &Pool) -> anyhow::Result<Verified> {
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
                rule,
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
    rule: &Rule,
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
            comparator: rule.comparator,
            ignore_exit_status: false,
            timeouts_max: 1,
            stop_on_first_failure: true,
            entry_point: problem.entry_point.clone(),
            output_chars: rule.output_chars,
        },
        program: text,
        tests,
        checker: rule.checker.clone(),
        priority: Priority::NORMAL,
        cancellation: Cancellation::default(),
    });
    let (source_id, index) = (problem.source_id.clone(), program.index);
    async move {
        let report = report
            .await
            .with_context(|| format!("judge program {index} of `{source_id}`"))?;
        let mut cases = report.cases.into_iter();
        let failing = cases.find(|case| case.verdict != Verdict::Accepted);
        let verdict = match &failing {
            Some(case) => case.verdict,
            None if has_tests => Verdict::Accepted,
            // Without a case nothing is shown.
            None => Verdict::InternalError,
        };
        let first_failing_case = failing.as_ref().map(|case| case.case);
        Ok(Judged {
            problem: source_id,
            kind,
            index,
            verdict,
            first_failing_case,
            failing,
        })
    }
}

/// How many problems are in quarantine, and why.
fn told(counts: &BTreeMap<QuarantineReason, usize>, problems: usize) -> String {
    let n: usize = counts.values().sum();
    let kinds: Vec<String> = counts
        .iter()
        .map(|(reason, n)| format!("{n} {}", reason.word()))
        .collect();
    let kinds = match kinds.is_empty() {
        true => String::new(),
        false => format!(": {}", kinds.join(", ")),
    };
    format!("{n} of {problems} problems cannot be judged{kinds}")
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
            failing,
        } = judged;
        let problem = crate::dataset::quote::plain(problem, 80);
        let at = first_failing_case.map_or_else(String::new, |case| format!(" on case {case}"));
        // What the machinery, or a checker, failed of; what a program says of itself is for nobody here.
        let failed = failing.as_ref().filter(|_| *verdict == Verdict::InternalError);
        let why = failed.map_or_else(String::new, |case| {
            format!(
                ", {}",
                crate::dataset::quote::plain(&case.stderr_tail, REASON_CHARS_MAX)
            )
        });
        writeln!(
            out,
            "{problem}: program {index} ({}): {verdict}{at}{why}",
            kind.word()
        )?;
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
