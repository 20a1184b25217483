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
    /// None: the program is on the host, and what the other layers allow is what it can reach there.
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
    /// Only listed system calls are answered.
    SystemCallFilter,
    /// Files are read, written and executed by rules that hold without a tree of its own too.
    Landlock,
    /// Memory and processes of all together are bounded by the kernel.
    ControlGroup,
    /// There is a `/proc` with nothing in it to open but a program's own files: `/dev/stdin` works. Holds nothing, and
    /// no grade asks for it.
    OwnProc,
}

/// How well a program is shut in, all layers taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// A program could do what the user can that runs it.
    None,
    /// It cannot reach the host's files, network and other processes, by one wall instead of two.
    Partial,
    /// All walls hold; what several processes use together is not bounded by the kernel.
    FullWithoutControlGroup,
    /// All walls hold, and one bound for all processes together.
    Full,
}

impl Layer {
    /// All layers, in the order of their bits.
    pub const ALL: [Self; 18] = [
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
        Self::OwnProc,
    ];

    /// What every grade but the weakest two rests on.
    const WALLS: [Self; 9] = [
        Self::MountNamespace,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::ReadOnlyRoot,
        Self::NoCapabilities,
        Self::NoNewPrivileges,
        Self::SystemCallFilter,
        Self::Landlock,
    ];
    /// What bounds all processes together.
    const BOUNDS: [Self; 2] = [Self::AllProcessesWatched, Self::ControlGroup];
    /// What is left of the walls without namespaces.
    const WALLS_WITHOUT_NAMESPACES: [Self; 4] = [
        Self::NoCapabilities,
        Self::NoNewPrivileges,
        Self::SystemCallFilter,
        Self::Landlock,
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
            Self::SystemCallFilter => "system-call filter",
            Self::Landlock => "Landlock",
            Self::ControlGroup => "control group",
            Self::OwnProc => "a `/proc` of its own",
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
    /// The version of Landlock that the kernel has; 0 where it has none.
    pub landlock_version: u32,
}

impl Containment {
    /// All of it in one word. Without Landlock in the kernel namespaces are as good as it gets; without namespaces
    /// Landlock is the only thing that keeps files from programs.
    pub fn grade(&self) -> Grade {
        match self.level {
            Level::Limits if self.lacks(&Layer::WALLS_WITHOUT_NAMESPACES).next().is_none() => Grade::Partial,
            Level::Limits => Grade::None,
            Level::Namespaces if self.missing_walls().next().is_some() => Grade::Partial,
            Level::Namespaces if self.lacks(&Layer::BOUNDS).next().is_some() => {
                Grade::FullWithoutControlGroup
            }
            Level::Namespaces => Grade::Full,
        }
    }

    /// What the best grade would need besides, walls first.
    pub fn missing(&self) -> Vec<Layer> {
        self.missing_walls().chain(self.lacks(&Layer::BOUNDS)).collect()
    }

    fn missing_walls(&self) -> impl Iterator<Item = Layer> {
        let kernel_has_it =
            move |layer: &Layer| *layer != Layer::Landlock || self.landlock_version > 0 || self.is_on_host();
        self.lacks(&Layer::WALLS).filter(kernel_has_it)
    }

    fn is_on_host(&self) -> bool {
        self.level == Level::Limits
    }

    fn lacks(&self, layers: &'static [Layer]) -> impl Iterator<Item = Layer> {
        layers.iter().copied().filter(|layer| !self.layers.has(*layer))
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Namespaces => f.write_str("namespaces")?,
            Level::Limits => f.write_str("no namespaces")?,
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

    /// Containment with all layers but some.
    fn without(level: Level, missing: &[Layer], landlock_version: u32) -> Containment {
        let kept = Layer::ALL.into_iter().filter(|layer| !missing.contains(layer));
        Containment {
            level,
            layers: kept.collect(),
            reason: None,
            landlock_version,
        }
    }

    #[test]
    fn a_grade_is_as_good_as_the_layer_that_is_missing() {
        use Layer::*;
        let namespaces = |missing: &[Layer], version| without(Level::Namespaces, missing, version).grade();
        assert_eq!(namespaces(&[], 7), Grade::Full);
        assert_eq!(namespaces(&[UserNamespace, InitOutOfReach], 7), Grade::Full);
        assert_eq!(namespaces(&[ControlGroup], 7), Grade::FullWithoutControlGroup);
        assert_eq!(
            namespaces(&[AllProcessesWatched], 7),
            Grade::FullWithoutControlGroup
        );
        assert_eq!(namespaces(&[Landlock], 7), Grade::Partial);
        assert_eq!(namespaces(&[Landlock], 0), Grade::Full);
        assert_eq!(namespaces(&[SystemCallFilter], 7), Grade::Partial);
        assert_eq!(namespaces(&[NetworkNamespace], 7), Grade::Partial);
        let host = |missing: &[Layer], version| without(Level::Limits, missing, version).grade();
        assert_eq!(host(&[MountNamespace, ControlGroup], 7), Grade::Partial);
        assert_eq!(host(&[Landlock], 0), Grade::None);
        assert_eq!(host(&[SystemCallFilter], 7), Grade::None);
    }

    #[test]
    fn what_is_missing_is_told_unless_the_kernel_cannot_have_it() {
        use Layer::*;
        let missing = [ControlGroup, Landlock, UtsNamespace];
        assert_eq!(without(Level::Namespaces, &missing, 0).missing(), [ControlGroup]);
        assert_eq!(
            without(Level::Namespaces, &missing, 7).missing(),
            [Landlock, ControlGroup]
        );
        assert_eq!(
            without(Level::Limits, &missing, 0).missing(),
            [Landlock, ControlGroup]
        );
    }

    #[test]
    fn bits_without_a_meaning_are_dropped() {
        assert_eq!(Layers::from_bits(u32::MAX).iter().count(), Layer::ALL.len());
        assert_eq!(Layers::from_bits(1 << 31), Layers::default());
    }
}
