//! How good the placement is, on the simulator: see `grid_sim::quality`.

use grid_sim::quality::{SHAPES, measure};

use crate::{median, report};

const HOSTS: [usize; 3] = [8, 64, 512];
const SEEDS: u64 = 9;

pub(crate) fn run() {
    for shape in SHAPES {
        for hosts in HOSTS {
            let ratios: Vec<_> =
                (0..SEEDS).map(|seed| measure(shape, hosts, seed).ratio()).collect();
            let most = ratios.iter().copied().fold(0.0, f64::max);
            let what = format!("placement, {shape:?} on {hosts} workers").to_lowercase();
            let measured = format!("{:.3} (most {most:.3})", median(ratios));
            report(&what, &measured, "at most 1.15 of the best other");
        }
    }
}
