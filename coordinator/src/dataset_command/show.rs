//! `dataset show`: what is in a problems file.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use roundhouse_proto::{Problem, Program, Tier};
use serde::Serialize;

use crate::dataset::quote::plain;
use crate::dataset::{self, Loaded};

/// Warnings that are printed one by one.
const WARNINGS_SHOWN_MAX: usize = 20;

/// Characters of an id in the table.
const ID_CHARS_MAX: usize = 48;

/// `dataset show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The problems file: parquet, JSON or JSON Lines, also as .gz or .zst
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let loaded = dataset::load(&args.file)?;
    for warning in loaded.warnings.iter().take(WARNINGS_SHOWN_MAX) {
        super::say(&format!("warning: {warning}"));
    }
    if let Some(more @ 1..) = loaded.warnings.len().checked_sub(WARNINGS_SHOWN_MAX) {
        super::say(&format!("warning: and {more} more"));
    }
    let overview = Overview::of(&args.file.to_string_lossy(), &loaded);
    let text = if args.json {
        serde_json::to_string_pretty(&overview)? + "\n"
    } else {
        overview.table()
    };
    super::write_stdout(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What `--json` prints.
#[derive(Debug, PartialEq, Serialize)]
struct Overview {
    file: String,
    format: &'static str,
    container: &'static str,
    compression: &'static str,
    sha256: String,
    bytes: u64,
    rows: u32,
    problems: usize,
    problems_without_tests: usize,
    problems_with_time_limit: usize,
    tests: Tests,
    test_bytes: u64,
    solutions: usize,
    incorrect_solutions: usize,
    warnings: Vec<String>,
    list: Vec<Line>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Tests {
    public: usize,
    private: usize,
    generated: usize,
}

#[derive(Debug, PartialEq, Serialize)]
struct Line {
    position: u32,
    name: String,
    source_id: String,
    tests: Tests,
    test_bytes: u64,
    solutions: usize,
    incorrect_solutions: usize,
    time_limit_ms: Option<u64>,
    memory_limit_bytes: Option<u64>,
}

impl Tests {
    fn of(problem: &Problem) -> Self {
        let mut tests = Self::default();
        for case in &problem.tests.cases {
            match case.tier {
                Tier::Public => tests.public += 1,
                Tier::Private => tests.private += 1,
                Tier::Generated => tests.generated += 1,
            }
        }
        tests
    }

    fn total(self) -> usize {
        self.public + self.private + self.generated
    }
}

impl Overview {
    fn of(file: &str, loaded: &Loaded) -> Self {
        let list: Vec<Line> = loaded.problems.iter().map(line).collect();
        let sum = |of: fn(&Tests) -> usize| list.iter().map(|line| of(&line.tests)).sum();
        let info = loaded.info;
        Self {
            file: file.to_owned(),
            format: info.format.word(),
            container: info.container.word(),
            compression: info.compression.word(),
            sha256: info.sha256.to_string(),
            bytes: info.bytes,
            rows: info.rows,
            problems: list.len(),
            problems_without_tests: list.iter().filter(|line| line.tests.total() == 0).count(),
            problems_with_time_limit: list.iter().filter(|line| line.time_limit_ms.is_some()).count(),
            tests: Tests {
                public: sum(|tests| tests.public),
                private: sum(|tests| tests.private),
                generated: sum(|tests| tests.generated),
            },
            test_bytes: list.iter().map(|line| line.test_bytes).sum(),
            solutions: list.iter().map(|line| line.solutions).sum(),
            incorrect_solutions: list.iter().map(|line| line.incorrect_solutions).sum(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
            list,
        }
    }

    /// The overview for people. Ids are made fit for a terminal here; in JSON they are as they are, escaped.
    fn table(&self) -> String {
        let mut out = String::new();
        let mut head = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name:<15} {value}");
        };
        let compressed = match self.compression {
            "none" => String::new(),
            compression => format!(", {compression}"),
        };
        head("file", plain(&self.file, usize::MAX));
        head(
            "format",
            format!("{} ({}{compressed})", self.format, self.container),
        );
        head("sha256", self.sha256.clone());
        head("bytes", grouped(self.bytes));
        head("rows", self.rows.to_string());
        head("problems", self.problems.to_string());
        let Tests {
            public,
            private,
            generated,
        } = self.tests;
        head(
            "tests",
            format!(
                "{} (public {public}, private {private}, generated {generated})",
                self.tests.total()
            ),
        );
        head("test bytes", grouped(self.test_bytes));
        head("without tests", self.problems_without_tests.to_string());
        head("with time limit", self.problems_with_time_limit.to_string());
        head(
            "python3",
            format!(
                "{} solutions, {} incorrect solutions",
                self.solutions, self.incorrect_solutions
            ),
        );
        let ids: Vec<String> = self
            .list
            .iter()
            .map(|line| plain(&line.source_id, ID_CHARS_MAX))
            .collect();
        let width = ids
            .iter()
            .map(|id| id.chars().count())
            .max()
            .unwrap_or(0)
            .max("source id".len());
        let _ = writeln!(
            out,
            "\n{:>8}  {:<12} {:<width$} {:>6} {:>7} {:>9} {:>9} {:>9} {:>10}",
            "position",
            "name",
            "source id",
            "public",
            "private",
            "generated",
            "solutions",
            "incorrect",
            "time limit",
        );
        for (line, id) in self.list.iter().zip(&ids) {
            let limit = line
                .time_limit_ms
                .map_or_else(|| "-".to_owned(), |limit| format!("{limit} ms"));
            let _ = writeln!(
                out,
                "{:>8}  {:<12} {id:<width$} {:>6} {:>7} {:>9} {:>9} {:>9} {limit:>10}",
                line.position,
                line.name,
                line.tests.public,
                line.tests.private,
                line.tests.generated,
                line.solutions,
                line.incorrect_solutions,
            );
        }
        out
    }
}

fn line(problem: &Problem) -> Line {
    let count = |programs: &[Program]| programs.len();
    Line {
        position: problem.position,
        name: problem.name(),
        source_id: problem.source_id.clone(),
        tests: Tests::of(problem),
        test_bytes: problem
            .tests
            .cases
            .iter()
            .map(|case| (case.input.len() + case.expected.len()) as u64)
            .sum(),
        solutions: count(&problem.solutions),
        incorrect_solutions: count(&problem.incorrect_solutions),
        time_limit_ms: problem.time_limit_ms,
        memory_limit_bytes: problem.memory_limit_bytes,
    }
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    const ROWS: &str = concat!(
        r#"{"name":"1_A. One","description":"d","public_tests":{"input":["1"],"output":["22"]},"generated_tests":{"input":["3","4"],"output":["",""]},"solutions":{"language":[3,2],"solution":["x","y"]},"time_limit":{"seconds":2,"nanos":0}}"#,
        "\n",
        r#"{"name":"\u001b[2J中文","description":"d","public_tests":[]}"#,
    );

    fn overview() -> Overview {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p");
        std::fs::write(&path, ROWS).unwrap();
        Overview::of("dir/p.jsonl", &dataset::load(&path).unwrap())
    }

    #[test]
    fn table_has_one_line_for_each_problem_and_no_control_character() {
        let overview = overview();
        assert_eq!(
            overview.table(),
            format!(
                "\
file            dir/p.jsonl
format          code_contests (jsonl)
sha256          {}
bytes           {}
rows            2
problems        2
tests           3 (public 1, private 0, generated 2)
test bytes      5
without tests   1
with time limit 1
python3         1 solutions, 0 incorrect solutions

position  name         source id   public private generated solutions incorrect time limit
       1  problem_001  1_A. One         1       0         2         1         0    2000 ms
       2  problem_002  \\u{{1b}}[2J中文      0       0         0         0         0          -
",
                overview.sha256,
                ROWS.len()
            )
        );
    }

    #[test]
    fn json_has_the_ids_as_they_are_and_the_warnings() {
        let json = serde_json::to_value(overview()).unwrap();
        assert_eq!(json["list"][1]["source_id"], "\u{1b}[2J中文");
        assert_eq!(
            json["tests"],
            serde_json::json!({"public": 1, "private": 0, "generated": 2})
        );
        assert_eq!(
            json["warnings"],
            serde_json::json!(["row 2 (`\\u{1b}[2J中文`) has no tests: it counts as FAIL with 0 %"])
        );
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
