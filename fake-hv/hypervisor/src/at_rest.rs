//! A hypervisor that ran before, and is gone on with.

use std::{rc::Rc, time::Duration};

use crate::{
    Config, Driver, Hypervisor, Instance, Milestone, Origin, Services, Sessions, Time, agent,
    executor::{Executor, Host},
    heartbeat, periodic, power_state,
    resources::Provider,
    state::{Guest, State},
};

impl Hypervisor {
    /// A hypervisor whose start-up was some time ago, with these VMs: at its first input it goes on in the middle of what a
    /// nova-compute does all day. Its last beat was `since_beat` ago; where it is between two runs of each periodic task follows from
    /// the seed. `sessions`: until when the tokens are used that it has.
    ///
    /// What its service and its node are is the driver's to know, and its RPC servers run before it goes on. Its L2 agent starts anew.
    pub fn go_on(
        config: Rc<Config>,
        seed: u64,
        vms: Vec<Instance>,
        since_beat: Duration,
        sessions: Sessions<Time>,
    ) -> Self {
        let mut state = State::new(config, seed);
        let on_driver = state.config.driver == Driver::Plugging;
        state.tracker.copy_resources();
        state.tracker.audit(&vms);
        if let Some((usage, _)) = state.tracker.unsaved() {
            state.tracker.saved(usage);
        }
        state.provider = Provider::Published;
        state.sessions = sessions;
        for vm in vms {
            state.disks_known.insert(vm.uuid);
            let running = on_driver && vm.power_state == power_state::RUNNING;
            let guest = Guest { running, on_driver, ..Guest::new(vm) };
            state.guests.insert(guest.instance.uuid, guest);
        }
        let host = Host::new(state);
        host.spawn(wake(host.clone(), since_beat));
        Self::with(Executor::new(host))
    }
}

async fn wake(host: Host, since_beat: Duration) {
    let services = host.peek().config.services;
    if services != Services::ComputeOnly {
        host.spawn(agent::run(host.clone()));
    }
    if services == Services::AgentOnly {
        return;
    }
    let now = host.now();
    host.state().associations_read = Some(now);
    host.milestone(Milestone::Registered);
    host.set_origin(Origin::StartUp);
    host.spawn(heartbeat::go_on(host.clone(), since_beat));
    host.spawn(periodic::go_on(host.clone()));
}
