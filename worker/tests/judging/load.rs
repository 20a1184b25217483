//! Verdicts do not change with the load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roundhouse_proto::{EvaluateWork, Limits, StartMode, TestSet};
use roundhouse_worker::evaluate::{Evaluation, Pool};

use crate::stand::{evaluation, judge_all, pool, tests, verdicts, work};

/// Programs of which a judge that looks at the clock, or at what runs beside, would say now this, now that.
const PROGRAMS: [&str; 6] = [
    // Uses a good part of its CPU time.
    "import time\nn = int(input())\nwhile time.process_time() < 0.2: pass\nprint(n + 1)\n",
    // Uses more than all of it.
    "n = int(input())\nwhile n != 3: pass\nprint(n + 1)\n",
    // Waits.
    "import time\nn = int(input())\ntime.sleep(0.2)\nprint(n + 1)\n",
    // Is wrong at one place, right before and after.
    "n = int(input())\nprint(n + (n != 7))\n",
    // Dies at one place.
    "n = int(input())\nprint(n + 1)\nassert n != 5\n",
    // Is always right.
    "print(int(input()) + 1)\n",
];
/// Cases of the set.
const CASES: u32 = 10;

fn set() -> Arc<TestSet> {
    let cases: Vec<(String, String)> = (0..CASES)
        .map(|n| (format!("{n}\n"), format!("{}\n", n + 1)))
        .collect();
    tests(&cases)
}

fn evaluations(set: &Arc<TestSet>, times: usize) -> Vec<Evaluation> {
    let cpu_ms = 1_000;
    let programs = PROGRAMS.iter().cycle().take(PROGRAMS.len() * times);
    programs
        .map(|program| {
            let limits = Limits {
                cpu_ms,
                wall_ms: Limits::wall_for_cpu_ms(cpu_ms),
                ..Limits::default()
            };
            let work = EvaluateWork {
                limits,
                timeouts_max: 2,
                ..work(set, StartMode::Fast)
            };
            evaluation(program, set, work)
        })
        .collect()
}

async fn all(pool: &Pool, set: &Arc<TestSet>, times: usize, at_a_time: usize) -> Vec<Vec<&'static str>> {
    let reports = judge_all(pool, evaluations(set, times), at_a_time).await;
    reports.iter().map(verdicts).collect()
}

/// Keeps a core busy until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ends);
        std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self(ends)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn verdicts_are_the_same_for_one_cage_and_for_two_workers_on_a_busy_host() {
    let set = set();
    let alone = all(&pool(1), &set, 1, 1).await;
    let expected: Vec<Vec<&str>> = vec![
        vec!["AC"; 10],
        // Two that time out are enough.
        vec!["TLE"; 10],
        vec!["AC"; 10],
        vec!["AC", "AC", "AC", "AC", "AC", "AC", "AC", "WA", "AC", "AC"],
        vec!["AC", "AC", "AC", "AC", "AC", "RE", "AC", "AC", "AC", "AC"],
        vec!["AC"; 10],
    ];
    // The second program would answer one case rightly, and is given up before.
    assert_eq!(alone, expected);

    let _busy = Busy::start();
    let (one, other) = (pool(2), pool(2));
    let (first, second) = tokio::join!(all(&one, &set, 2, 12), all(&other, &set, 2, 12));
    let expected: Vec<_> = expected
        .iter()
        .cycle()
        .take(2 * PROGRAMS.len())
        .cloned()
        .collect();
    assert_eq!(first, expected);
    assert_eq!(second, expected);
}
