//! The database server, and how tasks use it.
//!
//! A query is work on the database's machine, after the round trips that the statements take; its connection comes out of the
//! pool of the process. A row that is changed is locked until the commit, first come, first served. The server refuses
//! connections beyond its limit.
//!
//! Left out: what a query costs by the data it finds, apart from lists of hosts; buffer pool and disk, apart from the wait of a
//! commit; deadlocks (each transaction of the model locks one row); `innodb_lock_wait_timeout`; replication.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use hypervisor::{Fault, Time};

use super::{
    Event, World,
    machine::{Job, MachineId},
    pool::{Connection, Returned, Taken},
    task::{ProcessId, Row, Schema, TaskId},
};
use crate::engine::Ring;

/// The server.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) machine: MachineId,
    /// `max_connections`.
    pub(crate) limit: u64,
    pub(crate) connections: u64,
    /// Connections that the limit refused.
    pub(crate) refused: u64,
    pub(crate) queries: u64,
    pub(crate) lock_waits: u64,
    pub(crate) pool_timeouts: u64,
    /// CPU spent, in nanoseconds.
    pub(crate) cpu_ns: f64,
    locked: BTreeSet<Row>,
    waiting: BTreeMap<Row, VecDeque<TaskId>>,
}

impl Database {
    pub(crate) fn new(machine: MachineId, limit: u64) -> Self {
        Self {
            machine,
            limit,
            connections: 0,
            refused: 0,
            queries: 0,
            lock_waits: 0,
            pool_timeouts: 0,
            cpu_ns: 0.0,
            locked: BTreeSet::new(),
            waiting: BTreeMap::new(),
        }
    }
}

/// Where a task stands after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It can go on at once.
    Ready,
    /// It goes on later.
    Waits,
}

/// What PyMySQL and SQLAlchemy raise, as oslo.db passes it on.
const POOL_TIMEOUT: &str = "TimeoutError";
const TOO_MANY_CONNECTIONS: &str = "DBConnectionError";

impl World {
    /// The task wants a connection.
    pub(crate) fn take_connection(&mut self, task: TaskId, schema: Schema) -> Stand {
        if self.tasks[task].connection.is_some() {
            return Stand::Ready;
        }
        let (now, process) = (self.now, self.tasks[task].process);
        let Some(pool) = self.processes[usize::from(process)].pools[schema as usize].as_mut() else {
            return Stand::Ready;
        };
        match pool.take(now, task) {
            Taken::Wait => {
                self.set_pool_alarm(process, schema);
                Stand::Waits
            }
            taken => self.taken(task, schema, taken),
        }
    }

    fn taken(&mut self, task: TaskId, schema: Schema, taken: Taken) -> Stand {
        match taken {
            Taken::Pooled(connection) => {
                self.tasks[task].connection = Some((schema, connection));
                Stand::Ready
            }
            Taken::Make { instead } => {
                self.database.connections -= u64::from(instead).min(self.database.connections);
                self.connect(task, schema);
                Stand::Waits
            }
            Taken::Wait => Stand::Waits,
        }
    }

    /// Makes a connection; the task goes on when it is there.
    fn connect(&mut self, task: TaskId, schema: Schema) {
        if self.database.connections >= self.database.limit {
            self.database.refused += 1;
            let process = self.tasks[task].process;
            self.pool_of(process, schema).fail();
            self.fail(task, Fault::Remote(TOO_MANY_CONNECTIONS.to_owned()));
            self.serve_pool(process, schema);
            return;
        }
        self.database.connections += 1;
        self.tasks[task].connection = Some((schema, Connection { made: self.now }));
        let (client_ns, server_ns) = (self.costs.connect_client_ns, self.costs.connect_ns);
        self.processes[usize::from(self.tasks[task].process)].cpu_ns += client_ns;
        let client = Duration::from_nanos(client_ns as u64);
        self.query(task, server_ns, 3, client);
    }

