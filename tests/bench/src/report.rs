//! What a comparison found, as a table and as JSON. Ratios stand first.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    compare::Measured,
    contender::Contender,
    results::{nearest_rank, table},
};

/// All contenders of one run.
pub struct Comparison {
    pub services: usize,
    pub workers: usize,
    pub rounds: usize,
    pub profile: String,
    pub all: Vec<(Contender, Measured)>,
}

/// One line of the table.
struct Row {
    what: String,
    unit: &'static str,
    /// In the order of [`Contender::ALL`].
    values: [Option<f64>; 3],
}

impl Row {
    fn ratio(&self, to: usize) -> Option<f64> {
        let (elpio, other) = (self.values[2]?, self.values[to]?);
        (other > 0.0).then(|| elpio / other)
    }
}

impl Comparison {
    fn of(&self, who: Contender) -> Option<&Measured> {
        self.all.iter().find(|(one, _)| *one == who).map(|(_, measured)| measured)
    }

    fn row(&self, what: String, unit: &'static str, value: impl Fn(&Measured) -> Option<f64>) -> Row {
        Row { what, unit, values: Contender::ALL.map(|who| self.of(who).and_then(&value)) }
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut figures: Vec<&'static str> = Vec::new();
        for (_, measured) in &self.all {
            let new = measured.times.iter().map(|(what, _)| *what).filter(|what| !figures.contains(what));
            figures.extend(new.collect::<Vec<_>>());
        }
        for what in figures {
            for percent in [50, 99] {
                let value = |measured: &Measured| {
                    let (_, all) = measured.times.iter().find(|(one, _)| *one == what)?;
                    Some(nearest_rank(all, percent).as_secs_f64() * 1e3)
                };
                rows.push(self.row(format!("{what}, p{percent}"), "ms", value));
            }
        }
        let mut numbers: Vec<(&'static str, &'static str)> = Vec::new();
        for (_, measured) in &self.all {
            let new = measured.numbers.iter().map(|(what, _, unit)| (*what, *unit));
            numbers.extend(new.filter(|one| !numbers.contains(one)).collect::<Vec<_>>());
        }
        for (what, unit) in numbers {
            let value = |measured: &Measured| {
                measured.numbers.iter().find(|(one, ..)| *one == what).map(|(_, value, _)| *value)
            };
            rows.push(self.row(what.to_owned(), unit, value));
        }
        rows
    }

    fn requests(&self) -> Vec<Row> {
        let keys: BTreeSet<_> = self.all.iter().flat_map(|(_, measured)| measured.requests.keys()).collect();
        let row = |key: &&(&'static str, String)| {
            let value = |measured: &Measured| measured.requests.get(*key).copied();
            self.row(format!("{}: {}", key.0, key.1), "", value)
        };
        keys.iter().map(row).collect()
    }

    fn title(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let Self { services, workers, rounds, profile, .. } = self;
        format!(
            "{services} ElpioServices at once, engine Knative, {workers} workers, {cores} cores, {profile}, rounds: {rounds}"
        )
    }

    pub fn print(&self) {
        println!("\n{}\n", self.title());
        let names = Contender::ALL.map(Contender::name);
        let head = ["", "Elpio / peer", "Elpio / bare", "Elpio", names[1], names[0], "unit"];
        let mut times = table(&head);
        let digits = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        for row in self.rows() {
            let [bare, peer, elpio] = row.values.map(digits);
            let (to_peer, to_bare) = (digits(row.ratio(1)), digits(row.ratio(0)));
            times.add_row([row.what.clone(), to_peer, to_bare, elpio, peer, bare, row.unit.to_owned()]);
        }
        println!("{times}\n");
        let mut requests = table(&["API requests for each service", "Elpio", names[1], names[0]]);
        for row in self.requests() {
            let [bare, peer, elpio] = row.values.map(digits);
            requests.add_row([row.what, elpio, peer, bare]);
        }
        println!("{requests}");
    }

    pub fn to_json(&self) -> Value {
        let rows = |rows: Vec<Row>| -> Vec<Value> {
            let one = |row: Row| {
                json!({
                    "what": row.what, "unit": row.unit, "bare": row.values[0], "peer": row.values[1],
                    "elpio": row.values[2], "elpioToPeer": row.ratio(1), "elpioToBare": row.ratio(0),
                })
            };
            rows.into_iter().map(one).collect()
        };
        let percentiles = |all: &Vec<Duration>| -> Vec<f64> {
            (1..=100).map(|percent| nearest_rank(all, percent).as_secs_f64() * 1e3).collect()
        };
        let distributions: Vec<Value> = self
            .all
            .iter()
            .flat_map(|(who, measured)| measured.times.iter().map(move |(what, all)| (who, what, all)))
            .map(|(who, what, all)| {
                json!({"who": who.name(), "what": what, "percentilesInMilliseconds": percentiles(all)})
            })
            .collect();
        json!({
            "title": self.title(), "services": self.services, "figures": rows(self.rows()),
            "requestsForEachService": rows(self.requests()), "distributions": distributions,
        })
    }
}
