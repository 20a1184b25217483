//! The whole of standard output, against the published sample.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::fs;

use roundhouse_core::run::Lang;
use roundhouse_core::summary::RunSummary;

use super::text::ZH;
use super::*;
use crate::report::figures::Judgeable;
use crate::report::fixture::Fixture;

const RUN_DIR: &str = "baseline_outputs/run_20260209_153045";

fn print_results(console: &mut Console<impl Write>, run: &RunSummary) {
    let problems = run.problems.len();
    console.generation_done(&run.times, problems);
    console.evaluation_heading(run.evaluation_slots);
    console.evaluation_done(&run.times, problems);
    console.results(&Figures::of(run), &Price::default());
    console.saved(RUN_DIR, "baseline_results.json");
    console.finished();
}

fn printed(print: impl FnOnce(&mut Console<&mut Vec<u8>>)) -> String {
    printed_in(Lang::Zh, print)
}

fn printed_in(lang: Lang, print: impl FnOnce(&mut Console<&mut Vec<u8>>)) -> String {
    let mut out = Vec::new();
    print(&mut Console::new(&mut out, Texts::of(lang)));
    String::from_utf8(out).unwrap()
}

/// The sample run from its first line to its last.
fn print_sample(console: &mut Console<&mut Vec<u8>>) {
    console.header();
    console.loading("CodeContests");
    console.loaded(100, RUN_DIR);
    console.config(Mode::Parallel, 4, 8);
    console.generation_heading(Mode::Parallel, 4);
    for place in 1..=4 {
        console.problem_started(place, 100, &format!("problem_{place:03}"));
    }
    console.problem_generated(1, 100, "problem_001", Generated::Program);
    console.problem_started(5, 100, "problem_005");
    console.problem_generated(2, 100, "problem_002", Generated::Program);
    print_results(console, &Fixture::sample().run);
}

#[test]
fn output_of_the_sample_run_is_the_published_one() {
    let found = printed(print_sample);
    let wanted = "\
================================================================================
CodeContests Baseline - Self-collaboration-Code-Generation
================================================================================

[步骤 1/5] 加载 CodeContests 数据集...
✅ 加载完成，共 100 个问题
✅ 输出目录: baseline_outputs/run_20260209_153045

⚙️  配置信息:
  - 并行模式: 开启
  - 工作进程数: 4
  - CPU 核心数: 8

[步骤 2/5] 开始生成代码...
================================================================================
🚀 使用 4 个进程并行生成...
[1/100] 开始处理: problem_001
[2/100] 开始处理: problem_002
[3/100] 开始处理: problem_003
[4/100] 开始处理: problem_004
[1/100] ✅ problem_001 生成成功
[5/100] 开始处理: problem_005
[2/100] ✅ problem_002 生成成功

================================================================================
✅ 代码生成完成！
⏱️  生成耗时: 900.45 秒
📈 平均每题: 9.00 秒
================================================================================

[步骤 3/5] 最终评估所有生成结果...
================================================================================
🔍 使用 16 个进程并行评估...
✅ 评估完成！
⏱️  评估耗时: 145.32 秒
📈 平均每题: 1.45 秒

[步骤 4/5] 统计结果...
================================================================================

📊 最终结果
================================================================================
✅ Pass@1: 45.00% (45/100)
⏱️  总耗时: 1045.77 秒
   - 代码生成: 900.45 秒 (86.1%)
   - 代码评估: 145.32 秒 (13.9%)
🔢 总 Token 使用量: 1,234,567
📈 平均每题 Token: 12346
💰 估算成本 (按 $0.27/1M tokens): $0.3333
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
    assert_eq!(found, wanted);
}

#[test]
fn output_in_english_has_the_same_lines_with_the_same_numbers() {
    let all = |lang| {
        printed_in(lang, |console| {
            print_sample(console);
            console.config(Mode::Sequential, 1, 2);
            console.generation_heading(Mode::Sequential, 1);
            console.problem_generated(1, 2, "problem_001", Generated::Nothing);
            console.problem_generated(2, 2, "problem_002", Generated::Error("the model is unreachable"));
            let price = Price {
                per_million: 0.5,
                apart: Some((0.25, 1.0)),
            };
            console.results(&Figures::of(&Fixture::sample().run), &price);
            console.results(&Figures::of(&Fixture::empty().run), &price);
        })
    };
    let (chinese, english) = (all(Lang::Zh), all(Lang::En));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/golden/console_en.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &english).unwrap();
    }
    assert_eq!(english, fs::read_to_string(&path).unwrap());
    let is_chinese =
        |c: char| ('\u{2e80}'..='\u{9fff}').contains(&c) || ('\u{ff00}'..='\u{ffef}').contains(&c);
    assert!(!english.contains(is_chinese), "{english}");
    let numbers = |text: &str| -> Vec<String> {
        let digits = |line: &str| line.chars().filter(char::is_ascii_digit).collect();
        text.lines().map(digits).collect()
    };
    assert_eq!(numbers(&english), numbers(&chinese));
}

