//! `worker join`: makes what the roles need, joins the coordinator, and stays until it is sent home.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use roundhouse_proto::link::{EndpointOffer, Hello, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use roundhouse_proto::{Language, Role, WorkerId};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;
use uuid::Uuid;

use crate::blob_client::BlobClient;
use crate::cli::JoinArgs;
use crate::evaluate::pool::{Pool, cages_for};
use crate::generate::prompts::Prompts;
use crate::isolation::{self, Admission, EXIT_REFUSED, Host};
use crate::language::Interpreter;
use crate::link::Link;
use crate::llm::chat::{Delivery, Manner};
use crate::llm::endpoint;
use crate::llm::key::KeyFile;
use crate::llm::models::Models;
use crate::log::say;
use crate::notices::{Console, Notices};
use crate::slots::Slots;

/// Grants that wait to be taken up; as many as were asked for fit.
const GRANTS_MAX: usize = 8_192;

/// Joins and works.
///
/// # Errors
/// What a role needs is not there, or the coordinator refuses this worker.
pub fn run(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let code = runtime.block_on(join(args));
    // What still runs is for nobody.
    runtime.shutdown_background();
    code
}

async fn join(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let ends = Ends::watch(args.with_parent)?;
    let console = if args.with_parent {
        Console::Shared
    } else {
        Console::Own
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let slots_of = |role: Role| -> u32 {
        let usual = match role {
            Role::Gen => (cores / 2).max(1),
            Role::Eval => cores,
        };
        args.slots
            .unwrap_or_else(|| u32::try_from(usual).unwrap_or(u32::MAX))
    };
    let slots: BTreeMap<Role, u32> = args.roles.iter().map(|role| (*role, slots_of(*role))).collect();
    let models = models(&args, console)?;
    let pool = match slots.get(&Role::Eval) {
        None => None,
        Some(slots) => match start_pool(&args, *slots)? {
            Ok(pool) => Some(pool),
            Err(code) => return Ok(code),
        },
    };
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| format!("{}-{}", host_name(), std::process::id()));
    let offers = models.endpoints().map(|name| EndpointOffer {
        name: name.to_owned(),
        benched: None,
    });
    let notices = Notices::new(
        console,
        args.coordinator.to_string(),
        format!("{name} ({})", in_words(&slots)),
        Instant::now(),
    );
    let hello = Hello {
        protocol_min: PROTOCOL_VERSION_MIN,
        protocol_max: PROTOCOL_VERSION,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        worker: WorkerId(Uuid::new_v4()),
        name,
        languages: pool
            .iter()
            .map(|pool| (Language::Python3, pool.interpreter().name().to_owned()))
            .collect(),
        isolation: pool.as_ref().map(Pool::isolation),
        slots,
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        boot_id: boot_id(),
        labels: BTreeMap::new(),
        endpoints: offers.collect(),
        time_limit_ms: None,
    };
    let link = Link::new(hello);
    let (grants_in, grants) = mpsc::channel(GRANTS_MAX);
    let prompts = Arc::new(Prompts::new(&BTreeMap::new()).context("read the prompts")?);
    let blobs = BlobClient::new(args.coordinator.channel());
    let slots = Arc::new(Slots::new(Arc::clone(&link), blobs, prompts, pool, models));
    let sharing = tokio::spawn(Arc::clone(&slots).keep_to_share());
    let serving = tokio::spawn(slots.serve(grants));
    let leaving = tokio::spawn(leave_when_told(Arc::clone(&link), ends));
    let span = tracing::error_span!("link", coordinator = %args.coordinator);
    let stayed = link
        .stay(args.coordinator.channel(), grants_in, notices)
        .instrument(span)
        .await;
    leaving.abort();
    serving.abort();
    sharing.abort();
    stayed?;
    Ok(ExitCode::SUCCESS)
}

