//! Messages between the worker and a cage's init: a small fixed binary format.
//!
//! One message is one datagram of at most [`MESSAGE_BYTES_MAX`] bytes on a SEQPACKET socket; files ride beside it
//! (`SCM_RIGHTS`). Both ends are the same binary, so there is one version and no compatibility to keep. Layout:
//!
//! ```text
//! u8 kind, u8 VERSION, fields in order     little-endian; text = u32 length + bytes; list = u32 count + items
//! ```
//!
//! | kind | message | fields | files |
//! |---|---|---|---|
//! | 0x01 | `Setup` | u8 attempt, i64 cpu or -1, u64 scratch bytes, u64 scratch inodes, list of paths, variables, list of servers (list of arguments, variables, u8 0 holds nothing or 1 the program), list of server files (text name, u64 length) | the server files' texts one after the other, where there are any |
//! | 0x02 | `Load` | text name | the program's text |
//! | 0x03 | `Run` | u64 seq, u64 cpu ms, u64 wall ms, u64 memory, u64 output, u32 processes, u8 0 + list of arguments or 1 + u32 server | stdin, stdout, stderr |
//! | 0x04 | `Kill` | u64 seq | none |
//! | 0x05 | `Add` | text name | the file's text |
//! | 0x81 | `Ready` | u32 layers, text refusals | none |
//! | 0x82 | `Refused` | text step and reason | none |
//! | 0x83 | `Loaded` | none | none |
//! | 0x84 | `LoadFailed` | text reason | none |
//! | 0x85 | `Ended` | u64 seq, u8 0 exit or 1 signal, i32 code, u8 limit (0 none, 1 memory, 2 cpu, 3 wall), u64 cpu us, u64 wall us, u64 memory bytes | none |
//! | 0x86 | `NotStarted` | u64 seq, u8 step, i32 errno | none |
//! | 0x87 | `Broken` | text reason | none |
//! | 0x88 | `NotServed` | u64 seq, text reason | none |
//!
//! Variables are a list of text name + text value. A message that is too short, too long, of another version or unknown is an error; the cage is then given up.

use crate::cage::Holds;
use crate::run::{Ended, RunLimits};

/// Longest message, in bytes; below the default send buffer of a Unix socket.
pub(crate) const MESSAGE_BYTES_MAX: usize = 128 << 10;
/// Most items in a list: arguments, runtime paths, variables, servers, files.
const ITEMS_MAX: u32 = 4096;
/// Changes with the layout.
const VERSION: u8 = 2;

/// How the cage is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// With the host's root privileges, given up on the way.
    Privileged,
    /// In a user namespace of its own.
    Unprivileged,
    /// Without namespaces.
    Limits,
    /// With the host's root privileges and without a user namespace.
    WithoutUsers,
}

/// What the worker says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Setup(Setup),
    Load {
        name: Vec<u8>,
    },
    Run {
        seq: u64,
        limits: RunLimits,
        origin: Origin,
    },
    Kill {
        seq: u64,
    },
    Add {
        name: Vec<u8>,
    },
}

/// Where the process of a run comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// These are executed.
    Execute(Vec<Vec<u8>>),
    /// This fork server forks.
    Fork(u32),
}

/// How to make the cage; the first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) attempt: Attempt,
    pub(crate) cpu: Option<usize>,
    pub(crate) scratch_bytes: u64,
    pub(crate) scratch_inodes: u64,
    pub(crate) runtime: Vec<Vec<u8>>,
    pub(crate) environment: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) servers: Vec<ServerPlan>,
    /// Names and lengths; the texts are in the file that comes with the message.
    pub(crate) server_files: Vec<(Vec<u8>, u64)>,
}

/// How to start one fork server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerPlan {
    pub(crate) argv: Vec<Vec<u8>>,
    /// In addition to that of the cage's programs.
    pub(crate) environment: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) holds: Holds,
}

/// A limit that the init saw crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Memory,
    Cpu,
    Wall,
}

