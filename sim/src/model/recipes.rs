//! From what a calibration says of a piece of work to the steps of a task.

use hypervisor::Fault;

use super::{
    World,
    task::{Flow, Hook, Row, Schema, Step, TaskId},
};
use crate::calibration::Work;

/// Which row a task changes.
pub(crate) type RowOf = fn(&World, TaskId) -> Option<Row>;

/// Nanoseconds of a millisecond.
const NS: f64 = 1e6;
/// How much of the Python of a request that writes comes before its first query. Assumed: the runs tell sums.
const BEFORE: f64 = 0.6;
/// Messages of a request, in and out: each lets go of the interpreter, as each query does.
const MESSAGES: f32 = 2.0;

/// Python, then queries; the effect takes place when they are done. What changes rows reads first, holds its connection while it
/// runs more Python, locks a row, if it is told which, writes and commits. Python that really comes behind the last query, to
/// make the answer, is counted with the first: it takes the interpreter as long, and one burst fewer is one event fewer.
pub(crate) fn plain(work: Work, effect: Option<Hook>, row: Option<RowOf>) -> Vec<Step> {
    let mut steps = Vec::new();
    if work.native_ms > 0.0 {
        steps.push(Step::Native(work.native_ms * NS));
    }
    let cpu_ns = work.cpu_ms * NS;
    let effect = effect.map(Step::Do);
    if work.queries == 0 {
        steps.push(Step::Cpu { mean_ns: cpu_ns, releases: MESSAGES });
        steps.extend(effect);
        return steps;
    }
    let db_ns = work.db_ms * NS;
    if !work.writes {
        steps.push(Step::Cpu { mean_ns: cpu_ns, releases: MESSAGES + work.queries as f32 });
        steps.extend([Step::Take(Schema::Main), Step::Query { db_ns, trips: work.queries }, Step::Give]);
        steps.extend(effect);
        return steps;
    }
    let reads = work.queries.div_ceil(2);
    let releases = (MESSAGES + work.queries as f32) / 2.0;
    steps.extend([Step::Cpu { mean_ns: cpu_ns * BEFORE, releases }, Step::Take(Schema::Main)]);
    steps.push(Step::Query { db_ns: db_ns / 2.0, trips: reads });
    steps.push(Step::Cpu { mean_ns: cpu_ns * (1.0 - BEFORE), releases });
    steps.extend(row.map(Step::Lock));
    steps.push(Step::Write { db_ns: db_ns / 2.0, trips: work.queries - reads + 1 });
    steps.extend(effect);
    steps.extend([Step::Commit, Step::Give]);
    steps
}

/// A request to an API: its token is looked up first.
pub(crate) fn request(work: Work, effect: Option<Hook>, row: Option<RowOf>) -> Vec<Step> {
    std::iter::once(Step::Validate).chain(plain(work, effect, row)).collect()
}

/// Asking another service is two steps: the question, and that its answer must not be a fault.
pub(crate) fn ask(question: Hook) -> [Step; 2] {
    [Step::Do(question), Step::Do(succeeded)]
}

/// What was asked has to have succeeded; a fault of another service is an internal error to whoever asked this one.
pub(crate) fn succeeded(world: &mut World, task: TaskId) -> Flow {
    match std::mem::replace(&mut world.tasks[task].result, Ok(hypervisor::Response::Done)) {
        Ok(_) => Flow::Next,
        Err(Fault::TimedOut) => Flow::Fail(Fault::Remote("MessagingTimeout".to_owned())),
        Err(fault) => Flow::Fail(fault),
    }
}
