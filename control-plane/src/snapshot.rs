//! Snapshots: a cloud as it is, with everything in it, put aside in its state folder and taken back.
//!
//! Kept are the data of all services (the databases, the broker's definitions, Keystone's keys, Glance's images), what
//! a run left for the next one ([`Kept`]), and which cloud it was. The cloud stands still for that: a database that is copied
//! while it is written is none.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    Cloud, CloudSpec, Kept, StateDir, UpError,
    cloud::CLOUD_FILE,
    database::{BASE_PORT_FILE, release_of},
    kept::{KEPT_FILE, TOKENS_FILE},
    lock::Lock,
    process::{kill_all, load, run_command, stop_all},
};

/// Folder of the state folder.
const FOLDER: &str = "snapshots";
/// What the folder in it begins with of what is being restored.
const RESTORING: &str = ".restoring";
/// File of a snapshot that says what it is; written last, so that a copy that was ended half-way is none.
const FACTS_FILE: &str = "snapshot.json";
/// What is kept, where it is there: data, what runs leave, the cloud, how passwords are hashed.
const KEPT: [&str; 5] = ["data", KEPT_FILE, TOKENS_FILE, CLOUD_FILE, "done/password-hashes"];

/// What a snapshot is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// When it was made (RFC 3339).
    pub made_at: String,
    /// Release of the cloud.
    pub release: String,
    /// First port of the cloud.
    pub base_port: u16,
    /// Hypervisors that a run left in it.
    pub hypervisors: u32,
    /// Bytes on disk.
    pub bytes: u64,
}

/// The cloud of a state folder stands still, and nobody else can do anything with it until this is dropped.
#[derive(Debug)]
pub struct StandingStill {
    _lock: Lock,
    /// What it was before, if it was up; [`crate::bring_up`] takes it there again.
    pub was_up: Option<CloudSpec>,
}

/// Puts the cloud aside under a name, and leaves it stopped.
///
/// # Errors
/// When there is no cloud, the name is taken or is none, another `kagemusha` works on it, or a file cannot be written.
pub async fn save_snapshot(state: &StateDir, name: &str) -> Result<(Snapshot, StandingStill), UpError> {
    let folder = folder(state, name)?;
    let Some(release) = release_of(state) else { return Err(UpError::NoCloud(state.clone())) };
    if folder.exists() {
        let remove = state.command(&format!("snapshot remove {name}"));
        return Err(UpError::invalid(format!(
            "there is a snapshot {name} already; give another name, or remove it: {remove}"
        )));
    }
    let still = stand_still(state).await?;
    let partial = Path::new(FOLDER).join(format!(".{name}"));
    remove(&state.join(&partial))?;
    let partial = state.make_dir(&partial)?;
    copy(state, state.path(), &partial, "save the snapshot").await.inspect_err(|_| discard(&partial))?;
    let snapshot = Snapshot {
        name: name.to_owned(),
        made_at: OffsetDateTime::now_utc().format(&Rfc3339).expect("the year has four digits"),
        release,
        base_port: state.read_json(BASE_PORT_FILE)?.unwrap_or(crate::DEFAULT_BASE_PORT),
        hypervisors: Kept::of(state)?.map_or(0, |kept| kept.fleet.hypervisors),
        bytes: size(&partial),
    };
    state.write_json(&format!("{FOLDER}/.{name}/{FACTS_FILE}"), &snapshot)?;
    fs::rename(&partial, &folder).map_err(|source| UpError::file(&folder, source))?;
    Ok((snapshot, still))
}

/// Takes the cloud back to a snapshot, and leaves it stopped; what it was instead is gone. Gives the cloud that the snapshot is of.
///
/// # Errors
/// When there is no such snapshot, it is of another cloud, another `kagemusha` works on it, or a file cannot be written.
pub async fn restore_snapshot(state: &StateDir, name: &str) -> Result<(Snapshot, CloudSpec), UpError> {
    let snapshot = find(state, name)?;
    let made_with: Option<u16> = state.read_json(BASE_PORT_FILE)?;
    if release_of(state).as_ref() != Some(&snapshot.release) || made_with != Some(snapshot.base_port) {
        return Err(UpError::invalid(format!(
            "the snapshot {name} is of release {} on ports from {}, and the cloud is not",
            snapshot.release, snapshot.base_port
        )));
    }
    let _lock = Lock::take(state)?;
    // Copied aside first: what is cut short in the middle of that, by Ctrl-C or a full disk, has changed nothing.
    copies_cut_short(state).iter().for_each(|path| discard(path));
    // A copy that was cut short may still go on, so that each has a folder of its own.
    let aside = state.make_dir(Path::new(FOLDER).join(format!("{RESTORING}-{}", std::process::id())))?;
    copy(state, &folder(state, name)?, &aside, "restore the snapshot").await.inspect_err(|_| discard(&aside))?;
    kill_all(state).await?;
    for kept in KEPT {
        remove(&state.join(kept))?;
    }
    for kept in KEPT.iter().filter(|kept| aside.join(kept).exists()) {
        let (from, to) = (aside.join(kept), state.join(kept));
        make_parent(&to)?;
        fs::rename(&from, &to).map_err(|source| UpError::file(&to, source))?;
    }
    discard(&aside);
    let cloud: Option<Cloud> = state.read_json(CLOUD_FILE)?;
    Ok((snapshot, cloud.map(|cloud| cloud.spec).unwrap_or_default()))
}