#[test]
fn sequential_mode_failures_and_hostile_names_have_their_lines() {
    let found = printed(|console| {
        console.config(Mode::Sequential, 1, 2);
        console.generation_heading(Mode::Sequential, 1);
        console.problem_generated(1, 2, "a\x1b[2Jb", Generated::Nothing);
        console.problem_generated(2, 2, "p", Generated::Error("down\n{} [3/2] ✅ p 生成成功"));
    });
    let wanted = "
⚙️  配置信息:
  - 并行模式: 关闭
  - 工作进程数: 1
  - CPU 核心数: 2

[步骤 2/5] 开始生成代码...
================================================================================
⏩ 顺序生成模式...
[1/2] ❌ a [2Jb 生成失败
[2/2] ❌ p 异常: down {} [3/2] ✅ p 生成成功
";
    assert_eq!(found, wanted);
}

#[test]
fn results_of_an_empty_run_are_zeros_and_unknown_tokens() {
    let run = Fixture::empty().run;
    let found = printed(|console| {
        console.generation_done(&run.times, 0);
        console.evaluation_done(&run.times, 0);
        console.results(&Figures::of(&run), &Price::default());
    });
    let wanted = "
================================================================================
✅ 代码生成完成！
⏱️  生成耗时: 0.00 秒
📈 平均每题: 0.00 秒
================================================================================
✅ 评估完成！
⏱️  评估耗时: 0.00 秒
📈 平均每题: 0.00 秒

[步骤 4/5] 统计结果...
================================================================================

📊 最终结果
================================================================================
✅ Pass@1: 0.00% (0/0)
⏱️  总耗时: 0.00 秒
   - 代码生成: 0.00 秒 (0.0%)
   - 代码评估: 0.00 秒 (0.0%)
🔢 总 Token 使用量: N/A (未能统计到 token 使用量)
================================================================================
";
    assert_eq!(found, wanted);
}

#[test]
fn separate_prices_add_one_line_with_the_exact_cost() {
    let price = Price {
        per_million: 0.5,
        apart: Some((0.25, 1.0)),
    };
    let run = Fixture::sample().run;
    let found = printed(|console| console.results(&Figures::of(&run), &price));
    let tail = "\
📈 平均每题 Token: 12346
💰 估算成本 (按 $0.5/1M tokens): $0.6173
💰 分项成本 (输入 $0.25/1M, 输出 $1/1M): $0.3345
================================================================================
";
    assert!(found.ends_with(tail), "{found}");
}

#[test]
fn rate_of_judgeable_problems_stands_below_that_of_all() {
    let run = Fixture::sample().run;
    let mut figures = Figures::of(&run);
    figures.judgeable = Some(Judgeable {
        total: 65,
        passed: 34,
    });
    for (lang, line) in [
        (Lang::Zh, "  - 可判题目通过率: 52.3% (34/65)\n"),
        (Lang::En, "  - Pass rate of judgeable problems: 52.3% (34/65)\n"),
    ] {
        let without = printed_in(lang, |console| {
            console.results(&Figures::of(&run), &Price::default());
        });
        let found = printed_in(lang, |console| console.results(&figures, &Price::default()));
        let pass_at_1 = "✅ Pass@1: 45.00% (45/100)\n";
        assert_eq!(found, without.replace(pass_at_1, &format!("{pass_at_1}{line}")));
    }
}

/// Takes so many bytes, then is closed.
struct Closing(usize);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => {
                self.0 = left;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn log_has_every_line_also_after_standard_output_was_closed() {
    let run = Fixture::sample().run;
    let dir = tempfile::tempdir().unwrap();
    let all = printed(|console| {
        console.header();
        print_results(console, &run);
    });
    let mut console = Console::new(Closing(300), &ZH);
    console.header();
    console.copy_to(dir.path()).unwrap();
    print_results(&mut console, &run);
    assert_eq!(fs::read_to_string(dir.path().join(LOG_FILE)).unwrap(), all);

    // A resumed run goes on below.
    let mut again = Console::new(Closing(0), &ZH);
    again.finished();
    again.copy_to(dir.path()).unwrap();
    let mut last = Vec::new();
    Console::new(&mut last, &ZH).finished();
    let wanted = all + std::str::from_utf8(&last).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join(LOG_FILE)).unwrap(), wanted);
}
