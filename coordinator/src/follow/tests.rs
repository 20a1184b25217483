//! What is printed of a watched run, and that it is printed once.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use roundhouse_proto::wire::v1::RunState;
use roundhouse_proto::wire::v1::problem_update::Step;
use roundhouse_proto::wire::v1::run_update::What;

use super::*;
use crate::client::fake::{Fake, Watch, file, id, status};
use crate::console::text::ZH;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

const SUMMARY: &str = r#"{"summary": {"pass_at_1": 50.0, "passed": 1, "total": 2,
    "time_cost": {"total": 12.5, "generation": 10.0, "evaluation": 2.5},
    "token_usage": {"total": 300, "average_per_problem": 150.0, "per_problem_details": [],
        "input": 200, "cached_input": 0, "output": 100, "reasoning": 0, "calls": 4, "calls_unaccounted": 0},
    "config": {"parallel": true, "workers": 8, "eval_workers": 4}, "timestamp": "x",
    "cost": {"usd_per_million_tokens": 0.27}, "busy_s": {"generation": 20.0, "evaluation": 3.0}}, "results": []}"#;

/// What standard output holds of [`SUMMARY`]'s run, from the settings on.
const PRINTED: &str = "
⚙️  配置信息:
  - 并行模式: 开启
  - 工作进程数: 8
  - CPU 核心数: 16

[步骤 2/5] 开始生成代码...
================================================================================
🚀 使用 8 个进程并行生成...
[1/2] 开始处理: problem_001
[2/2] 开始处理: problem_007
[2/2] ❌ problem_007 异常: no key
[1/2] ✅ problem_001 生成成功

================================================================================
✅ 代码生成完成！
⏱️  生成耗时: 10.00 秒
📈 平均每题: 5.00 秒
================================================================================

[步骤 3/5] 最终评估所有生成结果...
================================================================================
🔍 使用 4 个进程并行评估...
✅ 评估完成！
⏱️  评估耗时: 2.50 秒
📈 平均每题: 1.25 秒

[步骤 4/5] 统计结果...
================================================================================

📊 最终结果
================================================================================
✅ Pass@1: 50.00% (1/2)
⏱️  总耗时: 12.50 秒
   - 代码生成: 10.00 秒 (80.0%)
   - 代码评估: 2.50 秒 (20.0%)
🔢 总 Token 使用量: 300
📈 平均每题 Token: 150
💰 估算成本 (按 $0.27/1M tokens): $0.0001
================================================================================

[步骤 5/5] 保存结果...
================================================================================
✅ 详细结果已保存到: baseline_outputs/run_20260209_153045
✅ 摘要已保存到: baseline_results.json
✅ 每个问题的详细日志: baseline_outputs/run_20260209_153045/<problem_id>/
✅ 可读报告已保存到: baseline_outputs/run_20260209_153045/REPORT.txt

================================================================================
🎉 所有任务完成！
================================================================================
";

fn seen(change: impl FnOnce(&mut v1::RunStatus)) -> v1::RunStatus {
    let mut status = status(5);
    status.problems_n = 2;
    change(&mut status);
    status
}

fn waiting() -> v1::RunStatus {
    seen(|status| (status.generation_slots, status.evaluation_slots, status.cores) = (0, 0, 0))
}

fn complete() -> v1::RunStatus {
    seen(|status| status.state = RunState::Complete.into())
}

fn step(index: u64, step: Step) -> What {
    What::Problem(v1::ProblemUpdate {
        index,
        step: Some(step),
    })
}

fn no_key() -> Step {
    Step::NotGenerated(v1::Failure {
        class: v1::FailureClass::Model.into(),
        message: "no key".to_owned(),
    })
}

fn follower(out: &mut Vec<u8>) -> Follower<&mut Vec<u8>> {
    let names = vec!["problem_001".to_owned(), "problem_007".to_owned()];
    let run = waiting().try_into().unwrap();
    Follower::new(Console::new(out, &ZH), names, Mode::Parallel, run)
}

/// What is printed, and what people are told, of these updates.
fn followed(updates: Vec<What>) -> (String, Vec<String>) {
    let now = Instant::now();
    let at_once = |what| (Duration::ZERO, what);
    followed_over_time(now, updates.into_iter().map(at_once))
}

