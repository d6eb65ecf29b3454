//! The threads of a nova-compute, as futures in a small deterministic executor.
//!
//! A nova-compute is a handful of threads that each do one thing after another: that is how its behaviour is written
//! here too, as `async` functions that read like the original. There is no I/O and no waker from outside: a thread waits
//! for the answer to a request, for a time, or for something another thread of the same hypervisor does, and each of
//! these is known to the executor, so the same inputs give the same outputs, in the same order.

use std::{
    cell::{Ref, RefCell, RefMut},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use smallvec::SmallVec;

use crate::{Fault, Milestone, Notice, Origin, Output, Request, RequestId, Response, Time, state::State};

/// Index of a thread of one hypervisor.
pub(crate) type ThreadId = u32;

fn slot_of(thread: ThreadId) -> usize {
    usize::try_from(thread).expect("it was made of an index")
}

type Thread = Pin<Box<dyn Future<Output = ()>>>;

/// A request that waits for its answer.
struct Pending {
    id: RequestId,
    thread: ThreadId,
    /// [`Time::MAX`]: waits for ever.
    deadline: Time,
    answer: Option<Result<Response, Fault>>,
}

/// What the threads share with the executor.
///
/// Of each there are usually one or two. They lie in the kernel itself: with thousands of hypervisors none of this is in the
/// processor's cache when one of them wakes, and each block of memory of its own is another wait for it.
#[derive(Default)]
pub(crate) struct Kernel {
    now: Time,
    running: ThreadId,
    next_request: u32,
    sleeping: SmallVec<[(Time, ThreadId); 4]>,
    ready: SmallVec<[ThreadId; 4]>,
    watching: SmallVec<[ThreadId; 4]>,
    pending: SmallVec<[Pending; 2]>,
    outputs: SmallVec<[Output; 1]>,
    spawned: Vec<(Origin, Thread)>,
    /// Why each thread runs, by its index; `None`: there is no such thread any more.
    origins: SmallVec<[Option<Origin>; 6]>,
    last_task: u32,
}

impl Kernel {
    fn origin(&self) -> Origin {
        self.origins.get(slot_of(self.running)).copied().flatten().unwrap_or_default()
    }

    /// Gives a thread another reason to run, or none, and tells when nobody else has its old one.
    fn set_origin(&mut self, thread: ThreadId, origin: Option<Origin>) {
        let thread = slot_of(thread);
        if self.origins.len() <= thread {
            self.origins.resize(thread + 1, None);
        }
        let old = std::mem::replace(&mut self.origins[thread], origin);
        if let Some(old) = old.filter(|old| *old != Origin::StartUp && !self.origins.contains(&Some(*old)))
            && !self.spawned.iter().any(|(origin, _)| *origin == old)
        {
            self.outputs.push(Output::Over(old));
        }
    }

    fn wake(&mut self, thread: ThreadId) {
        if !self.ready.contains(&thread) {
            self.ready.push(thread);
        }
    }

    /// The next time at which something happens without input.
    fn next_due(&self) -> Option<Time> {
        let calls = self.pending.iter().filter(|call| call.answer.is_none()).map(|call| call.deadline);
        calls.chain(self.sleeping.iter().map(|(time, _)| *time)).min().filter(|due| *due < Time::MAX)
    }

    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        let mut woken: SmallVec<[ThreadId; 4]> = SmallVec::new();
        for call in &mut self.pending {
            if call.answer.is_none() && call.deadline <= now {
                call.answer = Some(Err(Fault::TimedOut));
                woken.push(call.thread);
            }
        }
        self.sleeping.retain(|&mut (time, thread)| {
            let due = time <= now;
            if due {
                woken.push(thread);
            }
            !due
        });
        for thread in woken {
            self.wake(thread);
        }
    }

    fn answer(&mut self, id: RequestId, result: Result<Response, Fault>) {
        let Some(call) = self.pending.iter_mut().find(|p| p.id == id && p.answer.is_none()) else {
            return; // too late: the thread that asked has given up
        };
        call.answer = Some(result);
        let thread = call.thread;
        self.wake(thread);
    }
}

/// When a thread that looks for an answer in intervals finds the one that has come now.
fn next_look(sent: Time, now: Time, interval: Duration) -> Time {
    let looks = (now - sent).as_nanos().div_ceil(interval.as_nanos().max(1));
    sent + interval * u32::try_from(looks).unwrap_or(u32::MAX)
}

/// Handle to one hypervisor's executor and state, held by each of its threads.
#[derive(Clone)]
pub(crate) struct Host(Rc<(RefCell<Kernel>, RefCell<State>)>);

