//! `cgwd doctor`: looks, and says what it found.

use std::path::{Path, PathBuf};

use super::args::{CONFIG_DEFAULT, Doctor};
use super::bundle::collect::Item;
use super::output::{colour_out, say};
use super::{EXIT_FAILED, Failure};
use crate::doctor::collect::{Options, collect, read_aws};
use crate::doctor::measure::{CannotMeasure, Target, measure};
use crate::doctor::{Facts, examine, render};

pub(super) async fn run(socket: &Path, doctor: &Doctor) -> Result<u8, Failure> {
    let aws = match &doctor.aws_json {
        Some(path) => Some(read_aws(path).map_err(|error| {
            let remedy = "make it with: aws ec2 describe-vpn-connections > FILE";
            Failure::new(EXIT_FAILED, format!("cgwd: cannot read {}: {error}; {remedy}", path.display()))
        })?),
        None => None,
    };
    let options = Options {
        config: doctor.config.clone(),
        config_default: PathBuf::from(CONFIG_DEFAULT),
        socket: socket.to_owned(),
        aws,
    };
    let fail = |why: String| Failure::new(EXIT_FAILED, format!("cgwd: {why}"));
    let to = doctor.to.as_deref().map(Target::parse).transpose();
    let to = to.map_err(|error| fail(format!("--to: {error}")))?;
    let facts = collect(&options).await.map_err(|error| fail(error.to_string()))?;
    // It waits for packets, so it has a thread of its own.
    let measured = tokio::task::spawn_blocking(move || {
        let mut facts = facts;
        facts.measured = measure(&facts, to)?;
        Ok(facts)
    });
    let facts = measured
        .await
        .map_err(|error| fail(error.to_string()))?
        .map_err(|error: CannotMeasure| fail(error.to_string()))?;
    let report = examine(&facts);
    if doctor.json {
        say(&(serde_json::to_string(&report).unwrap_or_default() + "\n"));
    } else {
        say(&render::screen(&report, &facts, colour_out()));
    }
    Ok(report.exit_status())
}

/// What a bundle wants to know: the facts, and the findings as text and as JSON.
pub(super) async fn for_bundle(socket: &Path, config: Option<&Path>) -> (Option<Facts>, [Item; 2]) {
    let options = Options {
        config: config.map(Path::to_owned),
        config_default: PathBuf::from(CONFIG_DEFAULT),
        socket: socket.to_owned(),
        aws: None,
    };
    let looked = collect(&options).await.map_err(|error| error.to_string());
    let report = looked.as_ref().map(examine).map_err(Clone::clone);
    let screen = match (&looked, &report) {
        (Ok(facts), Ok(report)) => Ok(render::screen(report, facts, false)),
        (Err(why), _) | (_, Err(why)) => Err(why.clone()),
    };
    let json = report.map(|report| serde_json::to_string_pretty(&report).unwrap_or_default() + "\n");
    let items = [
        Item { name: "doctor.txt", what: "cgwd doctor: what is wrong, why, and what to do", text: screen },
        Item { name: "doctor.json", what: "cgwd doctor --json", text: json },
    ];
    (looked.ok(), items)
}
