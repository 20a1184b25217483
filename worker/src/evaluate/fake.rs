//! Cages that are none, for the tests: a script says how each run ends.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use roundhouse_proto::{
    Case, Comparator, Digest, EvaluateWork, Isolation, Language, Limits, Payload, TestSet, Tier,
};
use roundhouse_sandbox::{Crossed, Ended, Flow, Run, RunEnd, Start};

use super::checker;
use super::runner::{CageFailure, CageSource, Runner};

/// A run that a script is asked about.
pub(crate) struct Asked<'a> {
    /// The program that was loaded last.
    pub(crate) program: &'a str,
    /// Standard input.
    pub(crate) input: &'a str,
    /// Whether it is only to be compiled.
    pub(crate) compile: bool,
    /// Names and texts of the files beside the program.
    pub(crate) beside: &'a [(String, String)],
}

/// What a run writes, and how it ends; or how the cage fails.
pub(crate) type Answer = Result<(String, RunEnd), CageFailure>;

type Script = dyn Fn(&Asked<'_>) -> Answer + Send + Sync;

/// Makes cages that follow a script and remember what was done.
#[derive(Clone)]
pub(crate) struct FakeCages {
    script: Arc<Script>,
    log: Arc<Mutex<Vec<String>>>,
}

impl FakeCages {
    pub(crate) fn new(script: impl Fn(&Asked<'_>) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            log: Arc::default(),
        }
    }

    /// What was done, in order: `start`, `load PROGRAM`, `add NAME`, `run INPUT`, `compile`, `check`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .expect("no test panics with the log in hand")
            .clone()
    }

    fn note(&self, text: String) {
        self.log
            .lock()
            .expect("no test panics with the log in hand")
            .push(text);
    }
}

impl CageSource for FakeCages {
    fn start(&self, _cpu: Option<usize>) -> Result<Box<dyn Runner>, CageFailure> {
        self.note("start".to_owned());
        Ok(Box::new(FakeCage {
            cages: self.clone(),
            program: String::new(),
            beside: Vec::new(),
        }))
    }
}

struct FakeCage {
    cages: FakeCages,
    program: String,
    beside: Vec<(String, String)>,
}

impl Runner for FakeCage {
    fn isolation(&self) -> Isolation {
        Isolation::Partial
    }

    fn load(&mut self, program: &[u8]) -> Result<(), CageFailure> {
        self.program = String::from_utf8_lossy(program).into_owned();
        self.beside.clear();
        self.cages.note(format!("load {}", self.program));
        Ok(())
    }

    fn add(&mut self, name: &str, text: &[u8]) -> Result<(), CageFailure> {
        self.cages.note(format!("add {name}"));
        self.beside
            .push((name.to_owned(), String::from_utf8_lossy(text).into_owned()));
        Ok(())
    }

    fn run(&mut self, run: &Run<'_>, stdout: &mut dyn FnMut(&[u8]) -> Flow) -> Result<RunEnd, CageFailure> {
        let stdin: OwnedFd = run.stdin.try_clone_to_owned()?;
        let mut input = String::new();
        File::from(stdin).read_to_string(&mut input)?;
        let last = match run.start {
            Start::Execute(argv) => argv.last().map(String::as_str),
            Start::Fork(_) => None,
        };
        let compile = last == Some("-c");
        self.cages.note(match last {
            Some("-c") => "compile".to_owned(),
            Some(file) if file == checker::FILES[2] => "check".to_owned(),
            _ => format!("run {input}"),
        });
        let asked = Asked {
            program: &self.program,
            input: &input,
            compile,
            beside: &self.beside,
        };
        let (output, mut end) = (self.cages.script)(&asked)?;
        for chunk in output.as_bytes().chunks(3) {
            if stdout(chunk) == Flow::Stop {
                end.crossed = Some(Crossed::Stopped);
                end.ended = Ended::Signal(9);
                break;
            }
        }
        Ok(end)
    }
}

/// A run that ended in this way and hardly used anything.
pub(crate) fn ended(ended: Ended) -> RunEnd {
    RunEnd {
        ended,
        crossed: None,
        cpu_ms: 1,
        wall_ms: 2,
        memory_bytes: 3,
        stderr_tail: Vec::new(),
    }
}

/// A run that wrote `output` and ended well.
pub(crate) fn wrote(output: &str) -> Answer {
    Ok((output.to_owned(), ended(Ended::Exit(0))))
}

/// A run that failed with this on standard error.
pub(crate) fn failed(stderr: &str) -> Answer {
    let end = RunEnd {
        stderr_tail: stderr.as_bytes().to_vec(),
        ..ended(Ended::Exit(1))
    };
    Ok((String::new(), end))
}

/// A run that was killed at a limit.
pub(crate) fn killed(crossed: Crossed, cpu_ms: u64, wall_ms: u64) -> Answer {
    let end = RunEnd {
        crossed: Some(crossed),
        cpu_ms,
        wall_ms,
        ..ended(Ended::Signal(9))
    };
    Ok((String::new(), end))
}

/// The cage failing.
pub(crate) fn broken() -> Answer {
    Err(CageFailure("the init is gone".to_owned()))
}

/// Work with a CPU limit of 1 s and a wall limit of 6 s.
pub(crate) fn work() -> EvaluateWork {
    EvaluateWork {
        execution: roundhouse_proto::Execution::default(),
        program: Payload::text(""),
        language: Language::Python3,
        tests: Digest::of(b"tests"),
        limits: Limits {
            cpu_ms: 1000,
            wall_ms: 6000,
            ..Limits::default()
        },
        comparator: Comparator::CodeContests,
        ignore_exit_status: false,
        timeouts_max: 3,
        stop_on_first_failure: false,
        entry_point: None,
        output_chars: 100,
    }
}

/// Cases whose expected output is their input.
pub(crate) fn echo_cases(inputs: &[&str]) -> TestSet {
    let case = |input: &&str| Case {
        tier: Tier::Private,
        input: Bytes::copy_from_slice(input.as_bytes()),
        expected: Bytes::copy_from_slice(input.as_bytes()),
    };
    TestSet {
        cases: inputs.iter().map(case).collect(),
    }
}