/// As [`followed`], each after a time since `begun`.
fn followed_over_time(
    begun: Instant,
    updates: impl IntoIterator<Item = (Duration, What)>,
) -> (String, Vec<String>) {
    let mut out = Vec::new();
    let mut follower = follower(&mut out);
    let mut said = Vec::new();
    for (after, what) in updates {
        let update = v1::RunUpdate { what: Some(what) };
        said.extend(follower.take_in(update.try_into().unwrap(), begun + after));
    }
    drop(follower);
    (String::from_utf8(out).unwrap(), said)
}

#[test]
fn slots_are_printed_when_the_first_job_is_handed_out_and_no_line_twice() {
    let once = vec![
        What::Status(waiting()),
        What::Status(seen(|_| {})),
        step(1, Step::Started(true)),
        step(1, Step::Generated(true)),
        // Its start was not told of.
        step(2, Step::Generated(false)),
        step(2, Step::Judged(true)),
        What::GenerationDoneMs(10_000),
        What::ReportsWritten(true),
    ];
    let (printed, said) = followed(once.clone());
    let wanted = "
⚙️  配置信息:
  - 并行模式: 开启
  - 工作进程数: 8
  - CPU 核心数: 16

[步骤 2/5] 开始生成代码...
================================================================================
🚀 使用 8 个进程并行生成...
[1/2] 开始处理: problem_001
[1/2] ✅ problem_001 生成成功
[2/2] 开始处理: problem_007
[2/2] ❌ problem_007 生成失败

================================================================================
✅ 代码生成完成！
⏱️  生成耗时: 10.00 秒
📈 平均每题: 5.00 秒
================================================================================

[步骤 3/5] 最终评估所有生成结果...
================================================================================
🔍 使用 4 个进程并行评估...
";
    assert_eq!((printed.as_str(), &said[..]), (wanted, &[][..]));
    assert_eq!(followed([once.clone(), once].concat()).0, wanted);
}

#[test]
fn nothing_is_printed_before_there_are_slots_and_an_index_out_of_range_is_passed_over() {
    let (printed, _) = followed(vec![
        What::Status(waiting()),
        step(3, Step::Started(true)),
        step(u64::from(u32::MAX), Step::Judged(true)),
    ]);
    assert_eq!(printed, "");
}

fn stuck(whys: &[&str]) -> What {
    What::Status(seen(|status| {
        status.warnings = whys.iter().map(|why| (*why).to_owned()).collect();
    }))
}

#[test]
fn notices_are_said_once_and_cannot_steer_a_terminal() {
    let notice = || What::Notice("a key is refused\nreally\x1b[2J".to_owned());
    let (_, said) = followed(vec![notice(), notice(), What::Notice("another".to_owned())]);
    assert_eq!(said, ["note: a key is refused really [2J", "note: another"]);
}

#[test]
fn run_that_cannot_move_is_said_to_once_it_has_lasted_and_again_after_it_moved() {
    let missing = "no evaluation worker\x1b[2J\nhint: `worker join\x1b`";
    let seconds = Duration::from_secs;
    let (_, said) = followed_over_time(
        Instant::now(),
        [
            // Workers come back after a restart.
            (0, stuck(&[missing])),
            (1, stuck(&[])),
            (10, stuck(&[missing])),
            (12, stuck(&[missing])),
            (13, stuck(&[missing, "no endpoint"])),
            (14, stuck(&[missing, "no endpoint"])),
            (18, stuck(&[missing, "no endpoint"])),
            (19, stuck(&[])),
            (20, stuck(&["no endpoint"])),
            (25, stuck(&["no endpoint"])),
        ]
        .map(|(after, what)| (seconds(after), what)),
    );
    let wanted = [
        "warning: the run cannot move: no evaluation worker [2J\nhint: `worker join `",
        "warning: the run cannot move: no endpoint",
        "note: the run moves again",
        "warning: the run cannot move: no endpoint",
    ];
    assert_eq!(said, wanted);
}

