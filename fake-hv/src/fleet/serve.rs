//! A part of a fleet in a process of its own, seen from there.

use std::{
    io::{self, BufRead, Write},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use super::{
    FleetError, Hands,
    told::{Begin, Told},
};
use crate::{
    log::Log,
    stats::{Counted, Counters},
    worker::Order,
};

/// How often the fleet is told what was counted: often enough for the next hypervisor to start when one is through.
const COUNT_EVERY: Duration = Duration::from_millis(20);

/// Runs the part of a fleet that standard input describes, and tells of it on standard output, until it is told to stop or nobody is
/// there any more: what the command of [`super::Processes`] has to call.
///
/// # Errors
/// When standard input begins with something else.
pub async fn serve() -> Result<(), FleetError> {
    let Begin { spec, origin } = read_line(&mut io::stdin().lock()).ok_or(FleetError::NoBeginning)?;
    let (tell, told) = mpsc::unbounded_channel();
    let writer = thread::Builder::new().name("tell".to_owned()).spawn(move || write(told))?;
    let counters = Arc::new(Counters::default());
    let (orders, queue) = mpsc::unbounded_channel();
    let (report_loss, lost) = watch::channel(None);
    let log = (Log::Told(tell.clone()), origin.instant());
    let hands = match Hands::here(&spec, log, &counters, (&orders, queue), report_loss).await {
        Ok(hands) => hands,
        Err(error) => {
            let _reader_gone = tell.send(Told::Refused(error.to_string()));
            drop(tell);
            let _panicked = writer.join();
            return Ok(());
        }
    };
    let _reader_gone = tell.send(Told::Ready);
    let take_orders = move || {
        let mut stdin = io::stdin().lock();
        while let Some(order) = read_line(&mut stdin) {
            let last = matches!(order, Order::Stop(_));
            if orders.send(order).is_err() || last {
                return;
            }
        }
        // The fleet's own process is gone: so is this one, as a machine without power would be.
        std::process::exit(1);
    };
    thread::Builder::new().name("orders".to_owned()).spawn(take_orders)?;
    let mut before = Counted::default();
    let counting = async {
        loop {
            tokio::time::sleep(COUNT_EVERY).await;
            counters.tasks_beside.store(Handle::current().metrics().num_alive_tasks() as u64, Ordering::Relaxed);
            count(&counters, &mut before, &tell);
        }
    };
    tokio::select! {
        () = hands.ended() => {}
        () = counting => unreachable!("it counts for ever"),
    }
    count(&counters, &mut before, &tell);
    // One that has panicked ends without a word: its fleet takes it for lost.
    if lost.borrow().is_none() {
        let _reader_gone = tell.send(Told::Stopped);
    }
    drop(tell);
    let _panicked = tokio::task::spawn_blocking(|| writer.join()).await;
    Ok(())
}

/// Tells what has changed.
fn count(counters: &Counters, before: &mut Counted, tell: &mpsc::UnboundedSender<Told>) {
    let builds = counters.take_timelines();
    if !builds.is_empty() {
        let _reader_gone = tell.send(Told::Builds(builds));
    }
    let tokens = counters.take_tokens();
    if !tokens.is_empty() {
        let _reader_gone = tell.send(Told::Tokens(tokens));
    }
    let now = counters.counted();
    if now != *before {
        *before = now;
        let _reader_gone = tell.send(Told::Counted(now));
    }
}

/// `None`: there is no more, or it is something else.
fn read_line<T: DeserializeOwned>(input: &mut impl BufRead) -> Option<T> {
    let mut line = String::new();
    match input.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => serde_json::from_str(&line).map_err(|error| tracing::error!(%error, line, "no order")).ok(),
    }
}

/// Writes what is told, and hands it over as soon as there is nothing more to tell at the moment.
fn write(mut told: mpsc::UnboundedReceiver<Told>) {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut next = told.blocking_recv();
    while let Some(what) = next {
        let line = serde_json::to_string(&what).expect("what is told is JSON");
        let written = writeln!(out, "{line}");
        next = match told.try_recv() {
            Ok(more) => Some(more),
            Err(_) if out.flush().is_err() => None,
            Err(_) => told.blocking_recv(),
        };
        if written.is_err() {
            return;
        }
    }
    let _reader_gone = out.flush();
}
