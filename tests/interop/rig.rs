//! What every test stands on: one lab at a time, and a reason when there can be none.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use lab::strongswan;
use lab::topology::Topology;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static LOGGING: Once = Once::new();

/// The network, for as long as the test lasts.
pub struct Rig {
    pub topology: Topology,
    _alone: MutexGuard<'static, ()>,
}

impl Rig {
    /// The lab, or `None` with the reason printed when this machine cannot have one.
    pub fn new() -> Option<Self> {
        LOGGING.call_once(|| {
            let filter = tracing_subscriber::EnvFilter::try_from_default_env();
            let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
            let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        });
        if let Some(reason) = cannot_run() {
            assert!(std::env::var_os("CGWD_REQUIRE_LAB").is_none(), "the lab cannot run: {reason}");
            println!("skipped: {reason}");
            return None;
        }
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let topology = Topology::new().expect("the lab's network");
        Some(Self { topology, _alone: alone })
    }

    /// Whether this run may take long.
    pub fn soaking() -> bool {
        std::env::var_os("CGWD_SOAK").is_some()
    }

    /// The same for what takes long or judges percentiles: only with `CGWD_SOAK=1`, on a machine that does nothing else.
    pub fn soak() -> Option<Self> {
        if !Self::soaking() {
            println!("skipped: a soak; set CGWD_SOAK=1 on a quiet machine");
            return None;
        }
        Self::new()
    }
}

fn cannot_run() -> Option<String> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return Some("network namespaces need root".to_owned());
    }
    strongswan::installed().err().map(|error| error.to_string())
}
