//! What Python tells of where an exception was raised: Nova keeps it with the fault of a VM, and sends it on with a build that goes
//! elsewhere. Nobody reads it but people; what counts is that it is about as long as a real one. Whatever failed, it is told as a guest
//! that the fake driver did not start, with the lines of release 2026.2.

use uuid::Uuid;

/// File, line, function, code.
type Frame = (&'static str, u32, &'static str, &'static str);

/// Where distributions install Python packages.
const PACKAGES: &str = "/usr/lib/python3/dist-packages";
const MANAGER: &str = "nova/compute/manager.py";
const DRIVER: &str = "nova/virt/fake.py";
const UTILS: &str = "oslo_utils/excutils.py";

const BEGIN: &str = "Traceback (most recent call last):\n";
const BETWEEN: &str = "\nDuring handling of the above exception, another exception occurred:\n\n";
const OUTER: Frame =
    (MANAGER, 2529, "_do_build_and_run_instance", "self._build_and_run_instance(context, instance, image,");
const SPAWNING: Frame = (MANAGER, 2714, "_build_and_run_instance", "self.driver.spawn(context, instance, image_meta,");

fn line((file, line, function, code): Frame) -> String {
    format!("  File \"{PACKAGES}/{file}\", line {line}, in {function}\n    {code}\n")
}

/// Of a guest that could not be started, for good.
pub(crate) fn of_fault(message: &str) -> String {
    let frames = [
        OUTER,
        (MANAGER, 2742, "_build_and_run_instance", "with excutils.save_and_reraise_exception():"),
        (UTILS, 260, "__exit__", "self.force_reraise()"),
        (UTILS, 226, "force_reraise", "raise self.value"),
        SPAWNING,
        (DRIVER, 846, "spawn", "raise exception.BuildAbortException("),
    ];
    let frames: String = frames.map(line).concat();
    format!("{BEGIN}{frames}nova.exception.BuildAbortException: {message}\n")
}

/// Of a build that another host may try, line by line.
pub(crate) fn of_reschedule(vm: Uuid, reason: &str) -> Vec<String> {
    let thrown = (DRIVER, 825, "spawn", "raise exception.ComputeResourcesUnavailable(");
    let rescheduled = (MANAGER, 2739, "_build_and_run_instance", "raise exception.RescheduledException(");
    vec![
        BEGIN.to_owned(),
        line(SPAWNING),
        line(thrown),
        format!("nova.exception.ComputeResourcesUnavailable: {reason}\n"),
        BETWEEN.to_owned(),
        BEGIN.to_owned(),
        line(OUTER),
        line(rescheduled),
        format!("nova.exception.RescheduledException: Build of instance {vm} was re-scheduled: {reason}\n"),
    ]
}
