//! The driver: one task owns the core. It takes an event, lets the core decide, hands the writes and commands to
//! the committer and goes on; commands leave in order once their writes are durable.
//!
//! Whoever wants to know how things stand looks at the core from here too, and the answer goes the same way: nobody
//! is told of what is not durable. Nothing is decided here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use roundhouse_core::record::Write;
use roundhouse_core::{Command, Coordinator, Event, Files, LinkId, Now, Outbox, Progress, Stamp};
use roundhouse_proto::RunId;
use roundhouse_proto::link::CoordMsg;
use tokio::sync::{mpsc, oneshot};

use crate::store::Committer;
use crate::watchers::Watchers;

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
    /// The server stops: a link that is opened now ends at once.
    is_closed: bool,
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
        if !table.is_closed {
            table.open.insert(link, sender);
        }
        (link, receiver)
    }

    /// Closes a link; messages that wait are still sent.
    pub fn close(&self, link: LinkId) {
        self.table().open.remove(&link);
    }

    /// Closes every link, those that are opened later too, so that the server can end.
    pub fn close_all(&self) {
        let mut table = self.table();
        table.is_closed = true;
        table.open.clear();
    }

    /// Says something to every worker, as far as it has room for it.
    pub fn say_to_all(&self, msg: &CoordMsg) {
        for sender in self.table().open.values() {
            let _ = sender.try_send(msg.clone());
        }
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

/// What leaves once all that was handed over before it is durable.
pub enum Release {
    /// Something that the core wants done.
    Command(Command),
    /// Somebody is told what was seen of the core.
    Answer(Answer),
}

/// Tells somebody what was seen of the core; called on the committer's thread, so it must be quick.
pub type Answer = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => command.fmt(f),
            Self::Answer(_) => f.write_str("Answer"),
        }
    }
}

/// Where commands go once they are durable.
pub struct Outlets {
    /// The open links.
    pub links: Links,
    /// The file writer.
    pub files: std::sync::mpsc::SyncSender<Box<Files>>,
    /// People in front of this process.
    pub progress: mpsc::Sender<(RunId, Progress)>,
    /// People who watch a run from elsewhere.
    pub watchers: Watchers,
}

impl Outlets {
    /// Carries out commands and gives answers, in order. Called by the committer's thread; a slow file system or
    /// terminal slows it.
    pub fn release(&self, releases: Vec<Release>) {
        for release in releases {
            match release {
                Release::Command(command) => self.carry_out(command),
                Release::Answer(answer) => answer(),
            }
        }
    }

    fn carry_out(&self, command: Command) {
        match command {
            Command::Send { link, msg } => self.links.send(link, msg),
            Command::Close { link } => self.links.close(link),
            // Both ends go only when the process is about to end.
            Command::WriteFiles(files) => drop(self.files.send(files)),
            Command::Tell { run, progress } => {
                self.watchers.tell(run, &progress);
                drop(self.progress.blocking_send((run, progress)));
            }
        }
    }
}

/// What the driver is asked to do next.
enum Asked {
    /// Something happened.
    Event(Box<Event>),
    /// Somebody wants to know how things stand.
    Look(Look),
}

type Look = Box<dyn FnOnce(&Coordinator, Now) -> Answer + Send>;

/// Hands events to the driver, and looks at the core.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<Asked>);

impl Events {
    /// Waits until the driver has room. False when there is no driver any more.
    ///
    /// # Cancel safety
    /// If it is dropped before it is done, the event was not handed over.
    pub async fn send(&self, event: Event) -> bool {
        self.0.send(Asked::Event(Box::new(event))).await.is_ok()
    }

    /// What `look` sees of the core, once all that it can have seen is durable; what the same task sent before, it
    /// sees. None when there is no driver any more. Waits for as long as the store fails.
    ///
    /// # Cancel safety
    /// Nothing changes, whenever it is dropped.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Coordinator, Now) -> T + Send + 'static,
    ) -> Option<T> {
        self.look_then(look, |seen| seen).await
    }

    /// As [`Self::look`]; `then` is called with what was seen after every command that came before is carried out, and
    /// before any that comes after. It is called on the committer's thread, so it must be quick.
    ///
    /// # Cancel safety
    /// `then` may be called or not, if it is dropped.
    pub async fn look_then<S: Send + 'static, T: Send + 'static>(
        &self,
        look: impl FnOnce(&Coordinator, Now) -> S + Send + 'static,
        then: impl FnOnce(S) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let look: Look = Box::new(move |core, now| {
            let seen = look(core, now);
            // Whoever asked may be gone.
            Box::new(move || drop(tell.send(then(seen))))
        });
        self.0.send(Asked::Look(look)).await.ok()?;
        told.await.ok()
    }
}

/// The task that owns the core.
pub struct Driver {
    core: Coordinator,
    clock: Clock,
    committer: Committer<Release>,
    events: mpsc::Receiver<Asked>,
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
    events: mpsc::Receiver<Asked>,
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
        committer: Committer<Release>,
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
        let is_up = driver.submit(first.writes, commands(first.commands)).await;
        debug_assert!(is_up, "a new committer takes a batch");
        (driver, ends.events)
    }

    /// Runs until `stop` comes or its sender is dropped, even while the store takes nothing; what was handed over
    /// before is then durable. Events that still wait are dropped: nobody was told that they are stored.
    pub async fn run(mut self, mut stop: oneshot::Receiver<Infallible>) -> bool {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                biased;
                _ = &mut stop => break,
                event = self.written.recv() => match event {
                    Some(event) => Asked::Event(Box::new(event)),
                    None => {
                        // Its panic was printed. Without it the run would never be over.
                        tracing::error!("the thread that writes the run directory ended");
                        break;
                    }
                },
                asked = self.events.recv() => match asked {
                    Some(asked) => asked,
                    None => break,
                },
                _ = tick.tick() => Asked::Event(Box::new(Event::Ticked)),
            };
            let (writes, releases) = self.answer(asked);
            let is_up = tokio::select! {
                is_up = self.submit(writes, releases) => is_up,
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

    fn answer(&mut self, asked: Asked) -> (Vec<Write>, Vec<Release>) {
        let now = self.clock.now();
        match asked {
            Asked::Event(event) => {
                let mut outbox = Outbox::default();
                self.core.handle(now, *event, &mut outbox);
                (outbox.writes, commands(outbox.commands))
            }
            Asked::Look(look) => (Vec::new(), vec![Release::Answer(look(&self.core, now))]),
        }
    }

    /// False if there is no committer any more.
    async fn submit(&mut self, writes: Vec<Write>, releases: Vec<Release>) -> bool {
        if writes.is_empty() && releases.is_empty() {
            return true;
        }
        let Ok(room) = self.committer.room().await else {
            return false;
        };
        room.submit(writes, releases);
        true
    }
}

fn commands(commands: Vec<Command>) -> Vec<Release> {
    commands.into_iter().map(Release::Command).collect()
}

#[cfg(test)]
mod tests;
