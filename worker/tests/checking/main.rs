//! Checkers in real cages: they see what they are to see, judged programs do not, and their failures are ours.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

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

fn pool() -> Pool {
    let interpreter = Interpreter::resolve(Language::Python3, None).unwrap();
    // One cage: whatever a case leaves there is there for the next.
    Pool::start(
        PathBuf::from(env!("CARGO_BIN_EXE_worker")),
        interpreter,
        NonZeroUsize::MIN,
    )
    .unwrap()
}

/// Judges a program against cases of an input and an expected output.
async fn judged(pool: &Pool, program: &str, checker: &str, cases: &[(&str, &str)]) -> Vec<CaseResult> {
    let case = |(input, expected): &(&str, &str)| Case {
        tier: Tier::Private,
        input: Bytes::copy_from_slice(input.as_bytes()),
        expected: Bytes::copy_from_slice(expected.as_bytes()),
    };
    let tests = TestSet {
        cases: cases.iter().map(case).collect(),
    };
    let evaluation = Evaluation {
        work: EvaluateWork {
            execution: roundhouse_proto::Execution::default(),
            program: Payload::text(""),
            language: Language::Python3,
            tests: Digest::of(&tests.to_bytes()),
            limits: Limits::default(),
            comparator: Comparator::Checker {
                program: Digest::of(checker.as_bytes()),
            },
            ignore_exit_status: false,
            timeouts_max: 0,
            stop_on_first_failure: false,
            output_chars: 200,
            entry_point: None,
        },
        program: Bytes::copy_from_slice(program.as_bytes()),
        tests: Arc::new(tests),
        checker: Some(Bytes::copy_from_slice(checker.as_bytes())),
        priority: Priority::NORMAL,
        cancellation: Cancellation::default(),
    };
    pool.evaluate(evaluation).await.unwrap().cases
}

fn verdicts(results: &[CaseResult]) -> Vec<Verdict> {
    results.iter().map(|result| result.verdict).collect()
}

#[tokio::test]
async fn checker_decides_by_input_output_and_expected_output() {
    // Any divisor but 1 and the number itself is right; the expected output says whether there is one.
    let checker = "import sys\nn, out, best = (open(name).read().split()[0] for name in sys.argv[1:])\n\
                   if best == 'none':\n    sys.exit(out != 'none')\n\
                   sys.exit(not (1 < int(out) < int(n) and int(n) % int(out) == 0))\n";
    let program = "n = int(input())\nprint(next((d for d in range(n - 1, 1, -1) if n % d == 0), 'none'))\nif n == 9: print('x')";
    let cases = [("12", "2"), ("7", "none"), ("9", "3"), ("10", "none")];
    let results = judged(&pool(), program, checker, &cases).await;
    use Verdict::{Accepted, WrongAnswer};
    assert_eq!(verdicts(&results), [Accepted, Accepted, Accepted, WrongAnswer]);
    assert_eq!(results[0].stdout.head, "6\n");
}

#[tokio::test]
async fn judged_program_finds_nothing_of_the_checker_before_or_after_it() {
    // It looks at all that it can read, leaves files, and rewrites itself; what it finds it says.
    let program = "import os\nfound = [os.path.join(d, f) for top in ('/w', '/tmp') for d, _, fs in os.walk(top) for f in fs]\n\
                   print(sorted(found))\nopen('left', 'w').write('x')\nopen('/tmp/output.txt', 'w').write('x')\n";
    let checker = "import os, sys\nok = sorted(os.listdir('.')) == ['expected.txt', 'input.txt', 'main.py', 'output.txt']\n\
                   ok = ok and os.listdir('/tmp') == [] and sys.stdin.read() == '' and os.getcwd() == '/w'\n\
                   ok = ok and open('output.txt').read() == \"['/w/main.py']\\n\"\n\
                   open('/tmp/of the checker', 'w').write(open('expected.txt').read())\nsys.exit(not ok)\n";
    let results = judged(
        &pool(),
        program,
        checker,
        &[("a", "secret"), ("b", "secret"), ("c", "secret")],
    )
    .await;
    assert_eq!(verdicts(&results), [Verdict::Accepted; 3]);
    assert!(
        results
            .iter()
            .all(|result| result.stdout.head == "['/w/main.py']\n")
    );
}

#[tokio::test]
async fn checker_that_fails_or_takes_too_much_is_a_failure_of_ours_and_the_next_case_is_judged() {
    let checker = "import os, sys\nwhat = open('input.txt').read()\n\
                   if what == 'raises': raise ValueError('no such thing')\n\
                   if what == 'floods': sys.stdout.write('x' * (2 << 20))\n\
                   if what == 'dies': os.abort()\n";
    let cases = [
        ("raises", ""),
        ("right", ""),
        ("floods", ""),
        ("right", ""),
        ("dies", ""),
        ("right", ""),
    ];
    let results = judged(&pool(), "print(input())", checker, &cases).await;
    use Verdict::{Accepted, InternalError};
    assert_eq!(
        verdicts(&results),
        [
            InternalError,
            Accepted,
            InternalError,
            Accepted,
            InternalError,
            Accepted
        ]
    );
    let reason = &results[0].stderr_tail;
    let start = "not judged: the checker ended with status 2, expected 0 for right or 1 for wrong: ";
    assert!(
        reason.starts_with(start) && reason.ends_with("ValueError: no such thing"),
        "{reason}"
    );
    let other = |at: usize| results[at].stderr_tail.split(": ").nth(1).unwrap_or_default();
    assert_eq!(
        (other(2), other(4)),
        (
            "the checker wrote more than 1048576 bytes",
            "the checker was ended by signal 6"
        )
    );
}

#[tokio::test]
async fn output_too_long_for_the_checker_is_the_programs_own_fault_and_one_that_fits_is_checked() {
    let program = "print('x' * (int(input()) - 1))";
    let checker =
        "import os, sys\nsys.exit(os.path.getsize('output.txt') != int(open('expected.txt').read()))\n";
    let (most, more) = ((16 << 20).to_string(), ((16 << 20) + 1).to_string());
    let cases = [(more.as_str(), more.as_str()), (most.as_str(), most.as_str())];
    let results = judged(&pool(), program, checker, &cases).await;
    assert_eq!(verdicts(&results), [Verdict::OutputLimit, Verdict::Accepted]);
}
