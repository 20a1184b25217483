//! How well this host lets programs be shut in, and what people are told about it.
//!
//! The one place that decides whether programs are run here and words the refusal: asked by `worker join`,
//! `worker judge` and `coordinator dataset verify` when their cages are made, and so by the workers of
//! `coordinator run`.

use std::fmt::Write;
use std::path::Path;

use clap::Args;
use roundhouse_proto::Isolation;
use roundhouse_sandbox::{Containment, Grade, Layer, Level};

/// The exit code of a command that cannot run programs on this machine, so that nobody starts it again.
pub const EXIT_REFUSED: u8 = 78;

/// What people agree to by flags.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct IsolationFlags {
    /// Run programs even where the host lets them be shut in only in part (isolation `partial`)
    #[arg(long)]
    pub allow_weak_isolation: bool,
    /// Run programs even where nothing but resources can be bounded (isolation `none`); never as root
    #[arg(long)]
    pub i_know_this_is_unsafe: bool,
    /// The programs that come are those of this project alone
    #[arg(long, hide = true)]
    pub programs_are_ours: bool,
}

/// The least isolation with which programs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// All walls, with or without a control group.
    Full,
    /// Not all of them.
    Partial,
    /// Resource limits only.
    Nothing,
    /// Whatever there is, for nobody else's programs come.
    OursOnly,
}

impl IsolationFlags {
    /// What they say together; the greatest leave counts.
    pub fn agreed(self) -> Agreed {
        match self {
            Self {
                programs_are_ours: true,
                ..
            } => Agreed::OursOnly,
            Self {
                i_know_this_is_unsafe: true,
                ..
            } => Agreed::Nothing,
            Self {
                allow_weak_isolation: true,
                ..
            } => Agreed::Partial,
            Self { .. } => Agreed::Full,
        }
    }
}

/// How well cages hold, and what holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In one word.
    pub isolation: Isolation,
    /// In detail, where there is a cage.
    pub containment: Option<Containment>,
}

impl Found {
    /// What a cage says of itself.
    pub fn of(containment: &Containment) -> Self {
        Self {
            isolation: match containment.grade() {
                Grade::Full => Isolation::Full,
                Grade::FullWithoutControlGroup => Isolation::FullNocg,
                Grade::Partial => Isolation::Partial,
                Grade::None => Isolation::None,
            },
            containment: Some(containment.clone()),
        }
    }
}

/// What is known of this host besides: why it grants no more, and what could be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Whether programs would be run by root.
    pub is_root: bool,
    /// Whether this is the inside of a container.
    pub is_container: bool,
    /// `user.max_user_namespaces`, or Debian's `kernel.unprivileged_userns_clone`, is 0.
    pub user_namespaces: UserNamespaces,
}

/// What the host's settings say about user namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespaces {
    /// Nothing against them.
    Allowed,
    /// `user.max_user_namespaces` is 0.
    None,
    /// `kernel.unprivileged_userns_clone` is 0.
    ForRootOnly,
    /// AppArmor takes their rights from programs without a profile.
    ForProfilesOnly,
}

impl Host {
    /// Looks at this one.
    pub fn look() -> Self {
        let setting = |path: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let is_root = rustix::process::geteuid().is_root();
        let user_namespaces = if setting("/proc/sys/user/max_user_namespaces") == Some(0) {
            UserNamespaces::None
        } else if !is_root && setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
            UserNamespaces::ForRootOnly
        } else if !is_root && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
            UserNamespaces::ForProfilesOnly
        } else {
            UserNamespaces::Allowed
        };
        let marks = ["/.dockerenv", "/run/.containerenv"];
        Self {
            is_root,
            is_container: marks.iter().any(|mark| Path::new(mark).exists()),
            user_namespaces,
        }
    }

    /// What would give more, one line for each.
    fn hints(&self, containment: &Containment) -> Vec<String> {
        let mut hints = Vec::new();
        if containment.level == Level::Limits {
            match self.user_namespaces {
                UserNamespaces::None => {
                    hints.push("allow user namespaces: `sudo sysctl user.max_user_namespaces=10000`");
                }
                UserNamespaces::ForRootOnly => {
                    hints.push("allow user namespaces: `sudo sysctl kernel.unprivileged_userns_clone=1`");
                }
                UserNamespaces::ForProfilesOnly => hints.push(
                    "AppArmor takes the rights from user namespaces of programs without a profile; this gives the \
                     worker one: `sudo cp deploy/apparmor/roundhouse-worker /etc/apparmor.d/ && sudo apparmor_parser \
                     -r /etc/apparmor.d/roundhouse-worker`",
                ),
                UserNamespaces::Allowed if self.is_container => {}
                UserNamespaces::Allowed => {
                    hints.push("let the worker call `clone`, `unshare` and `mount`: something here refuses them");
                }
            }
        }
        let lacks_proc = !containment.layers.has(Layer::AllProcessesWatched);
        if self.is_container && (containment.level == Level::Limits || lacks_proc) {
            hints.push(
                "in Docker start the container with `--security-opt seccomp=deploy/seccomp-worker.json --security-opt \
                 apparmor=unconfined --security-opt systempaths=unconfined`",
            );
        }
        hints.into_iter().map(str::to_owned).collect()
    }
}

