//! The overview of all verbs: grouped by what one wants to do, what the first hour needs first.

use clap::Command;

/// Every verb, once.
const GROUPS: [(&str, &[&str]); 8] = [
    ("Start here", &["up", "status", "why", "doctor", "dashboard", "down"]),
    ("Apps", &["apply", "config", "logs", "scale", "start", "stop", "restart", "remove", "maintenance"]),
    ("Versions", &["repository", "push", "releases", "diff", "history"]),
    ("Releasing", &["deploy", "rollback", "promote", "pause", "resume", "abort", "swap", "split", "pin", "unpin"]),
    ("Looking inside", &["dns", "render"]),
    ("Others in the team, and machines", &["token", "kv", "services", "context"]),
    ("This machine", &["resolver", "watch"]),
    ("The command itself", &["completions", "man", "help"]),
];

const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}";

/// The command with its verbs in groups.
pub fn grouped(command: Command) -> Command {
    let overview = overview(&command);
    command.help_template(TEMPLATE).after_help(overview)
}

fn overview(command: &Command) -> String {
    let about = |verb: &str| match command.find_subcommand(verb).and_then(Command::get_about) {
        Some(about) => about.to_string(),
        None => "What a verb does and takes".to_owned(),
    };
    let group = |(title, verbs): &(&str, &[&str])| {
        let lines = verbs.iter().map(|verb| format!("  {verb:<12} {}", about(verb)));
        format!("{title}:\n{}", lines.collect::<Vec<_>>().join("\n"))
    };
    GROUPS.iter().map(group).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::Arguments;
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    #[test]
    fn every_verb_stands_in_one_group_and_the_first_hour_comes_first() {
        let command = Arguments::command();
        let mut verbs: BTreeSet<&str> = command.get_subcommands().map(Command::get_name).collect();
        verbs.insert("help");
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), verbs);
        assert_eq!(grouped.len(), verbs.len(), "one stands there twice");
        let help = super::grouped(command).render_help().to_string();
        let place = |verb: &str| help.find(&format!("\n  {verb} ")).unwrap();
        assert!(place("up") < place("status") && place("status") < place("deploy") && place("deploy") < place("man"));
        assert!(
            help.contains("--json") && overview(&Arguments::command()).lines().all(|line| line.chars().count() <= 100)
        );
    }
}
