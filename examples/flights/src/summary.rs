//! What is known of many flights: sums that can be put together in any grouping.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::parts::Part;

/// Count, mean and spread of numbers, without the numbers.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
pub struct Moments {
    /// How many.
    pub count: u64,
    /// Their mean; 0 of none.
    pub mean: f64,
    /// The sum of the squares of their distances from the mean.
    pub m2: f64,
    /// The largest; `None` of none.
    pub max: Option<f64>,
}

impl Moments {
    /// Adds a number: B. P. Welford, "Note on a method for calculating corrected sums of squares
    /// and products", Technometrics 4 (1962).
    pub fn add(&mut self, number: f64) {
        self.count += 1;
        let from_old = number - self.mean;
        self.mean += from_old / self.count as f64;
        self.m2 += from_old * (number - self.mean);
        self.max = Some(self.max.map_or(number, |max| max.max(number)));
    }

    /// Both together: T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise
    /// algorithm for computing sample variances", Stanford STAN-CS-79-773 (1979).
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let count = self.count + other.count;
        let (mine, theirs, all) = (self.count as f64, other.count as f64, count as f64);
        let apart = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * theirs / all,
            m2: self.m2 + other.m2 + apart * apart * mine * theirs / all,
            max: self.max.into_iter().chain(other.max).reduce(f64::max),
        }
    }

    /// The sample's standard deviation, as pandas gives it; `None` of fewer than two numbers.
    #[must_use]
    pub fn std(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.m2 / (self.count - 1) as f64).sqrt())
    }
}

/// The departure delays of one carrier, in minutes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
pub struct Carrier {
    /// Of all flights that departed.
    pub all: Moments,
    /// Of those that departed too late.
    pub late: Moments,
    /// Flights without a departure delay: they never departed.
    pub missing: u64,
}

/// What one block, or several, hold.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct Summary {
    /// Lines, without the header.
    pub rows: u64,
    /// By the carrier's code.
    pub carriers: BTreeMap<String, Carrier>,
    /// Where the rows of late flights were written.
    pub parts: Vec<Part>,
}

impl Summary {
    /// Adds a flight; says whether it was late.
    pub fn add(&mut self, code: &str, delay: Option<f64>, late_minutes: f64) -> bool {
        self.rows += 1;
        let carrier = self.carrier(code);
        let Some(minutes) = delay else {
            carrier.missing += 1;
            return false;
        };
        carrier.all.add(minutes);
        let late = minutes > late_minutes;
        if late {
            carrier.late.add(minutes);
        }
        late
    }

    /// As `entry`, without a new text for every row.
    fn carrier(&mut self, code: &str) -> &mut Carrier {
        if !self.carriers.contains_key(code) {
            self.carriers.insert(code.to_owned(), Carrier::default());
        }
        self.carriers.get_mut(code).expect("it was just put there")
    }

    /// Both together.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.rows += other.rows;
        for (code, theirs) in other.carriers {
            let mine = self.carriers.entry(code).or_default();
            mine.all = mine.all.merge(theirs.all);
            mine.late = mine.late.merge(theirs.late);
            mine.missing += theirs.missing;
        }
        self.parts.extend(other.parts);
        self
    }

    /// Flights that departed too late.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.carriers.values().map(|carrier| carrier.late.count).sum()
    }

    /// Flights without a departure delay.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.carriers.values().map(|carrier| carrier.missing).sum()
    }
}