/// Whether programs are run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// They are; lines that are said before, none when there is nothing to say.
    Granted(Option<String>),
    /// They are not; lines that say why, and what to do.
    Refused(String),
}

/// Decides whether programs are run where cages hold so well.
pub fn admit(found: &Found, agreed: Agreed, host: &Host) -> Admission {
    let isolation = found.isolation;
    if agreed == Agreed::OursOnly && isolation < Isolation::FullNocg {
        return Admission::Granted(Some(format!(
            "warning: isolation is `{isolation}`: only this project's own programs are run"
        )));
    }
    let lack = Lack::of(found);
    match (isolation, agreed) {
        (Isolation::Full, _) => Admission::Granted(None),
        (Isolation::FullNocg, _) => {
            let hints = found
                .containment
                .as_ref()
                .map(|containment| host.hints(containment));
            Admission::Granted(Some(with_hints(unbounded(found), &hints.unwrap_or_default())))
        }
        (Isolation::Partial, Agreed::Full) => {
            let first = format!("error: isolation is `partial` on this host: {lack}");
            Admission::Refused(lack.with_ways_out(first, host, &[
                "`--allow-weak-isolation` runs programs all the same, with fewer walls between them and this host",
            ]))
        }
        (Isolation::Partial, _) => Admission::Granted(Some(banner(&format!(
            "warning: ISOLATION IS `partial`: {lack}\nwarning: {}",
            lack.meaning()
        )))),
        (Isolation::None, Agreed::Nothing) if !host.is_root => Admission::Granted(Some(banner(&format!(
            "warning: ISOLATION IS `none`: {lack}\nwarning: a program can read and change whatever this user can"
        )))),
        (Isolation::None, Agreed::Nothing) => {
            let first = format!("error: isolation is `none` on this host: {lack}");
            Admission::Refused(lack.with_ways_out(
                first,
                host,
                &["`--i-know-this-is-unsafe` does not count for root: start this as an ordinary user"],
            ))
        }
        (Isolation::None, _) => {
            let first = format!("error: isolation is `none` on this host: {lack}");
            Admission::Refused(lack.with_ways_out(
                first,
                host,
                &["`--i-know-this-is-unsafe` runs programs all the same; only for programs that you trust"],
            ))
        }
    }
}

/// What is missing and why.
struct Lack<'a> {
    containment: Option<&'a Containment>,
}

impl<'a> Lack<'a> {
    fn of(found: &'a Found) -> Self {
        Self {
            containment: found.containment.as_ref(),
        }
    }

    /// What it comes to for who runs programs.
    fn meaning(&self) -> &'static str {
        match self.containment.map(|containment| containment.level) {
            Some(Level::Limits) => {
                "programs are kept from this host's files, network and processes by Landlock and a system-call filter \
                 alone; what they write to `/tmp` is not bounded together"
            }
            Some(Level::Namespaces) | None => {
                "programs have namespaces of their own, and meet more of this host's kernel than they should"
            }
        }
    }

    fn with_ways_out(&self, first: String, host: &Host, last: &[&str]) -> String {
        let mut hints = self
            .containment
            .map_or_else(Vec::new, |containment| host.hints(containment));
        hints.extend(last.iter().map(|&hint| hint.to_owned()));
        with_hints(first, &hints)
    }
}

impl std::fmt::Display for Lack<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(containment) = self.containment else {
            return f.write_str("no cage says what is missing");
        };
        let words: Vec<_> = containment
            .missing()
            .into_iter()
            .filter(|layer| *layer != Layer::ControlGroup)
            .map(Layer::words)
            .collect();
        write!(f, "there is no {}", words.join(", no "))?;
        if let Some(reason) = &containment.reason {
            write!(f, "; refused: {reason}")?;
        }
        if containment.level == Level::Limits && containment.landlock_version == 0 {
            f.write_str("; this kernel has no Landlock")?;
        }
        Ok(())
    }
}

/// What a cage with all its walls does not bound.
fn unbounded(found: &Found) -> String {
    let mut text = format!(
        "warning: isolation is `{}`: the memory of several processes together is not bounded by the kernel",
        found.isolation
    );
    let watches = |containment: &Containment| containment.layers.has(Layer::AllProcessesWatched);
    if !found.containment.as_ref().is_none_or(watches) {
        text.push_str(", and what a program's children use is counted only when they have ended");
    }
    text
}

fn banner(text: &str) -> String {
    let line = "=".repeat(72);
    format!("{line}\n{text}\n{line}")
}

fn with_hints(mut text: String, hints: &[String]) -> String {
    for hint in hints {
        // Writing to a text cannot fail.
        let _ = write!(text, "\nhint: {hint}");
    }
    text
}

#[cfg(test)]
mod tests;
