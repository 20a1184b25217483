//! The link against a coordinator that the test plays, over a Unix socket.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::path::Path;

use bytes::Bytes;
use roundhouse_proto::wire::v1::link_server::{Link as LinkService, LinkServer};
use roundhouse_proto::{
    Comparator, CoordinatorAddress, Digest, EvaluateWork, FailureClass, JobKind, Language, Limits, RunId,
    Work, WorkerId,
};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::*;
use crate::notices::Console;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// One link, as the coordinator sees it.
struct Side {
    incoming: Streaming<v1::WorkerMsg>,
    outgoing: mpsc::Sender<Result<v1::CoordMsg, Status>>,
}

struct Service {
    links: mpsc::Sender<Side>,
    /// Links that may come up.
    gate: Arc<Semaphore>,
}

#[tonic::async_trait]
impl LinkService for Service {
    type LinkStream = ReceiverStream<Result<v1::CoordMsg, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<v1::WorkerMsg>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let (outgoing, messages) = mpsc::channel(64);
        let incoming = request.into_inner();
        let side = Side { incoming, outgoing };
        assert!(self.links.send(side).await.is_ok(), "the test takes every link");
        self.gate.acquire().await.unwrap().forget();
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Side {
    async fn say(&self, msg: CoordMsg) {
        self.outgoing.send(Ok(msg.into())).await.unwrap();
    }

    /// The next message that is no ping; none at the end of the link.
    async fn hear(&mut self) -> Option<WorkerMsg> {
        loop {
            let msg = tokio::time::timeout(PATIENCE, self.incoming.message());
            let msg = msg.await.expect("the worker says something").ok().flatten()?;
            match WorkerMsg::try_from(msg).unwrap() {
                WorkerMsg::Ping { .. } => {}
                msg => return Some(msg),
            }
        }
    }

    /// Lets the worker in; what it says it holds, and the room it offers.
    async fn welcome(&mut self) -> (Vec<LeaseId>, u32) {
        assert!(matches!(self.hear().await, Some(WorkerMsg::Hello(_))));
        let (lease_ms, ping_ms) = (10_000, 2_000);
        self.say(CoordMsg::Welcome {
            epoch: 1,
            lease_ms,
            ping_ms,
        })
        .await;
        let Some(WorkerMsg::Inventory { running, .. }) = self.hear().await else {
            panic!("the inventory comes second");
        };
        let held = running.into_iter().map(|running| running.lease).collect();
        match self.hear().await {
            Some(WorkerMsg::Credit { n, .. }) => (held, n),
            other => panic!("the room comes third, not {other:?}"),
        }
    }
}

/// A worker with two evaluation slots and the coordinator that it joins.
struct Bench {
    link: Arc<Link>,
    grants: mpsc::Receiver<JobGrant>,
    staying: JoinHandle<Result<(), LinkError>>,
    links: mpsc::Receiver<Side>,
    _dir: tempfile::TempDir,
}

const SLOTS: u32 = 2;
const ROOM: u32 = SLOTS + PREFETCH;

fn serve(socket: &Path, links: mpsc::Sender<Side>, gate: Arc<Semaphore>) {
    let listener = UnixListener::bind(socket).unwrap();
    let service = LinkServer::new(Service { links, gate });
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
}

fn offer(benched: Option<&str>) -> EndpointOffer {
    EndpointOffer {
        name: "far".to_owned(),
        benched: benched.map(str::to_owned),
    }
}

fn notices() -> Notices {
    Notices::new(
        Console::Shared,
        "test".to_owned(),
        "test".to_owned(),
        Instant::now(),
    )
}

fn bench() -> Bench {
    gated_bench(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)))
}

