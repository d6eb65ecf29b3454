//! What is done to a VM that is there, and to the host it is on.

use serde_json::json;

use super::operations;
use crate::{
    lab::LabError,
    scene::{Scene, Server},
    tap::Hold,
};

/// `check_can_live_migrate_destination` and `pre_live_migration`.
const ENDS_UNTIL_PREPARED: usize = 2;

/// What is shelved stays on the host until it is told to leave.
const KEEPS_SHELVED: &[(&str, i64)] = &[("DEFAULT.shelved_offload_time", -1)];

operations! { Stage::Plain,
    "delete": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.delete(&vm).await?;
    }
    "stop": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"os-stop": null}), "SHUTOFF").await?;
    }
    "start": |s| {
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"os-stop": null}), "SHUTOFF").await?;
        s.begin().await;
        s.act_until(&vm, json!({"os-start": null}), "ACTIVE").await?;
    }
    "reboot-soft": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"reboot": {"type": "SOFT"}}), "ACTIVE").await?;
    }
    "reboot-hard": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"reboot": {"type": "HARD"}}), "ACTIVE").await?;
    }
    "pause": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"pause": null}), "PAUSED").await?;
    }
    "unpause": |s| {
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"pause": null}), "PAUSED").await?;
        s.begin().await;
        s.act_until(&vm, json!({"unpause": null}), "ACTIVE").await?;
    }
    "suspend": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"suspend": null}), "SUSPENDED").await?;
    }
    "resume": |s| {
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"suspend": null}), "SUSPENDED").await?;
        s.begin().await;
        s.act_until(&vm, json!({"resume": null}), "ACTIVE").await?;
    }
    "rebuild": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        let image = &s.lab.tenants.image;
        s.act_until(&vm, json!({"rebuild": {"imageRef": image}}), "ACTIVE").await?;
    }
    "resize": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"resize": {"flavorRef": s.flavor(true)}}), "VERIFY_RESIZE").await?;
    }
    "resize-confirm": |s| {
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"resize": {"flavorRef": s.flavor(true)}}), "VERIFY_RESIZE").await?;
        s.begin().await;
        s.act_until(&vm, json!({"confirmResize": null}), "ACTIVE").await?;
    }
    "resize-revert": |s| {
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"resize": {"flavorRef": s.flavor(true)}}), "VERIFY_RESIZE").await?;
        s.begin().await;
        s.act_until(&vm, json!({"revertResize": null}), "ACTIVE").await?;
    }
    "cold-migrate": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"migrate": {"host": s.host(1)}}), "VERIFY_RESIZE").await?;
        s.act_until(&vm, json!({"confirmResize": null}), "ACTIVE").await?;
    }
    "live-migrate": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        let body = json!({"os-migrateLive": {"host": s.host(1), "block_migration": "auto"}});
        s.act(&vm, body).await?;
        // The fake driver plugs nothing, so that Neutron would never say that the ports are plugged over there. From the end of
        // its preparation there on, the source waits for them.
        s.until_said(1, "InstanceActionEvent.event_finish_with_failure", ENDS_UNTIL_PREPARED).await?;
        s.plug(&vm).await?;
        s.reach(&vm, "ACTIVE").await?;
    }
    "shelve": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.offload(&vm, json!({"shelve": null})).await?;
    }
    "unshelve": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.offload(&vm, json!({"shelve": null})).await?;
        s.begin().await;
        s.act_until(&vm, json!({"unshelve": {"host": s.host(0)}}), "ACTIVE").await?;
    }
    "shelve-without-offload": |s| {
        s.restart_with(0, KEEPS_SHELVED).await?;
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"shelve": null}), "SHELVED").await?;
        s.put_back(0).await?;
    }
    "shelve-offload": |s| {
        s.restart_with(0, KEEPS_SHELVED).await?;
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"shelve": null}), "SHELVED").await?;
        s.begin().await;
        s.offload(&vm, json!({"shelveOffload": null})).await?;
        s.put_back(0).await?;
    }
    "unshelve-without-offload": |s| {
        s.restart_with(0, KEEPS_SHELVED).await?;
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"shelve": null}), "SHELVED").await?;
        s.begin().await;
        s.act_until(&vm, json!({"unshelve": null}), "ACTIVE").await?;
        s.put_back(0).await?;
    }
    "rescue": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"rescue": {}}), "RESCUE").await?;
    }
    "unrescue": |s| {
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"rescue": {}}), "RESCUE").await?;
        s.begin().await;
        s.act_until(&vm, json!({"unrescue": null}), "ACTIVE").await?;
    }
    "snapshot": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act_until(&vm, json!({"createImage": {"name": s.lab.tenants.run.named("snapshot")}}), "ACTIVE").await?;
    }
    "backup": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        let name = s.lab.tenants.run.named("backup");
        let body = json!({"createBackup": {"name": name, "backup_type": "daily", "rotation": 1}});
        s.act_until(&vm, body, "ACTIVE").await?;
    }
    "attach-interface": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        let body = json!({"interfaceAttachment": {"net_id": s.lab.networks[1]}});
        s.post(&format!("/servers/{vm}/os-interface"), body).await?;
    }
    "detach-interface": |s| {
        let vm = s.boot().await?;
        let ports = s.ports(&vm).await?;
        s.begin().await;
        if let Some(port) = ports.first() {
            s.remove(&format!("/servers/{vm}/os-interface/{port}")).await?;
        }
    }
    "console-output": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act(&vm, json!({"os-getConsoleOutput": {"length": 10}})).await?;
    }
    "password": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act(&vm, json!({"changePassword": {"adminPass": "secret"}})).await?;
    }
    "diagnostics": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.get(&format!("/servers/{vm}/diagnostics")).await?;
    }
    "console-url": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        let body = json!({"remote_console": {"protocol": "serial", "type": "serial"}});
        let refused = s.post(&format!("/servers/{vm}/remote-consoles"), body).await;
        s.expect_refusal(refused)?;
    }
    "lock": |s| {
        let vm = s.boot().await?;
        s.begin().await;
        s.act(&vm, json!({"lock": {"locked_reason": "for now"}})).await?;
        s.act(&vm, json!({"unlock": null})).await?;
    }
    "evacuate": |s| {
        let vm = s.boot().await?;
        s.force_down(0, true).await?;
        s.begin().await;
        s.act_until(&vm, json!({"evacuate": {"host": s.host(1)}}), "SHUTOFF").await?;
        s.settle().await;
        s.finish();
        s.restart(0).await?;
        s.force_down(0, false).await?;
    }
    "host-disable": |s| {
        s.set_status(0, "disabled").await?;
        s.settle().await;
        s.finish();
        s.set_status(0, "enabled").await?;
    }
    "host-enable": |s| {
        s.set_status(0, "disabled").await?;
        s.begin().await;
        s.set_status(0, "enabled").await?;
    }
}

/// When a VM leaves its host: with what Neutron says of its ports, and again when Neutron has told that they are unbound.
const CACHED_WHEN_OFFLOADED: usize = 2;

impl Scene<'_> {
    /// Takes a VM from its host, which hears that a port is unbound before it hears that this was done: else it would be chance
    /// whether Neutron tells of it before the VM has left, and Nova's cache would be of one time or the other.
    async fn offload(&self, vm: &Server, how: serde_json::Value) -> Result<(), LabError> {
        self.hold_network(0, Hold::Bindings);
        self.act(vm, how).await?;
        self.keeping_network_awake(self.until_said(0, "InstanceInfoCache.save", CACHED_WHEN_OFFLOADED)).await?;
        self.hold_network(0, Hold::Nothing);
        self.reach(vm, "SHELVED_OFFLOADED").await
    }
}
