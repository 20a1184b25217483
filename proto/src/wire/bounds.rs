//! How long texts and lists may be on the wire. What is longer is refused when it arrives.

/// Bytes of an inline payload. More than a stored record may hold: the edge that stores it makes a blob of a long one.
pub const WIRE_INLINE_MAX: usize = 64 << 10;
/// Bytes of a name, a version or a label.
pub const NAME_MAX_BYTES: usize = 256;
/// Bytes of a text for people; longer ones are cut when they are sent.
pub const REASON_MAX_BYTES: usize = 4 << 10;
/// Bytes of a statement, a program, a clipped output.
pub const TEXT_MAX_BYTES: usize = 8 << 20;
/// Cases of a test set, results of a report.
pub const CASES_MAX: usize = 100_000;
/// Programs that come with a problem.
pub const PROGRAMS_MAX: usize = 100_000;
/// Roles, languages, labels, endpoints of a worker, each.
pub const TRAITS_MAX: usize = 64;
/// Leases of an inventory, each of running and spooled ones.
pub const LEASES_MAX: usize = 65_536;
/// Jobs of one message.
pub const GRANTS_MAX: usize = 1_024;
/// Events that a session goes on from.
pub const EVENTS_MAX: usize = 4_096;
/// Reports of round tests that a session goes on from.
pub const REPORTS_MAX: usize = 1_024;
/// Patches and notes of an outcome, each.
pub const NOTES_MAX: usize = 1_024;
/// Speakers with a model of their own.
pub const SPEAKERS_MAX: usize = 16;
/// Calls of a recorded session.
pub const CALLS_MAX: usize = 4_096;
/// Templates of a prompt set.
pub const TEMPLATES_MAX: usize = 64;
/// Bytes of one piece of a blob or a file.
pub const CHUNK_MAX_BYTES: usize = 256 << 10;
/// Digests of one question for blobs.
pub const DIGESTS_MAX: usize = 1_024;
/// Greatest temperature a model is asked with; servers take far less.
pub const TEMPERATURE_MAX: f64 = 100.0;
