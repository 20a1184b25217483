//! The nursery: where fork servers are executed.
//!
//! The init's own children are born inside the programs' namespace, and the kernel knows no way back for it: that
//! would take rights over a namespace that belongs to the host. So this process is forked before the way in is taken,
//! in the namespace of the init, and starts a server there whenever the init asks. The server is a child of the init,
//! not of the nursery. One message asks, one answers; it ends with the init.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::server::Fault;
use super::watch::Lost;
use crate::channel::{self, Channel, can_be_read};
use crate::message::{ServerPlan, Setup};
use crate::sys::{
    self, Execution, Identity, Parent, ProcessId, ResourceLimit, Service, StartReport, StringList, Walls,
};

/// Longest wait for a server's process to exist.
const BORN_WITHIN: Duration = Duration::from_secs(5);
/// Longest request: a number and some limits.
const REQUEST_BYTES_MAX: usize = 1024;

/// The nursery as the init holds it.
pub(super) struct Nursery {
    pub(super) pid: ProcessId,
    channel: Channel,
    report: StartReport,
}

/// What holds a server, and so whatever it forks.
#[derive(Clone, Copy)]
pub(super) struct ShutIn<'a> {
    /// Whom it becomes, where it is somebody else than the init.
    pub(super) identity: Option<Identity>,
    pub(super) walls: Walls<'a>,
    /// The lists of processes of the control groups that it enters.
    pub(super) groups: &'a [OwnedFd],
}

/// What every server is executed with.
struct Plan {
    program: CString,
    arguments: StringList,
    environment: StringList,
}

/// One request.
struct Order {
    server: usize,
    limits: Vec<ResourceLimit>,
}

impl Nursery {
    /// Forks it, with everything that servers inherit: directory, limits, environment. `stdin` is every server's
    /// standard input.
    pub(super) fn open(setup: &Setup, stdin: &OwnedFd, shut_in: ShutIn<'_>) -> io::Result<Self> {
        let plans: Vec<_> = setup
            .servers
            .iter()
            .map(|server| Plan::of(setup, server))
            .collect::<io::Result<_>>()?;
        let report = StartReport::new()?;
        let (ours, theirs) = channel::pair()?;
        let pid = sys::fork_into(|| {
            let kept: Vec<_> = [theirs.as_fd(), stdin.as_fd()]
                .into_iter()
                .chain(shut_in.walls.ruleset)
                .chain(shut_in.groups.iter().map(AsFd::as_fd))
                .collect();
            if sys::close_others(&kept).is_err() {
                return 1;
            }
            // A copy: the file itself belongs to the init's code, to which this process never returns.
            let Ok(socket) = theirs.try_clone() else { return 1 };
            let channel = Channel::with_room(socket, REQUEST_BYTES_MAX);
            i32::from(live(channel, &plans, stdin.as_fd(), shut_in, &report).is_err())
        })?;
        Ok(Self {
            pid,
            channel: Channel::with_room(ours, REQUEST_BYTES_MAX),
            report,
        })
    }

    /// Executes a server: its process, and where to look for why it could not be executed.
    ///
    /// # Errors
    /// [`Fault::Unserved`] when no process could be made. A nursery that is gone or does not answer loses the cage:
    /// nobody would know of what it may still start.
    pub(super) fn start(
        &mut self,
        server: usize,
        limits: Vec<ResourceLimit>,
        files: &Files<'_>,
    ) -> Result<(ProcessId, StartReport), Fault> {
        let order = Order { server, limits };
        match self.ask(&order, files) {
            Ok(pid) if pid > 0 => Ok((pid, self.report)),
            Ok(errno) => {
                let error = io::Error::from_raw_os_error(-errno);
                Err(Fault::Unserved(format!("could not make its process: {error}")))
            }
            Err(error) => Err(Fault::Lost(Lost::Failed(error))),
        }
    }

    /// The nursery's answer: a process id, or an errno below 0.
    fn ask(&mut self, order: &Order, files: &Files<'_>) -> io::Result<i32> {
        self.channel
            .send(&order.encode(), &[files.children, files.socket, files.output])?;
        if !can_be_read(self.channel.fd(), BORN_WITHIN)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let received = self.channel.receive()?.ok_or(io::ErrorKind::BrokenPipe)?;
        let answer = received.bytes.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
        Ok(i32::from_le_bytes(*answer))
    }
}

