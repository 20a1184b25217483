//! Programs that misbehave, where `ROUNDHOUSE_SHARED` names them: each gets a verdict that is expected of it, in time,
//! and the plain program after it in the same cage is right.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use roundhouse_proto::{EvaluateWork, Isolation, Limits, StartMode, Verdict};
use roundhouse_worker::evaluate::Pool;

use crate::stand::{MODES, PLAIN, SUM, evaluation, judge_all, pool, tests, verdicts, work};

/// What each of them may use.
const LIMITS: Limits = Limits {
    cpu_ms: 1_000,
    wall_ms: 3_000,
    memory_bytes: 256 << 20,
    output_bytes: 1 << 20,
    processes: 32,
};
/// From the end of its limit to its verdict.
const VERDICT_WITHIN: Duration = Duration::from_millis(500);
/// What a machine that does other things as well may add to the time on the clock. Times are not what is tested here;
/// a verdict that hangs is.
const BUSY: Duration = Duration::from_secs(20);

/// One row of the table of expected verdicts.
struct Expected {
    stdin: String,
    words: Vec<String>,
}

/// The rows by program, from the table in `EXPECTED.md`.
fn expected(hostile: &Path) -> BTreeMap<String, Expected> {
    let text = std::fs::read_to_string(hostile.join("EXPECTED.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line
            .trim()
            .trim_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect();
        let name = cells.first()?.to_owned();
        hostile.join(format!("{name}.py")).exists().then_some(())?;
        let words = cells[2]
            .split(|c: char| !c.is_ascii_alphabetic())
            .filter(|word| !word.is_empty());
        let row = Expected {
            stdin: cells[1].to_owned(),
            words: words.map(str::to_owned).collect(),
        };
        Some((name.to_owned(), row))
    };
    text.lines().filter_map(row).collect()
}

/// Listeners of the test itself, which must hear nothing.
struct Ears {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Ears {
    fn open() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        Self { tcp, udp }
    }

    fn port(&self, program: &str) -> u16 {
        if program.contains("udp") {
            self.udp.local_addr().unwrap().port()
        } else {
            self.tcp.local_addr().unwrap().port()
        }
    }

    fn assert_heard_nothing(&self, program: &str) {
        assert!(self.tcp.accept().is_err(), "`{program}` reached a listener");
        assert!(
            self.udp.recv(&mut [0; 64]).is_err(),
            "`{program}` reached a socket"
        );
    }
}

/// Input and expected output for a kind of standard input.
fn stdin_of(kind: &str, wants_safe: bool, program: &str, ears: &Ears) -> (String, String) {
    let secret = "EXPECTED_SECRET_0123456789abcdef";
    let (input, output) = match kind {
        "big" => {
            let mut lines = "1234567\n".repeat(1 << 20);
            lines.push('\n');
            (lines, SUM.1.to_owned())
        }
        "port" => (format!("{}\n", ears.port(program)), SUM.1.to_owned()),
        "secret" => (SUM.0.to_owned(), format!("{secret}\n")),
        _ => (SUM.0.to_owned(), SUM.1.to_owned()),
    };
    if wants_safe {
        (input, "SAFE\n".to_owned())
    } else {
        (input, output)
    }
}

/// Whether a verdict is among the expected words.
fn is_expected(verdict: Verdict, words: &[String]) -> bool {
    let is = |word: &str| words.iter().any(|expected| expected == word);
    match verdict {
        Verdict::Accepted => is("AC") || is("SAFE") || is("any") || is("same"),
        Verdict::InternalError => false,
        other => is(other.code()) || is("any") || is("same"),
    }
}

async fn assert_all_held(pool: &Pool, hostile: &Path, start: StartMode) {
    let table = expected(hostile);
    assert!(table.len() >= 45, "only {} rows were read", table.len());
    let mut wrong = Vec::new();
    let sum = tests(&[SUM]);
    for (name, row) in &table {
        let ears = Ears::open();
        let program = std::fs::read_to_string(hostile.join(format!("{name}.py"))).unwrap();
        let wants_safe = row.words.iter().any(|word| word == "SAFE");
        let (input, output) = stdin_of(&row.stdin, wants_safe, name, &ears);
        let set = tests(&[(input, output)]);
        let limited = EvaluateWork {
            limits: LIMITS,
            ..work(&set, start)
        };
        let begun = Instant::now();
        let report = judge_all(pool, [evaluation(&program, &set, limited)], 1)
            .await
            .remove(0);
        let took = begun.elapsed();
        let case = &report.cases[0];
        let shown = format!(
            "`{name}` under `{start}` is {} after {took:?}: stdout {:?}, stderr {:?}",
            case.verdict, case.stdout.head, case.stderr_tail
        );
        if !is_expected(case.verdict, &row.words) || case.stdout.head.contains("ESCAPED") {
            wrong.push(shown.clone());
        }
        // A verdict by the clock may be repeated alone, once; failures may be confirmed by a fresh interpreter, once.
        let longest = 3 * (Duration::from_millis(LIMITS.wall_ms) + VERDICT_WITHIN) + BUSY;
        assert!(took < longest, "{shown}");
        ears.assert_heard_nothing(name);
        let plain = EvaluateWork {
            limits: LIMITS,
            ..work(&sum, start)
        };
        let after = judge_all(pool, [evaluation(PLAIN, &sum, plain)], 1)
            .await
            .remove(0);
        if verdicts(&after) != ["AC"] {
            wrong.push(format!(
                "after `{name}` the plain program is {:?}",
                after.cases[0]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn hostile_programs_get_the_verdicts_that_are_expected_of_them_in_every_mode() {
    let test = "hostile_programs_get_the_verdicts_that_are_expected_of_them_in_every_mode";
    let Some(shared) = roundhouse_tests::shared(test) else {
        return;
    };
    let pool = pool(1);
    if pool.isolation() < Isolation::FullNocg {
        say(&format!("LEFT OUT: {test}: isolation is `{}`", pool.isolation()));
        return;
    }
    for start in MODES {
        assert_all_held(&pool, &shared.join("hostile"), start).await;
    }
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn say(text: &str) {
    eprintln!("{text}");
}
