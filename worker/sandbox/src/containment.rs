//! What holds a program: which layers of the cage the host granted.
//!
//! Found out by doing while the cage is made, carried in `Ready`, read by the worker for its isolation level.

use std::fmt;

use serde::Serialize;

/// How much holds a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Namespaces of its own: no network, no files of the host, no processes but its own.
    Namespaces,
    /// Resource limits and no new privileges only: the program sees the host's files, network and processes.
    Limits,
}

/// One thing that holds a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Layer {
    /// User ids inside are not those outside.
    UserNamespace,
    /// A file tree of its own.
    MountNamespace,
    /// Only its own processes can be named.
    PidNamespace,
    /// No network, not even the loopback of the host.
    NetworkNamespace,
    /// No shared memory, semaphores or queues of others.
    IpcNamespace,
    /// A host name of its own.
    UtsNamespace,
    /// The host's control groups are not named.
    CgroupNamespace,
    /// Nothing but the scratch can be written.
    ReadOnlyRoot,
    /// Effective, permitted, inheritable, ambient and bounding capabilities are empty.
    NoCapabilities,
    /// Set-user-id programs give nothing.
    NoNewPrivileges,
    /// The program cannot make user namespaces, and so no capabilities over new namespaces.
    NoNestedNamespaces,
    /// No System V shared memory, semaphores or queues can be made.
    NoSystemVIpc,
    /// CPU time and memory of all its processes are watched, not only of the first one.
    AllProcessesWatched,
    /// The init has a user id that the program has not, so its limits and priority cannot be changed from inside.
    InitOutOfReach,
    /// System calls that programs have no use for are refused.
    SystemCallFilter,
    /// Landlock: files by a list of its own, no signals and sockets to the outside.
    Landlock,
    /// Memory and processes of a run are bounded all together.
    ControlGroup,
}

impl Layer {
    /// All layers, in the order of their bits.
    pub const ALL: [Self; 17] = [
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::ReadOnlyRoot,
        Self::NoCapabilities,
        Self::NoNewPrivileges,
        Self::NoNestedNamespaces,
        Self::NoSystemVIpc,
        Self::AllProcessesWatched,
        Self::InitOutOfReach,
        Self::SystemCallFilter,
        Self::Landlock,
        Self::ControlGroup,
    ];

    /// The words used in texts.
    pub fn words(self) -> &'static str {
        match self {
            Self::UserNamespace => "user namespace",
            Self::MountNamespace => "mount namespace",
            Self::PidNamespace => "pid namespace",
            Self::NetworkNamespace => "network namespace",
            Self::IpcNamespace => "ipc namespace",
            Self::UtsNamespace => "uts namespace",
            Self::CgroupNamespace => "cgroup namespace",
            Self::ReadOnlyRoot => "read-only root",
            Self::NoCapabilities => "no capabilities",
            Self::NoNewPrivileges => "no new privileges",
            Self::NoNestedNamespaces => "no nested namespaces",
            Self::NoSystemVIpc => "no System V IPC",
            Self::AllProcessesWatched => "all processes watched",
            Self::InitOutOfReach => "init out of reach",
            Self::SystemCallFilter => "system call filter",
            Self::Landlock => "Landlock",
            Self::ControlGroup => "control group",
        }
    }

    fn bit(self) -> u32 {
        1 << (self as u8)
    }
}

/// A set of layers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Layers(u32);

impl Layers {
    /// The set whose bits are `bits`; bits that mean nothing are dropped.
    pub(crate) fn from_bits(bits: u32) -> Self {
        Layer::ALL
            .into_iter()
            .filter(|layer| bits & layer.bit() != 0)
            .collect()
    }

    /// The bits, as they travel.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Adds a layer.
    pub(crate) fn add(&mut self, layer: Layer) {
        self.0 |= layer.bit();
    }

    /// Whether `layer` holds.
    pub fn has(self, layer: Layer) -> bool {
        self.0 & layer.bit() != 0
    }

    /// The layers that hold, in the order of [`Layer::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Layer> {
        Layer::ALL.into_iter().filter(move |layer| self.has(*layer))
    }
}

impl FromIterator<Layer> for Layers {
    fn from_iter<I: IntoIterator<Item = Layer>>(layers: I) -> Self {
        let mut set = Self::default();
        for layer in layers {
            set.add(layer);
        }
        set
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, layer) in self.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", layer.words())?;
        }
        Ok(())
    }
}

impl Serialize for Layers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// What holds the programs of one cage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Containment {
    /// How much, in one word.
    pub level: Level,
    /// How much, in detail.
    pub layers: Layers,
    /// Which steps the host refused and why, one clause each; none when everything was granted.
    pub reason: Option<String>,
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Namespaces => f.write_str("namespaces")?,
            Level::Limits => f.write_str("limits only")?,
        }
        write!(f, " ({})", self.layers)?;
        match &self.reason {
            Some(reason) => write!(f, "; refused: {reason}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_keep_their_bits_on_the_way() {
        let layers: Layers = [Layer::PidNamespace, Layer::InitOutOfReach].into_iter().collect();
        assert_eq!(Layers::from_bits(layers.bits()), layers);
        assert_eq!(layers.to_string(), "pid namespace, init out of reach");
    }

    #[test]
    fn bits_without_a_meaning_are_dropped() {
        assert_eq!(Layers::from_bits(u32::MAX).iter().count(), Layer::ALL.len());
        assert_eq!(Layers::from_bits(1 << 31), Layers::default());
    }
}
