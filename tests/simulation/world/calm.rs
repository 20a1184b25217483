//! Nothing goes wrong any more: every run comes to its end.

use roundhouse_core::Event;
use roundhouse_core::run::ModelAt;
use roundhouse_proto::{JobKind, LeaseId, Role};

use super::World;
use super::carry::OVERDRAW;
use super::work::Mishap;
use crate::plan::Member;
use crate::runs::Asked;
use crate::worker::Phase;

/// Steps in which every run must come to its end once nothing disturbs it any more.
const CALM_STEPS_MAX: u32 = 20_000;

/// Which jobs are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Everything,
    SessionsOnly,
    Nothing,
}

impl World {
    /// Everything comes to its end; then one more run shows that no room was lost.
    pub(crate) fn come_to_an_end(&mut self) {
        self.say(|| "— from here on nothing goes wrong".to_owned());
        self.faults_left = 0;
        // One that can do whatever is left to do.
        let endpoints = self.plan.endpoints.clone();
        self.add_worker(Member::of_all_work(2, 1, &endpoints));
        for worker in &mut self.workers {
            worker.is_stalled = false;
        }
        self.submit_due(u32::MAX);
        self.settle_down(At::Everything);
        for run in std::mem::take(&mut self.stopped) {
            self.retry(run);
        }
        self.calm_down();
        self.check_end();
        self.outlive_silence();
        self.check_shares_heard();
        self.check_room();
        self.check_end();
    }

    /// Sessions go on as far as they can while no program is run.
    pub(crate) fn hold_sessions_only(&mut self) {
        self.submit_due(u32::MAX);
        self.settle_down(At::SessionsOnly);
    }

    /// Asserts that a worker holds as many jobs as it may: those it has room for, and tests of rounds beyond.
    pub(crate) fn assert_overdrawn(&self, i: usize) {
        let worker = &self.workers[i];
        let most = worker.member.room(Role::Eval) + OVERDRAW;
        assert_eq!(worker.held(Role::Eval), most);
    }

    /// Whether all is settled, written and told.
    fn is_over(&self) -> bool {
        self.plan.runs.iter().all(|run| self.disk.is_ended(run.spec.run))
            && self.disk.pending().is_empty()
            && self.is_quiet()
            && self.workers.iter().all(|worker| worker.tasks.is_empty())
    }

    fn is_quiet(&self) -> bool {
        self.committer.is_idle()
            && self.links.are_quiet()
            && self.to_write.is_empty()
            && self.written.is_empty()
            && self.off_duty().is_none()
    }

    /// A worker that is to join.
    fn off_duty(&self) -> Option<usize> {
        let is_off = |i: &usize| self.workers[*i].phase == Phase::Off && !self.workers[*i].is_gone;
        (0..self.workers.len()).find(is_off)
    }

    fn calm_down(&mut self) {
        for _ in 0..CALM_STEPS_MAX {
            if self.is_over() {
                return;
            }
            self.submit_due(u32::MAX);
            if !self.step_calmly(At::Everything) {
                (0..self.workers.len()).for_each(|i| self.ping(i));
                self.now_ms += 500;
                self.handle(Event::Ticked);
            }
        }
        let open = self.disk.jobs().filter(|record| record.state.outcome().is_none());
        let open: Vec<_> = open.collect();
        panic!(
            "it hangs: open jobs {open:#?}, pending files {:?}, workers {:#?}",
            self.disk.pending(),
            self.workers
        );
    }

    /// Whatever can happen happens, without time passing.
    fn settle_down(&mut self, at: At) {
        for _ in 0..CALM_STEPS_MAX {
            if !self.step_calmly(at) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// The next thing happens; `false` if there is none.
    fn step_calmly(&mut self, at: At) -> bool {
        if !self.committer.is_durable() {
            self.store_next();
        } else if !self.committer.is_idle() {
            self.release_next();
        } else if let Some(link) = self.links.with_up() {
            self.deliver_up(link, 1);
        } else if let Some(link) = self.links.with_down() {
            self.deliver_down(link);
        } else if let Some(i) = self.off_duty() {
            self.join(i);
        } else if !self.to_write.is_empty() {
            self.write_file();
        } else if !self.written.is_empty() {
            self.say_written();
        } else {
            return self.work_calmly(at);
        }
        true
    }

    fn work_calmly(&mut self, at: At) -> bool {
        let is_wanted = |(i, lease): &(usize, LeaseId)| match at {
            At::Everything => true,
            At::SessionsOnly => self.workers[*i].tasks[lease].job.kind == JobKind::Generate,
            At::Nothing => false,
        };
        let Some((i, lease)) = self.workable().into_iter().find(is_wanted) else {
            return false;
        };
        self.now_ms += 3;
        self.go_on(i, lease, Mishap::Nothing);
        true
    }

    /// Time passes until the coordinator knows of every link that broke without its notice.
    fn outlive_silence(&mut self) {
        let until_ms = self.now_ms + self.plan.timing.silence_ms + self.plan.timing.grace_ms;
        while self.now_ms <= until_ms {
            (0..self.workers.len()).for_each(|i| self.ping(i));
            self.settle_down(At::Everything);
            self.now_ms += 1_000;
            self.handle(Event::Ticked);
        }
        self.settle_down(At::Everything);
    }

    // --- room

    /// A last run, with more problems than there is room for, fills every slot: none was lost on the way, and none is
    /// there twice.
    fn check_room(&mut self) {
        let room = |role| {
            let present = self.workers.iter().filter(|worker| worker.link().is_some());
            let able = present.filter(|worker| worker.can_judge() || role == Role::Gen);
            able.map(|worker| worker.room(role)).sum::<u32>()
        };
        let problems = room(Role::Gen).max(room(Role::Eval)) + 1;
        let asked = Asked {
            n: self.plan.runs.len() + 1,
            problems,
            untested: Vec::new(),
            parallel: true,
            staged: false,
            attempts_max: 1,
            model_at: ModelAt::Offline,
            mixed_versions: true,
            evaluate_rounds: false,
        };
        // One call, then a program.
        self.plan.order(&asked, 0, |_| 2);
        self.submit_due(u32::MAX);
        self.settle_down(At::Nothing);
        self.assert_full(Role::Gen);
        self.settle_down(At::SessionsOnly);
        self.assert_full(Role::Eval);
        self.calm_down();
    }

    fn assert_full(&self, role: Role) {
        for worker in self.workers.iter().filter(|worker| worker.link().is_some()) {
            if role == Role::Eval && !worker.can_judge() {
                assert_eq!(worker.held(role), 0, "worker {} has no interpreter", worker.n);
                continue;
            }
            let (held, room) = (worker.held(role), worker.room(role));
            // After a restart of the coordinator the first to return has its host for itself for a moment.
            let most = match self.plan.dies_after {
                None => room,
                Some(_) => worker.member.room(role),
            };
            assert!(
                (room..=most).contains(&held),
                "worker {} has room for {room} jobs of role {role} and holds {held}, while jobs wait",
                worker.n
            );
        }
    }
}
