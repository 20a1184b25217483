//! Cages that are none, for the tests: a script says how each run ends.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use roundhouse_proto::{
    Case, Comparator, Digest, EvaluateWork, Execution, Isolation, Language, Limits, Payload, StartMode,
    TestSet, Tier,
};
use roundhouse_sandbox::{Crossed, Ended, Flow, Run, RunEnd, Start};

use super::checker;
use super::runner::{CageFailure, CageSource, NoRun, Runner};
use crate::isolation::Found;
use crate::language::{FAST_SERVER, NATURAL_SERVER};

/// A run that a script is asked about.
pub(crate) struct Asked<'a> {
    /// The program that was loaded last.
    pub(crate) program: &'a str,
    /// Standard input.
    pub(crate) input: &'a str,
    /// Whether it is only to be compiled.
    pub(crate) compile: bool,
    /// How its process comes into being.
    pub(crate) start: StartMode,
    /// Names and texts of the files beside the program.
    pub(crate) beside: &'a [(String, String)],
}

/// What a run writes, and how it ends; or why there is none.
pub(crate) type Answer = Result<(String, RunEnd), NoRun>;

type Script = dyn Fn(&Asked<'_>) -> Answer + Send + Sync;

/// Makes cages that follow a script and remember what was done.
#[derive(Clone)]
pub(crate) struct FakeCages {
    script: Arc<Script>,
    log: Arc<Mutex<Vec<String>>>,
    pins: Arc<Mutex<Vec<Option<usize>>>>,
}

impl FakeCages {
    pub(crate) fn new(script: impl Fn(&Asked<'_>) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            log: Arc::default(),
            pins: Arc::default(),
        }
    }

    /// The CPUs that cages were pinned to, in the order in which they were made.
    pub(crate) fn pins(&self) -> Vec<Option<usize>> {
        self.pins
            .lock()
            .expect("no test panics with the pins in hand")
            .clone()
    }

    /// What was done, in order: `start`, `load PROGRAM`, `add NAME`, `compile`, `check`, and for a run `fast INPUT`,
    /// `natural INPUT`, or `run INPUT` where it was started fresh.
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
    fn start(&self, cpu: Option<usize>) -> Result<Box<dyn Runner>, CageFailure> {
        self.note("start".to_owned());
        self.pins
            .lock()
            .expect("no test panics with the pins in hand")
            .push(cpu);
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
    fn found(&self) -> Found {
        Found {
            isolation: Isolation::Partial,
            containment: None,
        }
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

    fn run(&mut self, run: &Run<'_>, stdout: &mut dyn FnMut(&[u8]) -> Flow) -> Result<RunEnd, NoRun> {
        let stdin: OwnedFd = run.stdin.try_clone_to_owned().map_err(CageFailure::from)?;
        let mut input = String::new();
        File::from(stdin)
            .read_to_string(&mut input)
            .map_err(CageFailure::from)?;
        let last = match run.start {
            Start::Execute(argv) => argv.last().map(String::as_str),
            Start::Fork(_) => None,
        };
        let compile = last == Some("-c");
        let (start, word) = match run.start {
            Start::Fork(FAST_SERVER) => (StartMode::Fast, "fast"),
            Start::Fork(NATURAL_SERVER) => (StartMode::Natural, "natural"),
            Start::Fork(place) => return Err(CageFailure(format!("no server has place {place}")).into()),
            Start::Execute(_) => (StartMode::Fresh, "run"),
        };
        self.cages.note(match last {
            Some("-c") => "compile".to_owned(),
            Some(file) if file == checker::FILES[2] => "check".to_owned(),
            Some(_) | None => format!("{word} {input}"),
        });
        let asked = Asked {
            program: &self.program,
            input: &input,
            compile,
            start,
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
    Err(CageFailure("the init is gone".to_owned()).into())
}

/// A fork server that cannot run the program.
pub(crate) fn not_served() -> Answer {
    Err(NoRun::NotServed("it says no".to_owned()))
}

/// Work with a CPU limit of 1 s and a wall limit of 6 s, whose programs are started fresh and judged each time.
pub(crate) fn work() -> EvaluateWork {
    EvaluateWork {
        execution: Execution {
            start: StartMode::Fresh,
            audit_per_mille: 0,
            reuse: false,
        },
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
