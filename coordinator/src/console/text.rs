//! Every sentence of the console and of REPORT.txt, one table for each language. Readers search for these lines
//! and compare them byte by byte, so a change here is a change of the format.

use std::fmt::Display;

use roundhouse_core::run::Lang;

/// Characters of a rule.
const RULE_CHARS: usize = 80;

/// The line between blocks.
pub(crate) fn rule() -> String {
    "=".repeat(RULE_CHARS)
}

/// Puts the values, in order, where the template has `{}`. Braces inside a value mean nothing.
pub(crate) fn fill(template: &str, values: &[&dyn Display]) -> String {
    let mut parts = template.split("{}");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut values = values.iter();
    for part in parts {
        if let Some(value) = values.next() {
            text.push_str(&value.to_string());
        }
        text.push_str(part);
    }
    text
}

/// Strings by which readers of REPORT.txt find its two figures, in every language: what outside texts have in their
/// place, so that no other line of a report holds one.
pub(crate) const SEARCHED: [(&str, &str); 3] = [
    ("Pass@1", "Pass @1"),
    ("总耗时", "总 耗时"),
    ("Total time", "Total  time"),
];

/// The sentences of one language; `{}` stands for a value.
#[derive(Debug)]
pub struct Texts {
    pub(crate) title: &'static str,
    pub(crate) loading: &'static str,
    pub(crate) loaded: &'static str,
    pub(crate) output_dir: &'static str,
    pub(crate) settings: &'static str,
    pub(crate) parallel_mode: &'static str,
    pub(crate) parallel_on: &'static str,
    pub(crate) parallel_off: &'static str,
    pub(crate) workers: &'static str,
    pub(crate) cores: &'static str,
    pub(crate) generating: &'static str,
    pub(crate) generating_parallel: &'static str,
    pub(crate) generating_sequential: &'static str,
    pub(crate) problem_started: &'static str,
    pub(crate) problem_generated: &'static str,
    pub(crate) problem_failed: &'static str,
    pub(crate) problem_error: &'static str,
    pub(crate) generation_done: &'static str,
    pub(crate) generation_time: &'static str,
    pub(crate) time_per_problem: &'static str,
    pub(crate) evaluating: &'static str,
    pub(crate) evaluating_parallel: &'static str,
    pub(crate) evaluation_done: &'static str,
    pub(crate) evaluation_time: &'static str,
    pub(crate) counting: &'static str,
    pub(crate) results: &'static str,
    pub(crate) pass_at_1: &'static str,
    /// Of REPORT.txt, too.
    pub(crate) judgeable: &'static str,
    pub(crate) total_time: &'static str,
    pub(crate) generation_share: &'static str,
    pub(crate) evaluation_share: &'static str,
    pub(crate) tokens: &'static str,
    pub(crate) tokens_unknown: &'static str,
    pub(crate) tokens_per_problem: &'static str,
    pub(crate) cost: &'static str,
    pub(crate) cost_exact: &'static str,
    pub(crate) saving: &'static str,
    pub(crate) saved_details: &'static str,
    pub(crate) saved_summary: &'static str,
    pub(crate) saved_logs: &'static str,
    pub(crate) saved_report: &'static str,
    pub(crate) finished: &'static str,
    pub(crate) compare_generation: &'static str,
    pub(crate) compare_evaluation: &'static str,
    pub(crate) compare_total: &'static str,
    pub(crate) compare_factor: &'static str,
    /// What the lines with the evaluation time call it, for notes about them.
    pub(crate) evaluation_time_name: &'static str,
    pub(crate) report: ReportTexts,
}

impl Texts {
    /// The table of a language.
    pub fn of(lang: Lang) -> &'static Self {
        match lang {
            Lang::Zh => &ZH,
            Lang::En => &EN,
        }
    }
}

/// The sentences of REPORT.txt.
#[derive(Debug)]
pub(crate) struct ReportTexts {
    pub(crate) title: &'static str,
    pub(crate) started: &'static str,
    pub(crate) data_set: &'static str,
    pub(crate) problems: &'static str,
    pub(crate) settings: &'static str,
    pub(crate) parallel_mode: &'static str,
    pub(crate) workers: &'static str,
    pub(crate) eval_workers: &'static str,
    pub(crate) figures: &'static str,
    pub(crate) pass_at_1: &'static str,
    pub(crate) total_time: &'static str,
    pub(crate) generation_time: &'static str,
    pub(crate) evaluation_time: &'static str,
    pub(crate) tokens: &'static str,
    pub(crate) tokens_unknown: &'static str,
    pub(crate) tokens_per_problem: &'static str,
    pub(crate) calls_unaccounted: &'static str,
    pub(crate) errors: &'static str,
    pub(crate) open: &'static str,
    pub(crate) details: &'static str,
    pub(crate) pass: &'static str,
    pub(crate) fail: &'static str,
    pub(crate) error: &'static str,
    pub(crate) unsettled: &'static str,
}

