//! The cages of a worker and the queue before them.
//!
//! Stands between the worker's slots, which are asynchronous and many, and the cages, which are blocking and as few
//! as there are cores. One thread per cage takes a run from the board, makes it, and says what came of it; what is
//! decided is decided by the board and by each program's course. The queue is in the board, an urgent program between
//! two runs of every other one, so that a session never waits for a long evaluation.
//! Knows nothing of leases: a program that came twice is judged twice, or its report given again.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Digest, EvaluateWork, EvaluationReport, Failure, FailureClass, Isolation, StartMode, TestSet,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::{error, info};

use super::Cancellation;
use super::audit::Sample;
use super::board::{Board, Place, Turn};
use super::cache::{ReportKey, Reports};
use super::course::{Course, Hold, Rules, Verdicts};
use super::gate::{Gate, Host};
use super::inputs::SealedInputs;
use super::judge::{Judge, Stopped, Surroundings};
use super::runner::{CageFailure, CageSource, SandboxCages, Seat, Text};
use super::step::Outcome;
use crate::isolation::Found;
use crate::language::{self, Interpreter};

/// Programs that wait or are judged, of the urgent ones and of the others each; further ones wait to be queued.
const QUEUE_MAX: usize = 256;

/// Why a worker has no cages.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The sandbox refused.
    #[error("cage {cage} of {cages} could not be made: {reason}")]
    Cage {
        /// Which one, from 0.
        cage: usize,
        /// How many were asked for.
        cages: usize,
        /// What the sandbox said.
        reason: String,
    },
    /// The host gave no thread.
    #[error("no thread for cage {cage} of {cages}")]
    Thread {
        /// Which one, from 0.
        cage: usize,
        /// How many were asked for.
        cages: usize,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
}

/// One program to judge, with the blobs that its work names.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// How it is judged; `tests` is the key under which inputs are shared, `program` is not looked at.
    pub work: EvaluateWork,
    /// The program's text.
    pub program: Bytes,
    /// The test set that `work.tests` names.
    pub tests: Arc<TestSet>,
    /// The text of the checker that `work.comparator` names.
    pub checker: Option<Bytes>,
    /// Which of two programs goes first.
    pub priority: Priority,
    /// Set when nobody wants the report any more. Dropping the future has the same effect.
    pub cancellation: Cancellation,
}

/// Cages with their threads. Dropping it lets the threads go, each after the run that it makes.
pub struct Pool {
    shared: Arc<Shared>,
    found: Found,
    cages: usize,
}

struct Shared {
    around: Surroundings,
    board: Mutex<Board<Job>>,
    /// There may be a run for a cage that waits.
    changed: Condvar,
    is_closed: AtomicBool,
    /// Room among the urgent, and among the others: neither can take the other's.
    urgent_room: Arc<Semaphore>,
    normal_room: Arc<Semaphore>,
    reports: Reports,
}

/// What is kept of a program on the board.
struct Job {
    task: Arc<Task>,
    reply: oneshot::Sender<Result<Judged, Failure>>,
    /// How the cages shut it in: the weakest of them, whichever ones it will be run in.
    isolation: Isolation,
    busy: Duration,
    _room: OwnedSemaphorePermit,
}

/// What every run of a program needs.
struct Task {
    evaluation: Evaluation,
    program: Digest,
    /// Nobody waits for its runs: it is over, or whoever asked is gone.
    is_over: AtomicBool,
}

/// A program that was judged.
struct Judged {
    report: EvaluationReport,
    hold: Hold,
}

/// A run that a cage is to make.
struct Assigned {
    turn: Turn,
    task: Arc<Task>,
    pinned: Pinned,
}

/// Whether programs are pinned to their cage's CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pinned {
    Yes,
    /// Others use the same CPUs: the kernel places better.
    No,
}

/// A run that a cage has made.
struct Made {
    turn: Turn,
    outcome: Result<Outcome, Undone>,
    took: Duration,
}

/// Why a run came to nothing.
enum Undone {
    Stopped,
    Panicked,
}

/// Which cage is ready, and how well it shuts programs in, or why there is none.
type Ready = (usize, Result<Found, CageFailure>);

