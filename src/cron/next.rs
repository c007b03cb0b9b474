//! When an expression matches next in a time zone. A local time that does not exist counts as the first moment after the
//! gap, one that exists twice counts once, as the earlier. The work is bounded whatever the expression.

use super::expression::Expression;
use crate::limits;
use crate::sys::date::{self, DAY};
use crate::sys::zone::Zone;

/// Farther than any zone is from UTC; between two moments this far apart an offset changes at most once.
const AROUND: i64 = 26 * 3600;

/// The first matching moment after this one, both in milliseconds since 1970.
pub fn next(expression: &Expression, zone: &Zone, after_ms: u64) -> Option<u64> {
    let after = date::seconds(after_ms);
    // The local time that follows the one of `after`: when a gap begins here it has none of its own.
    let from = after + i64::from(zone.offset(after)) + 1;
    let start = date::date(from);
    let mut time = u32::try_from(from.rem_euclid(DAY)).ok()?;
    let mut day = start.day;
    let (mut year, mut month) = (start.year, start.month);
    for _ in 0..limits::CRON_SEARCH_MONTHS {
        if expression.has_month(year, month) {
            let first = date::days(year, month, 1);
            let length = length(year, month, first);
            while day <= length {
                if expression.has_day(first, length, day)
                    && let Some(found) = on_day(expression, zone, (first + i64::from(day) - 1) * DAY, time, after)
                {
                    return u64::try_from(found).ok()?.checked_mul(1000);
                }
                (day, time) = (day + 1, 0);
            }
        }
        (day, time) = (1, 0);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    None
}

fn length(year: i64, month: u32, first: i64) -> u32 {
    let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    u32::try_from(date::days(year, month, 1) - first).unwrap_or(31)
}

/// The first match on a local day, given by its midnight, from this second of it on.
fn on_day(expression: &Expression, zone: &Zone, midnight: i64, from: u32, after: i64) -> Option<i64> {
    let mut time = expression.time_from(from)?;
    loop {
        let found = moment(zone, midnight + i64::from(time));
        if found > after {
            return Some(found);
        }
        if i64::from(time) + 1 >= DAY {
            return None;
        }
        time = expression.time_from(time + 1)?;
    }
}

/// The moment of a local time: the earlier of two, the end of the gap for none.
pub fn moment(zone: &Zone, local: i64) -> i64 {
    let (before, behind) = (zone.offset(local - AROUND), zone.offset(local + AROUND));
    let (one, other) = (local - i64::from(before), local - i64::from(behind));
    let holds = |unix: i64, offset: i32| zone.offset(unix) == offset;
    match (holds(one, before), holds(other, behind)) {
        (true, true) => one.min(other),
        (true, false) => one,
        (false, true) => other,
        (false, false) => end_of_gap(zone, one.min(other), one.max(other)),
    }
}

/// The first moment of a stretch at which the offset of its end holds.
fn end_of_gap(zone: &Zone, mut before: i64, mut behind: i64) -> i64 {
    let offset = zone.offset(behind);
    while behind - before > 1 {
        let middle = before + (behind - before) / 2;
        if zone.offset(middle) == offset {
            behind = middle;
        } else {
            before = middle;
        }
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::id::Entropy;

    /// New York's rule of today, without its history.
    fn new_york() -> Zone {
        Zone::named("EST5EDT,M3.2.0,M11.1.0").unwrap()
    }

    fn ms(year: i64, month: u32, day: u32, hour: i64, minute: i64) -> u64 {
        u64::try_from((date::days(year, month, day) * DAY + hour * 3600 + minute * 60) * 1000).unwrap()
    }

    fn list(text: &str, zone: &Zone, mut after: u64, count: usize) -> Vec<String> {
        let expression = Expression::parse(text).unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            let Some(at) = next(&expression, zone, after) else { break };
            assert!(at > after);
            found.push(date::iso_utc(at).replace(":00.000Z", ""));
            after = at;
        }
        found
    }

    #[test]
    fn a_local_time_that_does_not_exist_is_the_end_of_the_gap() {
        let from = ms(2026, 3, 7, 12, 0);
        let days = ["2026-03-08T07:00", "2026-03-09T06:30", "2026-03-10T06:30"];
        assert_eq!(list("30 2 * * *", &new_york(), from, 3), days);
        let steps = ["2026-03-08T06:40", "2026-03-08T07:00", "2026-03-08T07:20"];
        assert_eq!(list("*/20 * * * *", &new_york(), ms(2026, 3, 8, 6, 30), 3), steps);
        // The gap itself fires once, also when the search begins at its edge.
        let edge = ms(2026, 3, 8, 7, 0) - 1;
        assert_eq!(list("59 2 * * *", &new_york(), edge, 2), ["2026-03-08T07:00", "2026-03-09T06:59"]);
    }

    #[test]
    fn a_local_time_that_exists_twice_counts_once() {
        let from = ms(2026, 10, 31, 12, 0);
        assert_eq!(list("30 1 * * *", &new_york(), from, 2), ["2026-11-01T05:30", "2026-11-02T06:30"]);
        let within = ms(2026, 11, 1, 5, 30);
        assert_eq!(list("*/20 * * * *", &new_york(), within, 2), ["2026-11-01T05:40", "2026-11-01T07:00"]);
    }

    #[test]
    fn what_never_happens_is_found_out() {
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 1 1 * 2020", "0 0 29 2 * 2101"] {
            let parts: Vec<&str> = never.split(' ').collect();
            let text = if parts.len() == 6 { format!("0 {never}") } else { never.to_string() };
            assert_eq!(next(&Expression::parse(&text).unwrap(), &new_york(), ms(2026, 1, 1, 0, 0)), None, "{never}");
        }
        // Beyond the end of the search there is nothing, however true.
        let years = i64::from(limits::CRON_SEARCH_MONTHS) / 12;
        let far = |year: i64| Expression::parse(&format!("0 0 0 1 1 * {year}")).unwrap();
        let found = |year: i64| next(&far(year), &Zone::utc(), ms(2026, 1, 1, 0, 0)).is_some();
        assert_eq!((found(2025 + years), found(2026 + years)), (true, false));
        // The rarest one there is: a leap day on a weekday, across a century that has none.
        let rare = list("0 0 29 2 +MON", &Zone::utc(), ms(2072, 3, 1, 0, 0), 1);
        assert_eq!(rare, ["2112-02-29T00:00"]);
    }

    #[test]
    fn days_of_the_calendar_are_as_the_original_has_them() {
        let from = ms(2026, 3, 8, 6, 30);
        let check = |text: &str, first: &[&str]| {
            let found = list(text, &Zone::utc(), from, first.len());
            let days: Vec<&str> = found.iter().map(|at| &at[..10]).collect();
            assert_eq!(days, first, "{text}");
        };
        check("0 0 L * *", &["2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30"]);
        check("0 0 LW * *", &["2026-03-31", "2026-04-30", "2026-05-29"]);
        check("0 0 15W * *", &["2026-03-16", "2026-04-15", "2026-05-15"]);
        check("0 0 1W * *", &["2026-04-01", "2026-05-01", "2026-06-01", "2026-07-01", "2026-08-03"]);
        check("0 0 * * 5L", &["2026-03-27", "2026-04-24", "2026-05-29"]);
        check("0 0 * * MON#2", &["2026-03-09", "2026-04-13", "2026-05-11"]);
        check("0 0 31 * +MON", &["2026-08-31", "2027-05-31", "2028-01-31"]);
        check("0 0 30 2 1", &["2027-02-01", "2027-02-08"]);
        check("0 0 13 * 5", &["2026-03-13", "2026-03-20", "2026-03-27", "2026-04-03", "2026-04-10", "2026-04-13"]);
        check("0 0 29 2 *", &["2028-02-29", "2032-02-29"]);
        check("0 0 0 1 1 * 2030-2040/5", &["2030-01-01", "2035-01-01", "2040-01-01"]);
        check("0 0 1,L * *", &["2026-03-31", "2026-04-01", "2026-04-30"]);
    }

    #[test]
    fn a_zone_may_change_at_midnight_or_by_half_an_hour() {
        // Midnight does not exist on the day the clock goes forward.
        let midnight = Zone::named("<-03>3<-02>,M9.1.0/0,M4.1.0/0").unwrap();
        let found = list("0 0 * * *", &midnight, ms(2026, 9, 5, 12, 0), 2);
        assert_eq!(found, ["2026-09-06T03:00", "2026-09-07T02:00"]);
        let lord_howe = Zone::named("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0").unwrap();
        let found = list("15 2 * * *", &lord_howe, ms(2026, 10, 3, 12, 0), 2);
        assert_eq!(found, ["2026-10-03T15:30", "2026-10-04T15:15"]);
    }

    /// Minute by minute, by the definition.
    fn naive(expression: &Expression, zone: &Zone, after_ms: u64, minutes: u64) -> Option<u64> {
        let matches = |local: i64| {
            let at = date::date(local);
            let first = date::days(at.year, at.month, 1);
            let second = u32::try_from(local.rem_euclid(DAY)).unwrap();
            expression.has_month(at.year, at.month)
                && expression.has_day(first, length(at.year, at.month, first), at.day)
                && expression.time_from(second) == Some(second)
        };
        let start = date::seconds(after_ms) / 60 * 60;
        (1..=i64::try_from(minutes).unwrap()).map(|step| start + step * 60).find_map(|unix| {
            let (offset, before) = (i64::from(zone.offset(unix)), i64::from(zone.offset(unix - 60)));
            // A gap that ends here stands for all its minutes; a repeated minute is none.
            let gap = (before..offset).step_by(60).any(|skipped| matches(unix + skipped));
            let back = || (1..=180).any(|ago| i64::from(zone.offset(unix - ago * 60)) == offset + ago * 60);
            (gap || (matches(unix + offset) && !back())).then(|| u64::try_from(unix * 1000).unwrap())
        })
    }

    fn random(entropy: &mut Entropy) -> String {
        let mut pick = |low: u64, high: u64| low + entropy.number() % (high - low + 1);
        let mut field = |low: u64, high: u64| match pick(0, 5) {
            0 | 1 => "*".to_string(),
            2 => format!("*/{}", pick(1, high / 2)),
            3 => pick(low, high).to_string(),
            4 => format!("{},{}", pick(low, high), pick(low, high)),
            _ => {
                let from = pick(low, high);
                format!("{from}-{}", pick(from, high))
            }
        };
        let hour = field(0, 4);
        format!("{} {hour} {} {} {}", field(0, 59), field(1, 12), field(3, 4), field(0, 6))
    }

    #[test]
    fn is_the_naive_search_around_every_change_of_the_clock() {
        let mut entropy = Entropy::from_seed([11; 32]);
        let zones = [new_york(), Zone::named("<-03>3<-02>,M4.1.0/0,M3.2.0/0").unwrap(), Zone::utc()];
        for turn in 0..400 {
            let text = random(&mut entropy);
            let expression = Expression::parse(&text).unwrap();
            let zone = &zones[turn % zones.len()];
            let from = ms(2026, 3, 7, 0, 0) + entropy.number() % (30 * 86_400_000);
            let wanted = naive(&expression, zone, from, 4 * 24 * 60);
            let found = next(&expression, zone, from);
            assert!(found.is_none_or(|at| at > from), "{text}");
            match wanted {
                Some(_) => assert_eq!(found, wanted, "{text} from {from} turn {turn}"),
                None => assert!(found.is_none_or(|at| at > from + 4 * 86_400_000 - 60_000), "{text} {from}"),
            }
        }
    }

    #[test]
    fn later_questions_have_later_answers() {
        let mut entropy = Entropy::from_seed([12; 32]);
        for _ in 0..200 {
            let expression = Expression::parse(&random(&mut entropy)).unwrap();
            let one = ms(2026, 1, 1, 0, 0) + entropy.number() % (700 * 86_400_000);
            let other = one + entropy.number() % 100_000_000;
            let (first, second) = (next(&expression, &new_york(), one), next(&expression, &new_york(), other));
            assert!(first.is_none() && second.is_none() || first.unwrap() <= second.unwrap());
        }
    }
}
