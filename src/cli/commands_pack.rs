//! The table of commands in the form of [`crate::pack`]. `commands` is read here as `const` only. Owns the order in which
//! a command and a flag are written, and nothing else.

use super::commands;
use super::table::{Arg, Command, Config, Flag, Run, Source, Value};
use crate::pack::{self, Reader, Writer};

/// Every command.
pub(super) fn unfold() -> &'static [Command] {
    let mut from = Reader::new(&BYTES);
    let mut rules = RULES.iter();
    pack::list(RULES.len(), || command(&mut from, rules.next()?)).expect("the compiler has written what is read here")
}

static BYTES: [u8; PACKED.len()] = PACKED.bytes();

#[allow(long_running_const_eval, reason = "a second for some KiB of text")]
const PACKED: Writer = {
    let mut to = Writer::new();
    let mut rows = commands::TABLE;
    while let Some((row, rest)) = rows.split_first() {
        write_command(&mut to, row);
        rows = rest;
    }
    to
};

/// What a row says without a text.
#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
static RULES: [(Config, Run); commands::TABLE.len()] = {
    let mut all = [(Config::Unused, Run::Group); commands::TABLE.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = (commands::TABLE[at].config, commands::TABLE[at].run);
        at += 1;
    }
    all
};

/// Writes how many there are, and each of them.
macro_rules! each {
    ($to:ident, $all:expr, $one:ident => $write:expr) => {{
        $to.number($all.len() as u64);
        let mut left = $all;
        while let Some(($one, rest)) = left.split_first() {
            $write;
            left = rest;
        }
    }};
}

const fn write_command(to: &mut Writer, row: &Command) {
    to.texts(row.path);
    each!(to, row.aliases, alias => to.texts(alias));
    to.text(row.about);
    to.text(row.details);
    each!(to, row.flags, group => each!(to, *group, flag => write_flag(to, flag)));
    each!(to, row.args, arg => write_arg(to, arg));
    each!(to, row.examples, example => {
        to.text(example.0);
        to.text(example.1);
    });
}

const fn write_flag(to: &mut Writer, flag: &Flag) {
    to.text(flag.long);
    to.number(match flag.short {
        Some(letter) => letter as u64,
        None => 0,
    });
    match flag.value {
        Value::Switch => to.byte(SWITCH),
        Value::Text(name) => {
            to.byte(TEXT);
            to.text(name);
        }
        Value::Many(name) => {
            to.byte(MANY);
            to.text(name);
        }
        Value::Choice(name, choices) => {
            to.byte(CHOICE);
            to.text(name);
            to.texts(choices);
        }
    }
    to.text(flag.about);
    to.text(flag.default);
    to.byte(flag.required as u8);
    to.texts(flag.not_with);
}

const fn write_arg(to: &mut Writer, arg: &Arg) {
    to.text(arg.name);
    to.byte(arg.required as u8);
    to.byte(arg.many as u8);
    to.byte(match arg.source {
        Source::Nothing => 0,
        Source::Methods => 1,
        Source::Commands => 2,
    });
    to.text(arg.about);
}

const SWITCH: u8 = 0;
const TEXT: u8 = 1;
const MANY: u8 = 2;
const CHOICE: u8 = 3;

/// Reads as many as there are.
fn list<T>(from: &mut Reader, one: fn(&mut Reader) -> Option<T>) -> Option<&'static [T]> {
    let count = from.count()?;
    pack::list(count, || one(from))
}

fn command(from: &mut Reader, &(config, run): &(Config, Run)) -> Option<Command> {
    Some(Command {
        path: from.texts()?,
        aliases: list(from, Reader::texts)?,
        about: from.text()?,
        details: from.text()?,
        flags: list(from, |from| list(from, flag))?,
        args: list(from, arg)?,
        examples: list(from, |from| Some((from.text()?, from.text()?)))?,
        config,
        run,
    })
}

fn flag(from: &mut Reader) -> Option<Flag> {
    Some(Flag {
        long: from.text()?,
        short: u32::try_from(from.number()?).ok().and_then(char::from_u32).filter(|letter| *letter != '\0'),
        value: match from.byte()? {
            SWITCH => Value::Switch,
            TEXT => Value::Text(from.text()?),
            MANY => Value::Many(from.text()?),
            _ => Value::Choice(from.text()?, from.texts()?),
        },
        about: from.text()?,
        default: from.text()?,
        required: from.byte()? == 1,
        not_with: from.texts()?,
    })
}

fn arg(from: &mut Reader) -> Option<Arg> {
    Some(Arg {
        name: from.text()?,
        required: from.byte()? == 1,
        many: from.byte()? == 1,
        source: match from.byte()? {
            0 => Source::Nothing,
            1 => Source::Methods,
            _ => Source::Commands,
        },
        about: from.text()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfolded_is_what_the_table_says() {
        assert_eq!(format!("{:?}", unfold()), format!("{:?}", commands::TABLE));
    }
}
