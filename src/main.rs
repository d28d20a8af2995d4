//! Parses arguments, starts logging, calls the command line, maps its end to an exit code.

use std::process::ExitCode;

use platformer::cli;
use platformer::supervisor::init;

fn main() -> ExitCode {
    if init::is_init() {
        return init::run();
    }
    init::hear_signals();
    cli::main()
}