/// Chinese, the default: old readers of the files expect it.
pub const ZH: Texts = Texts {
    title: "CodeContests Baseline - Self-collaboration-Code-Generation",
    loading: "[步骤 1/5] 加载 {} 数据集...",
    loaded: "✅ 加载完成，共 {} 个问题",
    output_dir: "✅ 输出目录: {}",
    settings: "⚙️  配置信息:",
    parallel_mode: "  - 并行模式: {}",
    parallel_on: "开启",
    parallel_off: "关闭",
    workers: "  - 工作进程数: {}",
    cores: "  - CPU 核心数: {}",
    generating: "[步骤 2/5] 开始生成代码...",
    generating_parallel: "🚀 使用 {} 个进程并行生成...",
    generating_sequential: "⏩ 顺序生成模式...",
    problem_started: "[{}/{}] 开始处理: {}",
    problem_generated: "[{}/{}] ✅ {} 生成成功",
    problem_failed: "[{}/{}] ❌ {} 生成失败",
    problem_error: "[{}/{}] ❌ {} 异常: {}",
    generation_done: "✅ 代码生成完成！",
    generation_time: "⏱️  生成耗时: {} 秒",
    time_per_problem: "📈 平均每题: {} 秒",
    evaluating: "[步骤 3/5] 最终评估所有生成结果...",
    evaluating_parallel: "🔍 使用 {} 个进程并行评估...",
    evaluation_done: "✅ 评估完成！",
    evaluation_time: "⏱️  评估耗时: {} 秒",
    counting: "[步骤 4/5] 统计结果...",
    results: "📊 最终结果",
    pass_at_1: "✅ Pass@1: {}% ({}/{})",
    judgeable: "  - 可判题目通过率: {}% ({}/{})",
    total_time: "⏱️  总耗时: {} 秒",
    generation_share: "   - 代码生成: {} 秒 ({}%)",
    evaluation_share: "   - 代码评估: {} 秒 ({}%)",
    tokens: "🔢 总 Token 使用量: {}",
    tokens_unknown: "🔢 总 Token 使用量: N/A (未能统计到 token 使用量)",
    tokens_per_problem: "📈 平均每题 Token: {}",
    cost: "💰 估算成本 (按 ${}/1M tokens): ${}",
    cost_exact: "💰 分项成本 (输入 ${}/1M, 输出 ${}/1M): ${}",
    saving: "[步骤 5/5] 保存结果...",
    saved_details: "✅ 详细结果已保存到: {}",
    saved_summary: "✅ 摘要已保存到: {}",
    saved_logs: "✅ 每个问题的详细日志: {}/<problem_id>/",
    saved_report: "✅ 可读报告已保存到: {}/REPORT.txt",
    finished: "🎉 所有任务完成！",
    compare_generation: "⏱️  生成耗时: {} 秒 (~{} 分钟)",
    compare_evaluation: "⏱️  评估耗时: {} 秒 (~{} 分钟)",
    compare_total: "⏱️  总耗时: {} 秒 (~{} 分钟)",
    compare_factor: " ⚡ {}x 加速",
    evaluation_time_name: "评估耗时",
    report: ReportTexts {
        title: "CodeContests Baseline 运行报告",
        started: "运行时间: {}",
        data_set: "数据集: {}",
        problems: "题目数量: {}",
        settings: "配置信息:",
        parallel_mode: "  - 并行模式: {}",
        workers: "  - 生成进程数: {}",
        eval_workers: "  - 评估进程数: {}",
        figures: "结果统计:",
        pass_at_1: "  - Pass@1: {}% ({}/{})",
        total_time: "  - 总耗时: {} 秒",
        generation_time: "  - 生成耗时: {} 秒",
        evaluation_time: "  - 评估耗时: {} 秒",
        tokens: "  - 总 Token: {}",
        tokens_unknown: "  - 总 Token: N/A (未能统计到 token 使用量)",
        tokens_per_problem: "  - 平均每题 Token: {}",
        calls_unaccounted: "  - 未计入的调用: {} (可能已计费, 未报告 token 数)",
        errors: "  - 基础设施错误: {}",
        open: "  - 未完成: {} ({})",
        details: "详细结果:",
        pass: "  ✅ PASS {} (准确率: {}%)",
        fail: "  ❌ FAIL {} (准确率: {}%)",
        error: "  ⚠️ ERROR {} (基础设施错误: {})",
        unsettled: "  ⏳ OPEN {} (未完成)",
    },
};

