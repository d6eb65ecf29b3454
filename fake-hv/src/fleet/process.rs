//! A part of a fleet in a process of its own, seen from the fleet.

use std::{
    ffi::OsString,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use recording::{Event, Recorder};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    FleetError, FleetSpec,
    told::{Begin, Told},
};
use crate::{
    log::WAKE_STREAM,
    stats::{Counted, Counters},
    worker::Order,
};

/// Processes that a fleet is spread over, so that each has a limit of open files of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// How many; with one there are none but the fleet's own.
    pub count: u32,
    /// A program with its arguments that calls [`super::serve`].
    pub command: Vec<OsString>,
}

/// What all processes of a fleet report to.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) counters: Arc<Counters>,
    pub(super) recorder: Recorder,
    pub(super) origin: Instant,
    /// Why a process has ended that was not told to.
    pub(super) lost: watch::Sender<Option<String>>,
}

/// A process, until it has ended.
pub(super) struct Process {
    pub(super) id: u32,
    talking: JoinHandle<()>,
}

impl Process {
    /// Starts a process and waits until it has reached the broker.
    pub(super) async fn start(
        command: &[OsString],
        spec: FleetSpec,
        desk: Desk,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Result<Self, FleetError> {
        let [program, args @ ..] = command else { unreachable!("a command has a program") };
        // A group of its own: Ctrl-C on a terminal is for the fleet, which tells its processes.
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(FleetError::Process)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for")
        };
        let id = child.id().unwrap_or_default();
        let begin = Begin { spec, origin: desk.origin.into() };
        // One that has ended already is noticed by its silence.
        let _gone = say(&mut stdin, &begin).await;
        let mut lines = BufReader::new(stdout).lines();
        match hear(&mut lines).await {
            Ok(Told::Ready) => {}
            Ok(Told::Refused(reason)) => return Err(FleetError::Refused(reason)),
            Ok(_) => return Err(FleetError::Refused(format!("process {id} began with something else"))),
            Err(reason) => return Err(FleetError::Refused(format!("process {id} did not begin: {reason}"))),
        }
        let talking = tokio::spawn(talk(child, stdin, lines, desk, orders));
        Ok(Self { id, talking })
    }

    /// Waits until it has ended.
    pub(super) async fn ended(self) {
        let _runtime_ends = self.talking.await;
    }
}

/// Passes orders on and takes down what is told, until the process has ended.
async fn talk(
    mut child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    desk: Desk,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let forsaken = AtomicBool::new(false);
    let pass_on = async {
        let mut stdin = stdin;
        while let Some(order) = orders.recv().await {
            // A process that is gone is noticed by its silence.
            if say(&mut stdin, &order).await.is_err() {
                break;
            }
        }
        forsaken.store(orders.is_closed(), Ordering::Relaxed);
        // The end of its input ends the process too, unless it has been told to stop and is about to say farewell.
        drop(stdin);
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = listen(lines, &desk) => result,
        () = pass_on => unreachable!("it goes on for ever"),
    };
    // Of a fleet that did not come about nobody waits for the end of its processes.
    if let Err(reason) = result
        && !forsaken.load(Ordering::Relaxed)
    {
        let id = child.id().unwrap_or_default();
        let reason = format!("the process {id} of the fleet has ended: {reason}");
        let t_ms = desk.origin.elapsed().as_secs_f64() * 1e3;
        desk.recorder.event(&Event { t_ms, kind: "error".to_owned(), detail: reason.clone() });
        desk.lost.send_replace(Some(reason));
    }
    let _status = child.wait().await;
}

/// Takes down what a process tells, until it says that it has stopped.
async fn listen(mut lines: Lines<BufReader<ChildStdout>>, desk: &Desk) -> Result<(), String> {
    let Desk { counters, recorder, .. } = desk;
    let mut before = Counted::default();
    loop {
        match hear(&mut lines).await? {
            Told::Late { at, late } => recorder.latency(WAKE_STREAM, at, late),
            Told::Event(event) => recorder.event(&event),
            Told::Rpc { call, at, took, result } => recorder.rpc(&call, at, took, result),
            Told::Counted(now) => {
                counters.add_counted((before, now));
                before = now;
            }
            Told::Builds(builds) => counters.add_timelines(builds),
            Told::Tokens(tokens) => counters.add_tokens(tokens),
            Told::Stopped => return Ok(()),
            Told::Ready | Told::Refused(_) => return Err("it began twice".to_owned()),
        }
    }
}

