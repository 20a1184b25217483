//! What one test may use.

use serde::{Deserialize, Serialize};

/// What one test may use. Crossing a limit is a verdict, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// CPU time of all its processes, in milliseconds.
    pub cpu_ms: u64,
    /// Time on the clock, in milliseconds: a backstop for programs that wait.
    pub wall_ms: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Standard output, in bytes.
    pub output_bytes: u64,
    /// Processes and threads at once.
    pub processes: u32,
}

impl Limits {
    /// The backstop that goes with a CPU limit: `max(4 × cpu, cpu + 5 s)`.
    pub fn wall_for_cpu_ms(cpu_ms: u64) -> u64 {
        cpu_ms.saturating_mul(4).max(cpu_ms.saturating_add(5_000))
    }
}

impl Default for Limits {
    fn default() -> Self {
        let cpu_ms = 10_000;
        Self {
            cpu_ms,
            wall_ms: Self::wall_for_cpu_ms(cpu_ms),
            memory_bytes: 1 << 30,
            output_bytes: 64 << 20,
            processes: 64,
        }
    }
}
