//! The same plan gives the same bytes.

use std::{collections::BTreeMap, fs, path::Path};

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{plan, record};

/// Every file of a folder, by its path in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(here) = pending.pop() {
        for entry in fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A scenario like none before, but small.
fn random_scenario(rng: &mut Pcg64Mcg) -> String {
    let hosts = rng.random_range(1..60);
    let mut text = format!(
        "name = \"random\"\ndescription = \"Random\"\ndrain = \"30s\"\n\
         [deployment]\ncontrollers = {}\ncontroller_cores = {}\nbrokers = {}\ndatabase_cores = {}\nlink = \"{}us\"\n\
         clock_skew = \"{}ms\"\n\
         [tenants]\nprojects = 3\nusers = 5\n\
         [fleet]\nhypervisors = {hosts}\nservers = {}\nstart = \"{}/s\"\nconnections = \"{}\"\n\
         [tuning.nova]\n\"DEFAULT.report_interval\" = {}\n\"conductor.workers\" = {}\n\"scheduler.workers\" = {}\n\
         \"filter_scheduler.host_subset_size\" = {}\n\"database.max_pool_size\" = {}\n\"database.max_overflow\" = {}\n",
        rng.random_range(1..4),
        rng.random_range(1..9),
        rng.random_range(0..3),
        rng.random_range(0..5),
        rng.random_range(0..500),
        rng.random_range(0..2000),
        rng.random_range(0..100),
        rng.random_range(1..100),
        ["faithful", "single"][rng.random_range(0..2)],
        rng.random_range(1..20),
        rng.random_range(1..4),
        rng.random_range(1..4),
        rng.random_range(1..10),
        rng.random_range(0..6),
        rng.random_range(0..20),
    );
    for operation in ["boot", "list", "token"] {
        let arrivals = match rng.random_range(0..3) {
            0 => format!("arrivals = \"poisson\"\nrate = \"{}/s\"\ncount = 20", rng.random_range(1..4)),
            1 => "arrivals = \"closed\"\nclients = 3\nthink = { distribution = \"exponential\", mean = \"1s\" }\ncount = 20"
                .to_owned(),
            _ => format!("arrivals = \"burst\"\nsize = {}\nevery = \"10s\"\ntimes = 2", rng.random_range(3..10)),
        };
        text.push_str(&format!("[[load]]\noperation = \"{operation}\"\n{arrivals}\n"));
    }
    text.push_str(
        "[[load]]\noperation = \"delete\"\nafter = \"boot\"\narrivals = \"constant\"\nrate = \"2/s\"\ncount = 5\n",
    );
    if rng.random_bool(0.3) {
        text.push_str("[[incidents]]\nkind = \"broker_restart\"\nat = \"10s\"\nlasts = \"5s\"\n");
    }
    text
}

#[test]
fn a_hundred_random_scenarios_give_the_same_bytes_twice() {
    let mut rng = Pcg64Mcg::seed_from_u64(2014);
    let folder = tempfile::tempdir().unwrap();
    for number in 0..100_u64 {
        let text = random_scenario(&mut rng);
        let plan = plan(&text, &[], number);
        let (once, again) = (folder.path().join(format!("{number}a")), folder.path().join(format!("{number}b")));
        let first = record(&plan, &once);
        // The second run is on a thread of its own: what differs between threads would show.
        let second = std::thread::scope(|scope| scope.spawn(|| record(&plan, &again)).join().unwrap());
        assert_eq!(first, second, "{text}");
        let (once, again) = (files(&once), files(&again));
        assert_eq!(once.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
        for (name, bytes) in &once {
            assert!(bytes == &again[name], "{name} differs in scenario {number}:\n{text}");
        }
        assert!(first.events > 1_000, "nothing happened in scenario {number}:\n{text}");
    }
}

#[test]
fn another_seed_gives_other_bytes() {
    let text = random_scenario(&mut Pcg64Mcg::seed_from_u64(1));
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1"), folder.path().join("2"));
    record(&plan(&text, &[], 1), &one);
    record(&plan(&text, &[], 2), &two);
    assert_ne!(files(&one)["operations.jsonl"], files(&two)["operations.jsonl"]);
}
