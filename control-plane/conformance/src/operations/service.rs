//! The service itself: idle, started, stopped, disabled, and events that come when nobody waits for them.

use std::time::Duration;

use serde_json::json;

use super::operations;
use crate::{caller::Request, tap::Hold};

/// Spacing of the periodic task that is looked at; all others are off. The VMs are booted within the first: where each call takes half
/// a second, that takes twenty.
const SPACING_S: u32 = 30;
/// VMs on the host: a task may do with the second what it does not do with the first.
const VMS: usize = 2;

/// Nothing stands where a VM is expected, or a text, an object without its data, one of another project; or no VM comes at all.
fn malformed() -> Vec<Request> {
    let object = |namespace: &str| json!({"nova_object.name": "Instance", "nova_object.namespace": namespace, "nova_object.version": "2.8"});
    let mut of_the_moon = object("moon");
    of_the_moon["nova_object.data"] = json!({});
    let instances = [json!(null), json!("text"), object("nova"), of_the_moon];
    let args = instances.map(|instance| json!({"instance": instance, "clean_shutdown": true}));
    let all = args.into_iter().chain([json!({"clean_shutdown": true})]);
    all.map(|args| Request { method: "stop_instance", version: "6.0", args }).collect()
}

operations! { Stage::Plain,
    "idle-resources": |s| { s.idle("DEFAULT.update_resources_interval").await?; }
    "idle-power-states": |s| { s.idle("DEFAULT.sync_power_state_interval").await?; }
    "idle-power-states-after-restart": |s| {
        // The fake driver forgets its guests.
        s.boot().await?;
        s.begin().await;
        s.restart_with(0, &[("DEFAULT.sync_power_state_interval", SPACING_S.into())]).await?;
        tokio::time::sleep(watched(SPACING_S)).await;
        s.finish();
        s.restart_with(0, &[]).await?;
    }
    "idle-power-state-repaired": |s| {
        // A guest that stops without anyone having asked for it, as far as Nova knows.
        s.restart_with(0, &[("DEFAULT.sync_power_state_interval", SPACING_S.into())]).await?;
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"os-stop": null}), "SHUTOFF").await?;
        s.begin().await;
        s.act(&vm, json!({"os-resetState": {"state": "active"}})).await?;
        s.reach(&vm, "SHUTOFF").await?;
        s.put_back(0).await?;
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
        s.hold_network(0, Hold::Changes);
        let vm = s.create(0, s.variation.nics, serde_json::Value::Null).await?;
        s.until_said(0, "InstanceActionEvent.event_start", 1).await?;
        // Of a port that the VM does not have yet.
        s.post_event(&vm, "network-vif-plugged", "00000000-0000-4000-8000-000000000001").await?;
        s.settle().await;
        s.hold_network(0, Hold::Nothing);
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
        s.expect_refusals(0, &[Request { method: "dance", version: "6.0", args: json!({}) }]).await?;
    }
    "rpc-version-too-new": |s| {
        let uptime = |version| Request { method: "get_host_uptime", version, args: json!({}) };
        s.expect_refusals(0, &["6.99", "7.0"].map(uptime)).await?;
    }
    "rpc-malformed-object": |s| {
        s.expect_refusals(0, &malformed()).await?;
    }
    "restart-renamed": |s| {
        s.boot().await?;
        // What Neutron says of the boot would wait for the next start.
        s.settle().await;
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
    /// One periodic task, from the start of the service over two of its periods, with VMs that are there before the first has passed.
    ///
    /// On a busy machine the boots may take longer, and whether the task finds a VM in the middle of its build is chance: all is done
    /// again then, with periods twice as long.
    async fn idle(&self, interval: &str) -> Result<(), crate::lab::LabError> {
        let mut spacing_s = SPACING_S;
        loop {
            self.restart_with(0, &[(interval, spacing_s.into())]).await?;
            self.begin_at_once();
            let begun = tokio::time::Instant::now();
            let mut vms = Vec::new();
            for _ in 0..VMS {
                vms.push(self.boot().await?);
            }
            if begun.elapsed() < booted_within(spacing_s) {
                tokio::time::sleep_until(begun + watched(spacing_s)).await;
                break;
            }
            for vm in &vms {
                self.delete(vm).await?;
            }
            spacing_s *= 2;
        }
        self.finish();
        self.restart_with(0, &[]).await
    }
}

/// Two full periods, and half a one to be sure of the second.
fn watched(spacing_s: u32) -> Duration {
    Duration::from_secs(u64::from(spacing_s)) * 5 / 2
}

/// The service counts its first period from a little before it is seen to be up.
fn booted_within(spacing_s: u32) -> Duration {
    Duration::from_secs(u64::from(spacing_s)) * 4 / 5
}
