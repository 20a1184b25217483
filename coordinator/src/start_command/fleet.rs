//! What is new about the workers since they were looked at last, in lines for people.

use std::collections::BTreeMap;

use roundhouse_core::status::WorkerView;
use roundhouse_proto::WorkerId;

use crate::report::line::{MESSAGE_CHARS_MAX, one_line};

/// Characters of a worker's or an endpoint's name.
const NAME_CHARS_MAX: usize = 80;

/// The workers as they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Fleet(BTreeMap<WorkerId, Seen>);

#[derive(Debug)]
struct Seen {
    name: String,
    is_lost: bool,
    /// Endpoints that refuse its key.
    benched: Vec<String>,
}

impl Fleet {
    /// What is new.
    pub(super) fn changes(&mut self, views: &[WorkerView]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut now = BTreeMap::new();
        for view in views {
            let before = self.0.remove(&view.worker);
            let name = one_line(&view.name, NAME_CHARS_MAX);
            match (before.as_ref().map(|seen| seen.is_lost), view.is_lost) {
                (None, false) => lines.push(format!("worker {name} joined: {}", room(view))),
                (Some(false), true) => {
                    lines.push(format!("worker {name} is lost: its jobs wait for it for a while"));
                }
                (Some(true), false) => lines.push(format!("worker {name} is back")),
                (None, true) | (Some(false), false) | (Some(true), true) => {}
            }
            let mut benched = Vec::new();
            for offer in &view.endpoints {
                let Some(reason) = &offer.benched else { continue };
                let is_new = |seen: &Seen| !seen.benched.contains(&offer.name);
                if before.as_ref().is_none_or(is_new) {
                    lines.push(format!(
                        "warning: worker {name} is refused by the endpoint {}: {}",
                        one_line(&offer.name, NAME_CHARS_MAX),
                        one_line(reason, MESSAGE_CHARS_MAX)
                    ));
                }
                benched.push(offer.name.clone());
            }
            let is_lost = view.is_lost;
            now.insert(
                view.worker,
                Seen {
                    name,
                    is_lost,
                    benched,
                },
            );
        }
        for gone in std::mem::replace(&mut self.0, now).into_values() {
            let name = gone.name;
            lines.push(if gone.is_lost {
                format!("worker {name} did not come back: its jobs go to others")
            } else {
                format!("worker {name} left")
            });
        }
        lines
    }
}

/// `gen 8 slots, endpoint main` or `eval 2 slots, isolation full`.
fn room(view: &WorkerView) -> String {
    let slots = view.roles.iter().map(|(role, slots, _)| {
        let unit = if *slots == 1 { "slot" } else { "slots" };
        format!("{role} {slots} {unit}")
    });
    let isolation = view.isolation.map(|isolation| format!("isolation {isolation}"));
    let endpoints = view
        .endpoints
        .iter()
        .map(|offer| format!("endpoint {}", one_line(&offer.name, NAME_CHARS_MAX)));
    let parts: Vec<String> = slots.chain(isolation).chain(endpoints).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use roundhouse_proto::link::EndpointOffer;
    use roundhouse_proto::{Isolation, Role};
    use uuid::Uuid;

    use super::*;

    fn view(n: u128) -> WorkerView {
        WorkerView {
            worker: WorkerId(Uuid::from_u128(n)),
            name: format!("w{n}\u{1b}[2J"),
            build: "0.1.0".to_owned(),
            roles: vec![(Role::Gen, 8, 0), (Role::Eval, 1, 0)],
            languages: Vec::new(),
            isolation: Some(Isolation::Partial),
            cores: 2,
            endpoints: vec![EndpointOffer {
                name: "main".to_owned(),
                benched: None,
            }],
            silent_ms: 0,
            joined_ms: 0,
            is_lost: false,
        }
    }

    #[test]
    fn fleet_says_who_joined_was_lost_came_back_and_left_and_each_once() {
        let mut fleet = Fleet::default();
        let lost = WorkerView {
            is_lost: true,
            ..view(1)
        };
        let steps: [(&[WorkerView], &[&str]); 8] = [
            (&[], &[]),
            (
                &[view(1)],
                &["worker w1 [2J joined: gen 8 slots, eval 1 slot, isolation partial, endpoint main"],
            ),
            (&[view(1)], &[]),
            (
                std::slice::from_ref(&lost),
                &["worker w1 [2J is lost: its jobs wait for it for a while"],
            ),
            (&[view(1)], &["worker w1 [2J is back"]),
            (
                std::slice::from_ref(&lost),
                &["worker w1 [2J is lost: its jobs wait for it for a while"],
            ),
            (&[], &["worker w1 [2J did not come back: its jobs go to others"]),
            (&[], &[]),
        ];
        for (views, lines) in steps {
            assert_eq!(fleet.changes(views), lines);
        }
        fleet.changes(&[view(1), view(2)]);
        assert_eq!(fleet.changes(&[view(2)]), ["worker w1 [2J left"]);
    }

    #[test]
    fn endpoint_that_refuses_a_worker_is_told_once() {
        let mut fleet = Fleet::default();
        fleet.changes(&[view(1)]);
        let mut benched = view(1);
        benched.endpoints[0].benched = Some("401\nno".to_owned());
        let told = fleet.changes(&[benched.clone()]);
        assert_eq!(
            told,
            ["warning: worker w1 [2J is refused by the endpoint main: 401 no"]
        );
        assert_eq!(fleet.changes(&[benched]), Vec::<String>::new());
    }
}
