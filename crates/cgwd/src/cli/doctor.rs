//! `cgwd doctor`: looks, and says what it found.

use std::path::{Path, PathBuf};

use super::args::{CONFIG_DEFAULT, Doctor};
use super::output::{colour_out, say};
use super::{EXIT_FAILED, Failure};
use crate::doctor::collect::{Options, collect, read_aws};
use crate::doctor::{examine, render};

pub(super) async fn run(socket: &Path, doctor: &Doctor) -> Result<u8, Failure> {
    let aws = match &doctor.aws_json {
        Some(path) => Some(read_aws(path).map_err(|error| {
            Failure::new(EXIT_FAILED, format!("cgwd: cannot read {}: {error}", path.display()))
        })?),
        None => None,
    };
    let options = Options {
        config: doctor.config.clone(),
        config_default: PathBuf::from(CONFIG_DEFAULT),
        socket: socket.to_owned(),
        aws,
    };
    let facts =
        collect(&options).await.map_err(|error| Failure::new(EXIT_FAILED, format!("cgwd: {error}")))?;
    let report = examine(&facts);
    if doctor.json {
        say(&(serde_json::to_string(&report).unwrap_or_default() + "\n"));
    } else {
        say(&render::screen(&report, &facts, colour_out()));
    }
    Ok(report.exit_status())
}