/// How a run ended, as the init saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) seq: u64,
    pub(crate) ended: Ended,
    pub(crate) limit: Option<Limit>,
    pub(crate) cpu_us: u64,
    pub(crate) wall_us: u64,
    pub(crate) memory_bytes: u64,
}

/// What a cage's init says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Ready { layers: u32, refusals: Vec<u8> },
    Refused { reason: Vec<u8> },
    Loaded,
    LoadFailed { reason: Vec<u8> },
    Ended(Ending),
    NotStarted { seq: u64, step: u8, errno: i32 },
    Broken { reason: Vec<u8> },
    NotServed { seq: u64, reason: Vec<u8> },
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Fewer bytes than the fields need.
    #[error("a message of {length} bytes ends inside a field")]
    Short {
        /// Its length.
        length: usize,
    },
    /// Bytes after the last field.
    #[error("{rest} bytes follow the last field of a message")]
    Trailing {
        /// How many.
        rest: usize,
    },
    /// Another version.
    #[error("a message has version {version}, expected {VERSION}")]
    Version {
        /// Which.
        version: u8,
    },
    /// A value outside its range.
    #[error("the field `{field}` of a message is {value}, which means nothing")]
    Value {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// More bytes than one message may have.
    #[error("a message of {length} bytes is longer than {MESSAGE_BYTES_MAX}")]
    Long {
        /// Its length.
        length: usize,
    },
}

