//! A model behind an OpenAI-compatible interface: one call is as many tries as it takes.
//!
//! On the way of a call: [`ChatModel`] decides what is sent and whether it is tried again (`retry`), `request` writes
//! it, `exchange` sends it once and reads what comes, `answer` puts the answer together, `refusal` reads what a server
//! says instead, `fault` names what went wrong.
//!
//! Invariants: only an answer that the server said is whole is ever returned. Neither a key, nor an address, nor a
//! prompt stands in a message.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use roundhouse_proto::{Failure, FailureClass, FinishReason};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::llm::endpoint::Endpoint;
use crate::llm::retry::{Next, Retries, Tries};
use crate::llm::{Ask, AskError, Model, Reply};

mod answer;
mod exchange;
mod fault;
mod refusal;
mod request;
#[cfg(test)]
mod tests;

pub use exchange::Patience;
use fault::Fault;
use refusal::Meaning;
use request::Adaptation;
pub use request::Delivery;

/// Models of an endpoint whose ways are remembered; with more, all are learnt anew.
const LEARNT_MAX: usize = 1_024;
/// Tries of a call in vain after which people are told.
const TOLD_AFTER_TRIES: u32 = 3;
/// How often at most people are told about one endpoint.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// How often one call asks for fewer tokens because the context has no room for more.
const LOWERED_MAX: u32 = 5;
/// Characters of a prompt that a server's message may repeat by chance.
const REPEATED_CHARS: usize = 48;

/// How calls to endpoints are made.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How answers come.
    pub delivery: Delivery,
    /// How long a try may take.
    pub patience: Patience,
    /// How often it is tried.
    pub retries: Retries,
    /// Gives random numbers in 0.0..1.0.
    pub roll: fn() -> f64,
}

impl Manner {
    /// The usual one.
    pub fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            patience: Patience::DEFAULT,
            retries: Retries::DEFAULT,
            roll: || f64::from(uuid::Uuid::new_v4().as_fields().0) / (f64::from(u32::MAX) + 1.0),
        }
    }
}

/// The models of one endpoint, shared by all sessions that ask them.
#[derive(Debug)]
pub struct ChatModel {
    endpoint: Endpoint,
    http: Client,
    manner: Manner,
    /// What was learnt about requests to its models, by their names.
    learnt: Mutex<BTreeMap<String, Adaptation>>,
    /// Why it is asked nothing more.
    benched: watch::Sender<Option<String>>,
    /// When people were last told that it is in trouble.
    told: Mutex<Option<Instant>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChatModel {
    /// The models of an endpoint.
    pub fn new(endpoint: Endpoint, http: Client, manner: Manner) -> Self {
        Self {
            endpoint,
            http,
            manner,
            learnt: Mutex::default(),
            benched: watch::Sender::new(None),
            told: Mutex::default(),
        }
    }

    /// The endpoint's name.
    pub fn name(&self) -> &str {
        self.endpoint.name.as_str()
    }

    /// Why it is asked nothing more; none while it is.
    pub fn benched(&self) -> Option<String> {
        self.benched.borrow().clone()
    }

    /// Asks it nothing more, for as long as this worker lives: the calls that wait for another try end, later ones are
    /// not made. The first reason stays; true for whoever gave it.
    pub fn bench(&self, reason: &str) -> bool {
        self.benched.send_if_modified(|benched| {
            let is_first = benched.is_none();
            benched.get_or_insert_with(|| reason.to_owned());
            is_first
        })
    }

    fn adaptation(&self, model: &str) -> Adaptation {
        locked(&self.learnt).get(model).cloned().unwrap_or_default()
    }

    /// Keeps what was learnt about a model, for the other calls to it.
    fn remember(&self, model: &str, learn: impl FnOnce(&mut Adaptation)) {
        let mut learnt = locked(&self.learnt);
        if learnt.len() >= LEARNT_MAX && !learnt.contains_key(model) {
            learnt.clear();
        }
        learn(learnt.entry(model.to_owned()).or_default());
    }

    /// A server's words without the key and without what it repeats of the prompt.
    fn conceal(&self, ask: &Ask, text: &str) -> String {
        let text = match &self.endpoint.key {
            Some(key) => key.blot(text),
            None => text.to_owned(),
        };
        if ask
            .messages
            .iter()
            .any(|message| repeats(&text, &message.content))
        {
            "(what it said repeats the prompt)".to_owned()
        } else {
            text
        }
    }

    fn failed(&self, ask: &Ask, said: &str, unaccounted: u32) -> AskError {
        let message = format!("endpoint `{}`, model `{}`: {said}", self.name(), ask.model);
        let class = FailureClass::Model;
        AskError::Failed {
            failure: Failure { class, message },
            unaccounted,
        }
    }

    /// Says, not too often, that calls are tried again and again.
    fn tell(&self, tries: &Tries, said: &str) {
        tracing::debug!(
            endpoint = self.name(),
            tries = tries.n,
            said,
            "a call is tried again"
        );
        if tries.n < TOLD_AFTER_TRIES {
            return;
        }
        let mut told = locked(&self.told);
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(
                endpoint = self.name(),
                tries = tries.n,
                said,
                "calls fail and are tried again"
            );
        }
    }

