//! From nothing to the first result.

use std::time::Instant;

use grid_embedded::{Embedded, EmbeddedConfig};
use grid_sandbox::EngineConfig;
use noop::fresh;

use crate::grid::{Grid, bundle};
use crate::{dask, median, report};

const ROUNDS: u64 = 7;

pub(crate) async fn run(peer: bool) -> anyhow::Result<()> {
    // The bundle is known and compiled before; what is measured begins with the processes.
    let first = Grid::up(2, 1)?;
    let (client, _) = first.with("noop").await?;
    client.submit(fresh::call(0u64)).await?.result().await?;
    let home = std::rc::Rc::clone(&first.home);
    drop(client);
    drop(first);
    let mut samples = Vec::new();
    for round in 1..=ROUNDS {
        let started = Instant::now();
        let grid = Grid::up_in(std::rc::Rc::clone(&home), 2, 1)?;
        let client = grid.client().await?;
        client.submit(fresh::call(round)).await?.result().await?;
        samples.push(started.elapsed().as_secs_f64());
    }
    let s = median(samples);
    let what = "`grid up` (1 scheduler, 2 workers) to first result";
    if peer {
        let dask = dask::measure()?;
        report(what, &format!("{s:.3} s, Dask {:.2} s", dask.start_s), "at most 0.5 s");
    } else {
        report(what, &format!("{s:.3} s"), "at most 0.5 s");
    }

    let noop = bundle("noop")?;
    let mut samples = Vec::new();
    for round in 0..=ROUNDS {
        let started = Instant::now();
        let grid = Embedded::start(EmbeddedConfig {
            workers: 1,
            slots: 2,
            state_dir: home.path().join("embedded"),
            engine: EngineConfig {
                cache_dir: Some(home.path().join("native")),
                ..EngineConfig::default()
            },
            scheduler: EmbeddedConfig::default().scheduler,
            listen: None,
        })?;
        let client = grid.client().await?;
        client.deploy(&noop, false).await?;
        client.submit(fresh::call(round)).await?.result().await?;
        if round > 0 {
            samples.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let ms = median(samples);
    report("the same embedded in one process", &format!("{ms:.1} ms"), "at most 50 ms");
    Ok(())
}
