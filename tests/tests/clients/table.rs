//! The table in docs/clients.md: made from the list of clients, and compared with the file, so that it tells what is
//! verified and nothing else. Versions are those of the run that wrote it; another one is said, not failed.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use e2e::binary;
use e2e::program::find;
use libtest_mimic::{Failed, Trial};

use crate::AnyClient;
use crate::client::Client;

/// Lines between which the table stands.
const BEGIN: &str = "<!-- made by `STORMYARD_CLIENTS=record cargo test -p e2e --test clients -- table` -->";
const END: &str = "<!-- end -->";

/// The trial that holds the table; with `STORMYARD_CLIENTS=record` it writes it.
pub(crate) fn trial(clients: &[AnyClient]) -> Trial {
    let clients: Vec<AnyClient> = clients.iter().map(Arc::clone).collect();
    Trial::test("table_in_docs_names_every_client", move || {
        let path = binary::root().join("docs/clients.md");
        let text = std::fs::read_to_string(&path)?;
        if std::env::var("STORMYARD_CLIENTS").is_ok_and(|value| value == "record") {
            return write(&path, &text, &table(&clients));
        }
        compare(&clients, between(&text)?)
    })
}

fn write(path: &PathBuf, text: &str, table: &str) -> Result<(), Failed> {
    let old = between(text)?;
    let (before, after) = text.split_once(&format!("{BEGIN}{old}{END}")).expect("this was just read");
    Ok(std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}"))?)
}

fn between(text: &str) -> Result<&str, Failed> {
    let (_, rest) = text.split_once(BEGIN).ok_or("docs/clients.md has lost its table")?;
    let (table, rest) = rest.split_once(END).ok_or("the table in docs/clients.md has no end")?;
    if rest.contains("| client |") {
        return Err("docs/clients.md has a second table".into());
    }
    Ok(table)
}

/// A row for each client, in Markdown.
fn table(clients: &[AnyClient]) -> String {
    let mut table =
        "\n| client | version | pull | push | copy | tags and delete | unpacks zstd |\n|".to_owned();
    table.push_str(&"---|".repeat(7));
    for client in clients {
        let _ = write!(table, "\n| {} | {} | {} |", client.name(), client.version(), cells(&**client));
    }
    table.push('\n');
    table
}

/// What stands behind the version.
fn cells(client: &dyn Client) -> String {
    let copy = if client.copies() { "verified" } else { "verified, as pull and push" };
    let keeper = if client.keeper().is_some() { "verified" } else { "not asked for" };
    let zstd = match (client.unpacks(), client.unpacks_zstd()) {
        (false, _) => "does not unpack",
        (true, true) => "verified",
        (true, false) => "not in this version",
    };
    format!("verified | verified | {copy} | {keeper} | {zstd}")
}

fn compare(clients: &[AnyClient], found: &str) -> Result<(), Failed> {
    let rows: Vec<&str> = found.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    if rows.len() != clients.len() {
        return Err(format!("{} rows for {} clients", rows.len(), clients.len()).into());
    }
    for (client, row) in clients.iter().zip(rows) {
        let mut parts = row.trim_matches(['|', ' ']).splitn(3, " | ");
        let (name, version, cells_found) = (parts.next(), parts.next(), parts.next());
        if name != Some(client.name()) {
            return Err(format!("a row of {name:?} where {} should be", client.name()).into());
        }
        if client.programs().iter().any(|program| find(program).is_none()) {
            continue;
        }
        if cells_found != Some(&cells(&**client)) {
            return Err(format!("{}: `{row}`, but it is: {}", client.name(), cells(&**client)).into());
        }
        if version != Some(&client.version()) {
            println!("{}: {} here, {version:?} in docs/clients.md", client.name(), client.version());
        }
    }
    Ok(())
}
