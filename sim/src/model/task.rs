//! Work in progress: one task for each request, call or cast that some process handles.

use hypervisor::{Fault, RequestId, Response};

use super::{World, pool::Connection};

/// Index of a task; used again when the task is over.
pub(crate) type TaskId = u32;
/// Index of a recipe.
pub(crate) type OpId = u16;
/// Index of a process.
pub(crate) type ProcessId = u16;

/// Nothing: no host, no server, no port.
pub(crate) const NONE: u32 = u32::MAX;

/// One thing that a process does for a task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Runs Python: holds the interpreter for this many nanoseconds on average, and lets go of it so many times.
    Cpu { mean_ns: f64, releases: f32 },
    /// Runs Python for this many nanoseconds for each of something.
    CpuEach(f64, Count),
    /// Runs on a core without holding the interpreter.
    Native(f64),
    /// Takes a connection to this database out of the pool.
    Take(Schema),
    /// So many round trips to the database, which take it this many nanoseconds together.
    Query { db_ns: f64, trips: u32 },
    /// Likewise, and then the wait until the log of the database is written: the statements that end with a commit.
    Write { db_ns: f64, trips: u32 },
    /// One query that takes the database this many nanoseconds for each of something.
    QueryEach(f64, Count),
    /// Waits for the lock of a row, until the next commit.
    Lock(fn(&World, TaskId) -> Option<Row>),
    /// The commit is done: lets go of the row.
    Commit,
    /// Gives the connection back.
    Give,
    /// The token of the request is looked up, or Keystone is asked.
    Validate,
    /// Whatever the model does at this point.
    Do(Hook),
}

/// What a hook is.
pub(crate) type Hook = fn(&mut World, TaskId) -> Flow;

/// How a task goes on after a hook.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Flow {
    /// With the next step.
    Next,
    /// With that step of its recipe.
    Goto(u16),
    /// When what it asked is answered: the next step then.
    Wait,
    /// It fails.
    Fail(Fault),
}

/// What there are several of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Compute services in the database.
    ComputeServices,
    /// Hosts that Placement offers.
    Candidates,
    /// Servers of one project.
    ProjectServers,
    /// Servers that changed lately.
    ChangedServers,
}

/// The databases that a service has a pool for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// The service's own; Nova's cell.
    Main,
    /// Nova's API database.
    Api,
}

/// A row that is changed, hence locked until the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    /// A host's row of `services`.
    Service(u32),
    /// A resource provider, whose generation changes with each allocation.
    Provider(u32),
    /// A server.
    Instance(u32),
}

/// What a kind of work does, in order.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// As recordings call it.
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// Who is told when a task is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Nobody: it was a cast.
    Nobody,
    /// A hypervisor.
    Host { host: u32, request: RequestId },
    /// Another task, which waits.
    Task(TaskId),
    /// A client of the public API: index of its operation.
    Client(u32),
    /// The poller of all clients.
    Poller,
}

/// What a task is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) host: u32,
    pub(crate) instance: u32,
    pub(crate) port: u32,
    /// Token that came with the request.
    pub(crate) token: u32,
}

impl Subject {
    pub(crate) const NOTHING: Self = Self { host: NONE, instance: NONE, port: NONE, token: NONE };

    pub(crate) fn host(host: u32) -> Self {
        Self { host, ..Self::NOTHING }
    }
}

/// One task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) op: OpId,
    /// The step that comes next.
    pub(crate) step: u16,
    pub(crate) process: ProcessId,
    pub(crate) asker: Asker,
    pub(crate) subject: Subject,
    /// What is left of a burst of Python, in nanoseconds.
    pub(crate) burst_ns: u64,
    /// How often it lets go of the interpreter.
    pub(crate) releases: f32,
    /// The connection that it holds.
    pub(crate) connection: Option<(Schema, Connection)>,
    pub(crate) row: Option<Row>,
    /// Whether a handler has begun with it.
    pub(crate) begun: bool,
    /// What it has tried already.
    pub(crate) tries: u8,
    /// What the hook remembers for a later one.
    pub(crate) note: u32,
    pub(crate) result: Result<Response, Fault>,
    /// Told from others that had the same index.
    pub(crate) generation: u32,
}

/// All tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    tasks: Vec<Task>,
    free: Vec<TaskId>,
}

impl Tasks {
    pub(crate) fn add(&mut self, op: OpId, asker: Asker, subject: Subject) -> TaskId {
        let task = Task {
            op,
            step: 0,
            process: 0,
            asker,
            subject,
            burst_ns: 0,
            releases: 0.0,
            connection: None,
            row: None,
            begun: false,
            tries: 0,
            note: NONE,
            result: Ok(Response::Done),
            generation: 0,
        };
        if let Some(id) = self.free.pop() {
            let slot = &mut self.tasks[id as usize];
            let generation = slot.generation + 1;
            *slot = Task { generation, ..task };
            return id;
        }
        self.tasks.push(task);
        TaskId::try_from(self.tasks.len() - 1).expect("fewer than four thousand million tasks at once")
    }

    /// The task is over.
    pub(crate) fn remove(&mut self, id: TaskId) {
        self.tasks[id as usize].generation += 1;
        self.free.push(id);
    }

    /// Tasks under way.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len() - self.free.len()
    }
}

impl std::ops::Index<TaskId> for Tasks {
    type Output = Task;

    fn index(&self, id: TaskId) -> &Task {
        &self.tasks[id as usize]
    }
}

impl std::ops::IndexMut<TaskId> for Tasks {
    fn index_mut(&mut self, id: TaskId) -> &mut Task {
        &mut self.tasks[id as usize]
    }
}
