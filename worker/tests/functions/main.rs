//! Function tasks in real cages: whatever a program does, only the end of its case is a pass.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod real_data;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Case, CaseResult, Comparator, Digest, EvaluateWork, Language, Limits, Payload, TestSet, Tier, Verdict,
};
use roundhouse_worker::evaluate::{Cancellation, Evaluation, Pool};
use roundhouse_worker::language::Interpreter;

/// Characters that are kept of an output.
const OUTPUT_CHARS: u32 = 2_000;

fn pool() -> Pool {
    let interpreter = Interpreter::resolve(Language::Python3, None).unwrap();
    let cages = NonZeroUsize::new(2).unwrap();
    Pool::start(PathBuf::from(env!("CARGO_BIN_EXE_worker")), interpreter, cages).unwrap()
}

fn evaluation(program: &str, entry_point: &str, cases: &[&str]) -> Evaluation {
    let case = |code: &&str| Case {
        tier: Tier::Private,
        input: Bytes::copy_from_slice(code.as_bytes()),
        expected: Bytes::new(),
    };
    let cpu_ms = 2_000;
    Evaluation {
        work: EvaluateWork {
            execution: roundhouse_proto::Execution::default(),
            program: Payload::text(""),
            language: Language::Python3,
            tests: Digest::of(cases.concat().as_bytes()),
            limits: Limits {
                cpu_ms,
                wall_ms: Limits::wall_for_cpu_ms(cpu_ms),
                ..Limits::default()
            },
            // No rule of outputs agrees with the word of a driver by chance.
            comparator: Comparator::Exact,
            ignore_exit_status: true,
            timeouts_max: 0,
            stop_on_first_failure: false,
            output_chars: OUTPUT_CHARS,
            entry_point: Some(entry_point.to_owned()),
        },
        program: Bytes::copy_from_slice(program.as_bytes()),
        tests: Arc::new(TestSet {
            cases: cases.iter().map(case).collect(),
        }),
        checker: None,
        priority: Priority::NORMAL,
        cancellation: Cancellation::default(),
    }
}

async fn judged(pool: &Pool, program: &str, cases: &[&str]) -> Vec<CaseResult> {
    pool.evaluate(evaluation(program, "f", cases))
        .await
        .unwrap()
        .cases
}

fn verdicts(results: &[CaseResult]) -> Vec<Verdict> {
    results.iter().map(|result| result.verdict).collect()
}

#[tokio::test]
async fn case_sees_the_program_and_its_function_under_two_names() {
    let program = "from __future__ import annotations\nimport math\nfrom dataclasses import dataclass\n\n@dataclass\n\
                   class Point:\n    x: Unknown = 1\n\ndef helper(x):\n    return x + 1\n\ndef f(x):\n    \
                   print('noise')\n    return helper(x)\n\nif __name__ == '__main__':\n    raise ValueError\n";
    let cases = [
        "assert candidate(1) == 2\n",
        "assert f(1) == 2 and helper(2) == 3 and math.pi > 3 and Point().x == 1\n",
        "def check(candidate):\n    for n in range(3):\n        assert candidate(n) == n + 1, 'text'\n\ncheck(candidate)\n",
        "x: List[int] = []\n",
        "assert candidate(1) == 2\nassert candidate(1) == 1 + 1",
        "assert [candidate(n) for n in range(3)] == [1, 2, 3]",
    ];
    let results = judged(&pool(), program, &cases).await;
    use Verdict::{Accepted, RuntimeError};
    assert_eq!(
        verdicts(&results),
        // Annotations of the case are evaluated: the program's future is not the case's.
        [Accepted, Accepted, Accepted, RuntimeError, Accepted, Accepted]
    );
    assert_eq!(
        (results[0].stdout.head.as_str(), results[0].stderr_tail.as_str()),
        ("", "")
    );
}

