//! Where this process may make control groups: read from the text of `/proc/self/cgroup` and `/proc/self/mountinfo`.
//!
//! Plain functions over text; `cgroup` does what follows from them. A cage's group is made below the group that its
//! worker is in, never at the top, so that whatever bounds the worker bounds its cages too.

use std::path::{Component, Path, PathBuf};

/// What a control group bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    /// Memory of all processes together, files in memory among it.
    Memory,
    /// Processes and threads.
    Processes,
}

impl Controller {
    /// Both, in the order in which they are spoken of.
    pub(super) const ALL: [Self; 2] = [Self::Memory, Self::Processes];

    /// The kernel's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
        }
    }
}

/// Which interface a hierarchy has: other files, other rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// One hierarchy for some controllers.
    One,
    /// The hierarchy of all controllers that no hierarchy of version one has.
    Two,
}

/// One hierarchy and this process's place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) version: Version,
    /// What is bounded there. In version two it is for the hierarchy itself to say whether it has them.
    pub(super) controllers: Vec<Controller>,
    /// The directory at which the hierarchy is mounted.
    pub(super) mount: PathBuf,
    /// The directory of the group that this process is in: `mount` or below it.
    pub(super) own: PathBuf,
}

/// The places for all controllers, and for each that has none the reason.
///
/// A controller is bound to one hierarchy of version one, or else belongs to version two, where that is mounted: on a
/// host with both, version two has what is left.
pub(super) fn find(memberships: &str, mounts: &str) -> (Vec<Place>, Vec<String>) {
    let (mut places, mut reasons): (Vec<Place>, Vec<String>) = Default::default();
    for controller in Controller::ALL {
        match place_of(controller, memberships, mounts) {
            Ok(place) => match places.iter_mut().find(|there| there.own == place.own) {
                Some(there) => there.controllers.push(controller),
                None => places.push(place),
            },
            Err(reason) => reasons.push(format!(
                "bound `{}` by a control group: {reason}",
                controller.word()
            )),
        }
    }
    (places, reasons)
}

fn place_of(controller: Controller, memberships: &str, mounts: &str) -> Result<Place, &'static str> {
    let lines = || memberships.lines().filter_map(Membership::parse);
    let of_one = lines().find(|line| line.controllers.split(',').any(|word| word == controller.word()));
    let of_two = || lines().find(|line| line.number == "0" && line.controllers.is_empty());
    let (version, membership) = match of_one {
        Some(membership) => (Version::One, membership),
        None => (Version::Two, of_two().ok_or("this kernel has no control groups")?),
    };
    let mut reason = "its hierarchy is not mounted";
    for mount in mounts.lines().filter_map(Mount::parse) {
        let has_it = match version {
            Version::One => {
                mount.kind == "cgroup" && mount.options.split(',').any(|word| word == controller.word())
            }
            Version::Two => mount.kind == "cgroup2",
        };
        if !has_it {
            continue;
        }
        match below(&unescape(mount.root), membership.path) {
            Some(rest) => {
                let mount = PathBuf::from(unescape(mount.point));
                // Without a slash at its end when there is no rest.
                let own = mount.join(&rest).components().collect();
                return Ok(Place {
                    version,
                    controllers: vec![controller],
                    mount,
                    own,
                });
            }
            None => reason = "this process's own group is not below where its hierarchy is mounted",
        }
    }
    Err(reason)
}

/// The path from a mount's root to a group; `None` when the group is not below it, or outside this process's cgroup
/// namespace, which the kernel writes with `..`.
fn below(root: &str, group: &str) -> Option<PathBuf> {
    let rest = Path::new(group).strip_prefix(root).ok()?;
    let plain = |path: &Path| {
        path.components()
            .all(|component| component != Component::ParentDir)
    };
    (plain(rest) && plain(Path::new(root))).then(|| rest.to_owned())
}

/// One line of `/proc/self/cgroup`: `hierarchy:controllers:path`.
struct Membership<'a> {
    number: &'a str,
    controllers: &'a str,
    path: &'a str,
}

