//! A cron expression as sets of numbers: five, six or seven fields, names, ranges, steps, lists, `?`, `L`, `W`, `#`, `+`
//! and the nicknames, as the original's parser takes them. Knows no time zone; `next` looks for the moments.

use crate::limits;
use crate::sys::date;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// Every week of the month, as bits of [`Expression::weekdays`]; the sixth is the last one.
const EVERY_WEEK: u8 = 0b11_1111;
const LAST_WEEK: u8 = 0b10_0000;

/// What an expression matches; sets are bits, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// For each weekday from Sunday on, in which weeks of the month.
    weekdays: [u8; 7],
    /// First and last year and the step; none means every year.
    years: Vec<(u32, u32, u32)>,
    /// Days of the month whose nearest working day is meant.
    nearest: u64,
    last_day: bool,
    last_working_day: bool,
    any_day: bool,
    any_weekday: bool,
    /// Day and weekday must both match, instead of either.
    both: bool,
}

/// One item of a field: from, to, step and what stands behind it.
struct Item<'a> {
    from: u32,
    to: u32,
    step: u32,
    mark: &'a str,
}

/// A field's name and the numbers it takes.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", low: 0, high: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", low: 0, high: 59, names: &[] };
const HOUR: Field = Field { name: "hour", low: 0, high: 23, names: &[] };
const DAY: Field = Field { name: "day of month", low: 1, high: 31, names: &[] };
const MONTH: Field = Field { name: "month", low: 1, high: 12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "day of week", low: 0, high: 7, names: &WEEKDAYS };
const YEAR: Field = Field { name: "year", low: 1, high: 9999, names: &[] };

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(text: &str) -> Result<Expression, String> {
        if text.len() > limits::CRON_EXPRESSION_BYTES {
            return Err(format!("longer than {} bytes", limits::CRON_EXPRESSION_BYTES));
        }
        let lower = text.trim().to_lowercase();
        let plain = NICKNAMES.iter().find(|(name, _)| *name == lower).map_or(lower.as_str(), |(_, plain)| plain);
        let parts: Vec<&str> = plain.split_whitespace().collect();
        match parts.as_slice() {
            [minute, hour, day, month, weekday] => Expression::of("0", [minute, hour, day, month, weekday], "*"),
            [second, minute, hour, day, month, weekday] => {
                Expression::of(second, [minute, hour, day, month, weekday], "*")
            }
            [second, minute, hour, day, month, weekday, year] => {
                Expression::of(second, [minute, hour, day, month, weekday], year)
            }
            _ if plain.starts_with('@') => {
                let names: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                Err(format!("unknown nickname; there are {}", names.join(", ")))
            }
            _ => Err(format!("{} fields; write five: minute hour day month weekday", parts.len())),
        }
    }

    fn of(second: &str, [minute, hour, day, month, weekday]: [&str; 5], year: &str) -> Result<Expression, String> {
        let (both, weekday) = weekday.strip_prefix('+').map_or((false, weekday), |rest| (true, rest));
        let mut read = Expression {
            seconds: SECOND.set(second)?,
            minutes: MINUTE.set(minute)?,
            hours: HOUR.set(hour)?,
            months: MONTH.set(month)?,
            days: 0,
            weekdays: [0; 7],
            years: Vec::new(),
            nearest: 0,
            last_day: false,
            last_working_day: false,
            any_day: is_any(day),
            any_weekday: is_any(weekday),
            both,
        };
        read.read_days(day)?;
        read.read_weekdays(weekday)?;
        read.read_years(year)?;
        Ok(read)
    }

    fn read_days(&mut self, text: &str) -> Result<(), String> {
        for part in text.split(',') {
            match part {
                "l" => self.last_day = true,
                "lw" => self.last_working_day = true,
                _ => {
                    let item = DAY.item(part)?;
                    let set = item.bits();
                    match item.mark {
                        "" => self.days |= set,
                        "w" if item.from == item.to => self.nearest |= set,
                        _ => return Err(DAY.wrong(part)),
                    }
                }
            }
        }
        Ok(())
    }

    fn read_weekdays(&mut self, text: &str) -> Result<(), String> {
        for part in text.split(',') {
            let item = WEEKDAY.item(part)?;
            let weeks = match item.mark {
                "" => EVERY_WEEK,
                "l" | "#l" => LAST_WEEK,
                mark => match mark.strip_prefix('#').and_then(|week| week.parse::<u32>().ok()) {
                    Some(week @ 1..=5) => 1 << (week - 1),
                    _ => return Err(WEEKDAY.wrong(part)),
                },
            };
            for (day, set) in (0..7_u32).zip(&mut self.weekdays) {
                let sunday = day == 0 && item.has(7);
                if item.has(day) || sunday {
                    *set |= weeks;
                }
            }
        }
        Ok(())
    }

    fn read_years(&mut self, text: &str) -> Result<(), String> {
        if is_any(text) {
            return Ok(());
        }
        for part in text.split(',') {
            let item = YEAR.item(part)?;
            if !item.mark.is_empty() {
                return Err(YEAR.wrong(part));
            }
            self.years.push((item.from, item.to, item.step));
        }
        Ok(())
    }

    /// Whether it can match in this year and month (1…12).
    pub fn has_month(&self, year: i64, month: u32) -> bool {
        let in_year = |(from, to, step): &(u32, u32, u32)| {
            u32::try_from(year).is_ok_and(|year| (*from..=*to).contains(&year) && (year - from).is_multiple_of(*step))
        };
        self.months >> month & 1 == 1 && (self.years.is_empty() || self.years.iter().any(in_year))
    }

    /// Whether it matches this day, given as days since 1970 of the month's first and its length.
    pub fn has_day(&self, first: i64, length: u32, day: u32) -> bool {
        let weekday = |day: u32| date::weekday(first + i64::from(day) - 1);
        let by_date = self.days >> day & 1 == 1
            || self.last_day && day == length
            || self.last_working_day && day == last_working_day(weekday(length), length)
            || self.nearest != 0
                && (1..=length).any(|meant| {
                    self.nearest >> meant & 1 == 1 && nearest_working_day(weekday(meant), meant, length) == day
                });
        let weeks = usize::try_from(weekday(day)).ok().and_then(|at| self.weekdays.get(at)).copied().unwrap_or(0);
        let by_weekday = weeks >> ((day - 1) / 7) & 1 == 1 || weeks & LAST_WEEK != 0 && day + 7 > length;
        match (self.both, self.any_day, self.any_weekday) {
            (true, ..) => by_date && by_weekday,
            (false, _, true) => by_date,
            (false, true, false) => by_weekday,
            (false, false, false) => by_date || by_weekday,
        }
    }

    /// The first matching second of a day from this one on.
    pub fn time_from(&self, second: u32) -> Option<u32> {
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let on_hour = |hour: u32, from: u32| {
            let now = (self.minutes >> (from / 60) & 1 == 1).then(|| lowest(self.seconds, from % 60)).flatten();
            match now {
                Some(second) => Some(hour * 3600 + from / 60 * 60 + second),
                None => Some(hour * 3600 + lowest(self.minutes, from / 60 + 1)? * 60 + lowest(self.seconds, 0)?),
            }
        };
        let this = (self.hours >> hour & 1 == 1).then(|| on_hour(hour, minute * 60 + second % 60)).flatten();
        this.or_else(|| on_hour(lowest(self.hours, hour + 1)?, 0))
    }
}

