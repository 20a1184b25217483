//! Single programs: tiny, mid, numpy; and other sandboxes where they are installed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use roundhouse_proto::StartMode;

use crate::bare::{Bare, run_true};
use crate::judged::{evaluation, interpreter, judge, judge_all, pool, same};

/// Rounds of each measurement; every variant is measured in every round, and the medians are compared.
const ROUNDS: usize = 7;

const TINY: &str = "n = int(input())\nprint(sum(map(int, input().split())))\n";
const TINY_INPUT: &str = "5\n1 2 3 4 5\n";
const MID: &str = "import sys\ndata = sys.stdin.read().split()\nn = int(data[0])\nd = {}\nfor x in data[1:n + 1]:\n    d[x] = d.get(x, 0) + 1\nprint(len(d), max(d.values()))\nprint('\\n'.join(sorted(d, key=int)[:1000]))\n";
const NUMPY: &str = "import numpy as np\nn = int(input())\na = np.array(input().split(), dtype=np.int64)\nprint(int(a.sum()))\n";

/// Milliseconds of one of `n`, done one after another.
fn each(n: usize, mut once: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..n {
        once();
    }
    begun.elapsed().as_secs_f64() * 1e3 / n as f64
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn line(what: &str, ms: f64) {
    println!("  {what:<52} {ms:>9.3} ms");
}

fn ratio(what: &str, ratio: f64, goal: &str) {
    println!("  {what:<52} {ratio:>9.2} x   (goal {goal})");
}

/// A program that does next to nothing: what a test costs by itself.
pub(crate) async fn tiny() {
    let bare = Bare::new(interpreter().executable(), TINY);
    let stdin = bare.path().join("stdin");
    std::fs::write(&stdin, TINY_INPUT).unwrap();
    let mut set_up = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        drop(pool(1));
        set_up.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let interpreter_ms = median(
        &mut (0..3)
            .map(|_| each(1, || drop(interpreter())))
            .collect::<Vec<_>>(),
    );
    let (one, two) = (pool(1), pool(2));
    println!("tiny (isolation `{}`), per test", one.isolation());
    // Before anything is measured everything has been done once.
    judge(
        &one,
        evaluation(TINY, &same(TINY_INPUT, "15\n", 5), StartMode::Natural),
    )
    .await;
    let (mut truth, mut fresh, mut fast, mut natural, mut caged, mut both) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        truth.push(each(300, run_true));
        fresh.push(each(40, || bare.run_simply(&stdin)));
        for (start, n, times) in [
            (StartMode::Fast, 600, &mut fast),
            (StartMode::Natural, 150, &mut natural),
            (StartMode::Fresh, 40, &mut caged),
        ] {
            let tests = same(TINY_INPUT, "15\n", n);
            let begun = Instant::now();
            judge(&one, evaluation(TINY, &tests, start)).await;
            times.push(begun.elapsed().as_secs_f64() * 1e3 / n as f64);
        }
        let tests = same(TINY_INPUT, "15\n", 600);
        let begun = Instant::now();
        judge_all(&two, (0..2).map(|_| evaluation(TINY, &tests, StartMode::Fast))).await;
        both.push(begun.elapsed().as_secs_f64() * 1e3 / 1200.0);
    }
    let [truth, fresh, fast, natural, caged, both, set_up] =
        [truth, fresh, fast, natural, caged, both, set_up].map(|mut times| median(&mut times));
    line("vfork + exec /bin/true", truth);
    line("fresh `python3 main.py`, no cage", fresh);
    line("judged, `fresh`", caged);
    line("judged, `natural`", natural);
    line("judged, `fast`", fast);
    line("judged, `fast`, two cages", both);
    line("a pool of one cage, made and ended", set_up - interpreter_ms);
    ratio(
        "tests/s of `fast` against a bare fresh interpreter",
        fresh / fast,
        ">= 8",
    );
    ratio(
        "time of `fast` against vfork + exec /bin/true",
        fast / truth,
        "<= 2.5",
    );
    ratio("two cages against one", fast / both, ">= 1.5");
    ratio("`natural` against `fresh` in the cage", caged / natural, ">= 2");
    ratio(
        "`natural` against a bare fresh interpreter",
        fresh / natural,
        ">= 2",
    );
}

