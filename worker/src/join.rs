//! `worker join`: makes what the roles need, joins the coordinator, and stays until it is sent home.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use roundhouse_proto::link::{Hello, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use roundhouse_proto::{Isolation, Language, Role, WorkerId};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;
use uuid::Uuid;

use crate::blob_client::BlobClient;
use crate::cli::JoinArgs;
use crate::evaluate::pool::{Pool, cages_for};
use crate::generate::prompts::Prompts;
use crate::language::Interpreter;
use crate::link::Link;
use crate::log::say;
use crate::slots::Slots;

/// The exit code of a worker that cannot work on this machine, so that nobody starts it again.
pub const EXIT_REFUSED: u8 = 78;
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
    let gone = args.with_parent.then(watch_parent);
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
    let pool = match slots.get(&Role::Eval) {
        None => None,
        Some(slots) => match start_pool(&args, *slots)? {
            Ok(pool) => Some(pool),
            Err(code) => return Ok(code),
        },
    };
    let hello = Hello {
        protocol_min: PROTOCOL_VERSION_MIN,
        protocol_max: PROTOCOL_VERSION,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        worker: WorkerId(Uuid::new_v4()),
        name: args
            .name
            .clone()
            .unwrap_or_else(|| format!("{}-{}", host_name(), std::process::id())),
        languages: pool
            .iter()
            .map(|pool| (Language::Python3, pool.interpreter().name().to_owned()))
            .collect(),
        isolation: pool.as_ref().map(Pool::isolation),
        slots,
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        boot_id: boot_id(),
        labels: BTreeMap::new(),
        endpoints: Vec::new(),
        time_limit_ms: None,
    };
    let link = Link::new(hello);
    let (grants_in, grants) = mpsc::channel(GRANTS_MAX);
    let prompts = Arc::new(Prompts::new(&BTreeMap::new()).context("read the prompts")?);
    let blobs = BlobClient::new(args.coordinator.channel());
    let slots = Arc::new(Slots::new(Arc::clone(&link), blobs, prompts, pool));
    let serving = tokio::spawn(slots.serve(grants));
    let leaving = tokio::spawn({
        let link = Arc::clone(&link);
        async move {
            let Some(gone) = gone else { return };
            let _ = gone.await;
            // Said, not just done: what is held goes back without counting an attempt.
            link.leave();
        }
    });
    let span = tracing::error_span!("link", coordinator = %args.coordinator);
    let stayed = link
        .stay(args.coordinator.channel(), grants_in)
        .instrument(span)
        .await;
    leaving.abort();
    serving.abort();
    stayed?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the cages; `Err` is the exit code of a worker that refuses, which has said why.
fn start_pool(args: &JoinArgs, slots: u32) -> anyhow::Result<Result<Pool, ExitCode>> {
    let interpreter = Interpreter::resolve(Language::Python3, args.python.as_deref())?;
    let slots = NonZeroUsize::new(slots as usize).unwrap_or(NonZeroUsize::MIN);
    let entry = std::env::current_exe().context("find this program's own file")?;
    let pool = Pool::start(entry, interpreter, cages_for(slots)).context("make the cages")?;
    match pool.isolation() {
        Isolation::Full => {}
        Isolation::FullNocg | Isolation::Partial => say(&format!(
            "warning: isolation is `{}`: programs run in namespaces with a read-only root, without rights and with \
             resource limits, but without a system-call filter and without a cgroup",
            pool.isolation()
        )),
        Isolation::None if args.i_know_this_is_unsafe => say(
            "warning: isolation is `none`: programs run as this user with resource limits only, and can read and \
             change whatever this user can",
        ),
        Isolation::None => {
            say(
                "error: this host lets nothing be shut in but resources (isolation `none`): it allows no user \
                 namespaces\nhint: allow them (`sysctl user.max_user_namespaces=10000`; in a container, a seccomp \
                 profile that lets `clone`, `unshare` and `mount` through)\nhint: `--i-know-this-is-unsafe` runs \
                 programs all the same; only for programs that you trust",
            );
            return Ok(Err(EXIT_REFUSED.into()));
        }
    }
    Ok(Ok(pool))
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
