//! Scratch.
use conformance::*;
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args[0] == "learn" {
        let mut pairs = Vec::new();
        for op in OPERATIONS {
            for nics in [0, 2] {
                let read = |swapped: bool| -> Option<Recorded> {
                    serde_json::from_str(
                        &std::fs::read_to_string(format!("{}/{}-Real-{nics}-{swapped}.json", args[1], op.name)).ok()?,
                    )
                    .ok()
                };
                if let (Some(a), Some(b)) = (read(false), read(true)) {
                    pairs.push((a, b));
                }
            }
        }
        let lesson = learn("2026.2", &pairs);
        for left in &lesson.left {
            eprintln!("LEFT {left}");
        }
        println!("{}", serde_json::to_string_pretty(&lesson.procedures)?);
        return Ok(());
    }
    let state = control_plane::StateDir::resolve(Some(std::path::Path::new(&args[0])))?;
    let cloud = control_plane::Cloud::open(&state)?;
    let kinds: Vec<Kind> = args[1].chars().map(|c| if c == 'r' { Kind::Real } else { Kind::Simulated }).collect();
    let out = std::path::PathBuf::from(&args[2]);
    std::fs::create_dir_all(&out)?;
    let t = std::time::Instant::now();
    let lab = Lab::open(&cloud, &kinds, &quiet_options(kinds.len() == 1), &out.join("run")).await?;
    eprintln!("open {:?}", t.elapsed());
    let recorded = start_up(&lab);
    for (kind, r) in kinds.iter().zip(&recorded) {
        std::fs::write(out.join(format!("start-up-{kind:?}-0-false.json")), serde_json::to_string(r)?)?;
    }
    if kinds.len() == 2 {
        let v = compare(&lab, Variation { nics: 0, swapped: false }, &recorded[0], &recorded[1]);
        eprintln!(
            "start-up    {} {}",
            if v.identical { "identical" } else { "DIFFERS" },
            v.first_difference.map(|d| d.to_string()).unwrap_or_default()
        );
    }
    for v in args[3].split(',') {
        let (nics, swapped) = v.split_at(1);
        let variation = Variation { nics: nics.parse()?, swapped: swapped == "s" };
        for op in choose(&args[4..])? {
            let recorded = record(&lab, op, variation).await?;
            for (kind, r) in kinds.iter().zip(&recorded) {
                eprintln!(
                    "{:20} {kind:?} {v} {:?} {:?}",
                    op.name,
                    r.traces.iter().map(|t| t.events.len()).collect::<Vec<_>>(),
                    r.failure
                );
                if kinds.len() == 2 && *kind == Kind::Simulated {
                    let v = compare(&lab, variation, &recorded[0], &recorded[1]);
                    eprintln!(
                        "    {} {}",
                        if v.identical { "identical" } else { "DIFFERS" },
                        v.first_difference.map(|d| d.to_string()).unwrap_or_default()
                    );
                }
                std::fs::write(
                    out.join(format!("{}-{kind:?}-{}-{}.json", op.name, variation.nics, variation.swapped)),
                    serde_json::to_string(r)?,
                )?;
            }
        }
    }
    eprintln!("{}", lab.close().await?);
    Ok(())
}
