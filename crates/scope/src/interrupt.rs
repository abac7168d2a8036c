//! Ctrl-C for commands that have something to finish first.

use crate::run::signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell expects of a program that was interrupted.
pub(crate) const EXIT_CODE: u8 = 130;

/// True after the first Ctrl-C or `SIGTERM`; a second one ends the process at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system refuses a thread or the signals.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let raised = Arc::clone(&interrupt.0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ready, listening) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async move {
                let mut first = Box::pin(signal());
                // One look at it makes it listen.
                let seen = tokio::time::timeout(std::time::Duration::ZERO, &mut first).await.is_ok();
                ready.send(()).ok();
                if !seen {
                    first.await;
                }
                raised.store(true, Ordering::Relaxed);
                signal().await;
                std::process::exit(i32::from(EXIT_CODE));
            });
        })?;
        listening.recv().ok();
        Ok(interrupt)
    }

    /// Whether somebody wants an end.
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
