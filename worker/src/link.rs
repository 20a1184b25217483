//! The link to the coordinator: joins, pings, comes back after a loss, and says again what was not acknowledged.
//!
//! It carries messages and knows the leases; what a job does is in [`crate::slots`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roundhouse_proto::link::{CoordMsg, EndpointOffer, Hello, JobGrant, RunningLease, WorkerMsg};
use roundhouse_proto::wire::v1;
use roundhouse_proto::wire::v1::link_client::LinkClient;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{Failure, JobId, LeaseId, Payload, Role};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::notices::Notices;

/// Messages that wait to be sent.
const OUTGOING_MAX: usize = 1_024;
/// Jobs beyond its slots that an evaluation worker asks for, so that a slot never waits for a message.
const PREFETCH: u32 = 2;
/// Shortest and longest wait before the next try to connect.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
/// As above.
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// How long the coordinator may take to hear a goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the coordinator has said about one lease.
#[derive(Debug, Default)]
pub struct LeaseNews {
    /// Session events up to this number are durable.
    pub acked_seq: u64,
    /// The result is durable.
    pub result_acked: bool,
    /// The lease is void; whatever is left of the job is for nobody.
    pub is_void: bool,
    /// Reports of round tests, by round.
    pub reports: BTreeMap<u32, Result<Payload, Failure>>,
}

#[derive(Debug)]
struct Held {
    job: JobId,
    role: Role,
    priority: Priority,
    since: Instant,
    news: watch::Sender<LeaseNews>,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<LeaseId, Held>,
    /// Where messages go while the link is up.
    outgoing: Option<mpsc::Sender<WorkerMsg>>,
    /// Jobs held beyond the room of a role when the link came up: so many are let go without offering room again.
    owed: BTreeMap<Role, u32>,
    /// Nothing new is taken.
    is_draining: bool,
    /// It goes home once it holds nothing.
    ends_when_idle: bool,
    /// It leaves of its own accord: what it is handed from now on it gives back.
    is_leaving: bool,
    /// Endpoints that it asks nothing more, and why.
    benched: BTreeMap<String, String>,
}

impl State {
    fn held_n(&self, role: Role) -> usize {
        self.held.values().filter(|held| held.role == role).count()
    }

    /// Whether a job is to be done although the worker leaves: the tests of a round, as long as sessions are held here
    /// that may wait for them, since there may be nobody else to run them.
    fn is_needed_to_finish(&self, role: Role, priority: Priority) -> bool {
        role == Role::Eval && priority == Priority::URGENT && self.held_n(Role::Gen) > 0
    }

    /// Goes without one held job; where to say what about the room it leaves.
    fn offer_again(&mut self, held: &Held) -> Option<(mpsc::Sender<WorkerMsg>, WorkerMsg)> {
        let role = held.role;
        let owed = self.owed.entry(role).or_default();
        if *owed > 0 {
            *owed -= 1;
            return None;
        }
        let is_needed = self.is_leaving && self.is_needed_to_finish(role, held.priority);
        if self.is_draining && !is_needed {
            return None;
        }
        Some((self.outgoing.clone()?, WorkerMsg::Credit { role, n: 1 }))
    }
}

/// The worker's end of the link, shared by its jobs.
#[derive(Debug)]
pub struct Link {
    /// As it was at the beginning; [`Link::hello`] is what is said.
    hello: Hello,
    state: Mutex<State>,
    /// Counts the links so far; changes when one comes up or is lost.
    changed: watch::Sender<u64>,
    /// It is to say goodbye.
    goes_home: watch::Sender<bool>,
    /// How many programs it may run at once; none where the coordinator of this link has not said so.
    share: watch::Sender<Option<u32>>,
}

/// The lease is void: the job is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Void;

/// Why a worker does not go on.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The coordinator does not let it in.
    #[error("the coordinator does not let this worker in: {reason}")]
    Rejected {
        /// Why, and what to do.
        reason: String,
    },
}

