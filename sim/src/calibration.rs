//! Service times: what a real cloud was measured to need.
//!
//! A calibration is a file (`calibrations/2026.2.toml`), so that the model can be run with the times of another release, another
//! machine, or an operator's own. Code holds none.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Those that ship, by release.
const SHIPPED: &[(&str, &str)] = &[("2026.2", include_str!("../calibrations/2026.2.toml"))];

/// No step of any service takes longer than this, in milliseconds: a quarter of an hour. What is above is a typing error.
const LONGEST_MS: f64 = 900_000.0;

/// More queries than this are a typing error too.
const MOST_QUERIES: u32 = 10_000;

/// A calibration file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Where the figures come from.
    pub source: String,
    /// When they were taken.
    pub date: String,
    /// The machine whose cores the times are of.
    pub machine: String,
    /// How times spread.
    pub shape: ShapeFacts,
    /// Python's threads.
    pub interpreter: InterpreterFacts,
    /// RabbitMQ.
    pub broker: BrokerFacts,
    /// MariaDB.
    pub database: DatabaseFacts,
    /// nginx.
    pub front: FrontFacts,
    /// Service, kind of work, what it costs. `default` stands for those that are not named.
    pub work: BTreeMap<String, BTreeMap<String, Work>>,
}

/// How service times spread around their mean: log-normal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeFacts {
    /// Ratio of the 99th percentile to the median.
    pub p99_over_median: f64,
}

/// Threads of one Python process.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterpreterFacts {
    /// `sys.getswitchinterval()`.
    pub switch_interval_ms: f64,
    /// How often the measured call lets go of the interpreter's lock.
    pub releases: u32,
    /// How the cost of that call grows with the number of calls in handlers; ascending.
    pub convoy: Vec<ConvoyPoint>,
}

/// One measurement of the same call.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvoyPoint {
    /// Calls in handlers at once.
    pub handlers: u32,
    /// Time for which each holds the interpreter.
    pub held_ms: f64,
    /// CPU that the process spends on each.
    pub spent_ms: f64,
}

/// What RabbitMQ's work costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerFacts {
    /// Taking a message in.
    pub publish_ms: f64,
    /// For each queue that a message goes to.
    pub deliver_ms: f64,
    /// A new connection with one channel.
    pub connect_ms: f64,
    /// Declaring one consumer with its queue.
    pub declare_ms: f64,
    /// One heartbeat frame, of either side.
    pub heartbeat_ms: f64,
}

/// What MariaDB's work costs, apart from queries.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseFacts {
    /// A new connection, on the server.
    pub connect_ms: f64,
    /// A new connection, in the process that makes it.
    pub connect_client_ms: f64,
    /// From the commit until the log is on disk; no CPU.
    pub commit_wait_ms: f64,
    /// Reading one row of `services` in a list.
    pub service_row_ms: f64,
    /// Reading one compute node in a list.
    pub node_row_ms: f64,
}

/// What nginx's work costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontFacts {
    /// One request and its answer.
    pub proxy_ms: f64,
}

/// What one piece of work costs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// CPU with the interpreter's lock.
    pub cpu_ms: f64,
    /// CPU without it.
    pub native_ms: f64,
    /// CPU of the database server.
    pub db_ms: f64,
    /// Round trips to it.
    pub queries: u32,
    /// Whether it changes rows: locks what it changes, and commits.
    pub writes: bool,
}

/// What is wrong with a calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// None ships for the release.
    #[error("there is no calibration of release {release}; there is one of {}", known.join(", "))]
    Unknown {
        /// The release asked for.
        release: String,
        /// Those that ship.
        known: Vec<String>,
    },
    /// Not a calibration file.
    #[error("{name}: {error}")]
    Malformed {
        /// The file.
        name: String,
        /// What the parser says, with line and key.
        error: String,
    },
    /// A figure that cannot be.
    #[error("{name}: {key} = {value}: {reason}")]
    Impossible {
        /// The file.
        name: String,
        /// Path of the key.
        key: String,
        /// What it says.
        value: f64,
        /// Why it cannot be, and what can.
        reason: &'static str,
    },
}

