//! The area under a curve by adaptive integration: nobody knows beforehand where the work is. A call
//! whose interval is too steep for its budget halves it and submits a call for each half; while it
//! waits for them, its slot is somebody else's.

use grid_sdk::{grid, task};
use serde::{Deserialize, Serialize};

/// Points that one call evaluates at most.
const POINTS_MAX: u64 = 2_000;

/// A peak at 0, the higher the narrower: `1 / (x² + width²)`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct Peak {
    /// Half of its width at half of its height.
    pub width: f64,
}

/// A part of the area.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct Area {
    /// Its size.
    pub value: f64,
    /// Points that were evaluated for it.
    pub points: u64,
    /// Calls that worked on it.
    pub calls: u64,
}

impl Peak {
    fn at(self, x: f64) -> f64 {
        1.0 / (x * x + self.width * self.width)
    }

    /// The area as calculus has it.
    #[must_use]
    pub fn exact(self, from: f64, to: f64) -> f64 {
        ((to / self.width).atan() - (from / self.width).atan()) / self.width
    }
}

/// The area under a peak, as exact as `tolerance`.
///
/// Simpson's rule on ever smaller intervals, until two of them agree with the one they halve. What
/// takes more points than a call may evaluate becomes two calls.
#[task]
pub fn area(peak: Peak, from: f64, to: f64, tolerance: f64) -> Result<Area, grid::Error> {
    if let Some(area) = alone(peak, from, to, tolerance) {
        return Ok(area);
    }
    let middle = f64::midpoint(from, to);
    let halves = grid::map([
        area::call(peak, from, middle, tolerance / 2.0),
        area::call(peak, middle, to, tolerance / 2.0),
    ])?;
    let halves = grid::gather(&halves)?;
    Ok(Area {
        value: halves.iter().map(|half| half.value).sum(),
        points: POINTS_MAX + halves.iter().map(|half| half.points).sum::<u64>(),
        calls: 1 + halves.iter().map(|half| half.calls).sum::<u64>(),
    })
}

/// The area, if one call's points are enough for it.
fn alone(peak: Peak, from: f64, to: f64, tolerance: f64) -> Option<Area> {
    let mut points = 0;
    let mut value = 0.0;
    let mut left = vec![(from, to, tolerance)];
    while let Some((from, to, tolerance)) = left.pop() {
        points += 5;
        if points > POINTS_MAX {
            return None;
        }
        let middle = f64::midpoint(from, to);
        let whole = simpson(peak, from, to);
        let halves = simpson(peak, from, middle) + simpson(peak, middle, to);
        // Richardson: the error of the halves is a fifteenth of their difference.
        if (halves - whole).abs() <= 15.0 * tolerance {
            value += halves + (halves - whole) / 15.0;
        } else {
            left.push((from, middle, tolerance / 2.0));
            left.push((middle, to, tolerance / 2.0));
        }
    }
    Some(Area { value, points, calls: 1 })
}

fn simpson(peak: Peak, from: f64, to: f64) -> f64 {
    let middle = f64::midpoint(from, to);
    (to - from) / 6.0 * (peak.at(from) + 4.0 * peak.at(middle) + peak.at(to))
}

grid_sdk::bundle!(area);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_that_of_calculus() {
        for (width, calls) in [(1.0, 1), (1e-5, 3)] {
            let peak = Peak { width };
            let found = area(peak, -1.0, 2.0, 1e-9).unwrap();
            assert!((found.value - peak.exact(-1.0, 2.0)).abs() < 1e-7, "{found:?}");
            assert!(found.calls >= calls, "{found:?}");
        }
    }
}
