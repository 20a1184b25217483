//! The driver: one task owns the core. It takes an event, lets the core decide, hands the writes and commands to
//! the committer and goes on; commands leave in order once their writes are durable.
//!
//! Nothing is decided here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use roundhouse_core::{Command, Coordinator, Event, Files, LinkId, Now, Outbox, Progress, Stamp};
use roundhouse_proto::RunId;
use roundhouse_proto::link::CoordMsg;
use tokio::sync::{mpsc, oneshot};

use crate::store::Committer;

/// Events that wait for the driver; a link that says more is slowed down.
const EVENTS_MAX: usize = 1_024;
/// Reports of written files that wait for the driver. More than the batches the committer holds can ask for, so that
/// the file writer never waits for the driver while the driver waits for the committer.
pub const WRITTEN_MAX: usize = 16_384;
/// Messages that wait for one worker; a link that does not drain is cut off.
pub const LINK_QUEUE_MAX: usize = 1_024;
/// How often the core is told that time has passed.
const TICK: Duration = Duration::from_millis(500);

/// Reads the clocks for the core.
#[derive(Clone, Debug)]
pub struct Clock {
    opened: Instant,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    pub fn start() -> Self {
        Self {
            opened: Instant::now(),
        }
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        let monotonic_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now {
            monotonic_ms,
            wall: stamp(),
        }
    }
}

/// The time on the clock, with the local offset.
pub fn stamp() -> Stamp {
    let now = jiff::Zoned::now();
    let unix_us = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0);
    Stamp {
        unix_us,
        offset_s: now.offset().seconds(),
    }
}

/// The open links, by id: where messages to a worker go.
#[derive(Clone, Debug, Default)]
pub struct Links {
    table: Arc<Mutex<LinkTable>>,
}

#[derive(Debug, Default)]
struct LinkTable {
    /// Ids given so far.
    given: u64,
    open: BTreeMap<LinkId, mpsc::Sender<CoordMsg>>,
}

impl Links {
    fn table(&self) -> MutexGuard<'_, LinkTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a link; its messages come out of the receiver, which ends when the link is closed from here.
    pub fn open(&self) -> (LinkId, mpsc::Receiver<CoordMsg>) {
        let (sender, receiver) = mpsc::channel(LINK_QUEUE_MAX);
        let mut table = self.table();
        table.given += 1;
        let link = LinkId(table.given);
        table.open.insert(link, sender);
        (link, receiver)
    }

    /// Closes a link; messages that wait are still sent.
    pub fn close(&self, link: LinkId) {
        self.table().open.remove(&link);
    }

    /// Closes every link, so that the server can end.
    pub fn close_all(&self) {
        self.table().open.clear();
    }

    fn send(&self, link: LinkId, msg: CoordMsg) {
        let sender = self.table().open.get(&link).cloned();
        let Some(sender) = sender else { return };
        if sender.try_send(msg).is_err() {
            tracing::warn!(%link, "a worker does not read what it is sent: its link is cut off");
            self.close(link);
        }
    }
}

/// Where commands go once they are durable.
pub struct Outlets {
    /// The open links.
    pub links: Links,
    /// The file writer.
    pub files: std::sync::mpsc::SyncSender<Box<Files>>,
    /// People.
    pub progress: mpsc::Sender<(RunId, Progress)>,
}

impl Outlets {
    /// Carries out commands, in order. Called by the committer's thread; a slow file system or terminal slows it.
    pub fn release(&self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Send { link, msg } => self.links.send(link, msg),
                Command::Close { link } => self.links.close(link),
                // Both ends go only when the process is about to end.
                Command::WriteFiles(files) => drop(self.files.send(files)),
                Command::Tell { run, progress } => drop(self.progress.blocking_send((run, progress))),
            }
        }
    }
}

/// Hands events to the driver.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<Event>);