impl Host {
    pub(crate) fn new(state: State) -> Self {
        Self(Rc::new((RefCell::default(), RefCell::new(state))))
    }

    fn kernel(&self) -> RefMut<'_, Kernel> {
        self.0.0.borrow_mut()
    }

    /// What the hypervisor knows. Never held across an `await`.
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.0.1.borrow_mut()
    }

    pub(crate) fn peek(&self) -> Ref<'_, State> {
        self.0.1.borrow()
    }

    pub(crate) fn now(&self) -> Time {
        self.0.0.borrow().now
    }

    /// Starts a thread for the reason that the running one has; it runs before the current input is done with.
    pub(crate) fn spawn(&self, thread: impl Future<Output = ()> + 'static) {
        let mut kernel = self.kernel();
        let origin = kernel.origin();
        kernel.spawned.push((origin, Box::pin(thread)));
    }

    /// Starts a thread for a reason of its own.
    pub(crate) fn spawn_for(&self, origin: Origin, thread: impl Future<Output = ()> + 'static) {
        self.kernel().spawned.push((origin, Box::pin(thread)));
    }

    /// What the running thread does from now on, it does for this reason.
    pub(crate) fn set_origin(&self, origin: Origin) {
        let mut kernel = self.kernel();
        let thread = kernel.running;
        kernel.set_origin(thread, Some(origin));
    }

    /// What the running thread does from now on is another run of a periodic task, or another part of the start-up.
    pub(crate) fn begin_task(&self) {
        let mut kernel = self.kernel();
        kernel.last_task = kernel.last_task.wrapping_add(1);
        let (thread, origin) = (kernel.running, Origin::Task(kernel.last_task));
        kernel.set_origin(thread, Some(origin));
    }

    /// Whether what the running thread does is done for a user, whose token it has.
    pub(crate) fn speaks_for_a_user(&self) -> bool {
        matches!(self.kernel().origin(), Origin::Rpc(_))
    }

    pub(crate) fn emit(&self, output: Output) {
        self.kernel().outputs.push(output);
    }

    pub(crate) fn notice(&self, notice: Notice) {
        let origin = self.kernel().origin();
        self.emit(Output::Notice { notice, origin });
    }

    pub(crate) fn milestone(&self, milestone: Milestone) {
        self.emit(Output::Milestone(milestone));
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(&self, request: Request, timeout: Option<Duration>) -> Result<Response, Fault> {
        if !matches!(request, Request::Agent(_)) {
            self.think().await;
        }
        let looks_each = self.peek().config.habits.looks_for_reply_each.filter(|_| request.is_rpc());
        let sent = self.now();
        let id = self.send(request, timeout);
        let answer = poll_fn(|_| self.take_answer(id)).await;
        if let Some(interval) = looks_each {
            self.sleep_until(next_look(sent, self.now(), interval)).await;
        }
        answer
    }

    /// Takes the time of nova-compute's own code.
    async fn think(&self) {
        let time = self.state().draw(|times| &times.think);
        self.sleep(time).await;
    }

    fn send(&self, request: Request, timeout: Option<Duration>) -> RequestId {
        let mut kernel = self.kernel();
        let id = RequestId(kernel.next_request);
        kernel.next_request = kernel.next_request.wrapping_add(1);
        let pending = Pending {
            id,
            thread: kernel.running,
            deadline: timeout.map_or(Time::MAX, |t| kernel.now + t),
            answer: None,
        };
        kernel.pending.push(pending);
        let origin = kernel.origin();
        kernel.outputs.push(Output::Request { id, request, timeout, origin });
        id
    }

    fn take_answer(&self, id: RequestId) -> Poll<Result<Response, Fault>> {
        let mut kernel = self.kernel();
        let at = kernel.pending.iter().position(|p| p.id == id).expect("a request stays until its answer is taken");
        if kernel.pending[at].answer.is_none() {
            return Poll::Pending;
        }
        let call = kernel.pending.remove(at);
        Poll::Ready(call.answer.expect("checked just above"))
    }

    /// Waits until a time.
    pub(crate) async fn sleep_until(&self, due: Time) {
        let mut asleep = false;
        poll_fn(|_| {
            let mut kernel = self.kernel();
            if kernel.now >= due {
                return Poll::Ready(());
            }
            if !asleep {
                let thread = kernel.running;
                kernel.sleeping.push((due, thread));
                asleep = true;
            }
            Poll::Pending
        })
        .await;
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Waits until `ready` gives something, which it is asked after every [`Host::notify`], or until `deadline`.
    pub(crate) async fn watch<T>(
        &self,
        deadline: Option<Time>,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut first = true;
        let found = poll_fn(|_| {
            if let Some(value) = ready(&mut self.state()) {
                return Poll::Ready(Some(value));
            }
            let mut kernel = self.kernel();
            if deadline.is_some_and(|deadline| kernel.now >= deadline) {
                return Poll::Ready(None);
            }
            let thread = kernel.running;
            if first {
                kernel.watching.push(thread);
                kernel.sleeping.extend(deadline.map(|deadline| (deadline, thread)));
                first = false;
            }
            Poll::Pending
        })
        .await;
        if !first {
            let mut kernel = self.kernel();
            let thread = kernel.running;
            kernel.watching.retain(|watcher| *watcher != thread);
            kernel.sleeping.retain(|(_, sleeper)| *sleeper != thread);
        }
        found
    }

    /// Tells every thread that watches the state to look again.
    pub(crate) fn notify(&self) {
        let mut kernel = self.kernel();
        let watching = kernel.watching.clone();
        for thread in watching {
            kernel.wake(thread);
        }
    }
}

/// All threads of one hypervisor.
pub(crate) struct Executor {
    host: Host,
    /// Start-up, the agent's two, heartbeat, periodic tasks, and one more: a build, a refresh.
    threads: SmallVec<[Option<Thread>; 6]>,
}

impl Drop for Executor {
    /// Threads that have never run hold what holds them.
    fn drop(&mut self) {
        let never_ran = std::mem::take(&mut self.host.kernel().spawned);
        drop(never_ran);
    }
}

impl Executor {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, threads: SmallVec::new() }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn advance(&mut self, now: Time) {
        self.host.kernel().advance(now);
    }

    pub(crate) fn answer(&mut self, id: RequestId, result: Result<Response, Fault>) {
        self.host.kernel().answer(id, result);
    }

    pub(crate) fn awaits(&self, id: RequestId) -> bool {
        self.host.0.0.borrow().pending.iter().any(|p| p.id == id)
    }

    pub(crate) fn next_output(&mut self) -> Option<Output> {
        let mut kernel = self.host.kernel();
        (!kernel.outputs.is_empty()).then(|| kernel.outputs.remove(0))
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.host.0.0.borrow().next_due()
    }

    /// Runs every thread that can go on, and those they start, until all wait.
    pub(crate) fn run(&mut self) {
        loop {
            self.adopt_spawned();
            let mut kernel = self.host.kernel();
            if kernel.ready.is_empty() {
                return;
            }
            let next = kernel.ready.remove(0);
            drop(kernel);
            self.step(next);
        }
    }

    fn adopt_spawned(&mut self) {
        if self.host.0.0.borrow().spawned.is_empty() {
            return;
        }
        let spawned = std::mem::take(&mut self.host.kernel().spawned);
        for (origin, thread) in spawned {
            let slot = self.threads.iter().position(Option::is_none).unwrap_or_else(|| {
                self.threads.push(None);
                self.threads.len() - 1
            });
            self.threads[slot] = Some(thread);
            let id = ThreadId::try_from(slot).expect("a hypervisor has memory for fewer than 2^32 threads");
            let mut kernel = self.host.kernel();
            kernel.set_origin(id, Some(origin));
            kernel.wake(id);
        }
    }

    fn step(&mut self, id: ThreadId) {
        let Some(thread) = self.threads[slot_of(id)].as_mut() else { return };
        self.host.kernel().running = id;
        if thread.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.threads[slot_of(id)] = None;
            self.host.kernel().set_origin(id, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ComputeOptions, Config, Driver, Habits, Hypervisor, Input, Resources, Services, Sessions, Times};

    #[test]
    fn a_hypervisor_that_goes_leaves_nothing() {
        let config = Rc::new(Config {
            options: ComputeOptions::default(),
            resources: Resources::fake_driver(),
            times: Times::ZERO,
            driver: Driver::default(),
            services: Services::default(),
            habits: Habits::default(),
        });
        drop(Hypervisor::new(Rc::clone(&config), 1));
        let mut begun = Hypervisor::go_on(Rc::clone(&config), 1, Vec::new(), Duration::ZERO, Sessions::default());
        begun.handle_input(Time::ZERO, Input::Tick);
        drop(begun);
        assert_eq!(Rc::strong_count(&config), 1, "each holds its configuration for as long as it lives");
    }
}
