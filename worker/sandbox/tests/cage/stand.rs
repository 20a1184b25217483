//! A cage with the probe in it, and short words for running it.

use std::os::fd::AsFd;
use std::path::PathBuf;

use roundhouse_sandbox::{Cage, CageConfig, Flow, Level, Run, RunEnd, RunLimits, Start, seal};

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

/// A cage with namespaces, or `None` and a loud word where the host refuses them.
pub(crate) fn stand(test: &str) -> Option<Stand> {
    let cage = Cage::start(&config()).unwrap();
    if cage.containment().level == Level::Namespaces {
        return Some(Stand::with(cage));
    }
    eprintln!("LEFT OUT: {test}: {}", cage.containment());
    None
}

impl Stand {
    pub(crate) fn with(mut cage: Cage) -> Self {
        cage.load("probe", &std::fs::read(PROBE).unwrap()).unwrap();
        Self { cage }
    }

    /// Runs the probe; its end and what it said.
    pub(crate) fn run(&mut self, words: &[&str], stdin: &[u8], limits: RunLimits) -> (RunEnd, String) {
        let stdin = seal(stdin).unwrap();
        let argv: Vec<String> = ["./probe"]
            .iter()
            .chain(words)
            .map(|word| (*word).to_owned())
            .collect();
        let run = Run {
            start: Start::Execute(&argv),
            stdin: stdin.as_fd(),
            limits,
        };
        let mut said = Vec::new();
        let end = self.cage.run(&run, &mut |piece| {
            said.extend_from_slice(piece);
            Flow::Continue
        });
        (end.unwrap(), String::from_utf8(said).unwrap())
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
