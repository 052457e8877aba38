//! Waits until the machine's own addresses are other ones: told by the kernel on Linux, elsewhere never, so that only
//! the time of the next check counts.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod heard {
    use crate::error::io_text;
    use crate::sys::netlink::{self, AddressChanges, Kind};
    use std::io;
    use std::net::IpAddr;
    use std::time::Duration;
    use tokio::sync::mpsc;

    /// The machine's addresses as they were last.
    #[derive(Debug)]
    pub(crate) struct Changes {
        messages: Option<mpsc::Receiver<()>>,
        known: Vec<(String, IpAddr)>,
    }

    /// One change comes as several messages, an address and its neighbours; they are taken together.
    const SETTLE: Duration = Duration::from_millis(200);

    impl Changes {
        /// Listens from now on, in a thread that waits for the kernel.
        pub(crate) fn new() -> Changes {
            let messages = listen();
            if let Err(error) = &messages {
                tracing::warn!("changes of addresses are not heard, only looked for: {}", io_text(error));
            }
            Changes { messages: messages.ok(), known: known() }
        }

        /// Returns once the addresses are other ones. Routers renew them every few minutes; that is no change.
        pub(crate) async fn next(&mut self) {
            let Some(messages) = &mut self.messages else { return std::future::pending().await };
            loop {
                if messages.recv().await.is_none() {
                    // Nothing more is heard then; checks go on by time.
                    return std::future::pending().await;
                }
                tokio::time::sleep(SETTLE).await;
                while messages.try_recv().is_ok() {}
                let now = known();
                if now != self.known {
                    self.known = now;
                    return;
                }
            }
        }
    }

    fn listen() -> io::Result<mpsc::Receiver<()>> {
        let changes = AddressChanges::new()?;
        let (sender, receiver) = mpsc::channel(1);
        std::thread::Builder::new().name("addresses".into()).spawn(move || {
            while changes.wait().is_ok() {
                // One that waits already stands for this one too.
                if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                    return;
                }
            }
        })?;
        Ok(receiver)
    }

    fn known() -> Vec<(String, IpAddr)> {
        let addresses = netlink::addresses().unwrap_or_default();
        let lasting = addresses.into_iter().filter(|found| found.kind == Kind::Lasting);
        lasting.map(|found| (found.interface, found.address)).collect()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod heard {
    /// Nothing.
    #[derive(Debug)]
    pub(crate) struct Changes;

    impl Changes {
        pub(crate) fn new() -> Changes {
            Changes
        }

        pub(crate) async fn next(&mut self) {
            std::future::pending().await
        }
    }
}

pub(crate) use heard::Changes;