fn gated_bench(gate: Arc<Semaphore>) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let (links_in, links) = mpsc::channel(8);
    serve(&socket, links_in, gate);
    let link = Link::new(Hello {
        protocol_min: 1,
        protocol_max: 1,
        build: "test".to_owned(),
        worker: WorkerId(Uuid::from_u128(7)),
        name: "test".to_owned(),
        slots: BTreeMap::from([(Role::Eval, SLOTS)]),
        languages: Vec::new(),
        isolation: None,
        cores: 1,
        boot_id: "boot".to_owned(),
        labels: BTreeMap::new(),
        endpoints: vec![offer(None)],
        time_limit_ms: None,
    });
    let (grants_in, grants) = mpsc::channel(64);
    let staying = tokio::spawn({
        let link = Arc::clone(&link);
        let channel = CoordinatorAddress::Unix(socket).channel();
        async move { link.stay(channel, grants_in, notices()).await }
    });
    Bench {
        link,
        grants,
        staying,
        links,
        _dir: dir,
    }
}

impl Bench {
    async fn next_link(&mut self) -> Side {
        let side = tokio::time::timeout(PATIENCE, self.links.recv()).await;
        side.expect("the worker joins").unwrap()
    }

    /// Grants jobs and waits until the worker has them.
    async fn grant(&mut self, side: &Side, seqs: std::ops::Range<u64>) {
        let jobs: Vec<_> = seqs.clone().map(grant).collect();
        side.say(CoordMsg::Jobs(jobs)).await;
        for seq in seqs {
            assert_eq!(
                self.grants.recv().await.map(|grant| grant.lease),
                Some(lease(seq))
            );
        }
    }

    fn deliver(&self, seq: u64) -> JoinHandle<Result<(), Void>> {
        let link = Arc::clone(&self.link);
        tokio::spawn(async move {
            link.deliver(lease(seq), result(seq), |news| news.result_acked)
                .await
        })
    }
}

fn lease(seq: u64) -> LeaseId {
    LeaseId { epoch: 1, seq }
}

fn job(seq: u64) -> JobId {
    JobId {
        run: RunId(Uuid::from_u128(1)),
        problem: u32::try_from(seq).unwrap(),
        kind: JobKind::Evaluate,
    }
}

fn grant(seq: u64) -> JobGrant {
    JobGrant {
        job: job(seq),
        lease: lease(seq),
        attempt: 1,
        priority: roundhouse_proto::work::Priority::NORMAL,
        work: Work::Evaluate(EvaluateWork {
            execution: roundhouse_proto::Execution::default(),
            program: Payload::Inline(Bytes::from_static(b"print(1)")),
            language: Language::Python3,
            tests: Digest::of(b"tests"),
            limits: Limits::default(),
            comparator: Comparator::CodeContests,
            ignore_exit_status: false,
            timeouts_max: 3,
            stop_on_first_failure: false,
            output_chars: 100,
            entry_point: None,
        }),
    }
}

fn result(seq: u64) -> WorkerMsg {
    let failure = Failure {
        class: FailureClass::Job,
        message: "no".to_owned(),
    };
    WorkerMsg::Result {
        job: job(seq),
        lease: lease(seq),
        result: roundhouse_proto::link::JobResult::Failed {
            failure,
            unaccounted: 0,
        },
    }
}