impl Calibration {
    /// The calibration that ships for a release.
    ///
    /// # Errors
    /// When there is none.
    pub fn shipped(release: &str) -> Result<Self, CalibrationError> {
        let Some((_, text)) = SHIPPED.iter().find(|(name, _)| *name == release) else {
            let known = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
            return Err(CalibrationError::Unknown { release: release.to_owned(), known });
        };
        Self::parse(&format!("calibrations/{release}.toml"), text)
    }

    /// Reads a calibration file.
    ///
    /// # Errors
    /// When it is not one, with the line and key, or has figures that cannot be.
    pub fn parse(name: &str, text: &str) -> Result<Self, CalibrationError> {
        let malformed = |error: String| CalibrationError::Malformed { name: name.to_owned(), error };
        let calibration: Self = toml::from_str(text).map_err(|error| malformed(error.to_string()))?;
        calibration.check().map_err(|(key, value, reason)| CalibrationError::Impossible {
            name: name.to_owned(),
            key,
            value,
            reason,
        })?;
        match calibration.unknown() {
            Some(error) => Err(malformed(error)),
            None => Ok(calibration),
        }
    }

    /// One that ships, as it is.
    fn read(release: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(SHIPPED.iter().find(|(name, _)| *name == release).map_or("", |(_, text)| *text))
    }

    fn check(&self) -> Result<(), (String, f64, &'static str)> {
        let ratio = self.shape.p99_over_median;
        if !(1.0..=1e4).contains(&ratio) {
            return Err(("shape.p99_over_median".into(), ratio, "a ratio is from 1 to 10,000"));
        }
        for (key, ms) in self.times() {
            if !(0.0..=LONGEST_MS).contains(&ms) {
                return Err((key, ms, "a time is from 0 to 900,000 ms"));
            }
        }
        let interval_ms = self.interpreter.switch_interval_ms;
        if interval_ms < 0.001 {
            return Err(("interpreter.switch_interval_ms".into(), interval_ms, "at least 0.001 ms"));
        }
        let releases = self.interpreter.releases;
        if releases == 0 {
            return Err(("interpreter.releases".into(), 0.0, "at least 1"));
        }
        let convoy = &self.interpreter.convoy;
        let first = convoy.first().map_or(0, |first| first.handlers);
        if first != 1 {
            return Err(("interpreter.convoy: handlers".into(), f64::from(first), "the first point is of 1 handler"));
        }
        if let Some(back) = convoy.windows(2).find(|pair| pair[0].handlers >= pair[1].handlers) {
            let handlers = f64::from(back[1].handlers);
            return Err(("interpreter.convoy: handlers".into(), handlers, "points ascend by their handlers"));
        }
        if convoy[0].held_ms <= 0.0 {
            return Err(("interpreter.convoy: held_ms at 1".into(), convoy[0].held_ms, "a call takes some time"));
        }
        for (service, kinds) in &self.work {
            if let Some((kind, work)) = kinds.iter().find(|(_, work)| work.queries > MOST_QUERIES) {
                let key = format!("work.{service}.{kind}.queries");
                return Err((key, f64::from(work.queries), "a piece of work has at most 10,000 queries"));
            }
        }
        Ok(())
    }

    /// Work that the file names and the model does not have: a typing error, for its default would be taken in silence.
    fn unknown(&self) -> Option<String> {
        let mut known = BTreeSet::new();
        for (release, _) in SHIPPED {
            let Ok(shipped) = Self::read(release) else { continue };
            known.extend(shipped.work.iter().flat_map(|(service, kinds)| {
                kinds.keys().map(|kind| (service.clone(), kind.clone())).collect::<Vec<_>>()
            }));
        }
        let recipes = crate::model::recipe_names(self);
        for (service, kinds) in &self.work {
            let of_service: Vec<&str> =
                known.iter().filter(|(of, _)| of == service).map(|(_, kind)| kind.as_str()).collect();
            if of_service.is_empty() {
                let services: BTreeSet<&str> = known.iter().map(|(of, _)| of.as_str()).collect();
                let services: Vec<&str> = services.into_iter().collect();
                return Some(format!("work.{service}: there is no such service; known: {}", services.join(", ")));
            }
            for kind in kinds.keys() {
                if !of_service.contains(&kind.as_str()) && !recipes.iter().any(|name| name.ends_with(kind)) {
                    let known = of_service.join(", ");
                    return Some(format!(
                        "work.{service}.{kind:?}: the model has no such work; known, among others: {known}"
                    ));
                }
            }
        }
        None
    }

