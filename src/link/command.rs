//! Commands of the operator's: run by the shell, bounded in time and in what is read of them.

use super::Fault;
use crate::error::io_text;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of what it prints is read.
const LONGEST: u64 = 64 << 10;

/// The processes that a command has started, ended with it where its time is up or nobody waits for it any more: each
/// check would leave more of them else.
struct Group(Option<Pid>);

/// Runs a command with this standard input and more in its environment, and returns what it prints.
pub(super) async fn run(words: &str, environment: &[(&str, &str)], input: &str) -> Result<String, Fault> {
    let cannot = |error: std::io::Error| Fault(format!("cannot run it: {}", io_text(&error)));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", words]).envs(environment.iter().copied()).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(cannot)?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut text = Vec::new();
    let run = async {
        if let Some(mut stdin) = stdin {
            // A command need not read it.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        if let Some(stdout) = stdout {
            stdout.take(LONGEST).read_to_end(&mut text).await?;
        }
        child.wait().await
    };
    let status = timeout(PATIENCE, run).await.map_err(|_| Fault::new("it did not end within 30 s"))?.map_err(cannot)?;
    // What it left running by intent stays.
    group.0 = None;
    if status.success() {
        Ok(String::from_utf8_lossy(&text).into_owned())
    } else {
        Err(Fault(format!("it failed: {status}")))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It is not waited for yet, so the number is its own.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