#[test]
fn run_that_is_paused_is_said_to_be_so_at_once() {
    let paused = seen(|status| {
        status.state = RunState::Paused.into();
        status.warnings = vec!["no key works\nhint: `worker join`".to_owned()];
    });
    let (_, said) = followed(vec![What::Status(paused)]);
    assert_eq!(
        said,
        ["warning: the run cannot move: no key works\nhint: `worker join`"]
    );
}

#[test]
fn reports_of_a_pause_are_not_those_of_the_end() {
    let mut out = Vec::new();
    let mut follower = follower(&mut out);
    let mut overs = Vec::new();
    for what in [
        What::ReportsWritten(true),
        // It went on before the pause was told of.
        What::Status(seen(|_| {})),
        What::Status(complete()),
        What::ReportsWritten(true),
    ] {
        let update = v1::RunUpdate { what: Some(what) };
        follower.take_in(update.try_into().unwrap(), Instant::now());
        overs.push(follower.is_over());
    }
    assert_eq!(overs, [false, false, false, true]);
}

#[test]
fn run_is_over_when_it_is_at_rest_and_its_reports_are_written() {
    let mut out = Vec::new();
    let mut follower = follower(&mut out);
    let mut overs = Vec::new();
    for what in [
        What::ReportsWritten(true),
        What::Status(seen(|status| status.state = RunState::Paused.into())),
    ] {
        let update = v1::RunUpdate { what: Some(what) };
        follower.take_in(update.try_into().unwrap(), Instant::now());
        overs.push(follower.is_over());
    }
    assert_eq!(overs, [false, true]);
}

async fn followed_at(fake: &Fake) -> (Result<Bytes, FollowError>, String) {
    let client = fake.client();
    let mut out = Vec::new();
    let mut follower = follower(&mut out);
    let bars = Progress::hidden();
    let followed = to_the_end(&client, id(5), &mut follower, &bars);
    let fetched = tokio::time::timeout(PATIENCE, followed).await.unwrap();
    if let Ok(bytes) = &fetched {
        follower.finish(&crate::report::read_back::read_back(bytes).unwrap());
    }
    drop(follower);
    (fetched, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn run_is_followed_without_gap_or_repetition_over_lost_streams() {
    let fake = Fake::start().await;
    fake.known().runs.push(seen(|_| {}));
    fake.known().files = file("summary.json", SUMMARY);
    let head = vec![
        What::Status(waiting()),
        What::Status(seen(|_| {})),
        step(1, Step::Started(true)),
        step(2, Step::Started(true)),
    ];
    let middle = vec![step(2, no_key()), step(2, Step::Judged(true))];
    let tail = vec![
        step(1, Step::Generated(true)),
        What::GenerationDoneMs(10_000),
        step(1, Step::Judged(true)),
        What::ReportsWritten(true),
        What::Status(complete()),
    ];
    let cut = |updates: &[Vec<What>]| Watch {
        updates: updates.concat(),
        stays_open: false,
    };
    fake.known().watches = [
        cut(std::slice::from_ref(&head)),
        cut(&[head.clone(), middle.clone()]),
        // The last stream stays open: what is over is not waited for.
        Watch {
            updates: [head, middle, tail].concat(),
            stays_open: true,
        },
    ]
    .into();
    let (fetched, printed) = followed_at(&fake).await;
    assert_eq!(fetched.unwrap(), SUMMARY);
    assert_eq!(printed, PRINTED);
}

#[tokio::test]
async fn end_that_no_stream_told_of_is_seen_all_the_same() {
    let fake = Fake::start().await;
    fake.known().runs.push(complete());
    fake.known().files = file("summary.json", SUMMARY);
    // It ends behind the reports, before the last state.
    fake.known().watches = [Watch {
        updates: vec![What::Status(seen(|_| {})), What::ReportsWritten(true)],
        stays_open: false,
    }]
    .into();
    assert_eq!(followed_at(&fake).await.0.unwrap(), SUMMARY);
}

#[tokio::test]
async fn run_that_nobody_knows_is_not_waited_for() {
    let fake = Fake::start().await;
    let (fetched, printed) = followed_at(&fake).await;
    let is_refused = matches!(fetched, Err(FollowError::Client(ClientError::Refused { .. })));
    assert!(is_refused, "{fetched:?}");
    assert_eq!(printed, "");
}
