//! The committer: the one thread that owns the store, and the gate through which commands leave.
//!
//! The driver hands over what each event wrote together with what it commands, and goes on. The committer takes all
//! that is queued, commits it as one group, and only then releases the commands, in the order they came: nobody is
//! told of what is not durable. When the store fails, nothing is released and nothing is lost: the store is closed,
//! opened again for as long as it takes, and the same group is committed once more. It never looks into a command.

use std::io;
use std::num::NonZeroUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use roundhouse_core::record::Write;
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use super::{Store, StoreError, in_full};

/// Most batches that wait for the committer; the driver takes no further event when it is reached.
pub const QUEUE_MAX: usize = 1024;
/// Most writes of a group, but for those of one batch.
const GROUP_WRITES_MAX: usize = 1024;
/// Longest time for gathering a group. Nothing is waited for in it: only what is queued is taken.
const GROUP_TIME_MAX: Duration = Duration::from_millis(2);

/// How long a store that fails is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Before the first try; doubled for each further one.
    pub pause_min: Duration,
    /// The longest pause between two tries. There is no last try while the process runs.
    pub pause_max: Duration,
    /// How long [`Committer::close`] goes on trying.
    pub close_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(5),
            close_max: Duration::from_secs(2),
        }
    }
}

/// How the store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last commit succeeded.
    Well,
    /// The last commit failed, and nothing is released until one succeeds.
    Failing {
        /// Why, with all causes.
        message: String,
        /// Whether waiting can help; if not, a person has to act and to start the coordinator again.
        is_transient: bool,
    },
}

impl Health {
    /// Whether waiting can help; none if nothing has to recover.
    fn may_recover(&self) -> Option<bool> {
        match self {
            Self::Well => None,
            Self::Failing { is_transient, .. } => Some(*is_transient),
        }
    }
}

/// The committer has ended: its thread was closed or panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the committer has ended")]
pub struct Ended;

/// What was handed over but could not be stored before the committer was closed. None of it was released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{batches} batches of writes are not stored: {why}")]
pub struct Unstored {
    /// How many batches, at least 1 unless the thread panicked.
    pub batches: usize,
    /// What the store said last.
    pub why: String,
}

/// What one event came to.
#[derive(Debug)]
struct Batch<T> {
    writes: Vec<Write>,
    commands: Vec<T>,
}

/// The handle of the committing thread. `T` is a command, released once all writes before it are durable.
#[derive(Debug)]
pub struct Committer<T> {
    batches: mpsc::Sender<Batch<T>>,
    thread: JoinHandle<Result<(), Unstored>>,
    health: watch::Receiver<Health>,
}

/// Room for one batch in the committer's queue.
#[derive(Debug)]
pub struct Room<'a, T>(mpsc::Permit<'a, Batch<T>>);

impl<T: Send + 'static> Committer<T> {
    /// Starts the thread. It commits to `store`, and to what `reopen` gives after a failure. `released` is called on
    /// that thread, once per group, with the commands of the group in order; while it waits, nothing is committed.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start<S: Store + 'static>(
        store: S,
        reopen: impl FnMut() -> Result<S, StoreError> + Send + 'static,
        released: impl FnMut(Vec<T>) + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with(Patience::default(), store, reopen, released)
    }

    /// As [`Self::start`], with a patience of one's own.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_with<S: Store + 'static>(
        patience: Patience,
        store: S,
        reopen: impl FnMut() -> Result<S, StoreError> + Send + 'static,
        released: impl FnMut(Vec<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (batches, queue) = mpsc::channel(QUEUE_MAX);
        let (health, health_seen) = watch::channel(Health::Well);
        let mut thread = Thread {
            store: Some(store),
            reopen,
            queue,
            health,
            patience,
            acknowledged: 0,
            fell_back_to: None,
        };
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || thread.run(released))?;
        Ok(Self {
            batches,
            thread,
            health: health_seen,
        })
    }

    /// Waits for room in the queue. To be called before an event is taken: what it comes to then has a place.
    ///
    /// # Errors
    /// The thread has ended.
    ///
    /// # Cancel safety
    /// A call that is dropped has no effect.
    pub async fn room(&self) -> Result<Room<'_, T>, Ended> {
        self.batches.reserve().await.map(Room).map_err(|_| Ended)
    }

    /// Hands a batch over from a thread that may block; waits for room in the queue.
    ///
    /// # Errors
    /// The thread has ended; the batch is not stored.
    ///
    /// # Panics
    /// In an asynchronous context: use [`Self::room`] there.
    pub fn submit_blocking(&self, writes: Vec<Write>, commands: Vec<T>) -> Result<(), Ended> {
        self.batches
            .blocking_send(Batch { writes, commands })
            .map_err(|_| Ended)
    }

    /// How the store does, now and from now on.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Commits and releases all that was handed over, closes the store and ends the thread. Blocks; with a store that
    /// fails, for [`Patience::close_max`] at most.
    ///
    /// # Errors
    /// The store failed until the end.
    pub fn close(self) -> Result<(), Unstored> {
        let Self {
            batches,
            thread,
            health: _,
        } = self;
        drop(batches);
        thread.thread().unpark();
        let panicked = |_| Unstored {
            batches: 0,
            why: "the committer panicked".to_owned(),
        };
        thread.join().map_err(panicked).flatten()
    }
}