impl<'a> Membership<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, ':');
        Some(Self {
            number: fields.next()?,
            controllers: fields.next()?,
            path: fields.next()?,
        })
    }
}

/// One line of `/proc/self/mountinfo`, see proc(5); the optional fields end with a dash.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self {
            root: before.next()?,
            point: before.next()?,
            kind: after.next()?,
            options: after.nth(1)?,
        })
    }
}

/// Undoes the kernel's octal escapes of blanks, tabs, line ends and backslashes.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(version: Version, controllers: &[Controller], mount: &str, own: &str) -> Place {
        Place {
            version,
            controllers: controllers.to_vec(),
            mount: mount.into(),
            own: own.into(),
        }
    }

    /// A host of version one with the unified hierarchy beside it, which has no controllers then.
    const APART: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime shared:9 master:2 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn controllers_of_version_one_are_found_apart_also_where_version_two_is_mounted() {
        let memberships = "8:pids:/\n4:memory:/jobs/a b\n1:name=systemd:/\n0::/\n";
        let (places, reasons) = find(memberships, APART);
        assert_eq!(
            places,
            [
                place(
                    Version::One,
                    &[Controller::Memory],
                    "/sys/fs/cgroup/memory",
                    "/sys/fs/cgroup/memory/jobs/a b"
                ),
                place(
                    Version::One,
                    &[Controller::Processes],
                    "/sys/fs/cgroup/pids",
                    "/sys/fs/cgroup/pids"
                ),
            ]
        );
        assert_eq!(reasons, Vec::<String>::new());
    }

    #[test]
    fn controllers_that_share_a_hierarchy_share_a_place() {
        let mounts = "35 31 0:32 / /cg/both rw - cgroup cgroup rw,pids,memory,cpu\n";
        assert_eq!(
            find("4:cpu,memory,pids:/x\n", mounts).0,
            [place(Version::One, &Controller::ALL, "/cg/both", "/cg/both/x")]
        );
    }

    #[test]
    fn version_two_has_what_no_hierarchy_of_version_one_has() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            find("0::/user.slice/run.scope\n", unified).0,
            [place(
                Version::Two,
                &Controller::ALL,
                "/sys/fs/cgroup",
                "/sys/fs/cgroup/user.slice/run.scope"
            )]
        );
        let (places, _) = find("8:pids:/\n0::/\n", APART);
        let versions: Vec<_> = places.iter().map(|place| place.version).collect();
        assert_eq!(versions, [Version::Two, Version::One]);
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_leads_to_the_group_when_the_group_is_in_that_part() {
        let mounts = "\
9 1 0:32 /other /elsewhere rw - cgroup cgroup rw,memory
9 1 0:32 /docker/a\\040b /sys/fs/c\\134g ro - cgroup cgroup rw,memory
";
        let own = |group: &str| {
            let (places, _) = find(&format!("4:memory:{group}\n"), mounts);
            places.first().map(|place| place.own.clone())
        };
        assert_eq!(own("/docker/a b"), Some("/sys/fs/c\\g".into()));
        assert_eq!(own("/docker/a b/c"), Some("/sys/fs/c\\g/c".into()));
        assert_eq!(own("/docker/a bc"), None);
        assert_eq!(own("/"), None);
    }

    #[test]
    fn a_group_outside_the_cgroup_namespace_is_no_place() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let (places, reasons) = find("0::/../session.scope\n", mounts);
        assert_eq!(places, []);
        assert_eq!(
            reasons,
            ["memory", "pids"].map(|word| format!(
                "bound `{word}` by a control group: this process's own group is not below where its hierarchy is \
                 mounted"
            ))
        );
    }

    #[test]
    fn a_hierarchy_that_is_not_there_is_said() {
        let said = |memberships: &str| find(memberships, "").1.remove(0);
        assert_eq!(
            said("4:memory:/\n"),
            "bound `memory` by a control group: its hierarchy is not mounted"
        );
        assert_eq!(
            said("nonsense"),
            "bound `memory` by a control group: this kernel has no control groups"
        );
    }
}
