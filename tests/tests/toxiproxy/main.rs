//! The contract of Toxiproxy: what its server answers, does to transfers and prints, and what ours does. Answers of the
//! real program are recorded under `fixtures/vectors/toxiproxy`; where the program is installed the same scripts run
//! against it as well, and each difference is in a table with its reason, or a test fails. A difference that is in the
//! table and does not appear fails, too.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod api;
mod ctl;
mod docs;
mod flags;
mod metrics;
mod reference;
mod script;
mod transfers;

use std::process::ExitCode;

use e2e::program::trial;
use libtest_mimic::{Arguments, Trial};

const SERVER: &str = "toxiproxy-server";
const CLI: &str = "toxiproxy-cli";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Transfers are compared by how long they take; nothing else is to run beside them.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    vec![
        trial("every_recorded_answer_is_ours_or_a_listed_difference", &[], api::ours_answers_as_recorded),
        trial("strictly_every_recorded_answer_is_ours_to_the_byte", &[], api::ours_is_strict),
        trial("what_changed_after_the_recorded_version_is_ours", &[], api::ours_is_as_newer_versions),
        trial("the_recorded_answers_are_those_of_the_real_server", &[SERVER], api::the_record_is_true),
        trial("transfers_go_as_through_the_real_server", &[SERVER], transfers::compare),
        trial("metrics_have_the_names_and_labels_of_the_real_server", &[SERVER], metrics::compare),
        trial("flags_are_read_as_the_real_server_reads_them", &[SERVER], flags::compare),
        trial("ctl_prints_what_the_real_client_prints", &[CLI], ctl::compare),
        trial("help_teaches_what_that_of_the_real_client_does", &[CLI], ctl::help_teaches_as_much),
        trial("the_real_client_reads_our_answers", &[CLI], ctl::the_real_client_works),
        trial("the_guide_names_every_difference", &[], docs::compare),
    ]
}
