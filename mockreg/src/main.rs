//! The program `mockreg`: everything it does is in the library.

fn main() -> std::process::ExitCode {
    mockreg::cli::main()
}
