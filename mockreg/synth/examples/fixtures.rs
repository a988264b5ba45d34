//! Writes the fixtures that are made from the code to standard output:
//! `cargo run -p mockreg-synth --example fixtures -- schema > fixtures/schemas/catalogue.json`

use mockreg_synth::catalogue::Catalogue;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("schema") => print(&schemars::schema_for!(Catalogue)),
        _ => eprintln!("usage: fixtures schema"),
    }
}

fn print(value: &impl serde::Serialize) {
    println!("{}", serde_json::to_string_pretty(value).expect("these values have string keys"));
}
