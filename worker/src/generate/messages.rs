//! Lays out the messages of a call: one history per role, user and assistant in turn.
//!
//! Every role's first message begins with the same bytes, so that a server can keep one prefix for all of them.
//! A history is made anew for each call from what was decided, never from what was sent, so that a session that
//! was taken up again sends the same bytes.

use minijinja::context;
use roundhouse_proto::{Language, Speaker, TesterMode};

use crate::generate::fence;
use crate::generate::prompts::{Prompt, PromptError, Prompts};
use crate::generate::session::Task;
use crate::llm::Message;

/// What a session has come to so far, as far as messages tell of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// The analyst's plan, as it is.
    pub(crate) plan: Option<String>,
    /// The program of every round, as the coder wrote it.
    pub(crate) programs: Vec<String>,
    /// What the coder was told of every round but the last.
    pub(crate) reports: Vec<String>,
    /// The tester's answer in every round but the last.
    pub(crate) tester_replies: Vec<String>,
}

/// The messages of a role's next turn.
pub(crate) fn of_turn(
    speaker: Speaker,
    task: &Task,
    prompts: &Prompts,
    story: &Story,
) -> Result<Vec<Message>, PromptError> {
    let language = language_name(task.settings.language);
    let tag = tag(task.settings.language);
    let tester = task.settings.tester;
    let method = task.settings.method.word();
    let entry_point = task.entry_point.as_deref();
    let mut first = prompts.fill(
        Prompt::Team,
        context! {
            language,
            method,
            entry_point,
            tester => tester.word(),
            statement => &task.statement,
            time_limit => task.time_limit_ms.map(seconds),
            memory_limit => task.memory_limit_bytes.map(memory),
        },
    )?;
    first.push_str("\n\n");
    let mut messages = Vec::new();
    match speaker {
        Speaker::Analyst => {
            first.push_str(&prompts.fill(Prompt::Analyst, context! { language, entry_point })?);
            messages.push(Message::user(first));
        }
        Speaker::Coder => {
            let plan = story.plan.as_deref();
            let values = context! { language, tag, plan, method, entry_point };
            first.push_str(&prompts.fill(Prompt::Coder, values)?);
            messages.push(Message::user(first));
            let repair = match tester {
                TesterMode::Cases | TesterMode::Public | TesterMode::PublicAndCases => Prompt::CoderRepair,
                TesterMode::Review => Prompt::CoderReview,
            };
            for (program, report) in story.programs.iter().zip(&story.reports) {
                messages.push(Message::assistant(fence::block(tag, program)));
                let values = context! { report, tester => tester.word(), tag, entry_point };
                messages.push(Message::user(prompts.fill(repair, values)?));
            }
        }
        Speaker::Tester => {
            let (begin, next) = match tester {
                TesterMode::Cases | TesterMode::Public | TesterMode::PublicAndCases => {
                    (Prompt::Tester, Prompt::TesterNext)
                }
                TesterMode::Review => (Prompt::Review, Prompt::ReviewNext),
            };
            for (round, program) in story.programs.iter().enumerate() {
                let program = fence::block(tag, program);
                if round == 0 {
                    first.push_str(&prompts.fill(begin, context! { language, program, entry_point })?);
                    messages.push(Message::user(std::mem::take(&mut first)));
                } else {
                    let next = prompts.fill(next, context! { language, program, entry_point })?;
                    messages.push(Message::user(next));
                }
                if let Some(reply) = story.tester_replies.get(round) {
                    messages.push(Message::assistant(reply.clone()));
                }
            }
        }
    }
    Ok(messages)
}

/// The messages of asking again after `reply`, which broke a rule. An empty reply cannot be repeated to a model,
/// so what is asked stands in the same message then.
pub(crate) fn of_asking_again(
    mut messages: Vec<Message>,
    reply: &str,
    speaker: Speaker,
    task: &Task,
    prompts: &Prompts,
) -> Result<Vec<Message>, PromptError> {
    let prompt = match speaker {
        Speaker::Analyst => Prompt::AnalystAgain,
        Speaker::Coder => Prompt::CoderAgain,
        Speaker::Tester if task.settings.tester == TesterMode::Review => Prompt::ReviewAgain,
        Speaker::Tester => Prompt::TesterAgain,
    };
    let entry_point = task.entry_point.as_deref();
    let values = context! { tag => tag(task.settings.language), entry_point };
    let again = prompts.fill(prompt, values)?;
    if !reply.trim().is_empty() {
        messages.push(Message::assistant(reply.to_owned()));
        messages.push(Message::user(again));
    } else if let Some(last) = messages.last_mut() {
        last.content.push_str("\n\n");
        last.content.push_str(&again);
    }
    Ok(messages)
}

fn language_name(language: Language) -> &'static str {
    match language {
        Language::Python3 => "Python 3",
    }
}

/// The tag of a fenced block.
fn tag(language: Language) -> &'static str {
    match language {
        Language::Python3 => "python",
    }
}

fn seconds(ms: u64) -> String {
    let fraction = format!("{:03}", ms % 1_000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction} s", ms / 1_000)
}

fn memory(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const MB: u64 = 1_000_000;
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes.is_multiple_of(MB) => format!("{} MB", bytes / MB),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_for_people() {
        assert_eq!(
            [seconds(2_000), seconds(1_500), seconds(7)],
            ["2 s", "1.5 s", "0.007 s"]
        );
        assert_eq!(
            [memory(256 << 20), memory(256_000_000), memory(1_001)],
            ["256 MiB", "256 MB", "1001 bytes"]
        );
    }
}
