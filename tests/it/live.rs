//! The command on a real cloud of its own.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use control_plane::StateDir;

/// A range that neither `up` nor another test uses.
const BASE_PORT: &str = "25500";

fn kagemusha(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kagemusha"));
    command.current_dir(folder).args(args).output().unwrap()
}

/// What 7,000 hypervisors need that connect as nova-compute does, with twelve: a broker of two nodes, and two processes.
#[test]
fn a_fleet_over_two_processes_on_a_clustered_broker_boots_servers() {
    if env::var("KAGEMUSHA_LIVE").is_ok_and(|value| value == "1") {
        let folder = tempfile::tempdir().unwrap();
        // The servers that are not to be root have to get through to theirs.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        if let Some(lender) = env::var_os("KAGEMUSHA_LIVE_CLOUD") {
            let state = |path: &Path| StateDir::resolve(Some(path)).unwrap();
            state(&folder.path().join("state")).borrow_packages(&state(Path::new(&lender))).unwrap();
        }
        let run = [
            ["run", "quickstart", "--target", "live", "--state", "state", "--base-port", BASE_PORT, "--out", "run"],
            [
                "--set",
                "cloud.brokers=2",
                "--set",
                "fleet.processes=2",
                "--set",
                "fleet.connections=faithful",
                "--set",
                "fleet.hypervisors=12",
                "--set",
                "load.boot.count=6",
            ],
        ];
        let ran = kagemusha(folder.path(), &run.concat());
        let downed = kagemusha(folder.path(), &["down", "--purge", "--state", "state"]);
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{said}");
        let summary = fs::read_to_string(folder.path().join("run/summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(summary["hypervisors"]["up_min"], 12, "{said}");
        assert_eq!(summary["operations"][0]["succeeded"], 6, "{said}");
        assert!(summary["processes"].to_string().contains("rabbitmq-2"), "{}", summary["processes"]);
        let events = fs::read_to_string(folder.path().join("run/events.jsonl")).unwrap();
        assert!(events.contains("no queue of the fleet is left in RabbitMQ"), "{events}");
        let series = fs::read_to_string(folder.path().join("run/series.csv")).unwrap();
        let tasks = series.lines().filter_map(|line| line.split_once(",harness.tasks,,")?.1.parse::<f64>().ok());
        assert!(tasks.fold(0.0, f64::max) >= 12.0 * 4.0, "those of its two processes count, one for each connection");
        assert!(downed.status.success(), "{}", String::from_utf8_lossy(&downed.stderr));
    } else {
        eprintln!("skipped, since it starts a real cloud; set KAGEMUSHA_LIVE=1 to run it");
    }
}
