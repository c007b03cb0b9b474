//! Completion scripts for bash, zsh and fish, printed from the command table.
//! Pure; knows nothing of where shells keep them.

use std::fmt::Write as _;

use super::commands::{COMMANDS, GLOBALS, HELP, NO_COLOR};
use super::table::{Command, Flag, Source};
use super::vocabulary;
use crate::sys::order;

/// The script for a shell, if it is one of `commands::SHELLS`.
pub fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

fn flags_of(command: &'static Command) -> Vec<&'static Flag> {
    let mut flags: Vec<&'static Flag> = command.all_flags().chain([&HELP, &NO_COLOR]).collect();
    order::by_key(&mut flags, |flag| flag.long);
    flags
}

fn spellings(flag: &Flag) -> Vec<String> {
    let mut all = vec![format!("--{}", flag.long)];
    all.extend(flag.short.map(|letter| format!("-{letter}")));
    all
}

fn argument_words(command: &Command) -> Vec<(&'static str, &'static str)> {
    match command.args.first().map(|arg| arg.source) {
        Some(Source::Methods) => vocabulary::methods().collect(),
        Some(Source::Commands) => COMMANDS
            .iter()
            .filter_map(|command| match command.path {
                [word] => Some((*word, command.about)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// All spellings of a flag over the whole table that take a value, so that the scripts can skip it.
fn valued() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = COMMANDS
        .iter()
        .flat_map(Command::all_flags)
        .chain(GLOBALS)
        .filter(|flag| flag.value.placeholder().is_some())
        .map(|flag| flag.long)
        .collect();
    order::by(&mut names, Ord::cmp);
    names.dedup();
    names
}

fn bash() -> String {
    let skip: Vec<String> = valued().iter().map(|name| format!("--{name}")).collect();
    let mut out = String::from(
        "# bash completion for openclaw\n\
         _openclaw() {\n\
         \x20   local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" path=\"\" word i words=\"\"\n\
         \x20   COMPREPLY=()\n\
         \x20   for ((i = 1; i < COMP_CWORD; i++)); do\n\
         \x20       word=\"${COMP_WORDS[i]}\"\n\
         \x20       case \"$word\" in\n",
    );
    let _ = writeln!(out, "            {}|-s) ((i++)) ;;", skip.join("|"));
    out.push_str("            -*) ;;\n            *) path=\"${path:+$path }$word\" ;;\n        esac\n    done\n");
    out.push_str("    case \"$path:$prev\" in\n");
    for command in *COMMANDS {
        for flag in flags_of(command).into_iter().filter(|flag| !flag.value.choices().is_empty()) {
            for spelling in spellings(flag) {
                let _ = writeln!(
                    out,
                    "        '{}:{spelling}') COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return ;;",
                    command.name(),
                    flag.value.choices().join(" ")
                );
            }
        }
    }
    out.push_str("    esac\n    case \"$path\" in\n");
    let _ = writeln!(out, "        '') words='{}' ;;", root_words().join(" "));
    for command in *COMMANDS {
        let mut words: Vec<String> =
            command.children().filter_map(|child| child.path.last().map(|w| (*w).to_string())).collect();
        words.extend(argument_words(command).iter().map(|(word, _)| (*word).to_string()));
        words.extend(flags_of(command).into_iter().flat_map(spellings));
        let _ = writeln!(out, "        '{}') words='{}' ;;", command.name(), words.join(" "));
    }
    out.push_str("    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n");
    out.push_str("complete -o default -F _openclaw openclaw\n");
    out
}

fn root_words() -> Vec<String> {
    let mut words: Vec<String> = COMMANDS
        .iter()
        .filter_map(|command| match command.path {
            [word] => Some((*word).to_string()),
            _ => None,
        })
        .collect();
    words.extend(GLOBALS.iter().flat_map(spellings));
    words
}

/// A text inside single quotes of a POSIX-like shell.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

/// A word or description inside zsh's `name:description` lists.
fn zsh_word(text: &str) -> String {
    quoted(&text.replace(':', "\\:"))
}

fn zsh() -> String {
    let skip: Vec<String> = valued().iter().map(|name| format!("--{name}")).collect();
    let mut out = String::from(
        "#compdef openclaw\n# zsh completion for openclaw\n\
         _openclaw() {\n\
         \x20   local path=\"\" word prev=\"${words[CURRENT-1]}\" i\n\
         \x20   local -a choices options\n\
         \x20   for ((i = 2; i < CURRENT; i++)); do\n\
         \x20       word=\"${words[i]}\"\n\
         \x20       case \"$word\" in\n",
    );
    // `path` is tied to PATH in zsh; the variable must have another name.
    out = out.replace("local path=\"\" word", "local where=\"\" word");
    let _ = writeln!(out, "            {}|-s) ((i++)) ;;", skip.join("|"));
    out.push_str("            -*) ;;\n            *) where=\"${where:+$where }$word\" ;;\n        esac\n    done\n");
    out.push_str("    case \"$where:$prev\" in\n");
    for command in *COMMANDS {
        for flag in flags_of(command).into_iter().filter(|flag| !flag.value.choices().is_empty()) {
            for spelling in spellings(flag) {
                let _ = writeln!(
                    out,
                    "        '{}:{spelling}') choices=({}); _describe 'value' choices; return ;;",
                    command.name(),
                    flag.value
                        .choices()
                        .iter()
                        .map(|choice| format!("'{}'", zsh_word(choice)))
                        .collect::<Vec<_>>()
                        .join(" ")
                );
            }
        }
    }
    out.push_str("    esac\n    case \"$where\" in\n");
    zsh_case(&mut out, "", &root_choices(), &GLOBALS.iter().collect::<Vec<_>>());
    for command in *COMMANDS {
        let mut choices: Vec<(String, String)> = command
            .children()
            .map(|child| (child.path.last().copied().unwrap_or("").to_string(), child.about.to_string()))
            .collect();
        choices.extend(argument_words(command).iter().map(|(word, about)| (word.to_string(), about.to_string())));
        zsh_case(&mut out, &command.name(), &choices, &flags_of(command));
    }
    out.push_str("    esac\n    _describe 'command' choices\n    _describe -o 'option' options\n}\n");
    out.push_str(
        "if [ \"$funcstack[1]\" = \"_openclaw\" ]; then _openclaw \"$@\"; else compdef _openclaw openclaw; fi\n",
    );
    out
}

fn root_choices() -> Vec<(String, String)> {
    COMMANDS
        .iter()
        .filter_map(|command| match command.path {
            [word] => Some(((*word).to_string(), command.about.to_string())),
            _ => None,
        })
        .collect()
}

fn zsh_case(out: &mut String, path: &str, choices: &[(String, String)], flags: &[&Flag]) {
    let _ = writeln!(out, "        '{path}')");
    out.push_str("            choices=(");
    for (word, about) in choices {
        let _ = write!(out, "\n                '{}:{}'", zsh_word(word), quoted(about));
    }
    out.push_str(")\n            options=(");
    for flag in flags {
        for spelling in spellings(flag) {
            let _ = write!(out, "\n                '{}:{}'", spelling, quoted(flag.about));
        }
    }
    out.push_str(") ;;\n");
}

fn fish() -> String {
    let mut out = String::from(
        "# fish completion for openclaw\n\
         function __openclaw_at\n\
         \x20   set -l words\n\
         \x20   set -l skip 0\n\
         \x20   for word in (commandline -opc)[2..-1]\n\
         \x20       if test $skip = 1\n\
         \x20           set skip 0\n\
         \x20           continue\n\
         \x20       end\n\
         \x20       switch $word\n",
    );
    let skip: Vec<String> = valued().iter().map(|name| format!("--{name}")).collect();
    let _ = writeln!(out, "            case {} -s", skip.join(" "));
    out.push_str(
        "                set skip 1\n            case '-*'\n            case '*'\n                set -a words $word\n        end\n    end\n    test \"$words\" = \"$argv\"\nend\n",
    );
    out.push_str("complete -c openclaw -f\n");
    fish_rows(&mut out, "", &root_choices(), &GLOBALS.iter().collect::<Vec<_>>());
    for command in *COMMANDS {
        let mut choices: Vec<(String, String)> = command
            .children()
            .map(|child| (child.path.last().copied().unwrap_or("").to_string(), child.about.to_string()))
            .collect();
        choices.extend(argument_words(command).iter().map(|(word, about)| (word.to_string(), about.to_string())));
        fish_rows(&mut out, &command.name(), &choices, &flags_of(command));
    }
    out
}

fn fish_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

fn fish_rows(out: &mut String, path: &str, choices: &[(String, String)], flags: &[&Flag]) {
    let at = if path.is_empty() { "__openclaw_at".to_string() } else { format!("__openclaw_at {path}") };
    for (word, about) in choices {
        let _ = writeln!(out, "complete -c openclaw -n '{at}' -a '{}' -d '{}'", fish_text(word), fish_text(about));
    }
    for flag in flags {
        let mut line = format!("complete -c openclaw -n '{at}' -l {}", flag.long);
        if let Some(letter) = flag.short {
            let _ = write!(line, " -s {letter}");
        }
        if flag.value.placeholder().is_some() {
            let choices = flag.value.choices().join(" ");
            let _ = if choices.is_empty() { write!(line, " -r") } else { write!(line, " -x -a '{choices}'") };
        }
        let _ = writeln!(out, "{line} -d '{}'", fish_text(flag.about));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_names_every_command_flag_and_method() {
        for shell in super::super::commands::SHELLS {
            let script = script(shell).unwrap();
            for command in *COMMANDS {
                assert!(script.contains(&command.name()), "{shell}: {}", command.name());
                for flag in command.all_flags() {
                    assert!(script.contains(flag.long), "{shell}: --{}", flag.long);
                }
            }
            for (name, _) in vocabulary::methods() {
                assert!(script.contains(name), "{shell}: {name}");
            }
            assert!(script.contains("next-heartbeat"), "{shell}: enum values");
        }
    }

    #[test]
    fn there_is_no_script_for_an_unknown_shell() {
        assert!(script("tcsh").is_none());
    }
}
