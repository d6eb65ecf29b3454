//! Names of what a run makes in the cloud, from which a later run knows what to clean up.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What everything of every run begins with.
const PREFIX: &str = "kagemusha-";
/// Hexadecimal digits that tell one run from another.
const DIGITS: usize = 8;

/// The name of a run; everything that it makes in the cloud begins with it (`kagemusha-1f2e3d4c`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunName(String);

impl RunName {
    /// A new name. Two runs on one cloud must differ, so it does not follow from the seed.
    pub fn generate() -> Self {
        let random = Uuid::new_v4().simple().to_string();
        Self(format!("{PREFIX}{}", &random[..DIGITS]))
    }

    /// The run whose name this is the beginning of, if any.
    pub fn owner_of(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(PREFIX)?.get(..DIGITS)?;
        let is_end = |c: Option<char>| c.is_none_or(|c| c == '-');
        let follows = name[PREFIX.len() + DIGITS..].chars().next();
        let ours = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) && is_end(follows);
        ours.then(|| Self(format!("{PREFIX}{digits}")))
    }

    /// Whether something of this name belongs to the run.
    pub fn owns(&self, name: &str) -> bool {
        Self::owner_of(name).as_ref() == Some(self)
    }

    /// Whether a host of this name is one of so many first ones of the run's fleet. Those after them are of an earlier run that was
    /// larger, and at rest.
    pub fn owns_host(&self, name: &str, hypervisors: u32) -> bool {
        let number = name.strip_prefix(self.as_str()).and_then(|rest| rest.strip_prefix('-')?.parse::<u32>().ok());
        number.is_some_and(|number| (1..=hypervisors).contains(&number))
    }

    /// The same as a condition in SQL.
    pub(crate) fn hosts_sql(&self, column: &str, hypervisors: u32) -> String {
        format!(
            "{column} REGEXP '^{self}-[0-9]+$' AND CAST(SUBSTRING_INDEX({column}, '-', -1) AS UNSIGNED) BETWEEN 1 AND {hypervisors}"
        )
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the only thing of a kind.
    pub fn named(&self, kind: &str) -> String {
        format!("{}-{kind}", self.0)
    }

    /// Name of one thing of several of a kind.
    pub fn numbered(&self, kind: &str, number: impl fmt::Display) -> String {
        format!("{}-{kind}-{number}", self.0)
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_its_own_and_nothing_else() {
        let (run, other) = (RunName::generate(), RunName::generate());
        assert!(run.owns(run.as_str()) && run.owns(&run.numbered("project", 3)));
        assert!(!run.owns(other.as_str()));
        assert!(run.owns_host(&format!("{run}-00007"), 7) && !run.owns_host(&format!("{run}-00008"), 7));
        assert!(!run.owns_host(&format!("{other}-00001"), 7) && !run.owns_host(&run.named("image"), 7));
        assert!(!run.owns_host(&run.numbered("real", 1), 7), "a nova-compute beside the fleet is none of it");
        assert_eq!(RunName::owner_of(&format!("{run}-00001")), Some(run));
        for foreign in
            ["kagemusha-", "kagemusha-service", "kagemusha-0123456789", "kagemusha-0123ABCD", "x-kagemusha-01234567"]
        {
            assert_eq!(RunName::owner_of(foreign), None, "{foreign}");
        }
    }
}