fn is_any(text: &str) -> bool {
    matches!(text, "*" | "?")
}

/// The lowest member that is at least this.
fn lowest(set: u64, from: u32) -> Option<u32> {
    let rest = set.checked_shr(from).filter(|rest| *rest != 0)?;
    Some(from + rest.trailing_zeros())
}

fn last_working_day(weekday: u32, length: u32) -> u32 {
    match weekday {
        0 => length - 2,
        6 => length - 1,
        _ => length,
    }
}

/// The working day nearest to a day, within its month.
fn nearest_working_day(weekday: u32, day: u32, length: u32) -> u32 {
    match weekday {
        0 if day == length => day - 2,
        0 => day + 1,
        6 if day == 1 => 3,
        6 => day - 1,
        _ => day,
    }
}

impl Item<'_> {
    fn has(&self, number: u32) -> bool {
        (self.from..=self.to).contains(&number) && (number - self.from).is_multiple_of(self.step)
    }

    fn bits(&self) -> u64 {
        (0..64).filter(|bit| self.has(*bit)).map(|bit| 1 << bit).sum()
    }
}

impl Field {
    fn wrong(&self, part: &str) -> String {
        format!("{}: \"{part}\" is not understood", self.name)
    }

    fn set(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| {
            let item = self.item(part)?;
            if item.mark.is_empty() { Ok(set | item.bits()) } else { Err(self.wrong(part)) }
        })
    }

    fn item<'a>(&self, part: &'a str) -> Result<Item<'a>, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().map_err(|_| self.wrong(part))?),
            None => (part, 1),
        };
        if step == 0 || step > self.high {
            return Err(format!("{}: the step in \"{part}\" must be 1-{}", self.name, self.high));
        }
        if is_any(range) {
            // Seven is the other name of Sunday and no eighth day.
            let high = if self.low == 0 && self.high == 7 { 6 } else { self.high };
            return Ok(Item { from: self.low, to: high, step, mark: "" });
        }
        let (from, behind) = self.number(range, part)?;
        let (to, mark) = match behind.strip_prefix('-') {
            Some(to) => self.number(to, part)?,
            None if part.contains('/') => {
                return Err(format!("{}: write \"{part}\" as {from}-{}/{step} or */{step}", self.name, self.high));
            }
            None => (from, behind),
        };
        // In a range the name of Sunday may stand at the end.
        let to = if self.high == 7 && to == 0 && from > 0 { 7 } else { to };
        if from > to {
            return Err(format!("{}: \"{part}\" ends before it begins", self.name));
        }
        Ok(Item { from, to, step, mark })
    }

    /// A number or name at the start of a text, and what stands behind it.
    fn number<'a>(&self, text: &'a str, part: &str) -> Result<(u32, &'a str), String> {
        for (at, name) in (0_u32..).zip(self.names) {
            if let Some(behind) = text.strip_prefix(name) {
                return Ok((at + u32::from(self.low == 1), behind));
            }
        }
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (digits, behind) = text.split_at(end);
        let number: u32 = digits.parse().map_err(|_| self.wrong(part))?;
        if (self.low..=self.high).contains(&number) {
            return Ok((number, behind));
        }
        Err(format!("{}: {number} is not in {}-{}", self.name, self.low, self.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Expression::parse(text).unwrap_err()
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refused("* * * *"), "4 fields; write five: minute hour day month weekday");
        assert_eq!(refused("61 * * * *"), "minute: 61 is not in 0-59");
        assert_eq!(refused("a b c d e"), "minute: \"a\" is not understood");
        assert_eq!(refused("10-5 * * * *"), "minute: \"10-5\" ends before it begins");
        assert_eq!(refused("*/0 * * * *"), "minute: the step in \"*/0\" must be 1-59");
        assert_eq!(refused("5/15 * * * *"), "minute: write \"5/15\" as 5-59/15 or */15");
        assert_eq!(refused("0 0 1 january *"), "month: \"january\" is not understood");
        assert_eq!(refused("0 0 * * mon#6"), "day of week: \"mon#6\" is not understood");
        assert_eq!(refused("0 0 32 * *"), "day of month: 32 is not in 1-31");
        assert_eq!(refused("0 5l * * *"), "hour: \"5l\" is not understood");
        assert_eq!(refused("1,,2 * * * *"), "minute: \"\" is not understood");
        assert!(refused("@reboot").starts_with("unknown nickname"));
        assert!(refused("").contains("0 fields"));
    }

    #[test]
    fn an_expression_is_bounded() {
        let longest = format!("00{} * * * *", ",0".repeat((limits::CRON_EXPRESSION_BYTES - 10) / 2));
        assert_eq!(longest.len(), limits::CRON_EXPRESSION_BYTES);
        assert!(Expression::parse(&longest).is_ok());
        assert_eq!(refused(&format!("{longest} ")), "longer than 256 bytes");
    }

    #[test]
    fn names_and_numbers_mean_the_same() {
        let same = |one: &str, other: &str| assert_eq!(Expression::parse(one), Expression::parse(other));
        same("0 0 * JAN-mar Mon-Fri", "0 0 * 1-3 1-5");
        same("0 0 * * fri-sun", "0 0 * * 5-7");
        same("0 0 * * 7", "0 0 * * sun");
        same("@daily", "0 0 0 * * *");
        same("0 0 ? * MON", "0 0 * * 1");
        same("0 0 * * 5L", "0 0 * * fri#L");
        same("*/20 * * * *", "0,20,40 * * * *");
        same("10-30/10 * * * *", "10,20,30 * * * *");
    }

    #[test]
    fn a_bare_sunday_is_no_range() {
        let one = Expression::parse("0 0 * * 0").unwrap();
        assert_eq!(one.weekdays, [EVERY_WEEK, 0, 0, 0, 0, 0, 0]);
    }
}