/// All snapshots of a state folder, the oldest first.
///
/// # Errors
/// When one cannot be read.
pub fn snapshots(state: &StateDir) -> Result<Vec<Snapshot>, UpError> {
    let mut all =
        names(state).filter(|name| is_name(name)).map(|name| find(state, &name)).collect::<Result<Vec<_>, _>>()?;
    all.sort_by(|a, b| a.made_at.cmp(&b.made_at));
    Ok(all)
}

/// Removes a snapshot.
///
/// # Errors
/// When there is no such snapshot, or it cannot be removed.
pub fn remove_snapshot(state: &StateDir, name: &str) -> Result<Snapshot, UpError> {
    let snapshot = find(state, name)?;
    remove(&folder(state, name)?)?;
    Ok(snapshot)
}

fn find(state: &StateDir, name: &str) -> Result<Snapshot, UpError> {
    folder(state, name)?;
    let found = state.read_json(&format!("{FOLDER}/{name}/{FACTS_FILE}"))?;
    found.ok_or_else(|| {
        let list = state.command("snapshot list");
        UpError::invalid(format!(
            "there is no snapshot {name} in {}; `{list}` shows those that are there",
            state.path().display()
        ))
    })
}

fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(valid) && !name.starts_with('.')
}

fn folder(state: &StateDir, name: &str) -> Result<PathBuf, UpError> {
    match is_name(name) {
        true => Ok(state.join(FOLDER).join(name)),
        false => Err(UpError::invalid(format!(
            "{name:?} cannot be the name of a snapshot: use up to 64 of a-z, 0-9, `-`, `_` and `.`"
        ))),
    }
}

async fn stand_still(state: &StateDir) -> Result<StandingStill, UpError> {
    if !state.exists() {
        return Err(UpError::NoCloud(state.clone()));
    }
    let lock = Lock::take(state)?;
    let runs = load(state)?.iter().any(|record| record.is_alive());
    let cloud: Option<Cloud> = state.read_json(CLOUD_FILE)?;
    let was_up = cloud.filter(|_| runs).map(|cloud| cloud.spec);
    stop_all(state).await?;
    Ok(StandingStill { _lock: lock, was_up })
}

/// Copies what is kept, owners, modes and holes included.
async fn copy(state: &StateDir, from: &Path, to: &Path, step: &str) -> Result<(), UpError> {
    for kept in KEPT.iter().filter(|kept| from.join(kept).exists()) {
        make_parent(&to.join(kept))?;
        let args: Vec<OsString> =
            vec!["-a".into(), "--reflink=auto".into(), from.join(kept).into(), to.join(kept).into()];
        run_command(state, step, "snapshot-copy", Path::new("cp"), &args, &BTreeMap::new()).await?;
    }
    Ok(())
}

/// What restores have left that did not come to their end.
fn copies_cut_short(state: &StateDir) -> Vec<PathBuf> {
    names(state).filter(|name| name.starts_with(RESTORING)).map(|name| state.join(FOLDER).join(name)).collect()
}

/// What lies in the folder of the snapshots.
fn names(state: &StateDir) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(state.join(FOLDER)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn make_parent(path: &Path) -> Result<(), UpError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|source| UpError::file(parent, source))
}

fn remove(path: &Path) -> Result<(), UpError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(UpError::file(path, error)),
        _ => Ok(()),
    }
}

/// A copy that is of no use; it is in nobody's way if it cannot be removed.
fn discard(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(%error, "a copy that is of no use is left");
    }
}

/// Bytes of a folder's files.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_inside_the_folder() {
        for name in ["full", "7000-hosts", "v2.1_b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".hidden", "..", "a/b", "A", "a b"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_saved_comes_back_and_what_came_later_goes() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Some(&folder.path().join("state"))).unwrap();
        state.create().unwrap();
        assert!(matches!(save_snapshot(&state, "full").await, Err(UpError::NoCloud(_))));
        state.make_dir("data/mariadb").unwrap();
        state.write_json(BASE_PORT_FILE, &21_000_u16).unwrap();
        state.mark_done("migrations", "2026.2").unwrap();
        state.write_private("data/mariadb/table", b"before").unwrap();
        let (saved, still) = save_snapshot(&state, "full").await.unwrap();
        assert!(still.was_up.is_none() && saved.bytes >= 6);
        drop(still);
        assert!(save_snapshot(&state, "full").await.is_err());
        state.write_private("data/mariadb/table", b"after").unwrap();
        state.write_private("data/mariadb/another", b"new").unwrap();
        state.write_private(KEPT_FILE, b"{}").unwrap();
        // What a restore has left that was cut short.
        state.make_dir("snapshots/.restoring-1/data").unwrap();
        let (restored, _spec) = restore_snapshot(&state, "full").await.unwrap();
        assert_eq!(restored, saved);
        assert_eq!(fs::read(state.join("data/mariadb/table")).unwrap(), b"before");
        assert!(!state.join("data/mariadb/another").exists() && !state.join(KEPT_FILE).exists());
        assert_eq!(snapshots(&state).unwrap(), std::slice::from_ref(&saved));
        assert!(copies_cut_short(&state).is_empty());
        remove_snapshot(&state, "full").unwrap();
        assert!(snapshots(&state).unwrap().is_empty());
        assert!(restore_snapshot(&state, "full").await.unwrap_err().to_string().contains("no snapshot full"));
    }
}
