//! The comparison inside a cage: the interpreter that is executed there is right by definition.

use std::os::fd::AsFd;
use std::path::PathBuf;

use roundhouse_proto::StartMode;
use roundhouse_sandbox::{Cage, CageConfig, CageError, Flow, Level, Run, RunLimits};
use roundhouse_worker::language::Interpreter;

use crate::corpus::{Sample, samples};
use crate::differential::{fault, is_alike, is_of_compiler};
use crate::stand::{Outcome, interpreter, stdin};

const LIMITS: RunLimits = RunLimits {
    cpu_ms: 10_000,
    wall_ms: 60_000,
    memory_bytes: 1 << 30,
    output_bytes: 64 << 20,
    processes: 64,
};

#[test]
fn every_program_writes_and_ends_alike_under_every_start_in_a_cage() {
    let interpreter = interpreter(None);
    let mut cage = cage(&interpreter);
    if cage.containment().level != Level::Namespaces {
        let name = "every_program_writes_and_ends_alike_under_every_start_in_a_cage";
        eprintln!("LEFT OUT: {name}: this host has no namespaces for it");
        return;
    }
    let mut served = 0;
    let mut faults = Vec::new();
    for sample in samples() {
        cage.load("main.py", &sample.program).unwrap();
        let fresh = run(&mut cage, &interpreter, &sample, StartMode::Fresh).unwrap();
        for mode in [StartMode::Fast, StartMode::Natural] {
            if mode < sample.mode {
                continue;
            }
            match run(&mut cage, &interpreter, &sample, mode) {
                Err(reason) if is_of_compiler(&fresh, &reason) => {}
                Err(reason) => {
                    let word = mode.word();
                    faults.push(format!("{}: `{word}` does not serve it: {reason}", sample.name));
                }
                Ok(outcome) if is_alike(&sample, &fresh, &outcome) => served += 1,
                Ok(outcome) => faults.push(fault(&sample, mode, &fresh, &outcome)),
            }
        }
    }
    let count = faults.len();
    assert!(faults.is_empty(), "{count} faults\n{}", faults.join("\n"));
    assert!(served >= samples().len(), "{served} runs were forked");
}

fn cage(interpreter: &Interpreter) -> Cage {
    let config = CageConfig {
        entry: PathBuf::from(env!("CARGO_BIN_EXE_worker")),
        runtime: interpreter.runtime().to_vec(),
        environment: interpreter.environment().to_vec(),
        scratch_bytes: 64 << 20,
        scratch_inodes: 4096,
        cpu: None,
        servers: interpreter.servers().to_vec(),
        server_files: interpreter.server_files().to_vec(),
    };
    Cage::start(&config).unwrap()
}

/// What the loaded program comes to; or why it is not served. Of standard error there is the end only.
fn run(
    cage: &mut Cage,
    interpreter: &Interpreter,
    sample: &Sample,
    mode: StartMode,
) -> Result<Outcome, String> {
    let input = stdin(&sample.input);
    let run = Run {
        start: interpreter.start(mode),
        stdin: input.as_fd(),
        limits: LIMITS,
    };
    let mut stdout = Vec::new();
    let end = cage.run(&run, &mut |piece| {
        stdout.extend_from_slice(piece);
        Flow::Continue
    });
    match end {
        Ok(end) => Ok(Outcome {
            stdout,
            stderr: end.stderr_tail,
            ended: end.ended,
        }),
        Err(CageError::NotServed { reason }) => Err(reason),
        Err(error) => panic!("{}: {error}", sample.name),
    }
}
