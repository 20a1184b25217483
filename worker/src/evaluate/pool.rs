//! The cages of a worker and the queue before them.
//!
//! Stands between the worker's slots, which are asynchronous and many, and the cages, which are blocking and as few
//! as there are cores. One thread per cage takes the most urgent program that waits; between two cases of a program
//! it first judges whatever is more urgent, in the same cage, so that a session never waits for a long evaluation.
//! Knows nothing of leases: a program that came twice is judged twice.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{EvaluateWork, EvaluationReport, Failure, FailureClass, Isolation, TestSet};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::error;

use super::Cancellation;
use super::gate::Gate;
use super::inputs::SealedInputs;
use super::judge::{Judge, Stopped, Surroundings};
use super::runner::{CageFailure, CageSource, SandboxCages, Seat};
use crate::language::Interpreter;

/// Programs that wait for a cage, of the urgent ones and of the others each; further ones wait to be queued.
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
    /// Set when nobody wants the report any more. Dropping the future does the same.
    pub cancellation: Cancellation,
}

/// Cages with their threads. Dropping it lets the threads go, each after the case that it runs.
pub struct Pool {
    shared: Arc<Shared>,
    isolation: Isolation,
    cages: usize,
}

struct Shared {
    around: Surroundings,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Room among the urgent, and among the others: neither can take the other's.
    urgent_room: Arc<Semaphore>,
    normal_room: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    /// In the order in which they are taken: by priority, then by arrival. Bounded by the rooms.
    waiting: BTreeMap<(Priority, u64), Waiting>,
    arrivals: u64,
    closed: bool,
}

struct Waiting {
    evaluation: Evaluation,
    reply: oneshot::Sender<Result<EvaluationReport, Failure>>,
    _room: OwnedSemaphorePermit,
}

/// Which cage is ready, and how well it shuts programs in, or why there is none.
type Ready = (usize, Result<Isolation, CageFailure>);

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
        Self::start_with(&source, interpreter, cages)
    }

    pub(crate) fn start_with(
        source: &Arc<dyn CageSource>,
        interpreter: Arc<Interpreter>,
        cages: NonZeroUsize,
    ) -> Result<Self, PoolError> {
        let cages = cages.get();
        let shared = Arc::new(Shared {
            around: Surroundings {
                interpreter,
                inputs: SealedInputs::default(),
                gate: Gate::default(),
            },
            queue: Mutex::default(),
            changed: Condvar::new(),
            urgent_room: Arc::new(Semaphore::new(QUEUE_MAX)),
            normal_room: Arc::new(Semaphore::new(QUEUE_MAX)),
        });
        // Made first: when a later cage fails, its drop lets the threads of the earlier ones go.
        let mut pool = Self {
            shared,
            isolation: Isolation::Full,
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
                .spawn(move || shared.serve_until_closed(&source, cpu, (cage, &ready)))
                .map_err(|source| PoolError::Thread { cage, cages, source })?;
        }
        drop(ready);
        for (cage, outcome) in readiness.iter().take(cages) {
            let isolation = outcome.map_err(|CageFailure(reason)| PoolError::Cage { cage, cages, reason })?;
            pool.isolation = pool.isolation.min(isolation);
        }
        Ok(pool)
    }

    /// How well programs are shut in: the weakest of the cages.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// What programs are run by.
    pub fn interpreter(&self) -> &Interpreter {
        &self.shared.around.interpreter
    }

    /// How many programs run at once.
    pub fn cages(&self) -> usize {
        self.cages
    }

    /// Judges a program as soon as a cage is free for it.
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
        let shared = Arc::clone(&self.shared);
        async move {
            let room = if evaluation.priority < Priority::NORMAL {
                &shared.urgent_room
            } else {
                &shared.normal_room
            };
            let room = Arc::clone(room).acquire_owned().await.map_err(|_| closed())?;
            let (reply, report) = oneshot::channel();
            shared.push(Waiting {
                evaluation,
                reply,
                _room: room,
            });
            report.await.unwrap_or_else(|_| Err(closed()))
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        queue.waiting.clear();
        self.shared.changed.notify_all();
        self.shared.urgent_room.close();
        self.shared.normal_room.close();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, waiting: Waiting) {
        let mut queue = self.queue();
        if !queue.closed {
            queue.arrivals += 1;
            let place = (waiting.evaluation.priority, queue.arrivals);
            queue.waiting.insert(place, waiting);
            self.changed.notify_one();
        }
    }

    /// The next program, once there is one; none when the pool is closed.
    fn next(&self) -> Option<Waiting> {
        let mut queue = self.queue();
        loop {
            if let Some((_, waiting)) = queue.waiting.pop_first() {
                return Some(waiting);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next program that is more urgent than `priority`.
    fn more_urgent(&self, priority: Priority) -> Option<Waiting> {
        let mut queue = self.queue();
        let first = queue.waiting.first_entry()?;
        (first.key().0 < priority).then(|| first.remove())
    }

    fn serve_until_closed(
        &self,
        source: &Arc<dyn CageSource>,
        cpu: Option<usize>,
        (cage, ready): (usize, &SyncSender<Ready>),
    ) {
        let started = Seat::start(Arc::clone(source), cpu);
        let outcome = started.as_ref().map(Seat::isolation).map_err(Clone::clone);
        // Nobody listens when another cage has failed already; the closed queue then ends this one too.
        let _ = ready.send((cage, outcome));
        if let Ok(mut seat) = started {
            while let Some(waiting) = self.next() {
                self.serve(&mut seat, waiting);
            }
        }
    }

    /// Judges one program; between its cases those that are more urgent, at most one level for each priority.
    fn serve(&self, seat: &mut Seat, waiting: Waiting) {
        let Waiting {
            evaluation,
            reply,
            _room,
        } = waiting;
        let judge = Judge {
            work: &evaluation.work,
            program: &evaluation.program,
            tests: &evaluation.tests,
            checker: evaluation.checker.as_deref(),
            around: &self.around,
            is_stopped: &|| {
                evaluation.cancellation.is_cancelled() || reply.is_closed() || self.queue().closed
            },
        };
        let between = &mut |seat: &mut Seat| {
            while let Some(urgent) = self.more_urgent(evaluation.priority) {
                self.serve(seat, urgent);
            }
        };
        let judged = std::panic::catch_unwind(AssertUnwindSafe(|| judge.judge(seat, between)));
        let outcome = match judged {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(Stopped)) => Err(Failure {
                class: FailureClass::Cancelled,
                message: "the evaluation was cancelled".to_owned(),
            }),
            Err(_) => {
                // The panic itself was printed where it happened. The cage may hold half a run.
                error!("judging a program panicked");
                seat.clear();
                Err(Failure {
                    class: FailureClass::InfraRetry,
                    message: "judging the program panicked".to_owned(),
                })
            }
        };
        // Nobody listens to a cancelled evaluation.
        let _ = reply.send(outcome);
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
