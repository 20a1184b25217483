//! Stalls: why runs cannot move, when people are told, and when that makes a pause.
//!
//! Looked at whenever time passes. What holds is a function of the ready jobs and of the joined workers; jobs that
//! wait only because every slot is busy stall nothing.

use roundhouse_proto::{Role, RunId};

use super::Coordinator;
use super::granting::needs_of_programs;
use crate::clock::Now;
use crate::fleet::{Needs, Refusal};
use crate::outbox::{Outbox, Progress};
use crate::pipeline::Run;
use crate::record::PendingFile;
use crate::run::ModelAt;
use crate::status::Stuck;

impl Coordinator {
    /// Why a run cannot move, as things stand; empty while it can, and once it is over.
    pub(super) fn stuck(&self, run: &Run) -> Vec<Stuck> {
        let mut reasons = Vec::new();
        for role in [Role::Gen, Role::Eval] {
            if !self.has_ready(run, role) {
                continue;
            }
            if self.fleet.capacity().slots(role) == 0 {
                reasons.push(Stuck::NoWorker { role });
            } else {
                reasons.extend(match role {
                    Role::Gen => self.endpoint_missing(run),
                    Role::Eval => self.interpreter_missing(run),
                });
            }
        }
        reasons
    }

    /// Whether jobs of a run wait for nothing but a worker of this role.
    fn has_ready(&self, run: &Run, role: Role) -> bool {
        let mut firsts = self.queue.firsts_of(role, run.order);
        firsts.any(|first| self.may_go(&first))
    }

    /// Why none of the joined generation workers can hold a session of this run.
    fn endpoint_missing(&self, run: &Run) -> Option<Stuck> {
        let ModelAt::Endpoint { name } = &run.spec.model_at else {
            return None;
        };
        let open = &self.fleet.capacity().open_endpoints;
        let refused = |Refusal { endpoint, reason }: Refusal<'_>| Stuck::NoKey {
            endpoint: endpoint.to_owned(),
            reason: reason.to_owned(),
        };
        match self.needs_of_sessions(run) {
            Some(Needs::Nothing | Needs::Language(_) | Needs::Interpreter { .. }) => None,
            Some(Needs::Endpoint(name)) if open.contains(name) => None,
            Some(Needs::Endpoint(name)) => match self.fleet.last_refusal(Some(name)) {
                Some(refusal) => Some(refused(refusal)),
                None => Some(Stuck::NoEndpoint {
                    name: Some(name.to_owned()),
                }),
            },
            None if open.is_empty() => match self.fleet.last_refusal(None) {
                Some(refusal) => Some(refused(refusal)),
                None => Some(Stuck::NoEndpoint { name: name.clone() }),
            },
            None => Some(Stuck::ManyEndpoints {
                names: open.iter().cloned().collect(),
            }),
        }
    }

    /// Why none of the joined evaluation workers can judge a program of this run.
    fn interpreter_missing(&self, run: &Run) -> Option<Stuck> {
        let language = run.spec.session.language;
        let interpreters = self.fleet.capacity().interpreters.iter();
        let of_language = interpreters.filter(|(of, _)| *of == language);
        let offered: Vec<String> = of_language.map(|(_, minor)| minor.clone()).collect();
        if offered.is_empty() {
            return Some(Stuck::NoInterpreter { language });
        }
        match needs_of_programs(run) {
            Needs::Interpreter { minor, .. } if !offered.iter().any(|offered| offered == minor) => {
                let bound = minor.to_owned();
                Some(Stuck::OtherInterpreters { bound, offered })
            }
            Needs::Nothing | Needs::Endpoint(_) | Needs::Language(_) | Needs::Interpreter { .. } => None,
        }
    }

    /// Tells people of the runs that have not moved for a while, and of those that move again; pauses those that only
    /// a new key can help.
    pub(super) fn look_at_stalls(&mut self, now: Now, outbox: &mut Outbox) {
        let open = self.runs.iter().filter(|(_, run)| !run.is_over());
        let open: Vec<RunId> = open.map(|(id, _)| *id).collect();
        let waiting_ms = self.timing.waiting_ms;
        for id in open {
            let Some(reasons) = self.runs.get(&id).map(|run| self.stuck(run)) else {
                continue;
            };
            let Some(run) = self.runs.get_mut(&id) else {
                continue;
            };
            if let Some(told) = run.stall.note(&reasons, now.monotonic_ms, waiting_ms) {
                outbox.tell(id, Progress::Stuck(told));
            }
            let has_lasted = run.stall.has_lasted(now.monotonic_ms, waiting_ms);
            if run.paused.is_some() {
                // A worker that was refused and leaves brings no key.
                if !reasons.iter().any(is_about_sessions) {
                    run.resume(now);
                }
            } else if has_lasted && let Some(reason) = reasons.iter().find(|reason| reason.is_pause()) {
                self.pause_if_idle(now, id, reason, outbox);
            }
        }
    }

    /// A run is paused once nothing of it is in flight and nothing more can be judged. The reason has lasted: workers
    /// that come back one by one, as after a restart of the coordinator, do not pause what another of them takes up.
    fn pause_if_idle(&mut self, now: Now, id: RunId, reason: &Stuck, outbox: &mut Outbox) {
        let can_judge = self.fleet.capacity().slots(Role::Eval) > 0;
        let is_judging = |run: &Run| can_judge && self.has_ready(run, Role::Eval);
        if self.is_leased(id, |_| true) || self.runs.get(&id).is_none_or(is_judging) {
            return;
        }
        if let Some(run) = self.runs.get_mut(&id) {
            run.pause(reason.to_string(), now);
        }
        self.write_files(PendingFile::Reports { run: id }, outbox);
    }
}

/// Whether it is sessions that cannot be held.
fn is_about_sessions(reason: &Stuck) -> bool {
    match reason {
        Stuck::NoWorker { role } => *role == Role::Gen,
        Stuck::NoEndpoint { .. } | Stuck::ManyEndpoints { .. } | Stuck::NoKey { .. } => true,
        Stuck::NoInterpreter { .. } | Stuck::OtherInterpreters { .. } => false,
    }
}