/// English: the same lines in the same order, with the same numbers in them.
pub const EN: Texts = Texts {
    title: "CodeContests Baseline - Self-collaboration-Code-Generation",
    loading: "[Step 1/5] Loading the {} data set...",
    loaded: "✅ Loaded: {} problems",
    output_dir: "✅ Output directory: {}",
    settings: "⚙️  Settings:",
    parallel_mode: "  - Parallel mode: {}",
    parallel_on: "on",
    parallel_off: "off",
    workers: "  - Generation slots: {}",
    cores: "  - CPU cores: {}",
    generating: "[Step 2/5] Generating code...",
    generating_parallel: "🚀 Using {} slots to generate in parallel...",
    generating_sequential: "⏩ Generating one problem after another...",
    problem_started: "[{}/{}] Started: {}",
    problem_generated: "[{}/{}] ✅ {} generated",
    problem_failed: "[{}/{}] ❌ {} generation failed",
    problem_error: "[{}/{}] ❌ {} error: {}",
    generation_done: "✅ Code generation finished!",
    generation_time: "⏱️  Generation time: {} s",
    time_per_problem: "📈 Average per problem: {} s",
    evaluating: "[Step 3/5] Evaluating all generated programs...",
    evaluating_parallel: "🔍 Using {} slots to evaluate in parallel...",
    evaluation_done: "✅ Evaluation finished!",
    evaluation_time: "⏱️  Evaluation time: {} s",
    counting: "[Step 4/5] Counting the results...",
    results: "📊 Results",
    pass_at_1: "✅ Pass@1: {}% ({}/{})",
    judgeable: "  - Pass rate of judgeable problems: {}% ({}/{})",
    total_time: "⏱️  Total time: {} s",
    generation_share: "   - Generation: {} s ({}%)",
    evaluation_share: "   - Evaluation: {} s ({}%)",
    tokens: "🔢 Total tokens: {}",
    tokens_unknown: "🔢 Total tokens: N/A (no token counts were reported)",
    tokens_per_problem: "📈 Average tokens per problem: {}",
    cost: "💰 Estimated cost (at ${}/1M tokens): ${}",
    cost_exact: "💰 Itemised cost (input ${}/1M, output ${}/1M): ${}",
    saving: "[Step 5/5] Saving the results...",
    saved_details: "✅ Detailed results saved to: {}",
    saved_summary: "✅ Summary saved to: {}",
    saved_logs: "✅ Log of each problem: {}/<problem_id>/",
    saved_report: "✅ Readable report saved to: {}/REPORT.txt",
    finished: "🎉 All tasks finished!",
    compare_generation: "⏱️  Generation time: {} s (~{} min)",
    compare_evaluation: "⏱️  Evaluation time: {} s (~{} min)",
    compare_total: "⏱️  Total time: {} s (~{} min)",
    compare_factor: " ⚡ {}x speed-up",
    evaluation_time_name: "Evaluation time",
    report: ReportTexts {
        title: "CodeContests Baseline Run Report",
        started: "Started: {}",
        data_set: "Data set: {}",
        problems: "Problems: {}",
        settings: "Settings:",
        parallel_mode: "  - Parallel mode: {}",
        workers: "  - Generation slots: {}",
        eval_workers: "  - Evaluation slots: {}",
        figures: "Results:",
        pass_at_1: "  - Pass@1: {}% ({}/{})",
        total_time: "  - Total time: {} s",
        generation_time: "  - Generation time: {} s",
        evaluation_time: "  - Evaluation time: {} s",
        tokens: "  - Total tokens: {}",
        tokens_unknown: "  - Total tokens: N/A (no token counts were reported)",
        tokens_per_problem: "  - Average tokens per problem: {}",
        calls_unaccounted: "  - Calls not counted: {} (may have been charged, no token count was reported)",
        errors: "  - Infrastructure errors: {}",
        open: "  - Unfinished: {} ({})",
        details: "Details:",
        pass: "  ✅ PASS {} (accuracy: {}%)",
        fail: "  ❌ FAIL {} (accuracy: {}%)",
        error: "  ⚠️ ERROR {} (infrastructure error: {})",
        unsettled: "  ⏳ OPEN {} (unfinished)",
    },
};

#[cfg(test)]
mod tests;