impl Events {
    /// Waits until the driver has room. False when there is no driver any more.
    ///
    /// # Cancel safety
    /// If it is dropped before it is done, the event was not handed over.
    pub async fn send(&self, event: Event) -> bool {
        self.0.send(event).await.is_ok()
    }
}

/// The task that owns the core.
pub struct Driver {
    core: Coordinator,
    clock: Clock,
    committer: Committer<Command>,
    events: mpsc::Receiver<Event>,
    written: mpsc::Receiver<Event>,
}

/// The ends that are given to others.
pub struct DriverEnds {
    /// For links and commands.
    pub events: Events,
    /// For the file writer.
    pub written: mpsc::Sender<Event>,
}

/// The two channels of a driver, made before it so that the file writer can be started first.
pub struct DriverChannels {
    ends: DriverEnds,
    events: mpsc::Receiver<Event>,
    written: mpsc::Receiver<Event>,
}

impl DriverChannels {
    /// New channels.
    pub fn new() -> Self {
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let (written_in, written) = mpsc::channel(WRITTEN_MAX);
        Self {
            ends: DriverEnds {
                events: Events(events_in),
                written: written_in,
            },
            events,
            written,
        }
    }

    /// The end for links and commands.
    pub fn events(&self) -> Events {
        self.ends.events.clone()
    }

    /// The end for the file writer.
    pub fn written(&self) -> mpsc::Sender<Event> {
        self.ends.written.clone()
    }
}

impl Default for DriverChannels {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver {
    /// A driver of a core that has just been started; `first` is what its start left in the outbox.
    pub async fn new(
        core: Coordinator,
        first: Outbox,
        clock: Clock,
        committer: Committer<Command>,
        channels: DriverChannels,
    ) -> (Self, Events) {
        let DriverChannels {
            ends,
            events,
            written,
        } = channels;
        let mut driver = Self {
            core,
            clock,
            committer,
            events,
            written,
        };
        let is_up = driver.submit(first).await;
        debug_assert!(is_up, "a new committer takes a batch");
        (driver, ends.events)
    }

    /// Runs until `stop` comes or its sender is dropped, even while the store takes nothing; what was handed over
    /// before is then durable. Events that still wait are dropped: nobody was told that they are stored.
    pub async fn run(mut self, mut stop: oneshot::Receiver<Infallible>) -> bool {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                _ = &mut stop => break,
                event = self.written.recv() => match event {
                    Some(event) => event,
                    None => {
                        // Its panic was printed. Without it the run would never be over.
                        tracing::error!("the thread that writes the run directory ended");
                        break;
                    }
                },
                event = self.events.recv() => match event {
                    Some(event) => event,
                    None => break,
                },
                _ = tick.tick() => Event::Ticked,
            };
            let mut outbox = Outbox::default();
            self.core.handle(self.clock.now(), event, &mut outbox);
            let is_up = tokio::select! {
                is_up = self.submit(outbox) => is_up,
                _ = &mut stop => false,
            };
            if !is_up {
                break;
            }
        }
        let Self {
            committer,
            events,
            written,
            ..
        } = self;
        // Whoever waits to hand over an event need not wait any more, above all the file writer, for which the
        // committer may be waiting.
        drop((events, written));
        // Joining a thread blocks; the runtime must not.
        match tokio::task::spawn_blocking(move || committer.close()).await {
            Ok(Ok(())) => true,
            Ok(Err(unstored)) => {
                tracing::error!(%unstored, "the last events are not stored");
                false
            }
            Err(error) => {
                tracing::error!(%error, "the committer panicked");
                false
            }
        }
    }

    /// False if there is no committer any more.
    async fn submit(&mut self, outbox: Outbox) -> bool {
        let Outbox { writes, commands } = outbox;
        if writes.is_empty() && commands.is_empty() {
            return true;
        }
        let Ok(room) = self.committer.room().await else {
            return false;
        };
        room.submit(writes, commands);
        true
    }
}

#[cfg(test)]
mod tests;
