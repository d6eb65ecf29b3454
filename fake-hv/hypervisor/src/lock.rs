//! Fair locks and semaphores between the threads of one hypervisor.

use uuid::Uuid;

use crate::executor::Host;

/// Which of a hypervisor's locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockName {
    /// `max_concurrent_builds`.
    Builds,
    /// `sync_power_state_pool_size`.
    PowerSyncs,
    /// `COMPUTE_RESOURCE_SEMAPHORE`: claims and the resource audit, one at a time, first come first served.
    Resources,
    /// One thread at a time logs in.
    Login,
    /// One thread at a time asks Neutron for its extensions.
    Extensions,
}

/// Which of a VM's locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InstanceLockName {
    /// `utils.synchronized(instance.uuid)`: one operation at a time.
    Operation,
    /// `refresh_cache-{uuid}`: one thread at a time makes the VM's network information and saves it.
    InfoCache,
}

/// A semaphore that hands its permits out in the order they were asked for.
#[derive(Debug)]
pub(crate) struct FairSemaphore {
    permits: u64,
    asked: u64,
    released: u64,
}

impl FairSemaphore {
    pub(crate) fn new(permits: u64) -> Self {
        Self { permits, asked: 0, released: 0 }
    }

    fn ask(&mut self) -> u64 {
        let ticket = self.asked;
        self.asked += 1;
        ticket
    }

    fn admits(&self, ticket: u64) -> bool {
        ticket < self.released.saturating_add(self.permits)
    }
}

/// Held while a permit is; dropping it lets the next thread in.
pub(crate) struct Permit {
    host: Host,
    lock: LockName,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.host.state().lock(self.lock).released += 1;
        self.host.notify();
    }
}

impl Host {
    /// Waits for a permit, behind all who asked before.
    pub(crate) async fn acquire(&self, lock: LockName) -> Permit {
        let ticket = self.state().lock(lock).ask();
        self.watch(None, |state| state.lock(lock).admits(ticket).then_some(())).await;
        Permit { host: self.clone(), lock }
    }

    /// Waits until no other thread holds this lock of the VM.
    pub(crate) async fn lock_instance(&self, instance: Uuid, name: InstanceLockName) -> InstanceLock {
        let key = (instance, name);
        self.watch(None, |state| state.instance_locks.insert(key).then_some(())).await;
        InstanceLock { host: self.clone(), key }
    }
}

/// Lets the next thread in when it is dropped.
pub(crate) struct InstanceLock {
    host: Host,
    key: (Uuid, InstanceLockName),
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        self.host.state().instance_locks.remove(&self.key);
        self.host.notify();
    }
}
