//! What the machine did and is: CPU time of everything, of a process and of its threads; memory; the hardware and
//! kernel a result belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Ticks of `/proc/stat` a second; the kernel's user interface is fixed at it.
const TICKS: f64 = 100.0;

/// CPU seconds of the whole machine since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CpuTime {
    /// User, nice, system, interrupts and soft interrupts.
    pub(super) busy: f64,
    /// What the hypervisor gave to others while we wanted to run.
    pub(super) steal: f64,
}

impl CpuTime {
    pub(super) fn now() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?).context("/proc/stat has no cpu line")
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal
        let sum =
            |indices: &[usize]| indices.iter().map(|&index| ticks.get(index).copied().unwrap_or(0.0)).sum();
        let (busy, steal): (f64, f64) = (sum(&[0, 1, 2, 5, 6]), sum(&[7]));
        Some(Self { busy: busy / TICKS, steal: steal / TICKS })
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self { busy: self.busy - earlier.busy, steal: self.steal - earlier.steal }
    }
}

/// CPU seconds of each thread of a process, by thread name; threads of one name are added up.
pub(super) fn threads(pid: u32) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return all };
    for task in tasks.flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let name = read("comm").trim().to_owned();
        // Nanoseconds on a CPU, where the kernel keeps them; ticks otherwise.
        let exact = read("schedstat").split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
        let seconds = exact.map_or_else(|| ticks(&read("stat")), |nanos| nanos / 1e9);
        *all.entry(name).or_insert(0.0) += seconds;
    }
    all
}

/// CPU seconds of a whole process.
pub(super) fn process(pid: u32) -> f64 {
    threads(pid).values().sum()
}

/// User and system time of a `stat` file; its second field, in brackets, may hold blanks.
fn ticks(stat: &str) -> f64 {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// Resident and highest resident memory of a process, in MiB.
pub(super) fn memory(pid: u32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
        line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// One-minute load average.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// What a result must be read with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model, with family and model numbers where the name says nothing.
    pub cpu: String,
    /// How many of them.
    pub cpus: usize,
    /// Vector instructions that AES-GCM code chooses by.
    pub crypto_flags: Vec<String>,
    /// Kernel release.
    pub kernel: String,
    /// Distribution.
    pub system: String,
    /// Bytes of memory in MiB.
    pub memory_mib: u64,
    /// `net.*` settings that matter to TCP.
    pub sysctl: BTreeMap<String, String>,
    /// What kind of virtual machine, if any.
    pub virtualization: String,
}

impl Machine {
    pub(super) fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name)).unwrap_or("");
            line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
        };
        let flags = field("flags");
        let wanted = ["aes", "avx2", "vaes", "vpclmulqdq", "avx512f", "avx512vl"];
        let present = |flag: &&&str| flags.split_whitespace().any(|word| word == **flag);
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("");
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = memory.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        Self {
            cpu: format!(
                "{} (family {}, model {})",
                field("model name"),
                field("cpu family"),
                field("model\t")
            ),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            crypto_flags: wanted.iter().filter(present).map(|flag| (*flag).to_owned()).collect(),
            kernel: first_line(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()),
            system: pretty.trim_matches('"').to_owned(),
            memory_mib: total / 1024,
            sysctl: sysctls(),
            virtualization: hypervisor(),
        }
    }
}

fn hypervisor() -> String {
    let mut command = Command::new("systemd-detect-virt");
    command.arg("--vm");
    said(command).unwrap_or_default()
}

fn sysctls() -> BTreeMap<String, String> {
    let names = [
        "ipv4/tcp_congestion_control",
        "ipv4/tcp_rmem",
        "ipv4/tcp_wmem",
        "core/rmem_max",
        "core/netdev_max_backlog",
    ];
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap_or_default();
    let tidy = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    names.iter().map(|name| (format!("net.{}", name.replace('/', ".")), tidy(read(name)))).collect()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The first line that a program prints, where it runs at all.
pub(super) fn said(mut command: Command) -> Option<String> {
    let output = command.stdin(std::process::Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_stolen_time_is_not_busy_time() {
        let time = CpuTime::parse("cpu  100 10 200 5000 30 5 85 40 0 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(time, CpuTime { busy: 4.0, steal: 0.4 });
        assert_eq!(CpuTime::parse("intr 5"), None);
    }

    #[test]
    fn a_thread_name_with_a_bracket_does_not_shift_the_fields() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert!((ticks(stat) - 2.0).abs() < 1e-9);
    }
}