    /// Work of the database for a task; its round trips and `more` time come behind.
    pub(crate) fn query(&mut self, task: TaskId, db_ns: f64, trips: u32, more: Duration) {
        let here = self.machine_of(self.tasks[task].process);
        let trip = if here == self.database.machine { self.costs.local_trip } else { self.costs.trip };
        let work_ns = self.draw(db_ns);
        let after = trip * trips + more;
        self.tasks[task].burst_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.database.queries += u64::from(trips);
        self.database.cpu_ns += work_ns as f64;
        let (machine, work) = (self.database.machine, Duration::from_nanos(work_ns));
        if let Some(done) = self.serve_job(machine, work, Job::Query(task)) {
            self.query_ends(task, done);
        }
    }

    /// The database is done with a task; its answer is on its way.
    pub(crate) fn query_ends(&mut self, task: TaskId, at: Time) {
        let after = Duration::from_nanos(std::mem::take(&mut self.tasks[task].burst_ns));
        self.calendar.enter(at + after, Event::Continue(task));
    }

    /// The task wants a row for itself.
    pub(crate) fn lock_row(&mut self, task: TaskId, row: Row) -> Stand {
        self.tasks[task].row = Some(row);
        if self.database.locked.insert(row) {
            return Stand::Ready;
        }
        self.database.lock_waits += 1;
        self.database.waiting.entry(row).or_default().push_back(task);
        Stand::Waits
    }

    /// The task has committed, or given up.
    pub(crate) fn unlock_row(&mut self, task: TaskId) {
        let Some(row) = self.tasks[task].row.take() else { return };
        let Some(line) = self.database.waiting.get_mut(&row) else {
            self.database.locked.remove(&row);
            return;
        };
        let next = line.pop_front();
        if line.is_empty() {
            self.database.waiting.remove(&row);
        }
        match next {
            // Not from within: whoever commits goes on first.
            Some(next) => self.calendar.enter(self.now, Event::Continue(next)),
            None => {
                self.database.locked.remove(&row);
            }
        }
    }

    /// The task gives its connection back.
    pub(crate) fn give_connection(&mut self, task: TaskId) {
        let Some((schema, connection)) = self.tasks[task].connection.take() else { return };
        let process = self.tasks[task].process;
        if self.pool_of(process, schema).give(connection) == Returned::Closed {
            self.database.connections -= 1;
        }
        self.serve_pool(process, schema);
    }

    fn serve_pool(&mut self, process: ProcessId, schema: Schema) {
        let now = self.now;
        if let Some((next, taken)) = self.pool_of(process, schema).serve(now)
            && self.taken(next, schema, taken) == Stand::Ready
        {
            self.calendar.enter(now, Event::Continue(next));
        }
    }

    fn pool_of(&mut self, process: ProcessId, schema: Schema) -> &mut super::pool::Pool {
        let pool = self.processes[usize::from(process)].pools[schema as usize].as_mut();
        pool.expect("a task has connections only from a pool")
    }

    fn set_pool_alarm(&mut self, process: ProcessId, schema: Schema) {
        let of = &mut self.processes[usize::from(process)];
        let due = of.pools[schema as usize].as_ref().and_then(super::pool::Pool::next_timeout);
        if let Some(at) = of.pool_alarms[schema as usize].set(due) {
            self.calendar.enter(at, Event::Pool(process, schema));
        }
    }

    pub(crate) fn pool_rings(&mut self, process: ProcessId, schema: Schema) {
        let now = self.now;
        match self.processes[usize::from(process)].pool_alarms[schema as usize].ring(now) {
            Ring::Stale => return,
            Ring::Later(at) => {
                self.calendar.enter(at, Event::Pool(process, schema));
                return;
            }
            Ring::Now => {}
        }
        while let Some(task) = self.pool_of(process, schema).give_up(now) {
            self.database.pool_timeouts += 1;
            self.fail(task, Fault::Remote(POOL_TIMEOUT.to_owned()));
        }
        self.set_pool_alarm(process, schema);
    }
}
