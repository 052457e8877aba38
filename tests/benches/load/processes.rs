//! What processes have used, as /proc tells it; and percentiles.

use std::time::Duration;

/// The processes of one server.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    pids: Vec<u32>,
}

/// What processes have used since they began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    cpu: Duration,
    /// Octets that went to the disk, or will go.
    written: u64,
}

/// A tick of /proc/PID/stat: 100 a second on every Linux there is.
const TICK: Duration = Duration::from_millis(10);

impl Processes {
    /// Process numbers with commas between them.
    pub(crate) fn new(text: &str) -> Processes {
        Processes { pids: text.split(',').map(|pid| pid.parse().expect("--pid N,N")).collect() }
    }

    pub(crate) fn used(&self) -> Used {
        let mut used = Used::default();
        for pid in &self.pids {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server has ended");
            // The name, in brackets, may hold blanks. utime and stime are fields 14 and 15; the state after it is 3.
            let after = stat.rsplit(')').next().unwrap();
            let ticks: u32 = after.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum();
            used.cpu += TICK * ticks;
            let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
            used.written += written.map_or(0, |number| number.parse().unwrap());
        }
        used
    }

    /// Prints what one answer took; nothing where no process was named.
    pub(crate) fn print_since(&self, before: Used, answers: u64) {
        if self.pids.is_empty() || answers == 0 {
            return;
        }
        let now = self.used();
        let cpu = (now.cpu - before.cpu).as_secs_f64() * 1e6 / answers as f64;
        let written = (now.written - before.written) as f64 / answers as f64;
        print!(" cpu_us={cpu:.3} written={written:.0}");
    }
}

/// Prints the 50th and 99th percentile and the largest of these microseconds.
pub(crate) fn print_percentiles(latencies: &mut [u32]) {
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)));
    let figure = |value: Option<&u32>| value.copied().unwrap_or_default();
    print!(" p50_us={} p99_us={} max_us={}", figure(at(50)), figure(at(99)), figure(at(100)));
}
