//! The command with input that is wrong: exit status 2, what was wrong, where, what to do, and nothing left behind.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use control_plane::{Lock, StateDir};

const COULD_NOT_RUN: i32 = 2;

const SCENARIO: &str = "\
name = \"probe\"
description = \"A scenario to spoil\"
[fleet]
hypervisors = 2
[[load]]
operation = \"token\"
arrivals = \"constant\"
rate = \"1/s\"
count = 1
";

fn kagemusha(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kagemusha"));
    command.current_dir(folder).args(args).env("OS_CLIENT_CONFIG_FILE", folder.join("clouds.yaml")).output().unwrap()
}

#[test]
fn a_list_whose_reader_has_gone_ends_quietly() {
    for args in [&["conformance", "--list"][..], &["scenarios"], &["check", "quickstart"], &["down", "--state", "none"]]
    {
        let folder = tempfile::tempdir().unwrap();
        let gone = std::io::pipe().unwrap().1;
        let mut command = Command::new(env!("CARGO_BIN_EXE_kagemusha"));
        let output = command.current_dir(folder.path()).args(args).stdout(gone).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("panicked"), "{args:?}: {stderr}");
    }
}

/// Runs the spoilt scenario, and expects each of these in what is said.
fn refused(scenario: &str, args: &[&str], said: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("probe.toml"), scenario).unwrap();
    let state = folder.path().join("state");
    let out = folder.path().join("out");
    let always =
        ["run", "probe.toml", "--target", "live", "--state", state.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = kagemusha(folder.path(), &[&always, args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(COULD_NOT_RUN), "{stderr}");
    for words in said {
        assert!(stderr.contains(words), "{words:?} is not said:\n{stderr}");
    }
    assert!(!state.exists() && !out.exists(), "something was left behind:\n{stderr}");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    let scenario = SCENARIO.replace("hypervisors", "hypervisor");
    refused(&scenario, &[], &["probe.toml:4:1", "unknown key `hypervisor`", "did you mean `hypervisors`"]);
}

#[test]
fn an_unknown_option_is_named_with_the_nearest() {
    let args = ["--set", "tuning.nova.DEFAULT.report_intervall=60"];
    refused(SCENARIO, &args, &["report_intervall", "report_interval"]);
}

#[test]
fn a_wrong_unit_is_told() {
    refused(&SCENARIO.replace("\"1/s\"", "\"1/week\""), &[], &["probe.toml:8:", "load.token.rate", "/s"]);
}

#[test]
fn an_impossible_value_is_told() {
    refused(&SCENARIO.replace("= 2", "= -2"), &[], &["probe.toml:4:15", "fleet.hypervisors", "-2"]);
}

#[test]
fn options_of_the_other_target_are_told() {
    refused(SCENARIO, &["--replications", "3"], &["--replications is an option of --target sim"]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("probe.toml"), SCENARIO).unwrap();
    let output = kagemusha(folder.path(), &["run", "probe.toml", "--down"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(COULD_NOT_RUN), "{stderr}");
    assert!(stderr.contains("--down is an option of --target live"), "{stderr}");
}

#[test]
fn what_only_the_model_does_is_told() {
    refused(SCENARIO, &["--set", "fleet.servers=3"], &["fleet.servers", "--target sim"]);
    let restart = "[[incidents]]\nkind = \"broker_restart\"\nat = \"1s\"\nlasts = \"1s\"\n";
    refused(&format!("{SCENARIO}{restart}"), &[], &["broker_restart", "--target sim"]);
}

const FOREIGN: &str = "[cloud.bring_your_own]\ncloud = \"lab\"\ntransport_url_env = \"KAGEMUSHA_NO_SUCH_VARIABLE\"\n";

#[test]
fn somebody_elses_cloud_is_left_alone_unless_confirmed() {
    let scenario = format!("{SCENARIO}{FOREIGN}");
    refused(&scenario, &[], &["lab", "--allow-foreign-cloud"]);
    refused(&scenario, &["--allow-foreign-cloud"], &["clouds.yaml"]);
}

#[test]
fn a_scenario_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = kagemusha(folder.path(), &["run", "quikstart"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(COULD_NOT_RUN), "{stderr}");
    assert!(stderr.contains("quikstart") && stderr.contains("quickstart"), "{stderr}");
}

#[test]
fn a_run_is_not_written_over_another() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("before")).unwrap();
    let output = kagemusha(folder.path(), &["run", "quickstart", "--out", "before"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(COULD_NOT_RUN), "{stderr}");
    assert!(stderr.contains("before exists already"), "{stderr}");
}

#[test]
fn a_port_in_use_is_told_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let listen = |port| std::net::TcpListener::bind(("127.0.0.1", port));
    // Each cloud's range begins with the APIs; whoever else is on this machine may have the port before the one that is taken.
    let (_taken, port) = std::iter::repeat_with(|| listen(0).unwrap())
        .map(|taken| (taken.local_addr().unwrap().port(), taken))
        .find_map(|(port, taken)| listen(port - 1).is_ok().then_some((taken, port)))
        .unwrap();
    let output = kagemusha(folder.path(), &["up", "--state", "state", "--base-port", &(port - 1).to_string()]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(COULD_NOT_RUN), "{stderr}");
    let not_root = stderr.contains("system packages are missing");
    assert!(not_root || stderr.contains(&format!("port {port} on 127.0.0.1")), "{stderr}");
    assert!(!folder.path().join("state").exists(), "{stderr}");
}

