//! A cage with the probe in it, and short words for running it.

use std::os::fd::AsFd;
use std::path::PathBuf;

use roundhouse_sandbox::{
    Cage, CageConfig, CageError, Flow, ForkServer, Holds, Level, Run, RunEnd, RunLimits, Start, seal,
};

/// The probe on the host: entry of every cage, and a worker of its own.
pub(crate) const PROBE: &str = env!("CARGO_BIN_EXE_cage-probe");

/// Limits that no well-behaved probe reaches.
pub(crate) const LIMITS: RunLimits = RunLimits {
    cpu_ms: 5_000,
    wall_ms: 10_000,
    memory_bytes: 256 << 20,
    output_bytes: 1 << 20,
    processes: 32,
};

/// One cage, ready.
pub(crate) struct Stand {
    pub(crate) cage: Cage,
}

pub(crate) fn config() -> CageConfig {
    CageConfig {
        entry: PROBE.into(),
        runtime: ["/lib", "/lib64", "/usr/lib"].map(PathBuf::from).to_vec(),
        environment: vec![("LANG".to_owned(), "C.UTF-8".to_owned())],
        scratch_bytes: 256 << 20,
        scratch_inodes: 1024,
        cpu: None,
        servers: Vec::new(),
        server_files: Vec::new(),
    }
}

/// The fork server of [`serving`] that holds nothing.
pub(crate) const NOTHING: usize = 0;
/// The one that holds the program.
pub(crate) const PROGRAM: usize = 1;
/// One that cannot be executed.
pub(crate) const MISSING: usize = 2;

/// [`config`] with fork servers.
pub(crate) fn serving() -> CageConfig {
    let server = |argv: &[&str], holds| ForkServer {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        environment: vec![("SERVED".to_owned(), "yes".to_owned())],
        holds,
    };
    CageConfig {
        servers: vec![
            server(&["/z/probe", "serve", "nothing"], Holds::Nothing),
            server(&["/z/probe", "serve", "program"], Holds::Program),
            server(&["/z/missing"], Holds::Program),
        ],
        server_files: vec![
            ("probe".to_owned(), std::fs::read(PROBE).unwrap()),
            ("note".to_owned(), b"for servers".to_vec()),
        ],
        ..config()
    }
}

/// A cage with namespaces, or `None` and a loud word where the host refuses them.
pub(crate) fn stand(test: &str) -> Option<Stand> {
    with_namespaces(test, &config()).map(Stand::with)
}

/// A cage with namespaces and fork servers, or `None` and a loud word.
pub(crate) fn forking(test: &str) -> Option<Forking> {
    let cage = with_namespaces(test, &serving())?;
    Some(Forking { cage })
}

fn with_namespaces(test: &str, config: &CageConfig) -> Option<Cage> {
    let cage = Cage::start(config).unwrap();
    if cage.containment().level == Level::Namespaces {
        return Some(cage);
    }
    eprintln!("LEFT OUT: {test}: {}", cage.containment());
    None
}

/// One cage with fork servers.
pub(crate) struct Forking {
    pub(crate) cage: Cage,
}

impl Forking {
    /// Loads words for the probe to do.
    pub(crate) fn load(&mut self, words: &str) {
        self.cage.load("words", words.as_bytes()).unwrap();
    }

    /// Has a server fork for a run of what is loaded.
    pub(crate) fn fork(
        &mut self,
        server: usize,
        stdin: &[u8],
        limits: RunLimits,
    ) -> Result<(RunEnd, String), CageError> {
        run(&mut self.cage, Start::Fork(server), stdin, limits)
    }

    /// Loads words and has them run with ordinary limits; how that ended.
    pub(crate) fn run(&mut self, server: usize, words: &str, limits: RunLimits) -> (RunEnd, String) {
        self.load(words);
        self.fork(server, b"", limits).unwrap()
    }

    /// Loads words and has them run with ordinary limits; what they said.
    pub(crate) fn say(&mut self, server: usize, words: &str) -> String {
        self.run(server, words, LIMITS).1.trim_end().to_owned()
    }

    /// Loads words that the server does not serve; why not.
    pub(crate) fn unserved(&mut self, server: usize, words: &str) -> String {
        self.load(words);
        let error = self.fork(server, b"", LIMITS).unwrap_err();
        assert!(error.leaves_the_cage_usable(), "{error}");
        match error {
            CageError::NotServed { reason } => reason,
            other => panic!("{other}"),
        }
    }

    /// Whether ordinary runs in the same cage go well, executed and forked.
    pub(crate) fn still_works(&mut self) -> bool {
        let argv = ["/z/probe", "echo"].map(str::to_owned);
        self.load("echo");
        let executed = run(&mut self.cage, Start::Execute(&argv), b"15", LIMITS).unwrap();
        let forked = [NOTHING, PROGRAM].map(|server| self.fork(server, b"15", LIMITS).unwrap().1);
        [executed.1, forked.concat()] == ["15", "1515"]
    }
}

/// Runs once; its end and what it said.
fn run(
    cage: &mut Cage,
    start: Start<'_>,
    stdin: &[u8],
    limits: RunLimits,
) -> Result<(RunEnd, String), CageError> {
    let stdin = seal(stdin).unwrap();
    let run = Run {
        start,
        stdin: stdin.as_fd(),
        limits,
    };
    let mut said = Vec::new();
    let end = cage.run(&run, &mut |piece| {
        said.extend_from_slice(piece);
        Flow::Continue
    });
    end.map(|end| (end, String::from_utf8(said).unwrap()))
}

impl Stand {
    pub(crate) fn with(mut cage: Cage) -> Self {
        cage.load("probe", &std::fs::read(PROBE).unwrap()).unwrap();
        Self { cage }
    }

    /// Runs the probe; its end and what it said.
    pub(crate) fn run(&mut self, words: &[&str], stdin: &[u8], limits: RunLimits) -> (RunEnd, String) {
        let argv: Vec<String> = ["./probe"]
            .iter()
            .chain(words)
            .map(|word| (*word).to_owned())
            .collect();
        run(&mut self.cage, Start::Execute(&argv), stdin, limits).unwrap()
    }

    /// Runs the probe with ordinary limits; what it said.
    pub(crate) fn say(&mut self, words: &[&str]) -> String {
        self.run(words, b"", LIMITS).1.trim_end().to_owned()
    }

    /// Whether an ordinary run in the same cage goes well.
    pub(crate) fn still_works(&mut self) -> bool {
        self.run(&["echo"], b"15", LIMITS).1 == "15"
    }
}