impl Link {
    /// A link that is not up yet.
    pub fn new(hello: Hello) -> Arc<Self> {
        Arc::new(Self {
            hello,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            goes_home: watch::Sender::new(false),
            share: watch::Sender::new(None),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins, and joins again after every loss, for as long as it takes: until the coordinator refuses, or it goes
    /// home, sent by the coordinator, or by [`Self::leave`] or [`Self::finish`]. Grants come out of `grants`.
    ///
    /// # Errors
    /// The coordinator refuses this worker.
    pub async fn stay(
        &self,
        channel: Channel,
        grants: mpsc::Sender<JobGrant>,
        mut notices: Notices,
    ) -> Result<(), LinkError> {
        let mut wait = RECONNECT_MIN;
        loop {
            let began = Instant::now();
            match self.join_once(channel.clone(), &grants, &mut notices).await? {
                Ended::SentHome => return Ok(()),
                Ended::Lost => {}
                Ended::NeverUp(status) => notices.failed(Instant::now(), &status),
            }
            if began.elapsed() > RECONNECT_MAX {
                wait = RECONNECT_MIN;
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(wait)) => {}
                () = self.sent_home() => return Ok(()),
            }
            wait = (wait * 2).min(RECONNECT_MAX);
        }
    }

    /// Takes nothing new and says goodbye, whatever is still held: the coordinator gives it to others, without
    /// counting an attempt. [`Self::stay`] then ends.
    pub fn leave(&self) {
        self.state().is_draining = true;
        self.goes_home.send_replace(true);
    }

    /// Takes nothing new, gives back what it is handed from now on, and goes home once it holds nothing. How many jobs
    /// it holds.
    pub fn finish(&self) -> usize {
        let mut state = self.state();
        state.is_draining = true;
        state.is_leaving = true;
        state.ends_when_idle = true;
        if state.held.is_empty() {
            self.goes_home.send_replace(true);
        }
        state.held.len()
    }

    /// How many jobs it holds.
    pub fn held_n(&self) -> usize {
        self.state().held.len()
    }

    /// Whether a job that it was just handed is to be done, and not given back because it leaves.
    pub fn takes(&self, grant: &JobGrant) -> bool {
        let state = self.state();
        !state.is_leaving || state.is_needed_to_finish(grant.work.role(), grant.priority)
    }

    /// What it says of itself now, benched endpoints included.
    fn hello(&self) -> Hello {
        let state = self.state();
        let mut hello = self.hello.clone();
        for EndpointOffer { name, benched } in &mut hello.endpoints {
            if let Some(reason) = state.benched.get(name) {
                *benched = Some(reason.clone());
            }
        }
        hello
    }

    /// Says that an endpoint is asked nothing more: on this link before anything that is said after this returns, on
    /// later ones first of all.
    pub async fn bench(&self, endpoint: &str, reason: &str) {
        let outgoing = {
            let mut state = self.state();
            let benched = state.benched.entry(endpoint.to_owned());
            benched.or_insert_with(|| reason.to_owned());
            state.outgoing.clone()
        };
        // Where no link is up, the next one says it before it offers any room: in its hello, or when it comes up.
        if let Some(outgoing) = outgoing {
            let (endpoint, reason) = (endpoint.to_owned(), reason.to_owned());
            let _ = outgoing.send(WorkerMsg::Benched { endpoint, reason }).await;
        }
    }

    /// How many programs the coordinator lets this worker run at once; none for as many as it can.
    pub fn share(&self) -> watch::Receiver<Option<u32>> {
        self.share.subscribe()
    }

    async fn sent_home(&self) {
        // Cannot fail: the sender is this link's own.
        let _ = self.goes_home.subscribe().wait_for(|goes_home| *goes_home).await;
    }

    async fn join_once(
        &self,
        channel: Channel,
        grants: &mpsc::Sender<JobGrant>,
        notices: &mut Notices,
    ) -> Result<Ended, LinkError> {
        let (sender, receiver) = mpsc::channel(OUTGOING_MAX);
        let hello = self.hello();
        let offers = hello.endpoints.clone();
        // Room for the first few messages is there: the queue is new.
        let _ = sender.try_send(WorkerMsg::Hello(hello));
        let outgoing = ReceiverStream::new(receiver).map(v1::WorkerMsg::from);
        let mut client = LinkClient::new(channel);
        let mut linking = std::pin::pin!(client.link(outgoing));
        let mut incoming = tokio::select! {
            response = &mut linking => match response {
                Ok(response) => response.into_inner(),
                Err(status) => return Ok(Ended::NeverUp(Box::new(status))),
            },
            () = self.sent_home() => {
                // The hello may have been heard: without a goodbye it would be taken for lost.
                if let Ok(Ok(response)) = tokio::time::timeout(GOODBYE_TIMEOUT, linking).await {
                    say_goodbye(sender, response.into_inner()).await;
                }
                return Ok(Ended::SentHome);
            }
        };
        let mut ping = tokio::time::interval(Duration::from_secs(2));
        let mut ping_seq = 0;
        let mut was_up = false;
        let ended = loop {
            let msg = tokio::select! {
                msg = incoming.message() => msg,
                () = self.sent_home() => {
                    self.state().outgoing = None;
                    say_goodbye(sender, incoming).await;
                    break Ended::SentHome;
                }
                _ = ping.tick() => {
                    ping_seq += 1;
                    // A full queue is a link that does not move; the coordinator ends it when it hears nothing.
                    let _ = sender.try_send(WorkerMsg::Ping { seq: ping_seq });
                    continue;
                }
            };
            let msg = match msg.map(|msg| msg.map(CoordMsg::try_from)) {
                Ok(Some(Ok(msg))) => msg,
                Ok(Some(Err(error))) => {
                    tracing::warn!(%error, "the coordinator said what cannot be read");
                    break Ended::Lost;
                }
                Ok(None) => break Ended::Lost,
                Err(status) => {
                    tracing::debug!(%status, "the link broke");
                    break Ended::Lost;
                }
            };
            match msg {
                CoordMsg::Welcome { ping_ms, .. } => {
                    ping = tokio::time::interval(Duration::from_millis(ping_ms.max(100)));
                    // What was said on an earlier link is void: those it was shared with may be gone.
                    self.share.send_if_modified(|share| share.take().is_some());
                    self.come_up(&sender, &offers);
                    was_up = true;
                    notices.came_up();
                }
                CoordMsg::Reject { reason, .. } => return Err(LinkError::Rejected { reason }),
                CoordMsg::Jobs(jobs) => {
                    for grant in jobs {
                        self.take_up(&grant);
                        if grants.send(grant).await.is_err() {
                            return Ok(Ended::SentHome);
                        }
                    }
                }
                CoordMsg::Ack { lease, seq: 0 } => self.tell(lease, |news| news.result_acked = true),
                CoordMsg::Ack { lease, seq } => {
                    self.tell(lease, |news| news.acked_seq = news.acked_seq.max(seq));
                }
                CoordMsg::TestReport { lease, round, report } => {
                    self.tell(lease, |news| drop(news.reports.insert(round, report)));
                }
                CoordMsg::Cancel { lease, .. } | CoordMsg::Forget { lease } => {
                    self.tell(lease, |news| news.is_void = true);
                }
                CoordMsg::Drain { last } => {
                    let mut state = self.state();
                    state.is_draining = true;
                    state.ends_when_idle |= last;
                    if state.ends_when_idle && state.held.is_empty() {
                        self.goes_home.send_replace(true);
                    }
                }
                CoordMsg::Restarting { .. } => break Ended::Lost,
                CoordMsg::Cages { n } => {
                    self.share.send_replace(Some(n));
                }
                CoordMsg::Adopt { .. } | CoordMsg::Share { .. } | CoordMsg::Pong { .. } => {}
            }
        };
        self.state().outgoing = None;
        self.changed.send_modify(|n| *n += 1);
        match ended {
            Ended::Lost if was_up => notices.was_lost(Instant::now()),
            Ended::Lost => {
                let why = tonic::Status::unavailable("it ends the link before it lets anybody in");
                notices.failed(Instant::now(), &why);
            }
            Ended::NeverUp(_) | Ended::SentHome => {}
        }
        Ok(ended)
    }

    /// States what is held, offers what room is left, and lets waiting messages go. `offers` are the endpoints as the
    /// hello of this link has them.
    fn come_up(&self, sender: &mpsc::Sender<WorkerMsg>, offers: &[EndpointOffer]) {
        let mut state = self.state();
        let running = state
            .held
            .iter()
            .map(|(lease, held)| RunningLease {
                job: held.job,
                lease: *lease,
                last_seq: held.news.borrow().acked_seq,
                running_ms: u64::try_from(held.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            })
            .collect();
        let _ = sender.try_send(WorkerMsg::Inventory {
            running,
            spooled: Vec::new(),
        });
        for EndpointOffer { name, benched } in offers {
            // Benched since the hello was made.
            if let (None, Some(reason)) = (benched, state.benched.get(name)) {
                let (endpoint, reason) = (name.clone(), reason.clone());
                let _ = sender.try_send(WorkerMsg::Benched { endpoint, reason });
            }
        }
        for (role, slots) in &self.hello.slots {
            let held = u32::try_from(state.held_n(*role)).unwrap_or(u32::MAX);
            let room = match role {
                Role::Gen => *slots,
                Role::Eval => slots + PREFETCH,
            };
            let mut n = room.saturating_sub(held);
            state.owed.insert(*role, held.saturating_sub(room));
            let is_needed = state.is_leaving && state.is_needed_to_finish(*role, Priority::URGENT);
            if state.is_draining {
                // Room for one makes it somebody whom urgent jobs can be sent to beyond its room.
                n = n.min(u32::from(is_needed));
            }
            if n > 0 {
                let _ = sender.try_send(WorkerMsg::Credit { role: *role, n });
            }
        }
        state.outgoing = Some(sender.clone());
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    fn take_up(&self, grant: &JobGrant) {
        let role = grant.work.role();
        let news = watch::Sender::new(LeaseNews::default());
        let held = Held {
            job: grant.job,
            role,
            priority: grant.priority,
            since: Instant::now(),
            news,
        };
        self.state().held.insert(grant.lease, held);
    }

    fn tell(&self, lease: LeaseId, change: impl FnOnce(&mut LeaseNews)) {
        if let Some(held) = self.state().held.get(&lease) {
            held.news.send_modify(change);
        }
    }

    /// What the coordinator says about a lease from now on; none if it is not held.
    pub fn news(&self, lease: LeaseId) -> Option<watch::Receiver<LeaseNews>> {
        self.state().held.get(&lease).map(|held| held.news.subscribe())
    }

    /// Comes when a lease is void, or not held.
    pub async fn voided(&self, lease: LeaseId) {
        if let Some(mut news) = self.news(lease) {
            let _ = news.wait_for(|news| news.is_void).await;
        }
    }

    /// Says something about a lease, again after every loss of the link, until `is_acked`.
    ///
    /// # Errors
    /// The lease is void.
    pub async fn deliver(
        &self,
        lease: LeaseId,
        msg: WorkerMsg,
        is_acked: impl Fn(&LeaseNews) -> bool,
    ) -> Result<(), Void> {
        let mut news = self.news(lease).ok_or(Void)?;
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let outgoing = self.state().outgoing.clone();
            if let Some(outgoing) = outgoing {
                // A queue that was closed under us is a link that was lost: it is said again on the next one.
                let _ = outgoing.send(msg.clone()).await;
            }
            tokio::select! {
                news = news.wait_for(|news| news.is_void || is_acked(news)) => {
                    // What came twice is acknowledged and then void: both may be seen at once.
                    return match news {
                        Ok(news) if is_acked(&news) => Ok(()),
                        _ => Err(Void),
                    };
                }
                _ = changed.changed() => {}
            }
        }
    }

    /// Lets a lease go and offers its room again.
    pub async fn let_go(&self, lease: LeaseId) {
        self.part_with(lease, None).await;
    }

    /// Gives a job back, to go on elsewhere from its last stored event, and offers its room again; `unaccounted` calls
    /// of it may have been paid and brought nothing. Where no link is up, the next one's inventory lacks it, which says
    /// the same but for those calls.
    pub async fn give_back(&self, lease: LeaseId, reason: String, unaccounted: u32) {
        let nack = WorkerMsg::Nack {
            lease,
            reason,
            unaccounted,
        };
        self.part_with(lease, Some(nack)).await;
    }

    async fn part_with(&self, lease: LeaseId, farewell: Option<WorkerMsg>) {
        let (outgoing, offer) = {
            let mut state = self.state();
            let Some(held) = state.held.remove(&lease) else {
                return;
            };
            (state.outgoing.clone(), state.offer_again(&held))
        };
        // What is sent waits for room: an offer that is dropped is a slot that stays empty. On a link that was lost
        // meanwhile nothing is missing: the next one says what is held and offers all the room there is.
        if let (Some(outgoing), Some(farewell)) = (outgoing, farewell) {
            let _ = outgoing.send(farewell).await;
        }
        if let Some((outgoing, credit)) = offer {
            let _ = outgoing.send(credit).await;
        }
        let state = self.state();
        if state.ends_when_idle && state.held.is_empty() {
            self.goes_home.send_replace(true);
        }
    }
}

enum Ended {
    /// It was up.
    Lost,
    NeverUp(Box<tonic::Status>),
    SentHome,
}

/// Says goodbye and waits until it was heard, which is when the coordinator ends the link.
async fn say_goodbye(sender: mpsc::Sender<WorkerMsg>, mut incoming: tonic::Streaming<v1::CoordMsg>) {
    let goodbye = WorkerMsg::Goodbye {
        reason: "it goes home".to_owned(),
    };
    let heard = async {
        if sender.send(goodbye).await.is_ok() {
            while let Ok(Some(_)) = incoming.message().await {}
        }
    };
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, heard).await;
}

/// Somewhere between half of a wait and all of it, so that workers do not come back all at once.
fn jittered(wait: Duration) -> Duration {
    let share = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
    wait.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests;
