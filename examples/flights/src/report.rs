//! The tables.

use std::collections::BTreeMap;
use std::time::Duration;

use flights::{Description, Moments, Summary};
use grid_sdk::partitions::Manifest;
use indicatif::{HumanBytes, HumanCount};

use crate::Args;

const AIRLINES: &str = include_str!("../data/airlines.csv");

/// What was read, and the delays by carrier.
pub(crate) fn head(args: &Args, what: &str, summary: &Summary, parts: usize, elapsed: Duration) {
    let late = format!("departures delayed by more than {} minutes", args.late);
    println!(
        "{what}: {} flights, {} of them never departed; {} {late}",
        HumanCount(summary.rows),
        HumanCount(summary.missing()),
        HumanCount(summary.late()),
    );
    println!(
        "read in {parts} {} of {}, filtered and summed up in {:.2} s\n",
        if parts == 1 { "block" } else { "blocks" },
        HumanBytes(args.block_size),
        elapsed.as_secs_f64(),
    );
    let names = names();
    let of = |pick: fn(&flights::Carrier) -> Moments| {
        let rows = summary.carriers.iter().map(|(code, carrier)| (code.as_str(), pick(carrier)));
        rows.filter(|(_, moments)| moments.count > 0).collect::<Vec<_>>()
    };
    section("delay of all departures, in minutes", &names, &of(|carrier| carrier.all));
    section(&late, &names, &of(|carrier| carrier.late));
}

/// The late flights as they are in the parts.
pub(crate) fn read_back(described: &Description, parts: usize, place: &str) {
    println!("the same read back from {parts} part files in {place}");
    println!("  count  {:>9}", described.count);
    let [min, low, median, high, max] = match described.quartiles {
        Some(quartiles) => quartiles.map(Some),
        None => [None; 5],
    };
    for (name, number) in [
        ("mean", described.mean),
        ("std", described.std),
        ("min", min),
        ("25%", low),
        ("50%", median),
        ("75%", high),
        ("max", max),
    ] {
        println!("  {name:<5}  {:>9}", decimal(number));
    }
}

/// That the table was written in Parquet.
pub(crate) fn copied(table: &Manifest, elapsed: Duration) {
    println!(
        "{}: {} flights in {} parts, {}, written in {:.2} s",
        table.url,
        HumanCount(table.rows()),
        table.parts.len(),
        HumanBytes(table.bytes()),
        elapsed.as_secs_f64(),
    );
}

/// Flights by the airport that they left.
pub(crate) fn origins(origins: &BTreeMap<String, u64>) {
    if origins.is_empty() {
        return;
    }
    println!("flights by the airport that they left");
    for (origin, count) in origins {
        println!("  {origin:<32} {:>9}", HumanCount(*count).to_string());
    }
    println!();
}

/// That the check which was asked for has succeeded.
pub(crate) fn checked(args: &Args) {
    if args.check.is_some() {
        println!("\nall numbers equal those of one pass over the file without the grid");
    }
}

fn section(title: &str, names: &BTreeMap<&str, &str>, rows: &[(&str, Moments)]) {
    println!("{title}");
    println!("  {:<32} {:>9} {:>9} {:>9} {:>9}", "CARRIER", "COUNT", "MEAN", "STD", "MAX");
    let print = |label: &str, moments: &Moments| {
        let mean = (moments.count > 0).then_some(moments.mean);
        println!(
            "  {label:<32} {:>9} {:>9} {:>9} {:>9}",
            HumanCount(moments.count).to_string(),
            decimal(mean),
            decimal(moments.std()),
            decimal(moments.max),
        );
    };
    for (code, moments) in rows {
        print(&format!("{code}  {}", names.get(code).copied().unwrap_or("")), moments);
    }
    let all = rows.iter().fold(Moments::default(), |sum, (_, moments)| sum.merge(*moments));
    print("all", &all);
    println!();
}

fn decimal(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.2}"))
}

/// Carriers' names by their codes.
fn names() -> BTreeMap<&'static str, &'static str> {
    AIRLINES.lines().skip(1).filter_map(|line| line.trim_end().split_once(',')).collect()
}
