//! Right programs that open their standard files by name.

use roundhouse_proto::{Isolation, StartMode};

use crate::stand::{MODES, SUM, evaluation, judge_all, pool, tests, verdicts, work};

/// Where each of them reads its input and writes its answer.
const WAYS: [(&str, &str); 4] = [
    ("/dev/stdin", "/dev/stdout"),
    ("/dev/fd/0", "/dev/fd/1"),
    ("/proc/self/fd/0", "/proc/self/fd/1"),
    ("/dev/stdin", "/dev/stderr"),
];

#[tokio::test]
async fn programs_that_open_their_standard_files_by_name_are_right_in_every_start() {
    let test = "programs_that_open_their_standard_files_by_name_are_right_in_every_start";
    let pool = pool(1);
    if pool.isolation() < Isolation::FullNocg {
        say(&format!("LEFT OUT: {test}: isolation is `{}`", pool.isolation()));
        return;
    }
    let sum = tests(&[SUM]);
    for start in MODES {
        for (input, output) in WAYS {
            let program = format!(
                "import sys\n\
                 with open('{input}') as f:\n    n, *rest = map(int, f.read().split())\n\
                 with open('{output}', 'w') as out:\n    out.write(str(sum(rest)) + '\\n')\n\
                 if '{output}' == '/dev/stderr':\n    print(sum(rest))\n"
            );
            assert_right(&pool, &program, &sum, start).await;
        }
        // No start leaves a file of its own open.
        let list = "import os\nn = input()\nif sorted(os.listdir('/dev/fd')) == ['0', '1', '2', '3']:\n    print(sum(map(int, input().split())))\n";
        assert_right(&pool, list, &sum, start).await;
        // Left open: what it holds is written when the interpreter ends.
        let held = "out = open('/dev/stdout', 'w')\nprint(sum(map(int, open('/dev/stdin').read().split()[1:])), file=out)\n";
        assert_right(&pool, held, &sum, start).await;
        // A child is given nothing but its three files by the same names.
        let child = "import subprocess, sys\n\
                     n = subprocess.run([sys.executable, '-c', 'print(sum(map(int, open(\"/dev/stdin\").read().split()[1:])))'])\n";
        assert_right(&pool, child, &sum, start).await;
    }
}

async fn assert_right(
    pool: &roundhouse_worker::evaluate::Pool,
    program: &str,
    set: &std::sync::Arc<roundhouse_proto::TestSet>,
    start: StartMode,
) {
    let report = judge_all(pool, [evaluation(program, set, work(set, start))], 1)
        .await
        .remove(0);
    assert_eq!(
        verdicts(&report),
        ["AC"],
        "{start}: {program}{:?}",
        report.cases[0]
    );
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn say(text: &str) {
    eprintln!("{text}");
}
