//! The metrics, the alert rules and the dashboard in a real Prometheus, beside a real pair.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::netns;
use lab::process::{Process, Spawn};
use lab::topology::{Side, Topology};
use lab::wait;

use crate::rig::Rig;
use crate::web::append;
use crate::world::World;

/// An alert fires and clears this soon, with everything at half a second.
const ALERT: Duration = Duration::from_secs(30);

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

#[test]
fn the_shipped_rules_pass_their_own_tests() -> Result<()> {
    if Rig::new().is_none() {
        return Ok(());
    }
    let promtool = |arguments: [&str; 2], file: &str| {
        netns::run(Command::new("promtool").args(arguments).arg(shipped(file)))
    };
    promtool(["check", "rules"], "prometheus/cgwd.rules.yml")?;
    promtool(["test", "rules"], "prometheus/cgwd.rules.test.yml")?;
    // No alert without a test.
    let [rules, tests] = ["prometheus/cgwd.rules.yml", "prometheus/cgwd.rules.test.yml"]
        .map(|name| std::fs::read_to_string(shipped(name)).unwrap_or_default());
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let fires = tests.contains(&format!("alertname: {alert}\n"));
        let clears = tests.contains(&format!("alertname: {alert}, exp_alerts: []"));
        ensure!(fires && (clears || alert == "CgwdGone"), "{alert} is not made to fire and to clear");
    }
    Ok(())
}

/// A Prometheus that scrapes the daemon twice a second.
struct Prometheus<'t> {
    lab: &'t Topology,
    _process: Process,
}

impl<'t> Prometheus<'t> {
    fn start(lab: &'t Topology) -> Result<Self> {
        let directory = lab.scratch().join("prometheus");
        std::fs::create_dir_all(&directory)?;
        // The shipped rules, but for the patience of a person.
        let rules = std::fs::read_to_string(shipped("prometheus/cgwd.rules.yml"))?;
        let rules: Vec<String> = rules
            .lines()
            .map(|line| match line.split_once("for: ") {
                Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s"),
                _ => line.to_owned(),
            })
            .collect();
        std::fs::write(directory.join("rules.yml"), rules.join("\n"))?;
        std::fs::write(
            directory.join("prometheus.yml"),
            "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n  - job_name: cgwd\n    static_configs: [{targets: [\"127.0.0.1:9797\"]}]\n",
        )?;
        let file = |option: &str, name: &str| format!("{option}={}", directory.join(name).display());
        let process = Process::spawn(&Spawn {
            namespace: &lab.gw,
            command: vec![
                "prometheus".to_owned(),
                file("--config.file", "prometheus.yml"),
                file("--storage.tsdb.path", "data"),
                "--web.listen-address=127.0.0.1:9090".to_owned(),
                "--log.level=warn".to_owned(),
            ],
            env: Vec::new(),
            log: directory.join("log"),
            pipes: false,
        })?;
        let this = Self { lab, _process: process };
        wait::until(ALERT, "the first scrape", || {
            this.query("up{job=\"cgwd\"} == 1").is_ok_and(|it| !it.is_empty())
        })
        .with_context(|| std::fs::read_to_string(directory.join("log")).unwrap_or_default())?;
        Ok(this)
    }

    /// One line for each series.
    fn query(&self, query: &str) -> Result<String> {
        let answer = self.lab.gw.run(&["promtool", "query", "instant", "http://127.0.0.1:9090", query])?;
        Ok(answer.trim().to_owned())
    }

    fn fires(&self, alert: &str) -> bool {
        let query = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
        self.query(&query).is_ok_and(|series| !series.is_empty())
    }

    fn wait_for(&self, alert: &str) -> Result<()> {
        wait::until(ALERT, &format!("{alert} to fire"), || self.fires(alert)).map(drop)
    }

    fn wait_for_silence(&self, alert: &str) -> Result<()> {
        wait::until(ALERT, &format!("{alert} to clear"), || !self.fires(alert)).map(drop)
    }
}

#[test]
fn prometheus_takes_the_metrics_and_its_alerts_fire_and_clear() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let settings = Side::BOTH.map(lab::strongswan::Settings::aws);
    let mut world = World::prepare(lab, &lab::aws_file::Connection::lab(), settings)?;
    append(&world.gateway.config(), "\n[metrics]\nlisten = \"127.0.0.1:9797\"\n")?;
    // Sixty probes are remembered: six seconds here, a minute by default.
    let text = std::fs::read_to_string(world.gateway.config())?;
    let text = text.replace(
        "[[connection.tunnel]]\n",
        "[[connection.tunnel]]\nprobe = {interval = \"100ms\", loss = 10}\n",
    );
    std::fs::write(world.gateway.config(), text)?;
    world.start()?;
    let prometheus = Prometheus::start(lab)?;
    prometheus.wait_for_silence("CgwdGone")?;
    let up = prometheus.query("sum(cgwd_tunnel_up)")?;
    ensure!(up.contains("=> 2 @"), "two tunnels are up, not {up:?}");
    the_dashboard_can_be_asked(&prometheus)?;
    let all = prometheus.query("ALERTS{alertstate=\"firing\"}")?;
    ensure!(all.is_empty(), "a healthy pair, and yet {all}");

    // Every third packet of the path that carries the traffic is lost: lossy, not dead.
    let side = world.egress()?;
    lab.internet_drops(&[format!("ip saddr {} udp sport 4500 numgen inc mod 3 0", side.outside())])?;
    prometheus.wait_for("CgwdProbeLoss")?;
    ensure!(!prometheus.fires("CgwdTunnelDown"), "a lossy tunnel is up");
    lab.mend()?;
    prometheus.wait_for_silence("CgwdProbeLoss")?;

    lab.cut(side)?;
    prometheus.wait_for("CgwdTunnelDown")?;
    prometheus.wait_for("CgwdRedundancyLost")?;
    ensure!(!prometheus.fires("CgwdConnectionDown"), "one tunnel is up");
    let failovers = prometheus.query("sum(cgwd_failovers_total{cause=\"down\"})")?;
    ensure!(failovers.contains("=> 1 @"), "one failover, not {failovers:?}");
    lab.cut_both()?;
    prometheus.wait_for("CgwdConnectionDown")?;
    lab.mend()?;
    for alert in ["CgwdConnectionDown", "CgwdTunnelDown", "CgwdRedundancyLost"] {
        prometheus.wait_for_silence(alert)?;
    }

    world.gateway.stop();
    prometheus.wait_for("CgwdGone")?;
    world.start()?;
    prometheus.wait_for_silence("CgwdGone")
}

/// Every query of the dashboard is one that Prometheus understands.
fn the_dashboard_can_be_asked(prometheus: &Prometheus<'_>) -> Result<()> {
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(shipped("grafana/cgwd.json"))?)?;
    let panels = dashboard["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions: Vec<&str> = targets.filter_map(|target| target["expr"].as_str()).collect();
    ensure!(expressions.len() > 20, "{expressions:?}");
    for expression in expressions {
        let asked = expression
            .replace("$__rate_interval", "30s")
            .replace("$connection", ".*")
            .replace("$instance", ".*");
        prometheus.query(&format!("({asked})")).with_context(|| expression.to_owned())?;
    }
    Ok(())
}
