//! What processes have used, as /proc tells it; and percentiles.

use std::time::Duration;

/// The processes of one server.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    pids: Vec<u32>,
}

/// A tick of /proc/PID/stat: 100 a second on every Linux there is.
const TICK: Duration = Duration::from_millis(10);

impl Processes {
    /// Process numbers with commas between them.
    pub(crate) fn new(text: &str) -> Processes {
        Processes { pids: text.split(',').map(|pid| pid.parse().expect("--pid N,N")).collect() }
    }

    /// The CPU time since they began.
    pub(crate) fn used(&self) -> Duration {
        let ticks = self.pids.iter().map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server has ended");
            // The name, in brackets, may hold blanks. utime and stime are fields 14 and 15; the first after it is 3.
            let after = stat.rsplit(')').next().unwrap();
            after.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum::<u32>()
        });
        TICK * ticks.sum::<u32>()
    }

    /// Prints what one answer took; nothing where no process was named.
    pub(crate) fn print_since(&self, before: Duration, answers: u64) {
        if !self.pids.is_empty() && answers > 0 {
            print!(" cpu_us={:.3}", (self.used() - before).as_secs_f64() * 1e6 / answers as f64);
        }
    }
}

/// Prints the 50th and 99th percentile and the largest of these microseconds.
pub(crate) fn print_percentiles(latencies: &mut [u32]) {
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)));
    let figure = |value: Option<&u32>| value.copied().unwrap_or_default();
    print!(" p50_us={} p99_us={} max_us={}", figure(at(50)), figure(at(99)), figure(at(100)));
}
