//! `completions` and `man`: what shells and manual readers want to know of the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::output::Failure;

#[derive(Debug, Args)]
pub struct Completions {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

impl Completions {
    /// Prints a script; the shell's manual says where it goes, such as `source <(platformer completions bash)`.
    pub fn run<C: CommandFactory>(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), "platformer", &mut script);
        print(&script)
    }
}

/// Prints the manual page of the command and of all its verbs, as `man -l -` reads it.
pub fn man<C: CommandFactory>() -> Result<(), Failure> {
    let mut page = Vec::new();
    let mut command = C::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("platformer {}", verb.get_name());
        let man = clap_mangen::Man::new(verb.clone().bin_name(name));
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    print(&page)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    std::io::Write::write_all(&mut std::io::stdout(), text).map_err(Failure::from)
}