/// How many cages serve so many slots: one for each slot, but no more than CPUs that this process may use.
pub fn cages_for(slots: NonZeroUsize) -> NonZeroUsize {
    slots.min(NonZeroUsize::new(usable_cpus().len()).unwrap_or(NonZeroUsize::MIN))
}

impl Pool {
    /// Makes the cages and waits until each is ready, some milliseconds. `entry` is the executable whose `main`
    /// begins with [`roundhouse_sandbox::enter_if_cage`], normally this one.
    ///
    /// # Errors
    /// A cage or its thread could not be made.
    pub fn start(entry: PathBuf, interpreter: Interpreter, cages: NonZeroUsize) -> Result<Self, PoolError> {
        let interpreter = Arc::new(interpreter);
        let source: Arc<dyn CageSource> = Arc::new(SandboxCages {
            entry,
            interpreter: Arc::clone(&interpreter),
        });
        let start_of = match interpreter.servers() {
            [] => |_: &[u8], _| StartMode::Fresh,
            _ => language::start_of,
        };
        Self::start_with(&source, interpreter, start_of, cages)
    }

    pub(crate) fn start_with(
        source: &Arc<dyn CageSource>,
        interpreter: Arc<Interpreter>,
        start_of: fn(&[u8], StartMode) -> StartMode,
        cages: NonZeroUsize,
    ) -> Result<Self, PoolError> {
        let cages = cages.get();
        let shared = Arc::new(Shared {
            around: Surroundings {
                interpreter,
                start_of,
                inputs: SealedInputs::default(),
                gate: Gate::default(),
            },
            board: Mutex::new(Board::new(cages)),
            changed: Condvar::new(),
            is_closed: AtomicBool::new(false),
            urgent_room: Arc::new(Semaphore::new(QUEUE_MAX)),
            normal_room: Arc::new(Semaphore::new(QUEUE_MAX)),
            reports: Reports::default(),
        });
        // Made first: when a later cage fails, its drop lets the threads of the earlier ones go.
        let mut pool = Self {
            shared,
            found: Found {
                isolation: Isolation::Full,
                containment: None,
            },
            cages,
        };
        // With fewer cages than CPUs another worker may be using the same ones: the kernel then places better.
        let cpus = usable_cpus();
        let (ready, readiness) = sync_channel(cages);
        for cage in 0..cages {
            let cpu = if cpus.len() == cages {
                Some(cpus[cage])
            } else {
                None
            };
            let (shared, source, ready) = (Arc::clone(&pool.shared), Arc::clone(source), ready.clone());
            std::thread::Builder::new()
                .name(format!("cage-{cage}"))
                .spawn(move || shared.serve_until_closed(&source, (cpu, cages), (cage, &ready)))
                .map_err(|source| PoolError::Thread { cage, cages, source })?;
        }
        drop(ready);
        for (cage, outcome) in readiness.iter().take(cages) {
            let found = outcome.map_err(|CageFailure(reason)| PoolError::Cage { cage, cages, reason })?;
            if found.isolation <= pool.found.isolation {
                pool.found = found;
            }
        }
        Ok(pool)
    }

    /// How well programs are shut in: the weakest of the cages.
    pub fn isolation(&self) -> Isolation {
        self.found.isolation
    }

    /// The same, and what holds them.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// What programs are run by.
    pub fn interpreter(&self) -> &Interpreter {
        &self.shared.around.interpreter
    }

    /// How many programs run at once, unless [`Self::set_cages`] allows fewer.
    pub fn cages(&self) -> usize {
        self.cages
    }

    /// How many programs may run at once from now on, at least 1 and at most [`Self::cages`]: this worker's share of
    /// a host. Runs that are under way go on to their end. Below the full number other workers use the same host:
    /// programs are then pinned to no CPU, and no time-out passes for one without company.
    pub fn set_cages(&self, share: usize) {
        let share = share.clamp(1, self.cages);
        let mut board = self.shared.board();
        if share == board.share() {
            return;
        }
        info!(share, cages = self.cages, "the share of the cages has changed");
        board.set_share(share);
        let host = if share < self.cages {
            Host::Shared
        } else {
            Host::Own
        };
        self.shared.around.gate.set_host(host);
        self.shared.changed.notify_all();
    }