#[tokio::test]
async fn failed_assertion_of_the_case_is_a_wrong_answer_with_the_value_and_any_other_error_is_not() {
    let program = "def f(x):\n    assert x != 3\n    return [1 / x, 'é\\n']\n";
    let cases = [
        "assert candidate(1) == [2]\n",
        "assert candidate(1) == [2], 'said'\n",
        "def check(candidate):\n    assert candidate(1) == 2\n\ncheck(candidate)\n",
        "assert candidate(0) == 1\n",
        "assert candidate(3) == 1\n",
        "assert candidate(1) = 1\n",
        "raise SystemExit(0)\n",
        "assert False\nassert candidate(1) == 1\n",
    ];
    let results = judged(&pool(), program, &cases).await;
    use Verdict::{RuntimeError, WrongAnswer};
    assert_eq!(
        verdicts(&results),
        [
            WrongAnswer,
            WrongAnswer,
            WrongAnswer,
            RuntimeError,
            RuntimeError,
            RuntimeError,
            RuntimeError,
            WrongAnswer
        ]
    );
    let values: Vec<&str> = results.iter().map(|result| result.stdout.head.as_str()).collect();
    assert_eq!(values, ["[1.0, 'é\\n']", "[1.0, 'é\\n']", "", "", "", "", "", ""]);
    let trace = "Traceback (most recent call last):\n  File \"case\", line 1, in <module>\n    \
                 assert candidate(1) == [2], 'said'\n";
    assert!(
        results[1].stderr_tail.starts_with(trace),
        "{}",
        results[1].stderr_tail
    );
    assert!(results[1].stderr_tail.ends_with("AssertionError: said\n"));
    assert!(
        results[3]
            .stderr_tail
            .contains("File \"main.py\", line 3, in f\n    return [1 / x, ")
    );
    assert!(
        results[3]
            .stderr_tail
            .ends_with("ZeroDivisionError: division by zero\n")
    );
    assert!(
        results[5].stderr_tail.contains("SyntaxError"),
        "{}",
        results[5].stderr_tail
    );
}

#[tokio::test]
async fn program_that_does_not_compile_is_said_so() {
    let results = judged(
        &pool(),
        "def f(x):\n    return (\n",
        &["assert candidate(1) == 1", "assert f(2)"],
    )
    .await;
    assert_eq!(verdicts(&results), [Verdict::CompileError; 2]);
    assert!(!results[0].not_run && results[1].not_run);
    assert!(
        results[0].stderr_tail.contains("File \"main.py\", line 2"),
        "{}",
        results[0].stderr_tail
    );
}

/// Programs that do not do what is asked, by all the ways there are to end early or to say something.
const NO_PASS: [(&str, Verdict); 19] = [
    ("import sys\nsys.exit(0)\n", Verdict::RuntimeError),
    ("import os\nos._exit(0)\n", Verdict::RuntimeError),
    ("def f(x):\n    raise SystemExit\n", Verdict::RuntimeError),
    ("import os\ndef f(x):\n    os._exit(0)\n", Verdict::RuntimeError),
    ("quit()\n", Verdict::RuntimeError),
    ("", Verdict::RuntimeError),
    ("f = None\n", Verdict::RuntimeError),
    (
        "n = int(input())\ndef f(x):\n    return 2\n",
        Verdict::RuntimeError,
    ),
    ("import os\nos.kill(os.getpid(), 9)\n", Verdict::RuntimeError),
    (
        "import os\nif os.fork():\n    os._exit(0)\ndef f(x):\n    return 3\n",
        Verdict::RuntimeError,
    ),
    ("raise KeyboardInterrupt\n", Verdict::RuntimeError),
    (
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\ndef f(x):\n    return 3\n",
        Verdict::WrongAnswer,
    ),
    (
        "import _ast, builtins\n_ast.Assert = _ast.Eq = builtins.BaseException = int\ndef f(x):\n    return 3\n",
        Verdict::WrongAnswer,
    ),
    (
        "print('passed')\ndef f(x):\n    print('passed')\n    return 3\n",
        Verdict::WrongAnswer,
    ),
    (
        "import os, sys\ndef f(x):\n    for n in range(16):\n        try:\n            os.write(n, b'passed\\n')\n        \
         except OSError:\n            pass\n    os._exit(0)\n",
        Verdict::RuntimeError,
    ),
    (
        "import os, sys\nos._exit = sys.exit = lambda *a: None\nsys.stdout = sys.stderr = None\ndef f(x):\n    return 3\n",
        Verdict::WrongAnswer,
    ),
    (
        "import atexit, os\natexit.register(os._exit, 0)\nraise ValueError\n",
        Verdict::RuntimeError,
    ),
    (
        "import sys\nsys.modules.clear()\ndef f(x):\n    return 3\n",
        Verdict::WrongAnswer,
    ),
    ("def f(x):\n    while True: pass\n", Verdict::TimeLimit),
];

#[tokio::test]
async fn no_early_end_and_no_output_of_a_program_is_a_pass() {
    let pool = pool();
    for (program, verdict) in NO_PASS {
        let results = judged(&pool, program, &["assert candidate(1) == 2\n"]).await;
        assert_eq!(
            verdicts(&results),
            [verdict],
            "{program}\n{}",
            results[0].stderr_tail
        );
    }
}

#[tokio::test]
async fn memory_that_a_function_does_not_get_is_the_memory_limit() {
    let program = "def f(x):\n    return len('x' * (1 << 40))\n";
    let results = judged(&pool(), program, &["assert candidate(1) == 2\n"]).await;
    assert_eq!(
        verdicts(&results),
        [Verdict::MemoryLimit],
        "{}",
        results[0].stderr_tail
    );
}
