//! Has the tiles of a picture made on a grid, and writes it to a PNG.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use grid_client::Client;
use indicatif::{ProgressBar, ProgressStyle};
use mandelbrot::{Tile, View, tile};

/// The Mandelbrot set, made on a grid, as a PNG.
#[derive(Parser)]
#[command(allow_negative_numbers = true)]
struct Args {
    /// The scheduler's address.
    #[arg(long, env = "GRID_SCHEDULER", default_value = "127.0.0.1:8786")]
    scheduler: String,
    /// Deploy this bundle first; otherwise the grid must have it.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Where the picture goes.
    #[arg(short, long, default_value = "mandelbrot.png", value_name = "FILE")]
    output: PathBuf,
    /// Pixels.
    #[arg(long, default_value_t = 1200)]
    width: u32,
    /// Pixels.
    #[arg(long, default_value_t = 800)]
    height: u32,
    /// Pixels of the side of a tile.
    #[arg(long, default_value_t = 100)]
    tile: u32,
    /// A point that has not left by then belongs to the set.
    #[arg(long, default_value_t = 2_000)]
    iterations: u32,
    /// The point in the middle of the picture.
    #[arg(long, num_args = 2, value_names = ["RE", "IM"], default_values_t = [-0.5, 0.0])]
    middle: Vec<f64>,
    /// What the picture's width is on the plane.
    #[arg(long, default_value_t = 3.2)]
    span: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    ensure!(args.width > 0 && args.height > 0, "a picture has at least one pixel");
    let client = Client::connect(&args.scheduler).await?;
    let ended = work(&client, args).await;
    client.close().await;
    ended
}

async fn work(client: &Client, args: Args) -> Result<()> {
    if let Some(file) = &args.bundle {
        let bytes =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        client.deploy(&bytes, true).await?;
    }
    let view = View {
        re: args.middle[0],
        im: args.middle[1],
        span: args.span,
        width: args.width,
        height: args.height,
        iterations: args.iterations,
    };
    let started = Instant::now();
    let tiles = view.tiles(args.tile);
    let futures = client.map(tiles.iter().map(|part| tile::call(view, *part))).await?;
    let bar = progress_bar(tiles.len() as u64);
    let mut picture = vec![0; view.width as usize * view.height as usize * 3];
    for (tile, future) in tiles.iter().zip(futures) {
        place(&mut picture, &view, tile, &future.result().await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    write_png(&args.output, &view, &picture)
        .with_context(|| format!("cannot write `{}`", args.output.display()))?;
    let (count, output) = (tiles.len(), args.output.display());
    println!("{}x{} pixels, {count} tiles in {seconds:.2} s: {output}", view.width, view.height);
    Ok(())
}

/// Copies a tile's rows to where they belong.
fn place(picture: &mut [u8], view: &View, tile: &Tile, pixels: &[u8]) {
    let row_bytes = tile.width as usize * 3;
    for (y, row) in pixels.chunks_exact(row_bytes).enumerate() {
        let start = ((tile.y as usize + y) * view.width as usize + tile.x as usize) * 3;
        picture[start..start + row_bytes].copy_from_slice(row);
    }
}

fn write_png(path: &Path, view: &View, picture: &[u8]) -> Result<()> {
    let file = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(file, view.width, view.height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture)?;
    Ok(writer.finish()?)
}

fn progress_bar(tiles: u64) -> ProgressBar {
    let template = "drawing {bar:40} {pos}/{len} tiles  {elapsed}  {eta} to go";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    // It hides itself where standard error is no terminal.
    ProgressBar::new(tiles).with_style(style)
}
