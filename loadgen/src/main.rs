//! The program: reads what was typed, runs it, prints, and ends with the documented exit code.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadgen::cancel::CancelToken;
use loadgen::cli::{Cli, Command, PlanArgs, RunArgs, ScenarioArgs, ScenariosArgs};
use loadgen::plan::Plan;
use loadgen::result::{self, RunResult};
use loadgen::run::{self, Request};
use loadgen::scenario::{self, Scenario};
use loadgen::verdict::Outcome;
use loadgen::{causes, report, say, single};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Usage or configuration.
const USAGE: u8 = 2;
/// Something could not be started, reached or written.
const ENVIRONMENT: u8 = 3;
/// Signals closer than this are one.
const ONE_WISH: Duration = Duration::from_millis(300);
/// What shells report for a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    // Silent unless asked: RUST_LOG=loadgen=debug shows every retry with its cause.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let interrupt = CancelToken::new();
    tokio::spawn(watch_signals(interrupt.clone()));
    match Cli::parse().command {
        Command::Run(args) => run_scenario(&args, &interrupt).await,
        Command::Plan(args) => show_plan(&args),
        Command::Scenarios(args) => show_scenarios(&args),
        Command::Copy(args) => single::copy(&args, &interrupt).await,
        Command::Verify(args) => single::verify(&args, &interrupt).await,
    }
    .into()
}

/// The first signal asks for a clean end, the second ends at once.
async fn watch_signals(interrupt: CancelToken) {
    let streams = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut int), Ok(mut term)) = streams else { return };
    for count in 0.. {
        tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
        if count > 0 {
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("stopping; once more stops at once");
        interrupt.cancel();
        // Shells and timeouts signal a process and its group: two signals within a moment are one wish.
        tokio::time::sleep(ONE_WISH).await;
        let _ = tokio::time::timeout(Duration::ZERO, int.recv()).await;
        let _ = tokio::time::timeout(Duration::ZERO, term.recv()).await;
    }
}

async fn run_scenario(args: &RunArgs, interrupt: &CancelToken) -> u8 {
    let scenario = match resolved(&args.scenario) {
        Ok(scenario) => scenario,
        Err(code) => return code,
    };
    if let Err(error) = args.testbed().check(&scenario) {
        eprintln!("{}", causes(&error));
        return USAGE;
    }
    let run_id = run::new_run_id();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("stormyard-results").join(&run_id));
    let request = Request {
        scenario,
        seed: args.scenario.seed,
        testbed: args.testbed(),
        verify_full: args.verify_full,
        strict: args.strict,
        out: Some(out.clone()),
        metrics: args.metrics,
        linger: args.linger.0,
        progress: args.progress,
    };
    if let Err(error) = result::prepare(&out) {
        let problem = format!("cannot use {}: {error}; choose another --out", out.display());
        eprintln!("{problem}");
        say!("{}", json(&run::not_run(&request, &run_id, problem)));
        return ENVIRONMENT;
    }
    let result = run::run(&request, &run_id, interrupt).await;
    finish(result, &out, args.json)
}

/// Writes and prints the result. Where it cannot be written it goes to standard output, whole.
fn finish(mut result: RunResult, out: &Path, as_json: bool) -> u8 {
    match result.write(out) {
        Ok(_) if as_json => say!("{}", json(&result)),
        Ok(path) => {
            let terminal = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let colour = if terminal { report::Colour::Ansi } else { report::Colour::Plain };
            say!("{}\n  {}", report::page(&result, colour), path.display());
        }
        Err(error) => {
            let problem = format!(
                "cannot write the result to {}: {error}; it stands on standard output",
                out.display()
            );
            eprintln!("{problem}");
            (result.outcome, result.exit_code) = (Outcome::Error, ENVIRONMENT);
            result.reasons.push(problem);
            say!("{}", json(&result));
        }
    }
    result.exit_code
}

fn json(result: &RunResult) -> String {
    serde_json::to_string(result).expect("a result has text keys and finite numbers")
}

fn show_plan(args: &PlanArgs) -> u8 {
    let scenario = match resolved(&args.scenario) {
        Ok(scenario) => scenario,
        Err(code) => return code,
    };
    let plan = Plan::draw(&scenario, args.scenario.seed);
    if args.json {
        say!("{}", serde_json::to_string(&plan).expect("a plan is plain data"));
        return 0;
    }
    say!("plan {} (seed {}, scale {})", plan.plan_hash, plan.seed, scenario.scale);
    for operation in &plan.operations {
        let megabytes = operation.bytes() as f64 / 1e6;
        say!(
            "{}:{}  {megabytes:.1} MB in {} layers",
            operation.repository,
            operation.tag,
            operation.layers.len()
        );
    }
    say!("{} images, {:.2} GB", plan.operations.len(), plan.bytes() as f64 / 1e9);
    0
}

fn show_scenarios(args: &ScenariosArgs) -> u8 {
    let Some(name) = &args.show else {
        for (name, _) in scenario::BUILTIN {
            let description =
                scenario::load(name).map_or_else(|error| causes(&error), |file| file.description);
            say!("{name:<24} {description}");
        }
        return 0;
    };
    match scenario::builtin(name) {
        Some(text) => {
            say!("{}", text.trim_end());
            0
        }
        None => {
            eprintln!("there is no built-in scenario `{name}`; `loadgen scenarios` lists them");
            USAGE
        }
    }
}

fn resolved(args: &ScenarioArgs) -> Result<Scenario, u8> {
    scenario::load(&args.scenario).and_then(|file| scenario::resolve(file, &args.wishes())).map_err(|error| {
        eprintln!("{}", causes(&error));
        USAGE
    })
}