/// 100,000 lines of input: what a test costs that works.
pub(crate) async fn mid() {
    let n = 100_000;
    let mut input = format!("{n}\n");
    for at in 0..n {
        input.push_str(&format!("{}\n", (at * 7919) % 50_021));
    }
    let bare = Bare::new(interpreter().executable(), MID);
    let expected = String::from_utf8(bare.run(&input, Duration::from_secs(10)).stdout).unwrap();
    let stdin = bare.path().join("input");
    let pool = pool(1);
    println!("mid (100,000 lines), CPU per test");
    let (mut fresh, mut fast) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let before = children_cpu_ms();
        for _ in 0..5 {
            bare.run_simply(&stdin);
        }
        fresh.push((children_cpu_ms() - before) / 5.0);
        let report = judge(
            &pool,
            evaluation(MID, &same(&input, &expected, 5), StartMode::Fast),
        )
        .await;
        fast.push(report.cases.iter().map(|case| case.cpu_ms as f64).sum::<f64>() / 5.0);
    }
    let (fresh, fast) = (median(&mut fresh), median(&mut fast));
    line("fresh `python3 main.py`, no cage", fresh);
    line("judged, `fast`", fast);
    ratio(
        "CPU of `fast` against a bare fresh interpreter",
        fast / fresh,
        "<= 1.05",
    );
}

/// CPU time of this process's children that have ended, in milliseconds.
fn children_cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    // Fields 16 and 17 of proc(5), in ticks of 10 ms; the third one is the first here.
    [13, 14]
        .iter()
        .map(|at| fields[*at].parse::<f64>().unwrap() * 10.0)
        .sum()
}

/// A program that imports numpy, where the interpreter has it.
pub(crate) async fn numpy() {
    let interpreter = interpreter();
    let has_numpy = Command::new(interpreter.executable())
        .args(["-c", "import numpy"])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success();
    if !has_numpy {
        println!(
            "numpy: LEFT OUT: `{}` has none",
            interpreter.executable().display()
        );
        return;
    }
    let bare = Bare::new(interpreter.executable(), NUMPY);
    let stdin = bare.path().join("stdin");
    std::fs::write(&stdin, TINY_INPUT).unwrap();
    let pool = pool(1);
    println!("numpy, per test");
    let (mut fresh, mut fast) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        fresh.push(each(6, || bare.run_simply(&stdin)));
        let tests = same(TINY_INPUT, "15\n", 200);
        let begun = Instant::now();
        judge(&pool, evaluation(NUMPY, &tests, StartMode::Fast)).await;
        fast.push(begun.elapsed().as_secs_f64() * 1e3 / 200.0);
    }
    let (fresh, fast) = (median(&mut fresh), median(&mut fast));
    line("fresh `python3 main.py`, no cage", fresh);
    line("judged, `fast`", fast);
    ratio(
        "tests/s of `fast` against a bare fresh interpreter",
        fresh / fast,
        ">= 30",
    );
}

/// Other sandboxes, where they are installed: the tiny program once in each, as each is used.
pub(crate) fn tools() {
    let executable = interpreter().executable().display().to_string();
    let bare = Bare::new(interpreter().executable(), TINY);
    let stdin = bare.path().join("stdin");
    std::fs::write(&stdin, TINY_INPUT).unwrap();
    let main = bare.path().join("main.py").display().to_string();
    let tools: [(&str, Vec<&str>); 3] = [
        (
            "bwrap",
            vec!["--ro-bind", "/", "/", "--unshare-all", &executable, &main],
        ),
        (
            "nsjail",
            vec!["-Mo", "--chroot", "/", "-q", "--", &executable, &main],
        ),
        (
            "isolate",
            vec!["--run", "--dir=/root=/root:maybe", "--", &executable, &main],
        ),
    ];
    println!("other sandboxes, per test");
    for (tool, arguments) in tools {
        let run = || {
            Command::new(tool)
                .args(&arguments)
                .stdin(std::fs::File::open(&stdin).unwrap())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
        };
        match run() {
            Ok(status) if status.success() => {
                let mut times: Vec<f64> = (0..ROUNDS).map(|_| each(20, || drop(run()))).collect();
                line(tool, median(&mut times));
            }
            Ok(status) => println!("  {tool:<52} LEFT OUT: {status}"),
            Err(error) => println!("  {tool:<52} LEFT OUT: {error}"),
        }
    }
}