impl<T> Room<'_, T> {
    /// Hands a batch over: `commands` are released when `writes`, and all that was handed over before, are durable.
    /// A batch without writes keeps its place.
    pub fn submit(self, writes: Vec<Write>, commands: Vec<T>) {
        self.0.send(Batch { writes, commands });
    }
}

struct Thread<S, O, T> {
    /// None after a failure, until it is opened again.
    store: Option<S>,
    reopen: O,
    queue: mpsc::Receiver<Batch<T>>,
    health: watch::Sender<Health>,
    patience: Patience,
    acknowledged: u64,
    /// A number that cannot be: what was acknowledged is gone, whatever the store says later.
    fell_back_to: Option<u64>,
}

struct Group<T> {
    /// How many batches it was made of.
    batches: NonZeroUsize,
    writes: Vec<Write>,
    commands: Vec<T>,
}

impl<S: Store, O: FnMut() -> Result<S, StoreError>, T> Thread<S, O, T> {
    fn run(&mut self, mut released: impl FnMut(Vec<T>)) -> Result<(), Unstored> {
        while let Some(first) = self.queue.blocking_recv() {
            let group = self.gather(first);
            if !group.writes.is_empty()
                && let Err(why) = self.commit_at_last(&group.writes)
            {
                let mut batches = group.batches.get();
                while self.queue.try_recv().is_ok() {
                    batches += 1;
                }
                return Err(Unstored { batches, why });
            }
            if !group.commands.is_empty() {
                released(group.commands);
            }
        }
        Ok(())
    }

    fn gather(&mut self, first: Batch<T>) -> Group<T> {
        let Batch { writes, commands } = first;
        let mut group = Group {
            batches: NonZeroUsize::MIN,
            writes,
            commands,
        };
        let began = Instant::now();
        while group.writes.len() < GROUP_WRITES_MAX && began.elapsed() < GROUP_TIME_MAX {
            let Ok(Batch { writes, commands }) = self.queue.try_recv() else {
                break;
            };
            group.batches = group.batches.saturating_add(1);
            group.writes.extend(writes);
            group.commands.extend(commands);
        }
        group
    }

