//! Workers that hold a cage: what a test cannot see from its own process, or not as its own user.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use roundhouse_sandbox::{
    Cage, CageConfig, Ended, Flow, ForkServer, Holds, Level, Run, RunEnd, RunLimits, Start, seal,
};

use crate::{say, words_of_a_run};

pub(crate) const LIMITS: RunLimits = RunLimits {
    cpu_ms: 60_000,
    wall_ms: 60_000,
    memory_bytes: 256 << 20,
    output_bytes: 1 << 20,
    processes: 8,
};

pub(crate) fn config() -> CageConfig {
    CageConfig {
        entry: "/proc/self/exe".into(),
        runtime: ["/lib", "/lib64", "/usr/lib", "/bin/true", "/usr/bin/true"]
            .map(PathBuf::from)
            .to_vec(),
        environment: Vec::new(),
        scratch_bytes: 256 << 20,
        scratch_inodes: 1024,
        cpu: None,
        servers: Vec::new(),
        server_files: Vec::new(),
    }
}

/// With two servers: 0 holds nothing, 1 the program.
fn serving() -> CageConfig {
    let server = |word: &str, holds| ForkServer {
        argv: ["/z/probe", "serve", word].map(str::to_owned).to_vec(),
        environment: Vec::new(),
        holds,
    };
    CageConfig {
        servers: vec![
            server("nothing", Holds::Nothing),
            server("program", Holds::Program),
        ],
        server_files: vec![("probe".to_owned(), fs::read("/proc/self/exe").unwrap())],
        ..config()
    }
}

fn cage() -> Cage {
    load(Cage::start(&config()).unwrap())
}

fn load(mut cage: Cage) -> Cage {
    cage.load("probe", &fs::read("/proc/self/exe").unwrap()).unwrap();
    cage
}

fn run(cage: &mut Cage, start: Start<'_>, limits: RunLimits) -> (RunEnd, String) {
    let stdin = seal(b"").unwrap();
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
    (end.unwrap(), String::from_utf8(said).unwrap())
}

/// Says the cage's pid and then waits for a program that never ends.
pub(crate) fn hold() {
    hold_in(cage());
}

/// The same where the host's namespaces are the programs'.
pub(crate) fn hold_without_namespaces() {
    hold_in(load(Cage::start_at(&config(), Level::Limits).unwrap()));
}

fn hold_in(mut cage: Cage) {
    say(&cage.pid().to_string());
    let argv = ["./probe".to_owned(), "daemon-and-wait".to_owned()];
    run(&mut cage, Start::Execute(&argv), LIMITS);
}

/// Has a program that wants memory that it may have; says how that went.
pub(crate) fn fill_in_cage(mebibytes: &str) {
    let mut cage = cage();
    let stdin = seal(b"").unwrap();
    let argv = ["./probe", "fill", mebibytes].map(str::to_owned);
    let run = Run {
        start: Start::Execute(&argv),
        stdin: stdin.as_fd(),
        limits: RunLimits {
            memory_bytes: 1 << 30,
            ..LIMITS
        },
    };
    match cage.run(&run, &mut |_| Flow::Continue) {
        Ok(end) => say(&format!("{:?}, {:?}", end.ended, end.crossed)),
        Err(error) => say(&error.to_string()),
    }
}

/// Runs many programs one after the other and says what is left of them.
pub(crate) fn many(count: u32) {
    let mut cage = cage();
    let argv = ["./probe".to_owned(), "daemon".to_owned()];
    let start = Start::Execute(&argv);
    run(&mut cage, start, LIMITS);
    let before = open_files(std::process::id());
    for _ in 0..count {
        let (end, _) = run(&mut cage, start, LIMITS);
        assert_eq!(end.crossed, None);
    }
    let inits = below(cage.pid());
    let helpers: Vec<u32> = inits.iter().flat_map(|init| below(*init)).collect();
    let programs: usize = helpers.iter().map(|helper| below(*helper).len()).sum();
    say(&format!(
        "files {}, inits {}, helpers {}, programs {programs}",
        open_files(std::process::id()) - before,
        inits.len(),
        helpers.len(),
    ));
}