#[tokio::test]
async fn result_that_was_not_acknowledged_is_said_again_on_the_next_link() {
    let mut bench = bench();
    let mut first = bench.next_link().await;
    assert_eq!(first.welcome().await, (vec![], ROOM));
    bench.grant(&first, 1..2).await;
    let delivered = bench.deliver(1);
    assert_eq!(first.hear().await, Some(result(1)));
    drop(first);

    let mut second = bench.next_link().await;
    assert_eq!(second.welcome().await, (vec![lease(1)], ROOM - 1));
    assert_eq!(second.hear().await, Some(result(1)));
    second
        .say(CoordMsg::Ack {
            lease: lease(1),
            seq: 0,
        })
        .await;
    assert_eq!(delivered.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn result_is_delivered_although_its_repetition_is_answered_with_forget() {
    let mut bench = bench();
    let mut side = bench.next_link().await;
    side.welcome().await;
    bench.grant(&side, 1..2).await;
    let news = bench.link.news(lease(1)).unwrap();
    // Both arrive before anybody looks.
    side.say(CoordMsg::Ack {
        lease: lease(1),
        seq: 0,
    })
    .await;
    side.say(CoordMsg::Forget { lease: lease(1) }).await;
    let mut seen = news.clone();
    seen.wait_for(|news| news.is_void && news.result_acked)
        .await
        .unwrap();
    assert_eq!(bench.deliver(1).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn lease_that_is_forgotten_on_the_next_link_is_void_and_an_unknown_one_is_nothing() {
    let mut bench = bench();
    let mut first = bench.next_link().await;
    first.welcome().await;
    bench.grant(&first, 1..3).await;
    let delivered = bench.deliver(1);
    drop(first);

    let mut second = bench.next_link().await;
    assert_eq!(second.welcome().await, (vec![lease(1), lease(2)], ROOM - 2));
    second.say(CoordMsg::Forget { lease: lease(9) }).await;
    second.say(CoordMsg::Forget { lease: lease(1) }).await;
    assert_eq!(delivered.await.unwrap(), Err(Void));
    tokio::time::timeout(PATIENCE, bench.link.voided(lease(1)))
        .await
        .unwrap();
    assert_eq!(bench.deliver(9).await.unwrap(), Err(Void));
}

#[tokio::test]
async fn report_that_comes_twice_or_before_anybody_asks_is_kept() {
    let mut bench = bench();
    let mut side = bench.next_link().await;
    side.welcome().await;
    bench.grant(&side, 1..2).await;
    let report = || CoordMsg::TestReport {
        lease: lease(1),
        round: 3,
        report: Ok(Payload::Inline(Bytes::from_static(b"report"))),
    };
    side.say(report()).await;
    side.say(report()).await;
    side.say(CoordMsg::Ack {
        lease: lease(1),
        seq: 1,
    })
    .await;
    let mut news = bench.link.news(lease(1)).unwrap();
    let news = news.wait_for(|news| news.acked_seq == 1).await.unwrap();
    let expected = Ok(Payload::Inline(Bytes::from_static(b"report")));
    assert_eq!(news.reports, BTreeMap::from([(3, expected)]));
}

#[tokio::test]
async fn room_is_offered_once_for_each_job_let_go_and_not_for_those_beyond_the_room() {
    let mut bench = bench();
    let mut first = bench.next_link().await;
    assert_eq!(first.welcome().await, (vec![], ROOM));
    // Two urgent ones more than there is room for.
    let held = u64::from(ROOM) + 2;
    bench.grant(&first, 1..held + 1).await;
    bench.link.let_go(lease(1)).await;
    let credit = WorkerMsg::Credit {
        role: Role::Eval,
        n: 1,
    };
    assert_eq!(first.hear().await, Some(credit.clone()));
    drop(first);

    let mut second = bench.next_link().await;
    assert!(matches!(second.hear().await, Some(WorkerMsg::Hello(_))));
    let (lease_ms, ping_ms) = (10_000, 2_000);
    second
        .say(CoordMsg::Welcome {
            epoch: 1,
            lease_ms,
            ping_ms,
        })
        .await;
    let Some(WorkerMsg::Inventory { running, .. }) = second.hear().await else {
        panic!("the inventory comes second");
    };
    assert_eq!(running.len() as u64, held - 1);
    // One beyond the room is still held: the first to go makes no room, the next ones do.
    for seq in 2..5 {
        bench.link.let_go(lease(seq)).await;
    }
    bench.link.leave();
    assert_eq!(second.hear().await, Some(credit.clone()));
    assert_eq!(second.hear().await, Some(credit));
    assert!(matches!(second.hear().await, Some(WorkerMsg::Goodbye { .. })));
}

#[tokio::test]
async fn worker_that_leaves_says_goodbye_and_ends_although_it_holds_a_job() {
    let mut bench = bench();
    let mut side = bench.next_link().await;
    side.welcome().await;
    bench.grant(&side, 1..2).await;
    bench.link.leave();
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    assert!(bench.staying.await.unwrap().is_ok());
}

#[tokio::test]
async fn worker_that_leaves_before_its_link_is_up_says_goodbye_all_the_same() {
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = gated_bench(Arc::clone(&gate));
    let mut side = bench.next_link().await;
    assert!(matches!(side.hear().await, Some(WorkerMsg::Hello(_))));
    bench.link.leave();
    gate.add_permits(1);
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    assert!(bench.staying.await.unwrap().is_ok());
}

#[tokio::test]
async fn worker_that_is_sent_home_ends_once_it_holds_nothing() {
    let mut bench = bench();
    let mut side = bench.next_link().await;
    side.welcome().await;
    bench.grant(&side, 1..2).await;
    side.say(CoordMsg::Drain { last: true }).await;
    side.say(CoordMsg::Ack {
        lease: lease(1),
        seq: 0,
    })
    .await;
    let mut news = bench.link.news(lease(1)).unwrap();
    news.wait_for(|news| news.result_acked).await.unwrap();
    assert!(!bench.staying.is_finished());
    bench.link.let_go(lease(1)).await;
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    assert!(bench.staying.await.unwrap().is_ok());
}

#[tokio::test]
async fn worker_leaves_while_no_coordinator_is_there() {
    let (grants_in, _grants) = mpsc::channel(1);
    let bench = bench();
    let dir = tempfile::tempdir().unwrap();
    let channel = CoordinatorAddress::Unix(dir.path().join("nobody")).channel();
    let link = Arc::clone(&bench.link);
    bench.staying.abort();
    let staying = tokio::spawn({
        let link = Arc::clone(&link);
        async move { link.stay(channel, grants_in, notices()).await }
    });
    link.leave();
    let ended = tokio::time::timeout(PATIENCE, staying).await;
    assert!(ended.unwrap().unwrap().is_ok());
}

fn benched() -> WorkerMsg {
    WorkerMsg::Benched {
        endpoint: "far".to_owned(),
        reason: "401".to_owned(),
    }
}

fn nack(seq: u64) -> WorkerMsg {
    WorkerMsg::Nack {
        lease: lease(seq),
        reason: "401".to_owned(),
        unaccounted: 2,
    }
}

#[tokio::test]
async fn benched_endpoint_is_told_before_the_job_is_given_back_and_its_room_offered() {
    let mut bench = bench();
    let mut side = bench.next_link().await;
    side.welcome().await;
    bench.grant(&side, 1..2).await;
    bench.link.bench("far", "401").await;
    bench.link.give_back(lease(1), "401".to_owned(), 2).await;
    assert_eq!(side.hear().await, Some(benched()));
    assert_eq!(side.hear().await, Some(nack(1)));
    let credit = WorkerMsg::Credit {
        role: Role::Eval,
        n: 1,
    };
    assert_eq!(side.hear().await, Some(credit));
}

#[tokio::test]
async fn endpoint_that_was_benched_while_the_link_was_down_is_told_first_on_the_next_one() {
    let mut bench = bench();
    let mut first = bench.next_link().await;
    first.welcome().await;
    bench.grant(&first, 1..2).await;
    drop(first);
    let mut second = bench.next_link().await;
    let Some(WorkerMsg::Hello(hello)) = second.hear().await else {
        panic!("hello comes first");
    };
    assert_eq!(hello.endpoints, [offer(None)]);
    // Between hello and welcome: too late for the one, and not yet up.
    bench.link.bench("far", "401").await;
    bench.link.give_back(lease(1), "401".to_owned(), 2).await;
    let (lease_ms, ping_ms) = (10_000, 2_000);
    second
        .say(CoordMsg::Welcome {
            epoch: 1,
            lease_ms,
            ping_ms,
        })
        .await;
    let nothing = WorkerMsg::Inventory {
        running: Vec::new(),
        spooled: Vec::new(),
    };
    assert_eq!(second.hear().await, Some(nothing));
    assert_eq!(second.hear().await, Some(benched()));
    assert!(matches!(
        second.hear().await,
        Some(WorkerMsg::Credit { n: ROOM, .. })
    ));
    drop(second);

    let mut third = bench.next_link().await;
    let Some(WorkerMsg::Hello(hello)) = third.hear().await else {
        panic!("hello comes first");
    };
    assert_eq!(hello.endpoints, [offer(Some("401"))]);
}

#[tokio::test]
async fn worker_that_finishes_offers_no_room_and_goes_home_once_it_holds_nothing() {
    let mut bench = bench();
    let mut side = bench.next_link().await;
    side.welcome().await;
    bench.grant(&side, 1..3).await;
    assert_eq!(bench.link.finish(), 2);
    let late = grant(3);
    assert!(!bench.link.takes(&late));
    bench.grant(&side, 3..4).await;
    bench.link.give_back(lease(3), "401".to_owned(), 2).await;
    assert_eq!(side.hear().await, Some(nack(3)));
    bench.link.let_go(lease(1)).await;
    drop(side);

    let mut side = bench.next_link().await;
    assert!(matches!(side.hear().await, Some(WorkerMsg::Hello(_))));
    let (lease_ms, ping_ms) = (10_000, 2_000);
    side.say(CoordMsg::Welcome {
        epoch: 1,
        lease_ms,
        ping_ms,
    })
    .await;
    assert!(matches!(side.hear().await, Some(WorkerMsg::Inventory { running, .. }) if running.len() == 1));
    bench.link.let_go(lease(2)).await;
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    assert!(bench.staying.await.unwrap().is_ok());
}

/// A session, whose tests may come back to the worker that holds it.
fn session(seq: u64) -> JobGrant {
    JobGrant {
        work: Work::Generate(roundhouse_proto::GenerateWork {
            statement: Digest::of(b"s"),
            public_cases: None,
            reference: None,
            recording: None,
            endpoint: None,
            entry_point: None,
            time_limit_ms: None,
            memory_limit_bytes: None,
            settings: roundhouse_proto::SessionSettings {
                method: roundhouse_proto::Method::SelfCollaboration,
                model: "m".to_owned(),
                model_for: BTreeMap::new(),
                sampling: roundhouse_proto::Sampling::default(),
                max_rounds: 2,
                tester: roundhouse_proto::TesterMode::Cases,
                language: Language::Python3,
                patch: true,
                comparator: Comparator::CodeContests,
                limits: Limits::default(),
                final_choice: roundhouse_proto::FinalChoice::Last,
            },
            resume: Vec::new(),
            reports: Vec::new(),
            prompts: None,
        }),
        ..grant(seq)
    }
}

#[tokio::test]
async fn worker_that_finishes_still_runs_the_tests_that_its_own_sessions_may_wait_for() {
    let mut bench = bench();
    let mut side = bench.next_link().await;
    side.welcome().await;
    side.say(CoordMsg::Jobs(vec![session(1)])).await;
    assert_eq!(bench.grants.recv().await.map(|grant| grant.lease), Some(lease(1)));
    bench.link.finish();
    let urgent = JobGrant {
        priority: Priority::URGENT,
        ..grant(2)
    };
    assert!(bench.link.takes(&urgent));
    assert!(!bench.link.takes(&grant(3)));
    assert!(!bench.link.takes(&session(4)));
    side.say(CoordMsg::Jobs(vec![urgent.clone()])).await;
    assert_eq!(bench.grants.recv().await, Some(urgent.clone()));
    bench.link.let_go(lease(2)).await;
    let credit = WorkerMsg::Credit {
        role: Role::Eval,
        n: 1,
    };
    assert_eq!(side.hear().await, Some(credit));
    bench.link.let_go(lease(1)).await;
    assert!(!bench.link.takes(&urgent));
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
}

#[tokio::test]
async fn share_of_the_host_is_what_was_said_last_on_this_link() {
    let mut bench = bench();
    let mut share = bench.link.share();
    let mut side = bench.next_link().await;
    assert_eq!(*share.borrow_and_update(), None);
    side.welcome().await;
    side.say(CoordMsg::Cages { n: 3 }).await;
    side.say(CoordMsg::Cages { n: 1 }).await;
    let said = tokio::time::timeout(PATIENCE, share.wait_for(|share| *share == Some(1)));
    assert!(said.await.unwrap().is_ok());
    drop(side);
    let mut side = bench.next_link().await;
    side.welcome().await;
    let said = tokio::time::timeout(PATIENCE, share.wait_for(Option::is_none));
    assert!(said.await.unwrap().is_ok());
}
