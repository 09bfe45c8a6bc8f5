//! One side of a comparison: does workloads when a line on standard input says so.
//!
//! `run NAME ITERATIONS` is answered by `ok MILLISECONDS`, `drop` (forget what the last workload keeps)
//! by `ok 0`. Between lines the process sleeps.

use std::io::{BufRead, stdin};
use std::time::Instant;

use crate::{Work, device, workloads};

pub fn run(threads: usize) {
    kiln::cpu::set_num_threads(threads);
    kiln::manual_seed(0);
    println!("ready {}", env!("CARGO_PKG_VERSION"));
    let mut current: Option<(&'static str, Work)> = None;
    for line in stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["run", name, iterations] => match answer(&mut current, name, iterations) {
                Ok(milliseconds) => println!("ok {milliseconds}"),
                Err(why) => println!("error: {why}"),
            },
            ["drop"] => {
                current = None;
                println!("ok 0");
            }
            _ => println!("error: unknown command {line}"),
        }
    }
}

fn answer(
    current: &mut Option<(&'static str, Work)>,
    name: &str,
    iterations: &str,
) -> Result<f64, String> {
    let iterations: u64 = iterations.parse().map_err(|_| format!("{iterations} iterations"))?;
    if current.as_ref().is_none_or(|(known, _)| *known != name) {
        let workload = workloads().find(|workload| workload.name == name);
        let workload = workload.ok_or_else(|| format!("no workload {name}"))?;
        // What the last one keeps goes first.
        *current = None;
        *current = Some((workload.name, (workload.make)()));
    }
    let Some((_, work)) = current else { return Err("nothing to run".into()) };
    let start = Instant::now();
    (0..iterations).for_each(|_| work());
    device().synchronize();
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
