//! The link to the coordinator: joins, pings, comes back after a loss, and says again what was not acknowledged.
//!
//! It carries messages and knows the leases; what a job does is in [`crate::slots`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roundhouse_proto::link::{CoordMsg, Hello, JobGrant, RunningLease, WorkerMsg};
use roundhouse_proto::wire::v1;
use roundhouse_proto::wire::v1::link_client::LinkClient;
use roundhouse_proto::{Failure, JobId, LeaseId, Payload, Role};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Messages that wait to be sent.
const OUTGOING_MAX: usize = 1_024;
/// Jobs beyond its slots that an evaluation worker asks for, so that a slot never waits for a message.
const PREFETCH: u32 = 2;
/// Longest wait before the next try to connect.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

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
    since: Instant,
    news: watch::Sender<LeaseNews>,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<LeaseId, Held>,
    /// Where messages go while the link is up.
    outgoing: Option<mpsc::Sender<WorkerMsg>>,
    is_draining: bool,
}

/// The worker's end of the link, shared by its jobs.
#[derive(Debug)]
pub struct Link {
    hello: Hello,
    state: Mutex<State>,
    /// Counts the links so far; changes when one comes up or is lost.
    changed: watch::Sender<u64>,
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
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins, and joins again after every loss, until the coordinator refuses or sends the worker home. Grants come
    /// out of `grants`.
    ///
    /// # Errors
    /// The coordinator refuses this worker.
    pub async fn stay(&self, channel: Channel, grants: mpsc::Sender<JobGrant>) -> Result<(), LinkError> {
        let mut wait = Duration::from_millis(50);
        loop {
            let joined_at = Instant::now();
            match self.join_once(channel.clone(), &grants).await? {
                Ended::SentHome => return Ok(()),
                Ended::Lost => {}
            }
            if joined_at.elapsed() > RECONNECT_MAX {
                wait = Duration::from_millis(50);
            }
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(RECONNECT_MAX);
        }
    }

    async fn join_once(&self, channel: Channel, grants: &mpsc::Sender<JobGrant>) -> Result<Ended, LinkError> {
        let (sender, receiver) = mpsc::channel(OUTGOING_MAX);
        // Room for the first three messages is there: the queue is new.
        let _ = sender.try_send(WorkerMsg::Hello(self.hello.clone()));
        let outgoing = ReceiverStream::new(receiver).map(v1::WorkerMsg::from);
        let mut incoming = match LinkClient::new(channel).link(outgoing).await {
            Ok(response) => response.into_inner(),
            Err(status) => {
                tracing::debug!(%status, "the coordinator cannot be reached");
                return Ok(Ended::Lost);
            }
        };
        let mut ping = tokio::time::interval(Duration::from_secs(2));
        let mut ping_seq = 0;
        let ended = loop {
            let msg = tokio::select! {
                msg = incoming.message() => msg,
                _ = ping.tick() => {
                    ping_seq += 1;
                    // A full queue is a link that does not move; the keepalive of the connection ends it.
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
                    self.come_up(&sender);
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
                    self.state().is_draining = true;
                    if last && self.state().held.is_empty() {
                        let _ = sender.try_send(WorkerMsg::Goodbye {
                            reason: "sent home".to_owned(),
                        });
                        break Ended::SentHome;
                    }
                }
                CoordMsg::Restarting { .. } => break Ended::Lost,
                CoordMsg::Adopt { .. } | CoordMsg::Share { .. } | CoordMsg::Pong { .. } => {}
            }
        };
        self.state().outgoing = None;
        self.changed.send_modify(|n| *n += 1);
        Ok(ended)
    }

    /// States what is held, offers what room is left, and lets waiting messages go.
    fn come_up(&self, sender: &mpsc::Sender<WorkerMsg>) {
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
        for (role, slots) in &self.hello.slots {
            let held = state.held.values().filter(|held| held.role == *role).count();
            let room = match role {
                Role::Gen => *slots,
                Role::Eval => slots + PREFETCH,
            };
            let n = room.saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
            if n > 0 && !state.is_draining {
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
                    return match news {
                        Ok(news) if !news.is_void => Ok(()),
                        _ => Err(Void),
                    };
                }
                _ = changed.changed() => {}
            }
        }
    }

    /// Lets a lease go and offers its room again.
    pub fn let_go(&self, lease: LeaseId) {
        let mut state = self.state();
        let Some(held) = state.held.remove(&lease) else {
            return;
        };
        if let Some(outgoing) = &state.outgoing
            && !state.is_draining
        {
            let _ = outgoing.try_send(WorkerMsg::Credit {
                role: held.role,
                n: 1,
            });
        }
    }
}

enum Ended {
    Lost,
    SentHome,
}

/// Somewhere between half of a wait and all of it, so that workers do not come back all at once.
fn jittered(wait: Duration) -> Duration {
    let share = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
    wait.mul_f64(0.5 + share / 2.0)
}
