//! Building VMs, and what can come between, or at the end.

use std::time::Duration;

use serde_json::{Value, json};

use super::operations;
use crate::tap::Hold;

/// Builds that a hypervisor is allowed at once, and one more than that.
const AT_ONCE: usize = 2;
const OVER: usize = AT_ONCE + 1;
/// With native threads builds and snapshots share a pool, of the larger of both sizes.
const FEW_BUILDS: [(&str, i64); 2] = [("DEFAULT.max_concurrent_builds", 2), ("DEFAULT.max_concurrent_snapshots", 2)];
/// Building, claimed, networking, block device mapping, spawning.
const SAVES_UNTIL_SPAWNING: usize = 5;
const EVENT_START: &str = "InstanceActionEvent.event_start";
/// A build that may not begin would have begun by then.
const NOT_BEGUN_AFTER: Duration = Duration::from_secs(3);

operations! { Stage::Plain,
    "boot": |s| { s.boot().await?; }
    "boot-no-nic": |s| {
        let vm = s.create(0, 0, Value::Null).await?;
        s.reach(&vm, "ACTIVE").await?;
    }
    "boot-two-nics": |s| {
        let vm = s.create(0, 2, Value::Null).await?;
        s.reach(&vm, "ACTIVE").await?;
    }
    "boot-as-many-as-allowed": |s| {
        s.restart_with(0, &FEW_BUILDS).await?;
        s.begin().await;
        s.boot_while_held(AT_ONCE, AT_ONCE).await?;
        s.put_back(0).await?;
    }
    "boot-more-than-allowed": |s| {
        s.restart_with(0, &FEW_BUILDS).await?;
        s.begin().await;
        s.boot_while_held(OVER, AT_ONCE).await?;
        s.put_back(0).await?;
    }
    "delete-while-building": |s| {
        // Neutron tells of the port meanwhile, or the refresh after it would come anywhere in what follows.
        s.hold_network(0, Hold::Bindings);
        let vm = s.create(0, 1, Value::Null).await?;
        // A save that comes later would take the task of deleting back.
        s.until_said(0, "Instance.save", SAVES_UNTIL_SPAWNING).await?;
        tokio::time::sleep(NOT_BEGUN_AFTER).await;
        s.begin_deleting(&vm).await?;
        tokio::time::sleep(NOT_BEGUN_AFTER).await;
        s.hold_network(0, Hold::Nothing);
        s.gone(&vm).await?;
    }
    "delete-resized": |s| {
        let vm = s.boot().await?;
        s.act_until(&vm, json!({"resize": {"flavorRef": s.flavor(true)}}), "VERIFY_RESIZE").await?;
        s.begin().await;
        s.delete(&vm).await?;
    }
    "server-group": |s| {
        let body = json!({"server_group": {"name": s.lab.tenants.run.named("group"), "policy": "anti-affinity"}});
        let group = s.post("/os-server-groups", body).await?;
        s.begin().await;
        let hints = json!({"os:scheduler_hints": {"group": group["server_group"]["id"]}});
        let vm = s.create(0, 0, hints).await?;
        s.reach(&vm, "ACTIVE").await?;
        s.settle().await;
        s.finish();
        // There is a quota of them.
        s.remove(&format!("/os-server-groups/{}", group["server_group"]["id"].as_str().unwrap_or_default())).await?;
    }
}

impl crate::scene::Scene<'_> {
    /// Boots this many VMs at once, of which only some may begin before the first one ends.
    async fn boot_while_held(&self, vms: usize, begun: usize) -> Result<(), crate::lab::LabError> {
        self.hold_network(0, Hold::Changes);
        let mut created = Vec::new();
        for _ in 0..vms {
            created.push(self.create(0, 1, Value::Null).await?);
        }
        self.until_said(0, EVENT_START, begun).await?;
        tokio::time::sleep(NOT_BEGUN_AFTER).await;
        self.expect_said(0, EVENT_START, begun)?;
        self.hold_network(0, Hold::Nothing);
        for vm in &created {
            self.reach(vm, "ACTIVE").await?;
        }
        Ok(())
    }
}

/// On a hypervisor whose builds fail so that another may try.
pub(super) mod reschedules {
    use super::super::operations;

    operations! { Stage::Reschedules,
        "boot-rescheduled": |s| {
            let vm = s.create_where_there_is_room(1).await?;
            s.reach(&vm, "ACTIVE").await?;
        }
        "boot-rescheduled-no-nic": |s| {
            let vm = s.create_where_there_is_room(0).await?;
            s.reach(&vm, "ACTIVE").await?;
        }
    }
}

/// On a hypervisor whose builds fail for good.
pub(super) mod aborts {
    use serde_json::Value;

    use super::super::operations;

    operations! { Stage::Aborts,
        "boot-aborted": |s| {
            let vm = s.create(0, 1, Value::Null).await?;
            s.reach(&vm, "ERROR").await?;
        }
        "delete-after-abort": |s| {
            let vm = s.create(0, 1, Value::Null).await?;
            s.reach(&vm, "ERROR").await?;
            s.begin().await;
            s.delete(&vm).await?;
        }
    }
}
