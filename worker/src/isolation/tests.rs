//! What is decided and said, for every grade and every agreement.

use super::*;

fn found(level: Level, missing: &[Layer], reason: Option<&str>) -> Found {
    let kept = Layer::ALL.into_iter().filter(|layer| !missing.contains(layer));
    Found::of(&Containment {
        level,
        layers: kept.collect(),
        reason: reason.map(str::to_owned),
        landlock_version: if missing.contains(&Layer::Landlock) { 0 } else { 7 },
    })
}

const PLAIN: Host = Host {
    is_root: false,
    is_container: false,
    user_namespaces: UserNamespaces::Allowed,
};

const NAMESPACES: [Layer; 5] = [
    Layer::MountNamespace,
    Layer::PidNamespace,
    Layer::NetworkNamespace,
    Layer::IpcNamespace,
    Layer::ReadOnlyRoot,
];

fn full() -> Found {
    found(Level::Namespaces, &[], None)
}

fn without_group() -> Found {
    found(Level::Namespaces, &[Layer::ControlGroup], None)
}

fn partial() -> Found {
    let missing = [&NAMESPACES[..], &[Layer::ControlGroup]].concat();
    found(Level::Limits, &missing, Some("make a user namespace: no"))
}

fn none() -> Found {
    let missing = [&NAMESPACES[..], &[Layer::ControlGroup, Layer::Landlock]].concat();
    found(Level::Limits, &missing, None)
}

fn said(found: &Found, agreed: Agreed, host: &Host) -> (bool, String) {
    match admit(found, agreed, host) {
        Admission::Granted(text) => (true, text.unwrap_or_default()),
        Admission::Refused(text) => (false, text),
    }
}

#[test]
fn programs_run_where_as_much_holds_as_was_agreed_to() {
    let root = Host {
        is_root: true,
        ..PLAIN
    };
    let granted = |found: &Found, host: &Host| {
        [Agreed::Full, Agreed::Partial, Agreed::Nothing, Agreed::OursOnly]
            .map(|agreed| said(found, agreed, host).0)
    };
    for host in [&PLAIN, &root] {
        assert_eq!(granted(&full(), host), [true, true, true, true]);
        assert_eq!(granted(&without_group(), host), [true, true, true, true]);
        assert_eq!(granted(&partial(), host), [false, true, true, true]);
    }
    assert_eq!(granted(&none(), &PLAIN), [false, false, true, true]);
    assert_eq!(granted(&none(), &root), [false, false, false, true]);
}

#[test]
fn nothing_is_said_where_everything_holds_and_one_line_where_only_the_group_is_missing() {
    assert_eq!(said(&full(), Agreed::Full, &PLAIN).1, "");
    assert_eq!(
        said(&without_group(), Agreed::Full, &PLAIN).1,
        "warning: isolation is `full-nocg`: the memory of several processes together is not bounded by the kernel"
    );
}

#[test]
fn a_refusal_says_what_is_missing_why_and_what_to_do() {
    let (_, text) = said(&partial(), Agreed::Full, &PLAIN);
    assert_eq!(
        text,
        "error: isolation is `partial` on this host: there is no mount namespace, no pid namespace, no network \
         namespace, no ipc namespace, no read-only root; refused: make a user namespace: no\n\
         hint: let the worker call `clone`, `unshare` and `mount`: something here refuses them\n\
         hint: `--allow-weak-isolation` runs programs all the same, with fewer walls between them and this host"
    );
    let (_, text) = said(&none(), Agreed::Partial, &PLAIN);
    assert_eq!(
        text,
        "error: isolation is `none` on this host: there is no mount namespace, no pid namespace, no network \
         namespace, no ipc namespace, no read-only root, no Landlock; this kernel has no Landlock\n\
         hint: let the worker call `clone`, `unshare` and `mount`: something here refuses them\n\
         hint: `--i-know-this-is-unsafe` runs programs all the same; only for programs that you trust"
    );
}

#[test]
fn the_hint_is_for_this_host() {
    let hint = |user_namespaces, is_container| {
        let host = Host {
            user_namespaces,
            is_container,
            ..PLAIN
        };
        let (_, text) = said(&partial(), Agreed::Full, &host);
        let hints: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("hint: "))
            .map(str::to_owned)
            .collect();
        hints[..hints.len() - 1].join("\n")
    };
    let of = |word: &str, found: String| assert!(found.contains(word), "{found}");
    of(
        "sysctl user.max_user_namespaces=",
        hint(UserNamespaces::None, false),
    );
    of(
        "sysctl kernel.unprivileged_userns_clone=1",
        hint(UserNamespaces::ForRootOnly, false),
    );
    of("apparmor_parser -r", hint(UserNamespaces::ForProfilesOnly, false));
    let in_container = hint(UserNamespaces::Allowed, true);
    of(
        "--security-opt seccomp=deploy/seccomp-worker.json",
        in_container.clone(),
    );
    assert_eq!(in_container.lines().count(), 1);
}

#[test]
fn weak_isolation_that_was_agreed_to_is_shown_in_a_banner_and_ours_in_one_line() {
    let (_, text) = said(&partial(), Agreed::Partial, &PLAIN);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[0].starts_with("====") && lines[3].starts_with("===="),
        "{text}"
    );
    assert!(
        lines[1].starts_with("warning: ISOLATION IS `partial`: there is no mount namespace"),
        "{text}"
    );
    assert_eq!(
        said(&none(), Agreed::OursOnly, &PLAIN).1,
        "warning: isolation is `none`: only this project's own programs are run"
    );
}

#[test]
fn the_greatest_leave_of_the_flags_counts() {
    let flags = |allow_weak_isolation, i_know_this_is_unsafe, programs_are_ours| {
        IsolationFlags {
            allow_weak_isolation,
            i_know_this_is_unsafe,
            programs_are_ours,
        }
        .agreed()
    };
    assert_eq!(flags(false, false, false), Agreed::Full);
    assert_eq!(flags(true, false, false), Agreed::Partial);
    assert_eq!(flags(true, true, false), Agreed::Nothing);
    assert_eq!(flags(true, true, true), Agreed::OursOnly);
}
