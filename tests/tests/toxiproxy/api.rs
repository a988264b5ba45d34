//! Answers of the API: recorded ones against ours, and the record against the real program.

use chaosproxy::Server;
use e2e::peers::Toxiproxy;

use crate::script::{Answer, Call, Ours, Script, Section};

pub(crate) const RECORD: &str = "api-2.5.0.json";
/// Written from the source of later versions, which cannot be had as a program here.
const NEWER: &str = "api-2.12.0.json";
/// What the reference lets slip into the JSON of a proxy.
const SLIP: &str = "\"Logger\":{},";

fn server(strict: bool) -> Server {
    Server::builder().strict_compat(strict).start().unwrap()
}

fn ours(section: &Section, strict: bool) -> Vec<Answer> {
    let server = server(strict);
    section.play(server.api_addr())
}

/// Compares what ours answers with what is expected of each call, and reports every mismatch.
fn check(script: &Script, strict: bool, expected: impl Fn(&Call) -> Answer) {
    let mut mismatches = Vec::new();
    for section in &script.sections {
        for (call, got) in section.calls.iter().zip(ours(section, strict)) {
            let wanted = expected(call);
            if got != wanted {
                let (title, named, body) = (&section.title, &call.call, &call.body);
                mismatches.push(format!("{title}: {named} {body}\n  wanted {wanted:?}\n  got    {got:?}"));
            }
        }
    }
    assert!(mismatches.is_empty(), "{} mismatches\n{}", mismatches.len(), mismatches.join("\n"));
}

/// The recorded answer as ours is without a listed difference: without the slip, and with a newline at the end of JSON.
fn plain(answer: &Answer) -> Answer {
    let mut plain = answer.clone();
    plain.text = plain.text.replace(SLIP, "");
    let is_json = plain.headers.iter().any(|header| header == "content-type: application/json");
    if is_json && !plain.text.ends_with('\n') {
        plain.text.push('\n');
    }
    plain
}

/// A listed answer of ours with the slip, which is part of being strict.
fn slipped(answer: &Answer) -> Answer {
    let text = answer.text.replace("\"toxics\":[", &format!("{SLIP}\"toxics\":["));
    Answer { text, ..answer.clone() }
}

pub(crate) fn ours_answers_as_recorded() {
    let script = Script::read(RECORD);
    script.check_reasons();
    check(&script, false, |call| match &call.ours {
        Some(ours) => {
            let listed = plain(&ours.answer);
            assert_ne!(listed, plain(&call.answer), "{} {}: listed, and no difference", call.call, call.body);
            listed
        }
        None => plain(&call.answer),
    });
}

pub(crate) fn ours_is_strict() {
    let script = Script::read(RECORD);
    check(&script, true, |call| match &call.ours {
        Some(Ours { strict: Some(answer), .. }) => answer.clone(),
        Some(ours) if !script.reasons[&ours.because].undone_by_strict => slipped(&ours.answer),
        _ => call.answer.clone(),
    });
}

pub(crate) fn ours_is_as_newer_versions() {
    let script = Script::read(NEWER);
    script.check_reasons();
    for strict in [false, true] {
        check(&script, strict, |call| if strict { call.answer.clone() } else { plain(&call.answer) });
    }
}

/// Plays the record against the real server. With `STORMYARD_RECORD=1` its answers, and ours where they differ, are
/// written into the record instead; reasons are for people to give.
pub(crate) fn the_record_is_true() {
    let mut script = Script::read(RECORD);
    let is_recording = std::env::var_os("STORMYARD_RECORD").is_some();
    let mut mismatches = Vec::new();
    for section in &mut script.sections {
        let real = Toxiproxy::start(&[]);
        let answers = section.play(real.api);
        let ours = if is_recording { Some((ours(section, false), ours(section, true))) } else { None };
        for (index, (call, real)) in section.calls.iter_mut().zip(answers).enumerate() {
            if let Some((ours, strict)) = &ours {
                record(call, real, &ours[index], &strict[index]);
            } else if real != call.answer {
                let (named, body, recorded) = (&call.call, &call.body, &call.answer);
                mismatches.push(format!("{named} {body}\n  recorded {recorded:?}\n  real     {real:?}"));
            }
        }
    }
    if is_recording {
        script.write(RECORD);
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}

fn record(call: &mut Call, real: Answer, ours: &Answer, strict: &Answer) {
    let (because, newer) = call.ours.take().map_or_else(Default::default, |ours| (ours.because, ours.strict));
    if *ours != plain(&real) || *strict != real {
        let mut answer = ours.clone();
        answer.text = answer.text.trim_end_matches('\n').to_owned();
        if !answer.headers.iter().any(|header| header == "content-type: application/json") {
            answer.text.clone_from(&ours.text);
        }
        call.ours = Some(Ours { because, answer, strict: newer });
    }
    call.answer = real;
}