#[test]
fn a_state_folder_that_holds_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let diary = folder.path().join("diary.txt");
    fs::write(&diary, "mine").unwrap();
    let output = kagemusha(folder.path(), &["down", "--purge", "--state", "."]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(COULD_NOT_RUN), "{stderr}");
    assert!(diary.exists(), "{stderr}");
}

#[test]
fn down_may_come_twice() {
    let folder = tempfile::tempdir().unwrap();
    let output = kagemusha(folder.path(), &["down", "--purge", "--state", "state"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing to stop"));
}

#[test]
fn a_cloud_that_is_being_worked_on_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::resolve(Some(&folder.path().join("state"))).unwrap();
    state.create().unwrap();
    let _run = Lock::take(&state).unwrap();
    for args in [&["up", "--state", "state"][..], &["down", "--purge", "--state", "state"]] {
        let output = kagemusha(folder.path(), args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(COULD_NOT_RUN), "{stderr}");
        assert!(stderr.contains(&format!("kill -INT {}", std::process::id())), "{stderr}");
    }
    assert!(state.exists());
}

/// In the command line of a build that the package manager of Python starts, while broker and database run already.
const BUILDING: &str = "setup.py";
/// A range that neither a user's cloud nor those of other tests are in.
const BASE_PORT: &str = "25000";

#[test]
fn an_interrupted_up_leaves_no_process() {
    if env::var("KAGEMUSHA_LIVE").is_ok_and(|value| value == "1") {
        let folder = tempfile::tempdir().unwrap();
        let mut up = Command::new(env!("CARGO_BIN_EXE_kagemusha"))
            .current_dir(folder.path())
            .args(["up", "--state", "state", "--base-port", BASE_PORT])
            .spawn()
            .unwrap();
        let building = || of_state(folder.path()).iter().any(|command| command.contains(BUILDING));
        while !building() {
            assert!(up.try_wait().unwrap().is_none(), "up ended before it could be interrupted");
            thread::sleep(Duration::from_millis(20));
        }
        Command::new("kill").args(["-INT", &up.id().to_string()]).status().unwrap();
        assert_eq!(up.wait().unwrap().code(), Some(COULD_NOT_RUN));
        assert_eq!(of_state(folder.path()), Vec::<String>::new());
    } else {
        eprintln!("skipped, since it starts a part of a real cloud; set KAGEMUSHA_LIVE=1 to run it");
    }
}

/// The command lines of all processes that carry the state folder in their environment.
fn of_state(folder: &Path) -> Vec<String> {
    let mark = format!("KAGEMUSHA_PROCESS_OF={}", folder.join("state").display());
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\0', " ");
    processes
        .filter(|path| read(&path.join("environ")).contains(&mark))
        .map(|path| read(&path.join("cmdline")))
        .collect()
}