    /// Commits, however often it takes. An error means that the committer was closed meanwhile and gave up.
    fn commit_at_last(&mut self, writes: &[Write]) -> Result<(), String> {
        let mut pause = self.patience.pause_min;
        let mut give_up_at = None;
        loop {
            let error = match self.commit(writes) {
                Ok(()) => {
                    self.say(Health::Well);
                    return Ok(());
                }
                Err(error) => error,
            };
            // Closed before it is opened again, or its lock would be in the way.
            self.store = None;
            let message = in_full(&error);
            self.say(Health::Failing {
                message: message.clone(),
                is_transient: error.is_transient(),
            });
            if self.queue.is_closed() {
                let give_up_at = *give_up_at.get_or_insert_with(|| Instant::now() + self.patience.close_max);
                let left = give_up_at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(message);
                }
                pause = pause.min(left);
            }
            thread::park_timeout(pause);
            pause = pause.saturating_mul(2).min(self.patience.pause_max);
        }
    }

    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if let Some(found) = self.fell_back_to {
            return Err(StoreError::WentBack {
                acknowledged: self.acknowledged,
                found,
            });
        }
        let store = match &mut self.store {
            Some(store) => store,
            closed => closed.insert((self.reopen)()?),
        };
        let found = store.commit(writes)?;
        if found <= self.acknowledged {
            self.fell_back_to = Some(found);
            return Err(StoreError::WentBack {
                acknowledged: self.acknowledged,
                found,
            });
        }
        self.acknowledged = found;
        Ok(())
    }

    /// Tells of a new state; logs only if it is another kind of state than the last.
    fn say(&self, health: Health) {
        let before = self.health.borrow().clone();
        if before == health {
            return;
        }
        match &health {
            Health::Well => info!("the store takes writes again"),
            Health::Failing { is_transient, .. } if before.may_recover() == Some(*is_transient) => {}
            Health::Failing {
                message,
                is_transient: true,
            } => {
                error!(
                    message,
                    "the store fails; nothing goes on until it takes writes again"
                );
            }
            Health::Failing {
                message,
                is_transient: false,
            } => {
                error!(
                    message,
                    "the store fails and will not recover by itself; nothing goes on"
                );
            }
        }
        self.health.send_replace(health);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use super::super::MemoryStore;
    use super::super::conformance::job;
    use super::super::memory::Fault;
    use super::*;

    const QUICK: Patience = Patience {
        pause_min: Duration::from_millis(1),
        pause_max: Duration::from_millis(4),
        close_max: Duration::from_millis(50),
    };

    /// A committer whose command `n` is released only if job `n` is then stored (odd numbers write nothing).
    struct Bench {
        store: MemoryStore,
        opens: Arc<AtomicBool>,
        released: Arc<Mutex<Vec<u32>>>,
        committer: Committer<u32>,
    }

    impl Bench {
        fn new() -> Self {
            let store = MemoryStore::new();
            let opens = Arc::new(AtomicBool::new(true));
            let released = Arc::new(Mutex::new(Vec::new()));
            let (disk, may_open) = (store.clone(), Arc::clone(&opens));
            let reopen = move || match may_open.load(Ordering::SeqCst) {
                true => Ok(disk.clone()),
                false => Err(StoreError::InUse { dir: "memory".into() }),
            };
            let (mut disk, out) = (store.clone(), Arc::clone(&released));
            let release = move |commands: Vec<u32>| {
                let jobs = disk.load().unwrap().jobs;
                for &n in &commands {
                    let is_stored = jobs.iter().any(|stored| stored.job.problem == n);
                    assert_eq!(
                        is_stored,
                        n.is_multiple_of(2),
                        "command {n} was released too early"
                    );
                }
                out.lock().unwrap().extend(commands);
            };
            let committer = Committer::start_with(QUICK, store.clone(), reopen, release).unwrap();
            Self {
                store,
                opens,
                released,
                committer,
            }
        }

        fn submit(&self, numbers: std::ops::Range<u32>) {
            for n in numbers {
                let writes = if n.is_multiple_of(2) {
                    vec![job(n)]
                } else {
                    Vec::new()
                };
                self.committer.submit_blocking(writes, vec![n]).unwrap();
            }
        }

        /// Waits until the store is seen to fail; gives the message.
        fn failing(&self) -> (String, bool) {
            let mut health = self.committer.health();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                let failing = health.wait_for(|health| *health != Health::Well);
                let failing = tokio::time::timeout(Duration::from_secs(10), failing)
                    .await
                    .unwrap()
                    .unwrap();
                match &*failing {
                    Health::Failing {
                        message,
                        is_transient,
                    } => (message.clone(), *is_transient),
                    Health::Well => unreachable!("it was waited for"),
                }
            })
        }
    }

    #[test]
    fn commands_are_released_in_order_and_those_without_writes_keep_their_place() {
        let bench = Bench::new();
        bench.submit(0..3_000);
        bench.committer.close().unwrap();
        assert_eq!(*bench.released.lock().unwrap(), (0..3_000).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_lost_or_early_while_the_store_fails_for_a_while() {
        for fault in [Fault::Lost, Fault::Unsaid] {
            let bench = Bench::new();
            bench.store.fail_after(100, fault);
            bench.submit(0..600);
            assert_eq!(
                bench.failing(),
                (
                    "the database in `memory` failed: it was told to fail".to_owned(),
                    true
                )
            );
            assert!(
                bench.released.lock().unwrap().len() <= 201,
                "only 100 writes could be stored"
            );
            bench.opens.store(false, Ordering::SeqCst);
            bench.store.heal();
            bench.submit(600..700);
            assert!(
                bench.released.lock().unwrap().len() <= 201,
                "the store cannot be opened yet"
            );
            bench.opens.store(true, Ordering::SeqCst);
            bench.committer.close().unwrap();
            assert_eq!(*bench.released.lock().unwrap(), (0..700).collect::<Vec<_>>());
        }
    }

    #[test]
    fn queue_of_a_failing_store_has_room_for_so_many_batches_and_no_more() {
        let bench = Bench::new();
        bench.store.fail_after(0, Fault::Lost);
        bench.submit(0..1);
        bench.failing();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let submitted = runtime.block_on(async {
            let mut n = 1;
            while let Ok(room) = tokio::time::timeout(Duration::from_millis(50), bench.committer.room()).await
            {
                room.unwrap().submit(Vec::new(), vec![2 * n + 1]);
                n += 1;
            }
            n - 1
        });
        assert_eq!(submitted as usize, QUEUE_MAX);
        bench.store.heal();
        bench.committer.close().unwrap();
        let all = std::iter::once(0).chain((1..=submitted).map(|n| 2 * n + 1));
        assert_eq!(*bench.released.lock().unwrap(), all.collect::<Vec<_>>());
    }

    #[test]
    fn close_gives_up_on_a_store_that_never_recovers_and_says_how_much_is_not_stored() {
        let bench = Bench::new();
        bench.store.fail_after(0, Fault::Lost);
        bench.submit(0..10);
        let error = bench.committer.close().unwrap_err();
        let why = "the database in `memory` failed: it was told to fail".to_owned();
        assert_eq!(error, Unstored { batches: 10, why });
        assert!(bench.released.lock().unwrap().is_empty());
    }

    #[test]
    fn record_that_no_store_takes_is_told_as_a_failure_that_waiting_does_not_end() {
        let bench = Bench::new();
        let Write::Job(mut record) = job(1) else {
            unreachable!("it is a job")
        };
        record.state = super::super::conformance::error_of_bytes(9_000);
        bench
            .committer
            .submit_blocking(vec![Write::Job(record)], vec![1])
            .unwrap();
        let (message, is_transient) = bench.failing();
        assert!(
            message.ends_with("bytes, at most 8192 can be stored") && !is_transient,
            "{message}"
        );
        assert_eq!(bench.committer.close().unwrap_err().batches, 1);
        assert!(bench.released.lock().unwrap().is_empty());
    }

    #[test]
    fn store_that_lost_acknowledged_commits_is_not_believed() {
        let (tell, is_told) = std::sync::mpsc::sync_channel(1);
        let empty = MemoryStore::new();
        let emptied = move || Ok(empty.clone());
        let store = MemoryStore::new();
        let release = move |commands: Vec<u32>| tell.send(commands).unwrap();
        let committer = Committer::start_with(QUICK, store.clone(), emptied, release).unwrap();
        committer.submit_blocking(vec![job(1)], vec![1]).unwrap();
        is_told.recv_timeout(Duration::from_secs(10)).unwrap();
        store.fail_after(0, Fault::Lost);
        committer.submit_blocking(vec![job(2)], vec![2]).unwrap();
        let error = committer.close().unwrap_err();
        assert_eq!(
            error.why,
            "the store fell back: commit 1 came after commit 1 was acknowledged"
        );
    }
}