/// What comes with a request.
pub(super) struct Files<'a> {
    /// The pid namespace of the server's children.
    pub(super) children: BorrowedFd<'a>,
    /// The server's end of its socket.
    pub(super) socket: BorrowedFd<'a>,
    /// Its standard output and error.
    pub(super) output: BorrowedFd<'a>,
}

impl Plan {
    fn of(setup: &Setup, server: &ServerPlan) -> io::Result<Self> {
        let arguments: Vec<_> = server
            .argv
            .iter()
            .map(|argument| CString::new(argument.as_slice()))
            .collect::<Result<_, _>>()?;
        let its_own = |name: &Vec<u8>| server.environment.iter().any(|(own, _)| own == name);
        let common = setup.environment.iter().filter(|(name, _)| !its_own(name));
        Ok(Self {
            // Without any argument there is nothing to execute, which the kernel says in its turn.
            program: arguments.first().map_or(c"", |first| first.as_c_str()).to_owned(),
            arguments: StringList::new(arguments),
            environment: StringList::of_variables(common.chain(&server.environment))?,
        })
    }

    fn program(&self) -> &CStr {
        &self.program
    }
}

impl Order {
    /// u32 server, then for each limit u32 resource, u64 soft, u64 hard; little-endian.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = (self.server as u32).to_le_bytes().to_vec();
        for limit in &self.limits {
            bytes.extend(limit.resource.to_le_bytes());
            bytes.extend(limit.soft.to_le_bytes());
            bytes.extend(limit.hard.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (server, rest) = bytes.split_first_chunk()?;
        let limits = rest.chunks(4 + 8 + 8).map(|limit| {
            let (resource, values) = limit.split_first_chunk()?;
            Some(ResourceLimit {
                resource: libc::__rlimit_resource_t::from_le_bytes(*resource),
                soft: u64::from_le_bytes(*values.first_chunk()?),
                hard: u64::from_le_bytes(*values.get(8..)?.first_chunk()?),
            })
        });
        Some(Self {
            server: u32::from_le_bytes(*server) as usize,
            limits: limits.collect::<Option<_>>()?,
        })
    }
}

/// The nursery's life.
fn live(
    mut channel: Channel,
    plans: &[Plan],
    stdin: BorrowedFd<'_>,
    shut_in: ShutIn<'_>,
    report: &StartReport,
) -> io::Result<()> {
    while let Some(received) = channel.receive()? {
        let order = Order::decode(received.bytes).ok_or(io::ErrorKind::InvalidData)?;
        let [children, socket, output] =
            <[OwnedFd; 3]>::try_from(received.files).map_err(|_| io::ErrorKind::InvalidData)?;
        let plan = plans.get(order.server).ok_or(io::ErrorKind::InvalidData)?;
        let execution = Execution {
            program: plan.program(),
            arguments: &plan.arguments,
            environment: &plan.environment,
            files: [stdin, output.as_fd(), output.as_fd()],
            service: Some(Service {
                socket: socket.as_fd(),
                children: children.as_fd(),
            }),
            limits: &order.limits,
            groups: shut_in.groups,
            identity: shut_in.identity,
            walls: shut_in.walls,
            report,
        };
        let born = match sys::execute(&execution, Parent::OfCaller) {
            Ok(pid) => pid,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EAGAIN),
        };
        channel.send(&born.to_le_bytes(), &[])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    #[test]
    fn an_order_reads_back_as_it_was_written() {
        let limit = |resource, soft, hard| ResourceLimit { resource, soft, hard };
        let order = Order {
            server: 3,
            limits: vec![
                limit(libc::RLIMIT_STACK, 1 << 40, u64::MAX),
                limit(libc::RLIMIT_NPROC, 64, 65),
            ],
        };
        let again = Order::decode(&order.encode()).unwrap();
        let words = |order: &Order| -> Vec<_> {
            let limits = order.limits.iter();
            limits
                .map(|limit| (limit.resource, limit.soft, limit.hard))
                .collect()
        };
        assert_eq!((again.server, words(&again)), (3, words(&order)));
        assert!(Order::decode(&order.encode()[..30]).is_none());
        assert!(Order::decode(b"abc").is_none());
    }
}
