//! Reads a tester's reply that judges a program without running it: a line with PASS or FAIL, and what was found.
//!
//! Only a line that holds nothing but the verdict counts, so that `Test 1: PASS` within the findings is none.

/// What a tester thinks of a program that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It is right.
    Pass,
    /// It is wrong.
    Fail,
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The verdict of the last line that is one; none without such a line.
    pub opinion: Option<Opinion>,
    /// The reply without such lines.
    pub findings: String,
}

/// Reads a tester's reply.
pub fn read(reply: &str) -> Review {
    let opinion = reply.lines().rev().find_map(opinion_of);
    let findings: Vec<&str> = reply.lines().filter(|line| opinion_of(line).is_none()).collect();
    Review {
        opinion,
        findings: findings.join("\n").trim().to_owned(),
    }
}

/// What stands before a verdict on its line.
const TITLES: [&str; 4] = ["final verdict", "verdict", "result", "conclusion"];

fn opinion_of(line: &str) -> Option<Opinion> {
    let dress = |c: char| c.is_whitespace() || "*_#`>[]()\"'.!:=-".contains(c);
    let line = line.to_ascii_lowercase();
    let mut words = line.trim_matches(dress);
    if let Some(rest) = TITLES.iter().find_map(|title| words.strip_prefix(title)) {
        words = rest.trim_matches(dress);
    }
    match words {
        "pass" | "passed" => Some(Opinion::Pass),
        "fail" | "failed" => Some(Opinion::Fail),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_of_every_dress_is_read_and_left_out_of_the_findings() {
        for (line, opinion) in [
            ("VERDICT: PASS", Opinion::Pass),
            ("**Verdict:** FAIL", Opinion::Fail),
            ("`VERDICT: FAIL`", Opinion::Fail),
            ("## Final verdict: Passed.", Opinion::Pass),
            ("[FAIL]", Opinion::Fail),
            ("Result - failed", Opinion::Fail),
            ("pass\r", Opinion::Pass),
        ] {
            assert_eq!(
                read(&format!("It reads n.\n\n{line}\n")),
                Review {
                    opinion: Some(opinion),
                    findings: "It reads n.".to_owned()
                },
                "{line}"
            );
        }
    }

    #[test]
    fn sentence_with_a_verdict_in_it_is_none() {
        for reply in [
            "",
            "Test 1: PASS",
            "The program should pass.",
            "VERDICT: PASS or FAIL",
            "VERDICT: I cannot tell",
            "Verdict:",
            "passport",
        ] {
            assert_eq!(
                read(reply),
                Review {
                    opinion: None,
                    findings: reply.to_owned()
                },
                "{reply}"
            );
        }
    }

    #[test]
    fn last_verdict_holds() {
        let review = read("PASS\nBut on 0 it prints 1.\nFAIL");
        assert_eq!(
            review,
            Review {
                opinion: Some(Opinion::Fail),
                findings: "But on 0 it prints 1.".to_owned()
            }
        );
    }
}
