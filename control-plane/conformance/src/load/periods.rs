//! How often each periodic task runs in a window.

use std::time::Duration;

use scenarios::{options::compute_options, plan::Tuning};
use serde::{Deserialize, Serialize};

/// A periodic task of a hypervisor, and the idle window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// The task.
    pub task: String,
    /// Seconds from one run to the next, without jitter.
    pub every_s: f64,
    /// How many times that fits into the window. When it is no whole number, or below one, chance decides over one run more.
    pub in_idle: f64,
}

/// How often each task that is on fits into an idle window.
pub(super) fn fits(release: &str, tuning: &Tuning, idle: Duration) -> Vec<Period> {
    let options = compute_options(release, tuning);
    let tasks = [
        ("heartbeat (report_interval)", Some(options.report_interval)),
        ("L2 agent's state (agent.report_interval)", Some(options.agent_report_interval)),
        ("resources (update_resources_interval)", options.update_resources_interval),
        ("scheduler's view (scheduler_instance_sync_interval)", options.scheduler_instance_sync_interval),
        ("Placement's associations (resource_provider_association_refresh)", options.association_refresh),
        ("pending deletes, migrations, console tokens (instance_delete_interval)", options.instance_delete_interval),
        ("info cache (heal_instance_info_cache_interval)", options.heal_instance_info_cache_interval),
        ("power states (sync_power_state_interval)", options.sync_power_state_interval),
        ("Neutron's extensions (extension_sync_interval)", Some(options.extension_sync_interval)),
        (
            "deleted and running (running_deleted_instance_poll_interval)",
            options.running_deleted_instance_poll_interval,
        ),
        ("image cache (image_cache.manager_interval)", options.image_cache_interval),
    ];
    // The periodic tasks take zero for their default; what is asked for each time has no period.
    let with_period = tasks.into_iter().filter_map(|(task, every)| Some((task, every.filter(|it| !it.is_zero())?)));
    with_period
        .map(|(task, every)| Period {
            task: task.to_owned(),
            every_s: every.as_secs_f64(),
            in_idle: idle.as_secs_f64() / every.as_secs_f64(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use scenarios::plan::OptionValue;

    use super::*;

    #[test]
    fn periods_follow_the_tuning() {
        let idle = Duration::from_secs(1200);
        let find =
            |tuning: &Tuning, word: &str| fits("2026.2", tuning, idle).into_iter().find(|it| it.task.contains(word));
        let defaults = Tuning::default();
        assert_eq!(find(&defaults, "(report_interval)").map(|it| it.in_idle), Some(120.0));
        assert_eq!(find(&defaults, "image_cache").map(|it| it.in_idle), Some(0.5));
        assert_eq!(find(&defaults, "heal_instance"), None);
        let slow = [("DEFAULT.report_interval".to_owned(), OptionValue::Integer(60))].into();
        let tuning = Tuning::from([("nova".to_owned(), slow)]);
        assert_eq!(find(&tuning, "(report_interval)").map(|it| it.in_idle), Some(20.0));
    }
}
