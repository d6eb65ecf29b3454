//! `[deployment]`: the machines of a modelled cloud.

use std::time::Duration;

use crate::{plan::DeploymentPlan, problem::Desk, read::Written, written::Deployment};

/// More than anybody runs one control plane on.
const MOST_MACHINES: u32 = 100;
const MOST_CORES: u32 = 1_024;
const MOST_CONNECTIONS: u32 = 100_000;
/// A message that is on its way for longer comes from another planet.
const LONGEST_LINK: Duration = Duration::from_secs(10);
/// Clocks further apart are not clocks.
const WIDEST_SKEW: Duration = Duration::from_secs(24 * 3600);

/// Fills in the defaults; what cannot be is noted.
pub(crate) fn resolve(written: &Deployment, desk: &mut Desk<'_>) -> DeploymentPlan {
    let number = |written: &Option<Written<u32>>, default: u32, least: u32, most: u32, desk: &mut Desk<'_>| {
        let Some(written) = written else { return default };
        if !(least..=most).contains(&written.value) {
            written.complain(desk, format!("{} cannot be", written.value), format!("give {least} to {most}"));
        }
        written.value
    };
    let time = |written: &Option<Written<Duration>>, default: Duration, most: Duration, desk: &mut Desk<'_>| {
        let Some(written) = written else { return default };
        if written.value > most {
            let most = crate::show_time(most);
            written.complain(desk, "that is too long", format!("give at most {most}"));
        }
        written.value
    };
    let default = DeploymentPlan::default();
    DeploymentPlan {
        controllers: number(&written.controllers, default.controllers, 1, MOST_MACHINES, desk),
        controller_cores: number(&written.controller_cores, default.controller_cores, 1, MOST_CORES, desk),
        brokers: number(&written.brokers, default.brokers, 0, MOST_MACHINES, desk),
        broker_cores: number(&written.broker_cores, default.broker_cores, 1, MOST_CORES, desk),
        database_cores: number(&written.database_cores, default.database_cores, 0, MOST_CORES, desk),
        database_connections: number(
            &written.database_connections,
            default.database_connections,
            1,
            MOST_CONNECTIONS,
            desk,
        ),
        link: time(&written.link, default.link, LONGEST_LINK, desk),
        clock_skew: time(&written.clock_skew, default.clock_skew, WIDEST_SKEW, desk),
    }
}