    /// Every time of the file, by its key.
    fn times(&self) -> Vec<(String, f64)> {
        let Self { interpreter, broker, database, front, work, .. } = self;
        let mut times = vec![
            ("interpreter.switch_interval_ms".to_owned(), interpreter.switch_interval_ms),
            ("broker.publish_ms".to_owned(), broker.publish_ms),
            ("broker.deliver_ms".to_owned(), broker.deliver_ms),
            ("broker.connect_ms".to_owned(), broker.connect_ms),
            ("broker.declare_ms".to_owned(), broker.declare_ms),
            ("broker.heartbeat_ms".to_owned(), broker.heartbeat_ms),
            ("database.connect_ms".to_owned(), database.connect_ms),
            ("database.connect_client_ms".to_owned(), database.connect_client_ms),
            ("database.commit_wait_ms".to_owned(), database.commit_wait_ms),
            ("database.service_row_ms".to_owned(), database.service_row_ms),
            ("database.node_row_ms".to_owned(), database.node_row_ms),
            ("front.proxy_ms".to_owned(), front.proxy_ms),
        ];
        for point in &interpreter.convoy {
            times.push((format!("interpreter.convoy: held_ms at {}", point.handlers), point.held_ms));
            times.push((format!("interpreter.convoy: spent_ms at {}", point.handlers), point.spent_ms));
        }
        for (service, kinds) in work {
            for (kind, Work { cpu_ms, native_ms, db_ms, .. }) in kinds {
                for (what, ms) in [("cpu_ms", cpu_ms), ("native_ms", native_ms), ("db_ms", db_ms)] {
                    times.push((format!("work.{service}.{kind}.{what}"), *ms));
                }
            }
        }
        times
    }

    /// What a kind of work of a service costs; what is not named costs the service's default, and nothing without one.
    pub fn work(&self, service: &str, kind: &str) -> Work {
        let Some(kinds) = self.work.get(service) else { return Work::default() };
        kinds.get(kind).or_else(|| kinds.get("default")).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_right() {
        for (release, _) in SHIPPED {
            Calibration::shipped(release).expect("it can be read");
        }
    }

    #[test]
    fn errors_name_the_key() {
        let (_, text) = SHIPPED[0];
        let broken = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Calibration::parse("c.toml", &text.replacen(from, to, 1)).expect_err("it is broken").to_string()
        };
        assert!(broken("publish_ms = 0.20", "publish_ms = -1").contains("c.toml: broker.publish_ms = -1"));
        assert!(broken("publish_ms = 0.20", "publish_ms = nan").contains("broker.publish_ms = NaN"));
        assert!(broken("publish_ms = 0.20", "publish_ms = 1e300").contains("broker.publish_ms"));
        assert!(broken("publish_ms", "publish_msec").contains("publish_msec"));
        assert!(broken("p99_over_median = 3.0", "p99_over_median = 0").contains("shape.p99_over_median = 0"));
        assert!(broken("handlers = 1,", "handlers = 3,").contains("interpreter.convoy"));
        assert!(broken("\"Service.save\"", "\"Service.sav\"").contains("work.nova-conductor.\"Service.sav\""));
        assert!(broken("[work.glance]", "[work.glanze]").contains("work.glanze: there is no such service"));
        assert!(broken("queries = 3, writes", "queries = 3000000000, writes").contains("Service.save.queries"));
        assert!(Calibration::shipped("1999.1").expect_err("there is none").to_string().contains("1999.1"));
    }
}
