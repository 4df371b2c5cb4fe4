//! The manual pages: one for each command from the command line's own definition, and `cgwd.toml(5)` from the
//! schema that the decoder reads by, so that neither can say what the program does not do.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use config::schema::{Key, REQUIRED, TABLES, Table};

use super::args::Cli;
use super::{EXIT_FAILED, Failure};

/// Commands of the administrator.
const COMMANDS: &str = "8";
/// File formats.
const FILES: &str = "5";
/// The part of the file's page that no key says.
const FILE: [&str; 4] = [
    "One TOML file says which AWS Site-to-Site VPN connections `cgwd` keeps up. Nobody has to write it by hand: `cgwd import` makes it from any file that AWS gives, and `cgwd check --explain` says what it does. An unknown key is an error, with the nearest known one.",
    "The file holds pre-shared keys: it must be readable by its owner only (mode 0600). The service gets it as a systemd credential.",
    "A `duration` is a number of seconds, or a string with a unit: `\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"8h\"`. A `prefix` is a network without host bits, such as `10.10.0.0/16`. A `number` has no unit unless its text names one.",
    "A changed file takes effect by `systemctl reload cgwd`; tunnels that did not change keep their SAs.",
];

/// Writes every page into `directory`, which is made when it does not exist.
pub(super) fn write(directory: &Path) -> Result<u8, Failure> {
    let fail = |error: std::io::Error| {
        Failure::new(EXIT_FAILED, format!("cgwd: cannot write to {}: {error}", directory.display()))
    };
    std::fs::create_dir_all(directory).map_err(fail)?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_commands(&command, "cgwd", directory).map_err(fail)?;
    std::fs::write(directory.join(format!("cgwd.toml.{FILES}")), file_page()).map_err(fail)?;
    Ok(0)
}

/// One page for the command and one for each below it: `cgwd.8`, `cgwd-status.8`.
fn write_commands(command: &clap::Command, name: &str, directory: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands() {
        write_commands(below, &format!("{name}-{}", below.get_name()), directory)?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).section(COMMANDS).title(name.to_uppercase()).render(&mut page)?;
    let mut rest = Roff::new();
    if name == "cgwd" {
        rest.control("SH", ["FILES"]);
        for (path, text) in [
            ("/etc/cgwd/cgwd.toml", "the configuration, see `cgwd.toml(5)`"),
            ("/run/cgwd/control.sock", "the control socket: HTTP/1.1 with JSON, for root"),
            ("/var/lib/cgwd", "what outlives a restart: the events"),
        ] {
            rest.control("TP", []).text([bold(path)]).text(inlines(text));
        }
    }
    see_also(&mut rest, if name == "cgwd" { &["cgwd.toml(5)"] } else { &["cgwd(8)", "cgwd.toml(5)"] });
    page.extend(rest.to_roff().into_bytes());
    std::fs::write(directory.join(format!("{name}.{COMMANDS}")), page)
}

/// `cgwd.toml(5)`.
fn file_page() -> String {
    let mut page = Roff::new();
    page.control("TH", ["CGWD.TOML", FILES, "", concat!("cgwd ", env!("CARGO_PKG_VERSION"))]);
    page.control("SH", ["NAME"]).text([roman("cgwd.toml - configuration of the customer gateway daemon")]);
    page.control("SH", ["SYNOPSIS"]).text([bold("/etc/cgwd/cgwd.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in FILE {
        page.text(inlines(paragraph)).control("PP", []);
    }
    for table in TABLES {
        write_table(&mut page, table);
    }
    page.control("SH", ["EXAMPLE"]).text(inlines(
        "A whole file with every key in its place is installed as `/usr/share/doc/cgwd/examples/cgwd.example.toml`.",
    ));
    see_also(&mut page, &["cgwd(8)", "cgwd-import(8)", "cgwd-check(8)"]);
    page.to_roff()
}

fn write_table(page: &mut Roff, table: &Table) {
    page.control("SH", [table.header]).text(inlines(table.text));
    for Key { name, kind, default, text, example } in table.keys {
        page.control("TP", []).text([bold(*name)]);
        let mut first = inlines(kind);
        if !default.is_empty() {
            // "required", "required for `bgp`": no default at all.
            let required = default.starts_with(REQUIRED);
            first.push(roman(if required { "; " } else { "; default: " }));
            first.extend(inlines(default));
        }
        first.extend([roman("."), Inline::LineBreak]);
        first.extend(inlines(text));
        if !example.is_empty() {
            first.extend([Inline::LineBreak, roman("Example: "), bold(format!("{name} = {example}"))]);
        }
        page.text(first);
    }
}

fn see_also(page: &mut Roff, pages: &[&str]) {
    let mut words = Vec::new();
    for (index, name) in pages.iter().enumerate() {
        if index > 0 {
            words.push(roman(", "));
        }
        let (name, section) = name.split_once('(').unwrap_or((name, ""));
        words.extend([bold(name), roman(format!("({section}"))]);
    }
    page.control("SH", ["SEE ALSO"]).text(words);
}

/// The two marks that the schema's texts use: `` `code` `` becomes bold, `*term*` italic.
fn inlines(text: &str) -> Vec<Inline> {
    let mut out = Vec::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            out.push(bold(part));
            continue;
        }
        for (index, part) in part.split('*').enumerate().filter(|(_, part)| !part.is_empty()) {
            out.push(if index % 2 == 1 { italic(part) } else { roman(part) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_file_has_every_key_with_value_default_and_example() {
        let page = file_page();
        for table in TABLES {
            for key in table.keys {
                assert!(page.contains(&format!("\n\\fB{}\\fR\n", key.name)), "{} {}", table.header, key.name);
                if !key.example.is_empty() {
                    let example =
                        Roff::new().text([bold(format!("{} = {}", key.name, key.example))]).to_roff();
                    let example = example.lines().last().unwrap_or_default();
                    assert!(page.contains(&format!("Example: {example}")), "{} {example}", key.name);
                }
            }
        }
        assert!(!page.contains('`'), "a mark of the Markdown was left in the page");
    }

    #[test]
    fn every_command_has_a_page_that_whatis_finds() {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path()).expect("the pages");
        let mut command = Cli::command();
        command.build();
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let name = format!("cgwd-{}", below.get_name());
            let page = std::fs::read_to_string(directory.path().join(format!("{name}.8"))).expect("a page");
            let title = page.split(".SH NAME\n").nth(1).and_then(|rest| rest.lines().next());
            let escaped = name.replace('-', "\\-");
            assert!(title.is_some_and(|title| title.starts_with(&escaped)), "{name}: {title:?}");
        }
    }
}
