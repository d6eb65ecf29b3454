use conformance::*;
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let state = control_plane::StateDir::resolve(Some(std::path::Path::new(&args[0])))?;
    let cloud = control_plane::Cloud::open(&state)?;
    let kinds: Vec<Kind> = args[1].chars().map(|c| if c == 'r' { Kind::Real } else { Kind::Simulated }).collect();
    let out = std::path::PathBuf::from(&args[2]);
    std::fs::create_dir_all(&out)?;
    let t = std::time::Instant::now();
    let lab = Lab::open(&cloud, &kinds, &quiet_options(), &out.join("run")).await?;
    eprintln!("open {:?}", t.elapsed());
    for op in choose(&args[3..])? {
        let t = std::time::Instant::now();
        let recorded = record(&lab, op).await?;
        for (kind, r) in kinds.iter().zip(&recorded) {
            eprintln!("{:20} {kind:?} {:?} {:?}", op.name, r.traces.iter().map(|t| t.events.len()).collect::<Vec<_>>(), r.failure);
            std::fs::write(out.join(format!("{}-{kind:?}.json", op.name)), serde_json::to_string(r)?)?;
        }
        eprintln!("{:?}", t.elapsed());
    }
    eprintln!("{}", lab.close().await?);
    Ok(())
}
