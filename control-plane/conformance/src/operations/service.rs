//! The service itself: idle, started, stopped, disabled, and events that come when nobody waits for them.

use std::time::Duration;

use serde_json::json;

use super::operations;

/// Spacing of the periodic task that is looked at; all others are off.
const SPACING_S: i64 = 20;
/// Two full periods, and half a one to be sure of the second.
const WATCHED: Duration = Duration::from_secs(50);
/// VMs on the host: a task may do with the second what it does not do with the first.
const VMS: usize = 2;

/// What stands where a VM is expected: nothing, a text, an object without its data, one of another project.
const MALFORMED: [&str; 4] = [
    "null",
    r#""text""#,
    r#"{"nova_object.name": "Instance", "nova_object.namespace": "nova", "nova_object.version": "2.8"}"#,
    r#"{"nova_object.name": "Instance", "nova_object.namespace": "moon", "nova_object.version": "2.8", "nova_object.data": {}}"#,
];

operations! { Stage::Plain,
    "idle-resources": |s| { s.idle("DEFAULT.update_resources_interval").await?; }
    "idle-power-states": |s| { s.idle("DEFAULT.sync_power_state_interval").await?; }
    "idle-power-states-after-restart": |s| {
        // The fake driver forgets its guests.
        s.boot().await?;
        s.begin().await;
        s.restart_with(0, &[("DEFAULT.sync_power_state_interval", SPACING_S)]).await?;
        tokio::time::sleep(WATCHED).await;
        s.finish();
        s.restart_with(0, &[]).await?;
    }
    "idle-power-state-repaired": |s| {
        // A guest that stops without anyone having asked for it, as far as Nova knows.
        s.restart_with(0, &[("DEFAULT.sync_power_state_interval", SPACING_S)]).await?;
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"os-stop": null}), "SHUTOFF").await?;
        s.begin().await;
        s.act(&vm, json!({"os-resetState": {"state": "active"}})).await?;
        s.reach(&vm, "SHUTOFF").await?;
        s.settle().await;
        s.finish();
        s.restart_with(0, &[]).await?;
    }
    "idle-scheduler-sync": |s| { s.idle("DEFAULT.scheduler_instance_sync_interval").await?; }
    "idle-network-information": |s| { s.idle("DEFAULT.heal_instance_info_cache_interval").await?; }
    "idle-running-deleted": |s| { s.idle("DEFAULT.running_deleted_instance_poll_interval").await?; }
    "idle-image-cache": |s| { s.idle("image_cache.manager_interval").await?; }
    "idle-deleted": |s| { s.idle("DEFAULT.instance_delete_interval").await?; }
    "event-twice": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.plug(&vm).await?;
        s.settle().await;
        s.plug(&vm).await?;
    }
    "event-changed-twice": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.tell_network_changed(&vm).await?;
        s.settle().await;
        s.tell_network_changed(&vm).await?;
    }
    "event-changed-without-ports": |s| {
        let vm = s.create(0, 0, serde_json::Value::Null).await?;
        s.reach(&vm, "ACTIVE").await?;
        s.begin().await;
        s.post_event(&vm, "network-changed", "00000000-0000-4000-8000-000000000001").await?;
    }
    "event-early": |s| {
        s.hold_network(0, true);
        let vm = s.create(0, s.variation.nics, serde_json::Value::Null).await?;
        s.until_said(0, "InstanceActionEvent.event_start", 1).await?;
        // Of a port that the VM does not have yet.
        s.post_event(&vm, "network-vif-plugged", "00000000-0000-4000-8000-000000000001").await?;
        s.settle().await;
        s.hold_network(0, false);
        s.reach(&vm, "ACTIVE").await?;
    }
    "event-late": |s| {
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"os-stop": null}), "SHUTOFF").await?;
        s.begin().await;
        s.plug(&vm).await?;
    }
    "restart": |s| {
        s.boot().await?;
        s.begin().await;
        s.restart(0).await?;
    }
    "shutdown": |s| {
        s.boot().await?;
        s.begin().await;
        s.halt(0).await?;
        s.finish();
        s.restart(0).await?;
    }
    "rpc-unknown-method": |s| {
        let mut caller = s.caller(0);
        caller.refused("dance", "6.0", &json!({})).await?;
        caller.ping().await?;
        caller.close().await;
    }
    "rpc-version-too-new": |s| {
        let mut caller = s.caller(0);
        for version in ["6.99", "7.0"] {
            caller.refused("get_host_uptime", version, &json!({})).await?;
        }
        caller.ping().await?;
        caller.close().await;
    }
    "rpc-malformed-object": |s| {
        let mut caller = s.caller(0);
        for instance in MALFORMED.map(|object| serde_json::from_str::<serde_json::Value>(object).unwrap_or_default()) {
            caller.refused("stop_instance", "6.0", &json!({"instance": instance, "clean_shutdown": true})).await?;
        }
        caller.refused("stop_instance", "6.0", &json!({"clean_shutdown": true})).await?;
        caller.ping().await?;
        caller.close().await;
    }
    "restart-renamed": |s| {
        s.boot().await?;
        s.halt(0).await?;
        s.begin().await;
        s.start_renamed(0).await?;
        s.settle().await;
        // Its old name puts it right.
        s.restart(0).await?;
    }
    "restart-after-evacuation": |s| {
        let vm = s.boot().await?;
        s.force_down(0, true).await?;
        s.act_until(&vm, json!({"evacuate": {"host": s.host(1)}}), "SHUTOFF").await?;
        s.begin().await;
        s.restart(0).await?;
        s.force_down(0, false).await?;
    }
}

impl crate::scene::Scene<'_> {
    /// One periodic task, from the start of the service over two of its periods, with VMs that are there before the first.
    async fn idle(&self, interval: &str) -> Result<(), crate::lab::LabError> {
        self.restart_with(0, &[(interval, SPACING_S)]).await?;
        self.begin_at_once();
        let watched = tokio::time::Instant::now() + WATCHED;
        for _ in 0..VMS {
            self.boot().await?;
        }
        tokio::time::sleep_until(watched).await;
        self.finish();
        self.restart_with(0, &[]).await
    }
}