    /// Keeps to the share that is said, now and whenever it changes; none is all cages. Ends with the sender.
    pub async fn keep_to(&self, mut share: watch::Receiver<Option<u32>>) {
        loop {
            let cages = share.borrow_and_update().and_then(|n| usize::try_from(n).ok());
            self.set_cages(cages.unwrap_or(self.cages));
            if share.changed().await.is_err() {
                return;
            }
        }
    }

    /// Judges a program as soon as a cage is free for it, or gives the report of an equal one again.
    ///
    /// # Errors
    /// It was cancelled, or the pool went away. A cage that fails is no error here: its cases are internal errors.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the evaluation.
    pub fn evaluate(
        &self,
        evaluation: Evaluation,
    ) -> impl Future<Output = Result<EvaluationReport, Failure>> + Send + use<> {
        let (shared, isolation) = (Arc::clone(&self.shared), self.isolation());
        async move {
            let program = Digest::of(&evaluation.program);
            let name = shared.around.interpreter.name();
            let key = ReportKey::new(&evaluation.work, program, name, isolation);
            let reuse = evaluation.work.execution.reuse;
            if reuse && let Some(report) = shared.reports.find(key) {
                return Ok(report);
            }
            let judged = shared.judge(evaluation, program, isolation).await?;
            if reuse && judged.hold == Hold::Firm {
                shared.reports.keep(key, &judged.report);
            }
            Ok(judged.report)
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        // Under the lock: a thread that has just seen it open must not miss the word.
        self.shared.board().clear();
        self.shared.changed.notify_all();
        self.shared.urgent_room.close();
        self.shared.normal_room.close();
    }
}

/// Stops a program's runs when whoever waits for it goes away.
struct Wanted(Arc<Task>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board<Job>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Puts a program on the board and waits for what it comes to.
    async fn judge(
        &self,
        evaluation: Evaluation,
        program: Digest,
        isolation: Isolation,
    ) -> Result<Judged, Failure> {
        let priority = evaluation.priority;
        let room = if priority < Priority::NORMAL {
            &self.urgent_room
        } else {
            &self.normal_room
        };
        let room = Arc::clone(room).acquire_owned().await.map_err(|_| closed())?;
        let course = self.course(&evaluation, program);
        let task = Arc::new(Task {
            evaluation,
            program,
            is_over: AtomicBool::new(false),
        });
        let wanted = Wanted(Arc::clone(&task));
        let (reply, judged) = oneshot::channel();
        let job = Job {
            task,
            reply,
            isolation,
            busy: Duration::ZERO,
            _room: room,
        };
        self.put_up(priority, course, job);
        let judged = judged.await.unwrap_or_else(|_| Err(closed()));
        drop(wanted);
        judged
    }

    fn course(&self, evaluation: &Evaluation, program: Digest) -> Course {
        let Evaluation { work, tests, .. } = evaluation;
        let rules = Rules {
            timeouts_max: work.timeouts_max,
            stop_on_first_failure: work.stop_on_first_failure,
            sample: Sample {
                program,
                tests: work.tests,
                per_mille: work.execution.audit_per_mille,
            },
        };
        let cases = u32::try_from(tests.cases.len()).expect("a test set has fewer than 2^32 cases");
        Course::new(rules, cases, self.around.start_of(work, &evaluation.program))
    }

    fn put_up(&self, priority: Priority, course: Course, job: Job) {
        if course.is_over() {
            self.answer(job, course.into_verdicts());
            return;
        }
        let mut board = self.board();
        if !self.is_closed() {
            board.put_up(priority, course, job);
            self.changed.notify_one();
        }
    }

    fn serve_until_closed(
        &self,
        source: &Arc<dyn CageSource>,
        (cpu, cages): (Option<usize>, usize),
        (cage, ready): (usize, &SyncSender<Ready>),
    ) {
        let started = Seat::start(Arc::clone(source), cpu);
        let outcome = started
            .as_ref()
            .map(|seat| seat.found().clone())
            .map_err(Clone::clone);
        // Nobody listens when another cage has failed already; the closed queue then ends this one too.
        let _ = ready.send((cage, outcome));
        if let Ok(mut seat) = started {
            let mut made = None;
            while let Some(assigned) = self.next(made.take(), cages) {
                seat.pin(match assigned.pinned {
                    Pinned::Yes => cpu,
                    Pinned::No => None,
                });
                made = Some(self.make(&mut seat, &assigned));
            }
        }
    }

    /// Says what came of a cage's last run and waits for its next one; none when the pool is closed.
    fn next(&self, made: Option<Made>, cages: usize) -> Option<Assigned> {
        let mut board = self.board();
        let own = made.as_ref().map(|made| made.turn.place);
        if let Some(made) = made {
            self.take_up(&mut board, made);
        }
        loop {
            if self.is_closed() {
                return None;
            }
            if let Some(assigned) = Self::assign(&mut board, own, cages) {
                if board.has_more() {
                    self.changed.notify_one();
                }
                return Some(assigned);
            }
            board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn assign(board: &mut Board<Job>, own: Option<Place>, cages: usize) -> Option<Assigned> {
        let turn = board.take(own)?;
        let pinned = if board.share() < cages {
            Pinned::No
        } else {
            Pinned::Yes
        };
        let task = Arc::clone(&board.kept_mut(turn.place)?.task);
        Some(Assigned { turn, task, pinned })
    }

    fn take_up(&self, board: &mut Board<Job>, made: Made) {
        if let Some(job) = board.kept_mut(made.turn.place) {
            job.busy += made.took;
        }
        let (class, message) = match made.outcome {
            Ok(outcome) => {
                if let Some((job, verdicts)) = board.end(made.turn, outcome) {
                    self.answer(job, verdicts);
                }
                return;
            }
            Err(Undone::Stopped) => (FailureClass::Cancelled, "the evaluation was cancelled"),
            Err(Undone::Panicked) => (FailureClass::InfraRetry, "judging the program panicked"),
        };
        // It has left already where this run was made ahead for nothing.
        if let Some(job) = board.give_up(made.turn) {
            job.task.is_over.store(true, Ordering::Relaxed);
            let message = message.to_owned();
            // Nobody listens to a cancelled evaluation.
            let _ = job.reply.send(Err(Failure { class, message }));
        }
    }

    fn answer(&self, job: Job, verdicts: Verdicts) {
        job.task.is_over.store(true, Ordering::Relaxed);
        let Verdicts { cases, audit, hold } = verdicts;
        let report = EvaluationReport {
            cases,
            isolation: job.isolation,
            interpreter: self.around.interpreter.name().to_owned(),
            busy_ms: u64::try_from(job.busy.as_millis()).unwrap_or(u64::MAX),
            audit,
            reused: false,
        };
        // As above.
        let _ = job.reply.send(Ok(Judged { report, hold }));
    }

    fn make(&self, seat: &mut Seat, assigned: &Assigned) -> Made {
        let began = Instant::now();
        let Assigned { turn, task, .. } = assigned;
        let Evaluation {
            work,
            program,
            tests,
            checker,
            cancellation,
            ..
        } = &task.evaluation;
        let judge = Judge {
            work,
            program: Text {
                digest: task.program,
                bytes: program,
            },
            tests,
            checker: checker.as_deref(),
            around: &self.around,
            is_stopped: &|| {
                cancellation.is_cancelled() || task.is_over.load(Ordering::Relaxed) || self.is_closed()
            },
        };
        let outcome = match std::panic::catch_unwind(AssertUnwindSafe(|| judge.run(seat, turn.step))) {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(Stopped)) => Err(Undone::Stopped),
            Err(_) => {
                // The panic itself was printed where it happened. The cage may hold half a run.
                error!("judging a program panicked");
                seat.clear();
                Err(Undone::Panicked)
            }
        };
        Made {
            turn: *turn,
            outcome,
            took: began.elapsed(),
        }
    }
}

fn closed() -> Failure {
    Failure {
        class: FailureClass::Cancelled,
        message: "the evaluation pool is closed".to_owned(),
    }
}

/// The CPUs that this process may use, in ascending order.
fn usable_cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect(),
        Err(_) => vec![0],
    }
}

#[cfg(test)]
mod tests;