    /// Waits before another try; false if the endpoint was benched meanwhile.
    async fn wait(&self, wait: Duration) -> bool {
        let mut benched = self.benched.subscribe();
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            _ = benched.wait_for(Option::is_some) => false,
        }
    }
}

impl Model for ChatModel {
    async fn ask(&self, ask: &Ask) -> Result<Reply, AskError> {
        let Manner {
            delivery,
            patience,
            retries,
            roll,
        } = &self.manner;
        let began = Instant::now();
        let mut tries = Tries::default();
        let mut unaccounted = 0;
        let mut adaptation = self.adaptation(&ask.model);
        let wanted = ask.sampling.max_tokens;
        // What the context has room for, beside this prompt.
        let (mut room, mut lowered_n) = (wanted, 0);
        let mut has_learnt_tokens = false;
        loop {
            if let Some(reason) = self.benched() {
                return Err(AskError::KeyRefused { reason, unaccounted });
            }
            let max_tokens = adaptation.tokens(wanted).min(room);
            let body = request::body(ask, max_tokens, *delivery, &adaptation);
            let fault = match exchange::exchange(&self.http, &self.endpoint, body, *delivery, patience).await
            {
                Ok(answer) => {
                    let mut remarks = adaptation.remarks(wanted);
                    if lowered_n > 0 {
                        remarks.push("`max_tokens` is lowered to what the context has room for".to_owned());
                    }
                    remarks.extend(answer.remarks);
                    return Ok(Reply {
                        text: answer.text,
                        reasoning: answer.reasoning,
                        usage: answer.usage,
                        finish: answer.finish,
                        remarks,
                        unaccounted,
                    });
                }
                Err(fault) => fault,
            };
            unaccounted += u32::from(fault.may_be_paid());
            let said = fault.text(&|text| self.conceal(ask, text));
            match fault.meaning() {
                Some(Meaning::KeyRefused) => {
                    let reason = match &self.endpoint.key {
                        Some(_) => said,
                        None => format!("{said} (this worker has no key for it)"),
                    };
                    return Err(AskError::KeyRefused { reason, unaccounted });
                }
                // The prompt fits; its answer may be shorter. Else every problem would fail where a model's context is
                // as small as the most tokens of an answer.
                Some(Meaning::ContextLimit) => {
                    if lowered_n < LOWERED_MAX
                        && let Some(next) = fault.tokens_below(max_tokens)
                    {
                        (room, lowered_n) = (next, lowered_n + 1);
                        continue;
                    }
                    let message = said;
                    return Err(AskError::ContextLimit { message, unaccounted });
                }
                // At once, and once for each parameter: what was learnt is not sent any more.
                Some(Meaning::Unsupported(parameter)) if adaptation.learn(parameter) => {
                    self.remember(&ask.model, |learnt| _ = learnt.learn(parameter));
                    continue;
                }
                Some(Meaning::TooManyTokens) => {
                    // Once for each call: a server that names less every time is not followed down.
                    if !has_learnt_tokens && let Some(next) = fault.tokens_below(max_tokens) {
                        has_learnt_tokens = true;
                        adaptation.lower(next);
                        self.remember(&ask.model, |learnt| _ = learnt.lower(next));
                        continue;
                    }
                }
                Some(Meaning::Filtered) => {
                    return Ok(Reply {
                        text: String::new(),
                        reasoning: None,
                        usage: None,
                        finish: FinishReason::ContentFilter,
                        remarks: vec![format!("the prompt was filtered: {said}")],
                        unaccounted,
                    });
                }
                Some(Meaning::NotFound) => {
                    let said = format!("the endpoint has no such model, or its URL is wrong: {said}");
                    return Err(self.failed(ask, &said, unaccounted));
                }
                Some(Meaning::Unsupported(_) | Meaning::Throttled | Meaning::Passing | Meaning::Lasting)
                | None => {}
            }
            match tries.next(retries, fault.trouble(), fault.asked(), began.elapsed(), roll()) {
                Next::TryAfter(wait) => {
                    self.tell(&tries, &said);
                    if !self.wait(wait).await {
                        // The head of the loop says why.
                        continue;
                    }
                    // Another session may have learnt something meanwhile.
                    adaptation = self.adaptation(&ask.model);
                }
                Next::Hopeless => return Err(self.failed(ask, &said, unaccounted)),
                Next::Enough => {
                    let said = format!("{said} ({} tries)", tries.n);
                    return Err(self.failed(ask, &said, unaccounted));
                }
                Next::AsksTooLong(asked) => {
                    let said = format!(
                        "{said} ({} tries; it asks to wait {} s, and at most {} s are waited)",
                        tries.n,
                        asked.as_secs(),
                        retries.asked_max.as_secs(),
                    );
                    return Err(self.failed(ask, &said, unaccounted));
                }
            }
        }
    }
}

/// Whether a text repeats a good piece of another.
fn repeats(text: &str, of: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    chars
        .windows(REPEATED_CHARS)
        .step_by(REPEATED_CHARS / 4)
        .any(|window| of.contains(&window.iter().collect::<String>()))
}
