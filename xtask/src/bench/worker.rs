//! The two sides of a comparison: programs that do one workload at a time when told to.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// A running program that answers `run NAME ITERATIONS` with `ok MILLISECONDS`; it sleeps while it
/// waits for a line.
pub struct Worker {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it said of itself when it was ready.
    pub version: String,
}

impl Worker {
    pub fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the {name} side"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("no pipe")?;
        let output = BufReader::new(output);
        let mut worker = Worker { name, child, input, output, version: String::new() };
        let line = worker.line()?;
        worker.version = line
            .strip_prefix("ready ")
            .ok_or_else(|| anyhow!("the {name} side said `{line}` instead of `ready`"))?
            .to_owned();
        Ok(worker)
    }

    /// Milliseconds of one iteration, the mean of `iterations`.
    pub fn run(&mut self, workload: &str, iterations: u64) -> Result<f64> {
        Ok(self.ask(&format!("run {workload} {iterations}"))? / iterations as f64)
    }

    /// Forgets what the last workload keeps in memory.
    pub fn drop_workload(&mut self) -> Result<()> {
        self.ask("drop").map(|_| ())
    }

    /// Warms up, and finds how many iterations take about `budget_ms`.
    pub fn calibrate(&mut self, workload: &str, budget_ms: f64) -> Result<u64> {
        let mut iterations = 1;
        self.run(workload, 1)?;
        loop {
            let total = self.run(workload, iterations)? * iterations as f64;
            if total > budget_ms / 8.0 || iterations > 10_000_000 {
                let wanted = iterations as f64 * budget_ms / total.max(1e-6);
                return Ok((wanted as u64).max(1));
            }
            iterations *= 4;
        }
    }

    fn ask(&mut self, command: &str) -> Result<f64> {
        let input = self.input.as_mut().context("the pipe is closed")?;
        writeln!(input, "{command}").with_context(|| format!("the {} side is gone", self.name))?;
        let line = self.line()?;
        match line.strip_prefix("ok ").and_then(|number| number.parse().ok()) {
            Some(number) => Ok(number),
            None => bail!("{}: `{command}` gave `{line}`", self.name),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the {} side ended early; its message is above", self.name);
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input is its sign to stop.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Worker> {
        Worker::start("test", Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn a_worker_answers_and_stops() {
        let script = "echo ready 1.0; while read -r verb name n; do echo ok $((n * 4)); done";
        let mut worker = shell(script).unwrap();
        assert_eq!(worker.version, "1.0");
        assert_eq!(worker.run("x", 5).unwrap(), 4.0);
        assert_eq!(worker.calibrate("x", 80.0).unwrap(), 20);
    }

    #[test]
    fn what_goes_wrong_is_named() {
        assert!(shell("echo hello").is_err());
        assert!(shell("exit 1").is_err());
        let mut worker = shell("echo ready 1; read -r line; echo error: no workload x").unwrap();
        let message = worker.run("x", 1).unwrap_err().to_string();
        assert!(message.contains("no workload x"), "{message}");
        assert!(worker.run("x", 1).is_err());
    }
}