async fn say(stdin: &mut ChildStdin, what: &impl serde::Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what).expect("orders are JSON");
    line.push(b'\n');
    stdin.write_all(&line).await
}

async fn hear(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Told, String> {
    let line = lines.next_line().await.map_err(|error| error.to_string())?;
    let line = line.ok_or("its output ended; standard error may say why")?;
    serde_json::from_str(&line).map_err(|error| format!("it told {line:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hypervisor::Sessions;

    use super::{super::testing::spec, *};
    use crate::{FleetStats, KnownToken, Secret, amqp::Farewell, stats::Tokens};

    fn manifest() -> recording::Manifest {
        recording::Manifest {
            schema: recording::Manifest::SCHEMA,
            harness_version: String::new(),
            scenario: String::new(),
            target: "live".to_owned(),
            release: "2026.2".to_owned(),
            seed: 1,
            command: Vec::new(),
            started_at: String::new(),
            machine: BTreeMap::new(),
            packages: BTreeMap::new(),
            tuning: BTreeMap::new(),
            deviations: BTreeMap::new(),
            not_modelled: BTreeMap::new(),
            calibration: None,
        }
    }

    fn token() -> KnownToken {
        KnownToken { token: Secret::new("gAAAA"), until_unix_s: 1_795_853_169 }
    }

    /// A shell in the place of a process of a fleet.
    struct Stage {
        desk: Desk,
        orders: mpsc::UnboundedSender<Order>,
        lost: watch::Receiver<Option<String>>,
        started: Result<Process, FleetError>,
        _folder: tempfile::TempDir,
    }

    async fn play(script: &str) -> Stage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let recorder = Recorder::create(&folder.path().join("run"), &manifest(), "{}").expect("a recording");
        let (report, lost) = watch::channel(None);
        let desk = Desk { counters: Arc::default(), recorder, origin: Instant::now(), lost: report };
        let (orders, queue) = mpsc::unbounded_channel();
        let command = ["sh", "-c", script].map(OsString::from);
        let started = Process::start(&command, spec(), desk.clone(), queue).await;
        Stage { desk, orders, lost, started, _folder: folder }
    }

    #[tokio::test]
    async fn a_process_counts_for_its_fleet_until_it_is_told_to_stop() {
        let counted = Counted {
            stats: FleetStats { registered: 2, ..FleetStats::default() },
            start_ups_over: 2,
            waiting_peak: 9,
        };
        let told = serde_json::to_string(&Told::Counted(counted)).expect("it is JSON");
        let tokens = Tokens::from([(1, Sessions { placement: Some(token()), ..Sessions::default() })]);
        let kept = serde_json::to_string(&Told::Tokens(tokens.clone())).expect("it is JSON");
        let farewell = format!("echo '{kept}'; echo '\"stopped\"'");
        let stage = play(&format!(
            "read begin; echo '\"ready\"'; echo '{told}'; read order; case $order in *stop*) {farewell};; esac"
        ))
        .await;
        let process = stage.started.expect("it is ready");
        stage.desk.counters.through(2).await;
        assert_eq!((stage.desk.counters.read().registered, stage.desk.counters.take_waiting_peak()), (2, 9));
        stage.orders.send(Order::Stop(Farewell::Leave)).expect("it listens");
        process.ended().await;
        assert_eq!(*stage.lost.borrow(), None);
        assert_eq!(stage.desk.counters.take_tokens(), tokens);
    }

    #[tokio::test]
    async fn a_process_that_ends_of_itself_is_lost() {
        let mut stage = play("read begin; echo '\"ready\"'").await;
        let _process = stage.started.expect("it is ready");
        let lost = stage.lost.wait_for(Option::is_some).await.expect("somebody tells").clone();
        assert!(lost.is_some_and(|reason| reason.contains("its output ended")));
    }

    #[tokio::test]
    async fn what_a_process_refuses_is_passed_on() {
        for (script, said) in [
            ("read begin; echo '{\"refused\":\"no broker\"}'", "no broker"),
            ("exit 1", "did not begin"),
            ("read begin; echo what", "it told \"what\""),
        ] {
            let error = play(script).await.started.err().expect("it refuses").to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