impl Request {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let mut out = Writer::new(match self {
            Self::Setup(_) => 0x01,
            Self::Load { .. } => 0x02,
            Self::Run { .. } => 0x03,
            Self::Kill { .. } => 0x04,
            Self::Add { .. } => 0x05,
        });
        match self {
            Self::Setup(setup) => {
                out.u8(match setup.attempt {
                    Attempt::Privileged => 0,
                    Attempt::Unprivileged => 1,
                    Attempt::Limits => 2,
                    Attempt::WithoutUsers => 3,
                });
                out.i64(setup.cpu.and_then(|cpu| i64::try_from(cpu).ok()).unwrap_or(-1));
                out.u64(setup.scratch_bytes);
                out.u64(setup.scratch_inodes);
                out.texts(&setup.runtime);
                out.variables(&setup.environment);
                out.count(setup.servers.len());
                for server in &setup.servers {
                    out.texts(&server.argv);
                    out.variables(&server.environment);
                    out.u8(match server.holds {
                        Holds::Nothing => 0,
                        Holds::Program => 1,
                    });
                }
                out.count(setup.server_files.len());
                for (name, length) in &setup.server_files {
                    out.text(name);
                    out.u64(*length);
                }
            }
            Self::Load { name } | Self::Add { name } => out.text(name),
            Self::Run { seq, limits, origin } => {
                out.u64(*seq);
                out.u64(limits.cpu_ms);
                out.u64(limits.wall_ms);
                out.u64(limits.memory_bytes);
                out.u64(limits.output_bytes);
                out.u32(limits.processes);
                match origin {
                    Origin::Execute(argv) => {
                        out.u8(0);
                        out.texts(argv);
                    }
                    Origin::Fork(server) => {
                        out.u8(1);
                        out.u32(*server);
                    }
                }
            }
            Self::Kill { seq } => out.u64(*seq),
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (kind, mut fields) = Reader::new(bytes)?;
        let request = match kind {
            0x01 => Self::Setup(Setup {
                attempt: match fields.u8()? {
                    0 => Attempt::Privileged,
                    1 => Attempt::Unprivileged,
                    2 => Attempt::Limits,
                    3 => Attempt::WithoutUsers,
                    other => return Err(value("attempt", other.into())),
                },
                cpu: usize::try_from(fields.i64()?).ok(),
                scratch_bytes: fields.u64()?,
                scratch_inodes: fields.u64()?,
                runtime: fields.list(Reader::text)?,
                environment: fields.list(Reader::variable)?,
                servers: fields.list(|fields| {
                    Ok(ServerPlan {
                        argv: fields.list(Reader::text)?,
                        environment: fields.list(Reader::variable)?,
                        holds: match fields.u8()? {
                            0 => Holds::Nothing,
                            1 => Holds::Program,
                            other => return Err(value("holds", other.into())),
                        },
                    })
                })?,
                server_files: fields.list(|fields| Ok((fields.text()?, fields.u64()?)))?,
            }),
            0x02 => Self::Load { name: fields.text()? },
            0x03 => Self::Run {
                seq: fields.u64()?,
                limits: RunLimits {
                    cpu_ms: fields.u64()?,
                    wall_ms: fields.u64()?,
                    memory_bytes: fields.u64()?,
                    output_bytes: fields.u64()?,
                    processes: fields.u32()?,
                },
                origin: match fields.u8()? {
                    0 => Origin::Execute(fields.list(Reader::text)?),
                    1 => Origin::Fork(fields.u32()?),
                    other => return Err(value("origin", other.into())),
                },
            },
            0x04 => Self::Kill { seq: fields.u64()? },
            0x05 => Self::Add { name: fields.text()? },
            other => return Err(value("kind", other.into())),
        };
        fields.end()?;
        Ok(request)
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let mut out = Writer::new(match self {
            Self::Ready { .. } => 0x81,
            Self::Refused { .. } => 0x82,
            Self::Loaded => 0x83,
            Self::LoadFailed { .. } => 0x84,
            Self::Ended(_) => 0x85,
            Self::NotStarted { .. } => 0x86,
            Self::Broken { .. } => 0x87,
            Self::NotServed { .. } => 0x88,
        });
        match self {
            Self::Ready { layers, refusals } => {
                out.u32(*layers);
                out.text(refusals);
            }
            Self::Refused { reason } | Self::LoadFailed { reason } | Self::Broken { reason } => {
                out.text(reason)
            }
            Self::Loaded => {}
            Self::Ended(ending) => {
                out.u64(ending.seq);
                let (kind, code) = match ending.ended {
                    Ended::Exit(code) => (0, code),
                    Ended::Signal(signal) => (1, signal),
                };
                out.u8(kind);
                out.i32(code);
                out.u8(match ending.limit {
                    None => 0,
                    Some(Limit::Memory) => 1,
                    Some(Limit::Cpu) => 2,
                    Some(Limit::Wall) => 3,
                });
                out.u64(ending.cpu_us);
                out.u64(ending.wall_us);
                out.u64(ending.memory_bytes);
            }
            Self::NotStarted { seq, step, errno } => {
                out.u64(*seq);
                out.u8(*step);
                out.i32(*errno);
            }
            Self::NotServed { seq, reason } => {
                out.u64(*seq);
                out.text(reason);
            }
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (kind, mut fields) = Reader::new(bytes)?;
        let reply = match kind {
            0x81 => Self::Ready {
                layers: fields.u32()?,
                refusals: fields.text()?,
            },
            0x82 => Self::Refused {
                reason: fields.text()?,
            },
            0x83 => Self::Loaded,
            0x84 => Self::LoadFailed {
                reason: fields.text()?,
            },
            0x85 => Self::Ended(Ending {
                seq: fields.u64()?,
                ended: match (fields.u8()?, fields.i32()?) {
                    (0, code) => Ended::Exit(code),
                    (1, signal) => Ended::Signal(signal),
                    (other, _) => return Err(value("ended", other.into())),
                },
                limit: match fields.u8()? {
                    0 => None,
                    1 => Some(Limit::Memory),
                    2 => Some(Limit::Cpu),
                    3 => Some(Limit::Wall),
                    other => return Err(value("limit", other.into())),
                },
                cpu_us: fields.u64()?,
                wall_us: fields.u64()?,
                memory_bytes: fields.u64()?,
            }),
            0x86 => Self::NotStarted {
                seq: fields.u64()?,
                step: fields.u8()?,
                errno: fields.i32()?,
            },
            0x87 => Self::Broken {
                reason: fields.text()?,
            },
            0x88 => Self::NotServed {
                seq: fields.u64()?,
                reason: fields.text()?,
            },
            other => return Err(value("kind", other.into())),
        };
        fields.end()?;
        Ok(reply)
    }
}

fn value(field: &'static str, value: u64) -> MessageError {
    MessageError::Value { field, value }
}

struct Writer {
    bytes: Vec<u8>,
    /// The length of a list that no reader takes.
    too_many: Option<u64>,
}

impl Writer {
    fn new(kind: u8) -> Self {
        Self {
            bytes: vec![kind, VERSION],
            too_many: None,
        }
    }
    fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }
    fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }
    fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }
    fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_le_bytes());
    }
    fn count(&mut self, count: usize) {
        if count > ITEMS_MAX as usize {
            self.too_many = Some(count as u64);
        }
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }
    fn text(&mut self, text: &[u8]) {
        // One that is longer than its length can say is longer than a message.
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend(text);
    }
    fn texts(&mut self, texts: &[Vec<u8>]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }
    fn variables(&mut self, variables: &[(Vec<u8>, Vec<u8>)]) {
        self.count(variables.len());
        for (name, value) in variables {
            self.text(name);
            self.text(value);
        }
    }
    fn finish(self) -> Result<Vec<u8>, MessageError> {
        if let Some(count) = self.too_many {
            return Err(value("count", count));
        }
        let length = self.bytes.len();
        if length > MESSAGE_BYTES_MAX {
            return Err(MessageError::Long { length });
        }
        Ok(self.bytes)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<(u8, Self), MessageError> {
        let mut reader = Self {
            rest: bytes,
            length: bytes.len(),
        };
        let kind = reader.u8()?;
        match reader.u8()? {
            VERSION => Ok((kind, reader)),
            version => Err(MessageError::Version { version }),
        }
    }
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(MessageError::Short { length: self.length })?;
        self.rest = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, MessageError> {
        self.take::<1>().map(|[byte]| byte)
    }
    fn u32(&mut self) -> Result<u32, MessageError> {
        self.take().map(u32::from_le_bytes)
    }
    fn i32(&mut self) -> Result<i32, MessageError> {
        self.take().map(i32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, MessageError> {
        self.take().map(u64::from_le_bytes)
    }
    fn i64(&mut self) -> Result<i64, MessageError> {
        self.take().map(i64::from_le_bytes)
    }
    fn text(&mut self) -> Result<Vec<u8>, MessageError> {
        let length = self.u32()? as usize;
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(MessageError::Short { length: self.length })?;
        self.rest = rest;
        Ok(head.to_vec())
    }
    fn variable(&mut self) -> Result<(Vec<u8>, Vec<u8>), MessageError> {
        Ok((self.text()?, self.text()?))
    }
    fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, MessageError>,
    ) -> Result<Vec<T>, MessageError> {
        let count = self.u32()?;
        if count > ITEMS_MAX {
            return Err(value("count", count.into()));
        }
        (0..count).map(|_| item(self)).collect()
    }
    fn end(self) -> Result<(), MessageError> {
        match self.rest.len() {
            0 => Ok(()),
            rest => Err(MessageError::Trailing { rest }),
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    pub(super) fn requests() -> Vec<Request> {
        vec![
            Request::Setup(Setup {
                attempt: Attempt::Unprivileged,
                cpu: Some(3),
                scratch_bytes: 64 << 20,
                scratch_inodes: 4096,
                runtime: vec![b"/usr".to_vec(), b"/lib64".to_vec()],
                environment: vec![(b"LANG".to_vec(), b"C.UTF-8".to_vec())],
                servers: vec![
                    ServerPlan {
                        argv: vec![b"/usr/bin/python3".to_vec(), b"/z/serve.py".to_vec()],
                        environment: vec![(b"PYTHONHASHSEED".to_vec(), b"0".to_vec())],
                        holds: Holds::Program,
                    },
                    ServerPlan {
                        argv: vec![b"/z/serve".to_vec()],
                        environment: Vec::new(),
                        holds: Holds::Nothing,
                    },
                ],
                server_files: vec![(b"serve.py".to_vec(), 1 << 40)],
            }),
            Request::Load {
                name: b"main.py".to_vec(),
            },
            Request::Run {
                seq: 7,
                limits: RunLimits {
                    cpu_ms: 1,
                    wall_ms: 2,
                    memory_bytes: 3,
                    output_bytes: 4,
                    processes: 5,
                },
                origin: Origin::Execute(vec![b"/usr/bin/python3".to_vec(), Vec::new()]),
            },
            Request::Run {
                seq: 8,
                limits: RunLimits {
                    cpu_ms: 1,
                    wall_ms: 2,
                    memory_bytes: 3,
                    output_bytes: 4,
                    processes: 5,
                },
                origin: Origin::Fork(2),
            },
            Request::Kill { seq: u64::MAX },
            Request::Add {
                name: b"data.txt".to_vec(),
            },
        ]
    }

    pub(super) fn replies() -> Vec<Reply> {
        let ending = |ended, limit| {
            Reply::Ended(Ending {
                seq: 1,
                ended,
                limit,
                cpu_us: 2,
                wall_us: 3,
                memory_bytes: 4,
            })
        };
        vec![
            Reply::Ready {
                layers: 5,
                refusals: b"none".to_vec(),
            },
            Reply::Refused {
                reason: b"unshare".to_vec(),
            },
            Reply::Loaded,
            Reply::LoadFailed {
                reason: b"full".to_vec(),
            },
            ending(Ended::Exit(3), None),
            ending(Ended::Signal(9), Some(Limit::Memory)),
            ending(Ended::Signal(9), Some(Limit::Cpu)),
            ending(Ended::Signal(9), Some(Limit::Wall)),
            Reply::NotStarted {
                seq: 1,
                step: 2,
                errno: 13,
            },
            Reply::Broken {
                reason: b"gone".to_vec(),
            },
            Reply::NotServed {
                seq: 9,
                reason: b"it ended".to_vec(),
            },
        ]
    }

    #[test]
    fn messages_read_back_as_they_were_written() {
        for request in requests() {
            assert_eq!(Request::decode(&request.encode().unwrap()), Ok(request));
        }
        for reply in replies() {
            assert_eq!(Reply::decode(&reply.encode().unwrap()), Ok(reply));
        }
    }

    #[test]
    fn every_cut_of_a_message_is_an_error() {
        for request in requests() {
            let bytes = request.encode().unwrap();
            for length in 0..bytes.len() {
                assert_eq!(
                    Request::decode(&bytes[..length]),
                    Err(MessageError::Short { length })
                );
            }
        }
        for reply in replies() {
            let bytes = reply.encode().unwrap();
            for length in 0..bytes.len() {
                assert_eq!(
                    Reply::decode(&bytes[..length]),
                    Err(MessageError::Short { length })
                );
            }
        }
    }

    #[test]
    fn trailing_bytes_other_versions_and_unknown_kinds_are_errors() {
        assert_eq!(
            Reply::decode(&[0x83, VERSION, 0]),
            Err(MessageError::Trailing { rest: 1 })
        );
        assert_eq!(
            Reply::decode(&[0x83, 9]),
            Err(MessageError::Version { version: 9 })
        );
        assert_eq!(Reply::decode(&[0x01, VERSION]), Err(value("kind", 1)));
        assert_eq!(Request::decode(&[0x83, VERSION]), Err(value("kind", 0x83)));
    }

    #[test]
    fn a_list_longer_than_allowed_is_an_error_before_memory_is_taken() {
        let mut bytes = Request::Kill { seq: 0 }.encode().unwrap();
        bytes[0] = 0x03;
        bytes.extend([0; 8 * 4 + 4 + 1]);
        bytes.extend(u32::MAX.to_le_bytes());
        assert_eq!(Request::decode(&bytes), Err(value("count", u32::MAX.into())));
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused_by_the_writer() {
        let name = vec![b'x'; MESSAGE_BYTES_MAX];
        let length = MESSAGE_BYTES_MAX + 6;
        assert_eq!(
            Request::Load { name }.encode(),
            Err(MessageError::Long { length })
        );
    }
}