/// Has programs forked many times, by servers of both kinds and with a load in between, and says what is left.
pub(crate) fn many_forks(count: u32) {
    let mut cage = Cage::start(&serving()).unwrap();
    let round = |cage: &mut Cage| {
        cage.load("words", b"daemon").unwrap();
        for server in [0, 1, 1, 0, 1, 0] {
            let (end, said) = run(cage, Start::Fork(server), LIMITS);
            let found = (end.ended, end.crossed, said.as_str());
            assert_eq!(found, (Ended::Exit(0), None, "done\n"));
        }
        // A spare is made when nothing is asked for; here somebody waits for it, so that what is left is known.
        let init = below(cage.pid())[0];
        until(|| below(init).len() == SERVED_HELPERS);
        // What the init did before this was answered is done.
        cage.add("beside", b"").unwrap();
    };
    round(&mut cage);
    let init = below(cage.pid())[0];
    let before = (open_files(std::process::id()), open_files(init));
    for _ in 0..count.div_ceil(6) {
        round(&mut cage);
    }
    let helpers = below(init);
    let programs: usize = helpers.iter().map(|helper| below(*helper).len()).sum();
    say(&format!(
        "files {}, files of the init {}, helpers {}, programs {programs}",
        open_files(std::process::id()) - before.0,
        open_files(init) - before.1,
        helpers.len(),
    ));
}

/// Nursery, reaper, both servers and a spare.
const SERVED_HELPERS: usize = 5;

/// What a cage can do for whoever this process is: an ordinary user has another way to make one.
pub(crate) fn serve_as_any_user() {
    let mut cage = Cage::start(&serving()).unwrap();
    for words in words_of_a_run() {
        cage.load("words", words.as_bytes()).unwrap();
        for server in [0, 1] {
            let (end, said) = run(&mut cage, Start::Fork(server), LIMITS);
            say(&format!("{words} {server}: {:?} {}", end.ended, said.trim_end()));
        }
    }
    say(&format!("{:?}", cage.containment().level));
}

/// Says what limits the forks of both servers have.
pub(crate) fn limits_of_forks() {
    let mut cage = Cage::start(&serving()).unwrap();
    for server in [0, 1] {
        for processes in [1, 2] {
            let limits = RunLimits { processes, ..LIMITS };
            cage.load("words", b"fork-once").unwrap();
            let (_, said) = run(&mut cage, Start::Fork(server), limits);
            say(&format!("{processes}: {}", said.trim_end()));
        }
        let limits = RunLimits {
            cpu_ms: 2_000,
            ..LIMITS
        };
        cage.load("words", b"limits").unwrap();
        let (_, said) = run(&mut cage, Start::Fork(server), limits);
        say(said.trim_end());
    }
    say(&format!("{:?}", cage.containment().level));
}

/// Says how long things take, in microseconds; the median of `count`. The cage shows `runtime` besides, as one for an
/// interpreter with many modules does.
pub(crate) fn measure(count: usize, runtime: &[&str]) {
    let mut config = serving();
    config.runtime.extend(runtime.iter().map(PathBuf::from));
    let mut made = Vec::new();
    let mut cage = None;
    for _ in 0..20 {
        drop(cage.take());
        let start = Instant::now();
        cage = Some(Cage::start(&config).unwrap());
        made.push(start.elapsed());
    }
    say(&format!("cage set-up: {}", figures(&mut made)));
    let mut cage = cage.unwrap();
    cage.load("words", b"nothing").unwrap();
    let plain = || {
        assert!(Command::new("/bin/true").status().unwrap().success());
    };
    let argv = ["/bin/true".to_owned()];
    for server in [0, 1] {
        run(&mut cage, Start::Fork(server), LIMITS);
    }
    // The spare, which is not part of any run, is there before the clock starts.
    let init = below(cage.pid())[0];
    until(|| below(init).len() == SERVED_HELPERS);
    for (name, start) in [
        ("vfork and exec /bin/true, no cage", None),
        ("exec /bin/true in a cage", Some(Start::Execute(&argv))),
        ("fork by a server that holds nothing", Some(Start::Fork(0))),
        ("fork by a server that holds the program", Some(Start::Fork(1))),
    ] {
        let mut took = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            match start {
                None => plain(),
                Some(start) => {
                    run(&mut cage, start, LIMITS);
                }
            }
            took.push(began.elapsed());
        }
        say(&format!("{name}: {}", figures(&mut took)));
    }
}

fn figures(took: &mut [Duration]) -> String {
    took.sort();
    let at = |part: usize| took[took.len() * part / 100].as_micros();
    format!("fastest {} us, median {} us, 90 % {} us", at(0), at(50), at(90))
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The children of a process.
fn below(pid: u32) -> Vec<u32> {
    let mut text = String::new();
    let path = format!("/proc/{pid}/task/{pid}/children");
    fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    let pids = text.split_ascii_whitespace();
    pids.map(|pid| pid.parse().unwrap()).collect()
}

/// Waits for a condition, a bounded number of looks.
fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "it did not come about");
        std::thread::yield_now();
    }
}
