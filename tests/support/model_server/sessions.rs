//! A script that plays analyst, coder and tester for the built-in prompts, so that a whole run can be made.
//!
//! An answer is a function of the request alone, so that whoever asks again gets the same.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Reply, Request};
use crate::workspace;

/// Python 3 in the files of CodeContests.
const PYTHON3: u64 = 3;
/// Test cases of one answer of the tester.
const CASES_PER_TURN: usize = 3;
/// Bytes of a test case that a tester would still write out.
const CASE_BYTES_MAX: usize = 2_000;
/// What is written for a problem that is not known.
const ECHO: &str = "import sys\nprint(sys.stdin.read(), end='')\n";

/// What is known of a problem.
#[derive(Clone, Debug)]
struct Known {
    statement: String,
    /// What the coder writes in its first turn; a wrong program where there is one.
    first: String,
    /// What it writes in all further turns; a right program where there is one.
    later: String,
    /// What the tester writes: input and expected output.
    cases: Vec<(String, String)>,
}

/// Plays sessions over problems that it knows. The coder's first program is wrong wherever the data set has a wrong
/// one, the next one is right.
#[derive(Clone, Debug)]
pub struct Sessions {
    known: Arc<Vec<Known>>,
}

impl Sessions {
    /// Over the problems that come with the program.
    pub fn bundled() -> Self {
        Self::of_jsonl(&workspace().join("coordinator/bundled/problems.jsonl"))
    }

    /// Over the problems of a file: rows of CodeContests, one JSON object a line.
    ///
    /// # Panics
    /// The file cannot be read.
    pub fn of_jsonl(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        let rows = text.lines().map(|line| {
            let row: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("parse a line of {}: {error}", path.display()));
            known(&row)
        });
        Self {
            known: Arc::new(rows.collect()),
        }
    }

    /// What the member of the team says that a request is addressed to.
    pub fn answer(&self, request: &Request) -> Answer {
        let messages = request.messages();
        let first = messages.first().map_or("", |(_, content)| content);
        let turn = messages.iter().filter(|(role, _)| *role == "assistant").count();
        let known = self.known.iter().find(|known| first.contains(&known.statement));
        let reply = if first.contains("Your part: you are the analyst.") {
            Reply::text(json!({"algorithm": "as the statement says"}).to_string())
                .with_reasoning("What is asked for, and within which limits?")
        } else if first.contains("Your part: you are the coder.") {
            let program = match (known, turn) {
                (None, _) => ECHO,
                (Some(known), 0) => &known.first,
                (Some(known), _) => &known.later,
            };
            Reply::text(format!("```python\n{}\n```\n", program.trim_end()))
        } else if first.contains("`VERDICT: PASS`") {
            let is_right = known.is_none_or(|known| request.prompt().contains(known.later.trim()));
            let verdict = if is_right { "PASS" } else { "FAIL" };
            Reply::text(format!("I followed the smallest input.\n\nVERDICT: {verdict}\n"))
        } else {
            let echo = [("a\n".to_owned(), "a\n".to_owned())];
            let cases = known.map_or(&echo[..], |known| &known.cases);
            Reply::text(written(cases, turn))
        };
        Answer::Reply(reply)
    }
}

/// A script for [`super::ModelServer::start`] that plays sessions over the problems that come with the program.
pub fn answering_sessions() -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let sessions = Sessions::bundled();
    move |request| sessions.answer(request)
}

fn known(row: &Value) -> Known {
    let statement = row["description"].as_str().unwrap_or_default().trim().to_owned();
    let python = |key: &str| {
        let languages = row[key]["language"].as_array()?;
        let at = languages
            .iter()
            .position(|language| language.as_u64() == Some(PYTHON3))?;
        Some(row[key]["solution"][at].as_str()?.to_owned())
    };
    let right = python("solutions");
    let wrong = python("incorrect_solutions");
    let either = right.clone().or_else(|| wrong.clone());
    let later = either.unwrap_or_else(|| ECHO.to_owned());
    let mut cases = Vec::new();
    for tests in ["public_tests", "private_tests", "generated_tests"] {
        let texts = |side: &str| row[tests][side].as_array().cloned().unwrap_or_default();
        for (input, output) in texts("input").into_iter().zip(texts("output")) {
            let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
            let (input, output) = (text(input), text(output));
            let is_plain = !input.trim().is_empty() && !output.trim().is_empty();
            if is_plain && input.len() + output.len() <= CASE_BYTES_MAX {
                cases.push((input, output));
            }
        }
    }
    Known {
        statement,
        first: wrong.unwrap_or_else(|| later.clone()),
        later,
        cases,
    }
}

/// The cases of a turn, from 0, in the form that the prompt asks for.
fn written(cases: &[(String, String)], turn: usize) -> String {
    let begin = turn * CASES_PER_TURN;
    let cases = cases.iter().skip(begin).take(CASES_PER_TURN);
    (begin + 1..)
        .zip(cases)
        .map(|(number, (input, output))| {
            let (input, output) = (input.trim_end_matches('\n'), output.trim_end_matches('\n'));
            format!("### Test {number}\nInput:\n```\n{input}\n```\nExpected Output:\n```\n{output}\n```\n\n")
        })
        .collect()
}