/// The models that generation asks; none for a worker that does not generate.
fn models(args: &JoinArgs, console: Console) -> anyhow::Result<Models> {
    if !args.roles.contains(&Role::Gen) {
        return match args.endpoints.given() {
            None => Ok(Models::default()),
            Some(flag) => anyhow::bail!(
                "`{flag}` is for workers that generate\nhint: add `--role gen`, or leave the flag out: programs are \
                 run without any key"
            ),
        };
    }
    let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    let (endpoints, warnings) = endpoint::gather(&args.endpoints, variable, KeyFile::read)?;
    for warning in warnings {
        say(&warning);
    }
    if endpoints.is_empty() && console == Console::Own {
        say(
            "note: no endpoint and no key: only offline models can be run here\nhint: set `OPENAI_API_KEY` or \
             `DEEPSEEK_API_KEY`, or `OPENAI_BASE_URL` for a server of your own, or give `--endpoint NAME=URL` and \
             `--api-key-file FILE`",
        );
    }
    let delivery = if args.endpoints.no_stream {
        Delivery::Whole
    } else {
        Delivery::Stream
    };
    Models::new(endpoints, Manner::new(delivery)).context(
        "prepare the connections to endpoints: a system without certificates needs the package `ca-certificates`, or \
         `SSL_CERT_FILE`",
    )
}

/// Makes the cages; `Err` is the exit code of a worker that refuses, which has said why.
fn start_pool(args: &JoinArgs, slots: u32) -> anyhow::Result<Result<Pool, ExitCode>> {
    let interpreter = Interpreter::resolve(Language::Python3, args.python.as_deref())?;
    let slots = NonZeroUsize::new(slots as usize).unwrap_or(NonZeroUsize::MIN);
    let entry = std::env::current_exe().context("find this program's own file")?;
    let pool = Pool::start(entry, interpreter, cages_for(slots)).context("make the cages")?;
    match isolation::admit(pool.found(), args.isolation.agreed(), &Host::look()) {
        Admission::Granted(None) => {}
        Admission::Granted(Some(warning)) => say(&warning),
        Admission::Refused(why) => {
            say(&why);
            return Ok(Err(EXIT_REFUSED.into()));
        }
    }
    Ok(Ok(pool))
}

/// What makes a worker leave.
enum Ends {
    /// Whoever started it is gone, or somebody ends this process and no other. Ctrl-C is for whoever started it: this
    /// worker has a process group of its own, and pays no heed where it is reached all the same.
    WithParent {
        gone: oneshot::Receiver<()>,
        interrupt: Signal,
        terminate: Signal,
    },
    /// Somebody says so.
    WhenTold { interrupt: Signal, terminate: Signal },
}

impl Ends {
    fn watch(with_parent: bool) -> anyhow::Result<Self> {
        let watch = |kind| signal(kind).context("watch for signals");
        let interrupt = watch(SignalKind::interrupt())?;
        let terminate = watch(SignalKind::terminate())?;
        Ok(if with_parent {
            Self::WithParent {
                gone: watch_parent(),
                interrupt,
                terminate,
            }
        } else {
            Self::WhenTold { interrupt, terminate }
        })
    }
}

/// Lets the worker leave when it is time.
async fn leave_when_told(link: Arc<Link>, ends: Ends) {
    match ends {
        Ends::WithParent {
            mut gone,
            mut interrupt,
            mut terminate,
        } => {
            loop {
                tokio::select! {
                    _ = &mut gone => break,
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => {}
                }
            }
            // Said, not just done: what is held goes back without counting an attempt.
            link.leave();
        }
        Ends::WhenTold {
            mut interrupt,
            mut terminate,
        } => {
            told(&mut interrupt, &mut terminate).await;
            match link.finish() {
                0 => return,
                n => say(&format!(
                    "finishing {}; Ctrl-C once more gives them back",
                    jobs(n)
                )),
            }
            told(&mut interrupt, &mut terminate).await;
            say(&format!("giving back {}", jobs(link.held_n())));
            link.leave();
        }
    }
}

async fn told(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn jobs(n: usize) -> String {
    match n {
        1 => "1 job".to_owned(),
        n => format!("{n} jobs"),
    }
}

/// Slots for people, such as `gen 8, eval 2`.
fn in_words(slots: &BTreeMap<Role, u32>) -> String {
    let words: Vec<String> = slots.iter().map(|(role, n)| format!("{role} {n}")).collect();
    words.join(", ")
}

/// Comes when standard input ends: whoever started this worker is gone. A thread of its own reads, so that nothing
/// that is busy here can hold it up.
fn watch_parent() -> oneshot::Receiver<()> {
    let (gone_in, gone) = oneshot::channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        let mut stdin = std::io::stdin().lock();
        while !matches!(stdin.read(&mut byte), Ok(0) | Err(_)) {}
        let _ = gone_in.send(());
    });
    gone
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| host_name(), |id| id.trim().to_owned())
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
