//! A coordinator on a port of this host, with a worker that has no idea.

use super::*;

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) server: Server,
    pub(super) channel: Channel,
    pub(super) control: ControlClient<Channel>,
}

pub(super) async fn up(dir: tempfile::TempDir) -> Bench {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bound = listener.local_addr().unwrap();
    let setting = Setting {
        listener,
        url: Url::of_port(bound, "host"),
        output_dir: dir.path().join("outputs"),
    };
    let state = State::open(&dir.path().join("data")).unwrap();
    let mut server = Server::start_for_many(state, setting).await.unwrap();
    // Somebody has to read what people in front of the process are told.
    let (_, nobody) = mpsc::channel(1);
    let mut progress = std::mem::replace(&mut server.progress, nobody);
    tokio::spawn(async move { while progress.recv().await.is_some() {} });
    let channel = Channel::from_shared(format!("http://{bound}"))
        .unwrap()
        .connect_lazy();
    let control = ControlClient::new(channel.clone());
    Bench {
        dir,
        server,
        channel,
        control,
    }
}

impl Bench {
    pub(super) async fn new() -> Self {
        up(tempfile::tempdir().unwrap()).await
    }

    pub(super) async fn restarted(self) -> Self {
        let Self { dir, server, .. } = self;
        assert!(server.stop().await);
        up(dir).await
    }

    pub(super) async fn put(&self, blob: Bytes) {
        let chunk = v1::Chunk {
            digest: Digest::of(&blob).into(),
            offset: 0,
            total_bytes: blob.len() as u64,
            data: blob,
        };
        let chunks = tokio_stream::once(chunk);
        BlobsClient::new(self.channel.clone())
            .write(chunks)
            .await
            .unwrap();
    }

    pub(super) async fn submit(&mut self, spec: &RunSpec, name: &str) -> Result<v1::SubmitReply, Status> {
        let text = Bytes::from(serde_json::to_vec(spec).unwrap());
        let digest = Digest::of(&text);
        self.put(text).await;
        let request = v1::SubmitRequest {
            run: spec.run.into(),
            name: name.to_owned(),
            spec: digest.into(),
        };
        self.control.submit(request).await.map(Response::into_inner)
    }

    /// Submits a run with all that it needs.
    pub(super) async fn submit_whole(&mut self, spec: &RunSpec, name: &str) -> v1::SubmitReply {
        for blob in blobs() {
            self.put(blob).await;
        }
        self.submit(spec, name).await.unwrap()
    }

    pub(super) async fn get(&mut self, run: RunId) -> Result<v1::RunStatus, Status> {
        let run = run.into();
        let got = self.control.get_run(v1::GetRunRequest { run }).await;
        got.map(Response::into_inner)
    }

    pub(super) async fn watch(&mut self, run: RunId) -> Streaming<v1::RunUpdate> {
        let run = run.into();
        let watched = self.control.watch_run(v1::WatchRunRequest { run }).await;
        watched.unwrap().into_inner()
    }
}

pub(super) const STATEMENTS: [&str; 2] = ["add two numbers", "print the input"];

/// All that the run names but for itself.
pub(super) fn blobs() -> Vec<Bytes> {
    STATEMENTS
        .iter()
        .map(|text| Bytes::from_static(text.as_bytes()))
        .collect()
}

/// A run of two problems without tests.
pub(super) fn spec(n: u128) -> RunSpec {
    let fixture = Fixture::sample().run;
    let mut spec = RunSpec::clone(&fixture.spec);
    spec.run = RunId(Uuid::from_u128(n));
    // The worker of these tests has no endpoint.
    spec.model_at = ModelAt::Offline;
    spec.problems.truncate(STATEMENTS.len());
    for (problem, statement) in spec.problems.iter_mut().zip(STATEMENTS) {
        problem.statement = Digest::of(statement.as_bytes());
        problem.tests = None;
        problem.tiers.clear();
        problem.public_cases = None;
        problem.reference = None;
    }
    spec
}

/// A generation worker whose model finds no program for anything.
pub(super) async fn join_idle_worker(channel: &Channel) {
    let hello = Hello {
        protocol_min: PROTOCOL_VERSION,
        protocol_max: PROTOCOL_VERSION,
        build: "0.1.0".to_owned(),
        worker: WorkerId(Uuid::from_u128(1)),
        name: "writer".to_owned(),
        slots: BTreeMap::from([(Role::Gen, 4)]),
        languages: Vec::new(),
        isolation: None,
        cores: 2,
        boot_id: "boot".to_owned(),
        labels: BTreeMap::new(),
        endpoints: Vec::new(),
        time_limit_ms: None,
    };
    let (say, said) = mpsc::channel::<v1::WorkerMsg>(64);
    for msg in [
        WorkerMsg::Hello(hello),
        WorkerMsg::Inventory {
            running: Vec::new(),
            spooled: Vec::new(),
        },
        WorkerMsg::Credit {
            role: Role::Gen,
            n: 4,
        },
    ] {
        say.send(msg.into()).await.unwrap();
    }
    let told = LinkClient::new(channel.clone())
        .link(ReceiverStream::new(said))
        .await;
    let mut told = told.unwrap().into_inner();
    tokio::spawn(async move {
        while let Ok(Some(msg)) = told.message().await {
            let CoordMsg::Jobs(jobs) = CoordMsg::try_from(msg).unwrap() else {
                continue;
            };
            for grant in jobs {
                let outcome = GenerationOutcome {
                    program: None,
                    stop_reason: StopReason::NoCode,
                    patched: Vec::new(),
                    notes: Vec::new(),
                    unaccounted: 0,
                };
                let (job, lease) = (grant.job, grant.lease);
                let event = SessionEvent::Finished(outcome);
                let seq = 1;
                let finished = WorkerMsg::Session {
                    job,
                    lease,
                    seq,
                    event,
                };
                if say.send(finished.into()).await.is_err() {
                    return;
                }
            }
        }
    });
}

/// The next update.
pub(super) async fn next(updates: &mut Streaming<v1::RunUpdate>) -> Result<Option<What>, Code> {
    let update = tokio::time::timeout(WAIT_MAX, updates.message()).await;
    let update = update.unwrap().map_err(|status| status.code())?;
    Ok(update.map(|update| update.what.unwrap()))
}

/// The next `n` things that are told of problems and of generation.
pub(super) async fn steps(updates: &mut Streaming<v1::RunUpdate>, n: usize) -> Vec<String> {
    let mut steps = Vec::new();
    while steps.len() < n {
        match next(updates).await.unwrap().unwrap() {
            What::Problem(v1::ProblemUpdate { index, step }) => steps.push(match step.unwrap() {
                Step::Started(_) => format!("{index} started"),
                Step::Generated(program) => format!("{index} generated {program}"),
                Step::NotGenerated(failure) => format!("{index} failed {}", failure.message),
                Step::Judged(_) => format!("{index} judged"),
            }),
            What::GenerationDoneMs(_) => steps.push("generation done".to_owned()),
            What::Status(_) | What::Notice(_) | What::ReportsWritten(_) => {}
        }
    }
    steps
}

/// All that is told of [`spec`] when it is run, in no order.
pub(super) fn all_steps() -> Vec<String> {
    let of = |n| {
        [
            format!("{n} generated false"),
            format!("{n} judged"),
            format!("{n} started"),
        ]
    };
    let mut all: Vec<String> = [of(1), of(2)].concat();
    all.push("generation done".to_owned());
    all
}
