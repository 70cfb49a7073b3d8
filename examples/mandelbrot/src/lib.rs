//! The Mandelbrot set in tiles. A tile is bytes as they are, three for each pixel: nothing is
//! encoded on the way.

use grid_sdk::{Raw, task};
use serde::{Deserialize, Serialize};

/// Which part of the plane a picture shows, and how closely.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct View {
    /// The point in the middle: its real part.
    pub re: f64,
    /// The point in the middle: its imaginary part.
    pub im: f64,
    /// What the picture's width is on the plane.
    pub span: f64,
    /// The picture's width in pixels.
    pub width: u32,
    /// The picture's height in pixels.
    pub height: u32,
    /// A point that has not left by then belongs to the set.
    pub iterations: u32,
}

/// A square of a picture, in pixels; what lies outside of the picture is left out.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tile {
    /// Its left edge.
    pub x: u32,
    /// Its upper edge.
    pub y: u32,
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

impl View {
    /// Cuts the picture into tiles of `side` pixels; those at the edges may be smaller.
    #[must_use]
    pub fn tiles(&self, side: u32) -> Vec<Tile> {
        let side = side.max(1) as usize;
        let rows = (0..self.height).step_by(side);
        rows.flat_map(|y| (0..self.width).step_by(side).map(move |x| (x, y)))
            .map(|(x, y)| Tile {
                x,
                y,
                width: (self.width - x).min(side as u32),
                height: (self.height - y).min(side as u32),
            })
            .collect()
    }

    fn point(&self, x: u32, y: u32) -> (f64, f64) {
        let pixel = self.span / f64::from(self.width);
        let from_middle =
            |at: u32, size: u32| (f64::from(at) + 0.5 - f64::from(size) / 2.0) * pixel;
        (self.re + from_middle(x, self.width), self.im - from_middle(y, self.height))
    }
}

/// The colours of a tile, three bytes a pixel, row by row.
#[task]
pub fn tile(view: View, tile: Tile) -> Raw {
    let mut pixels = Vec::with_capacity(tile.width as usize * tile.height as usize * 3);
    for y in tile.y..tile.y + tile.height {
        for x in tile.x..tile.x + tile.width {
            pixels.extend(colour(escape(view.point(x, y), view.iterations)));
        }
    }
    Raw(pixels)
}

/// After how many steps the point leaves, with a fraction that makes the bands smooth; `None` where
/// it stays.
fn escape((re, im): (f64, f64), iterations: u32) -> Option<f64> {
    let (mut x, mut y) = (0.0_f64, 0.0_f64);
    for step in 0..iterations {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 256.0 {
            return Some(f64::from(step) + 1.0 - ((xx + yy).ln() / 2.0).log2());
        }
        y = 2.0 * x * y + im;
        x = xx - yy + re;
    }
    None
}

/// Three waves of one period, shifted against each other: <https://iquilezles.org/articles/palettes/>.
fn colour(escaped: Option<f64>) -> [u8; 3] {
    let Some(steps) = escaped else { return [0; 3] };
    [0.0, 0.10, 0.20].map(|shift| {
        let wave = (std::f64::consts::TAU * (steps * 0.02 + 0.5 + shift)).cos();
        (127.5 + 127.5 * wave) as u8
    })
}

grid_sdk::bundle!(tile);

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View =
        View { re: -0.5, im: 0.0, span: 3.0, width: 300, height: 200, iterations: 100 };

    #[test]
    fn tiles_cover_the_picture_once() {
        for side in [1, 7, 64, 300, 1000] {
            let mut seen = vec![0; 300 * 200];
            for tile in VIEW.tiles(side) {
                for y in tile.y..tile.y + tile.height {
                    for x in tile.x..tile.x + tile.width {
                        seen[(y * VIEW.width + x) as usize] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|count| *count == 1), "{side}");
        }
    }

    #[test]
    fn points_stay_or_leave() {
        assert_eq!(escape((0.0, 0.0), 1_000), None);
        assert_eq!(escape((-1.0, 0.0), 1_000), None);
        assert!(escape((1.0, 1.0), 1_000).unwrap() < 5.0);
        assert!(escape((0.26, 0.0), 1_000).unwrap() > 20.0);
    }

    #[test]
    fn the_middle_is_black_and_a_corner_is_not() {
        let at = |x, y| tile(VIEW, Tile { x, y, width: 1, height: 1 }).0;
        assert_eq!(at(150, 100), [0, 0, 0]);
        assert_ne!(at(0, 0), [0, 0, 0]);
    }
}
