//! Calendar arithmetic in the Gregorian calendar and the date texts of logs and HTTP. Pure; knows no time zones
//! beyond an offset in seconds and never reads a clock.

use std::fmt::Write;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment split into calendar fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Year, negative before year 0.
    pub year: i64,
    /// Month 1…12.
    pub month: u32,
    /// Day of the month 1…31.
    pub day: u32,
    /// Hour 0…23.
    pub hour: u32,
    /// Minute 0…59.
    pub minute: u32,
    /// Second 0…59.
    pub second: u32,
}

/// Days since 1970-01-01 of a calendar date (the "days from civil" algorithm, years counted from March).
pub fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The calendar fields of a Unix time in seconds; add a zone's offset before for local time.
pub fn date(unix: i64) -> Date {
    let (days, rest) = (unix.div_euclid(DAY), unix.rem_euclid(DAY));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = small(if from_march < 10 { from_march + 3 } else { from_march - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Date {
        year,
        month,
        day: small(day_of_year - (153 * from_march + 2) / 5 + 1),
        hour: small(rest / 3600),
        minute: small(rest / 60 % 60),
        second: small(rest % 60),
    }
}

/// Day of the week of a day number, 0 = Sunday.
pub fn weekday(days: i64) -> u32 {
    small((days + 4).rem_euclid(7))
}

/// Unix seconds of a time in milliseconds.
pub fn seconds(wall_ms: u64) -> i64 {
    i64::try_from(wall_ms / 1000).unwrap_or(i64::MAX / 4)
}

/// `2026-11-21T02:11:55.234Z`.
pub fn iso_utc(wall_ms: u64) -> String {
    let mut text = iso_fields(wall_ms, 0);
    text.push('Z');
    text
}

/// `2026-11-21T03:11:55.234+01:00`, with the offset of local time in seconds.
pub fn iso_offset(wall_ms: u64, offset: i32) -> String {
    let mut text = iso_fields(wall_ms, offset);
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    put(&mut text, format_args!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
    text
}

/// `02:11:55` in UTC, as the console shows it.
pub fn clock_utc(wall_ms: u64) -> String {
    let at = date(seconds(wall_ms));
    format!("{:02}:{:02}:{:02}", at.hour, at.minute, at.second)
}

/// `2026-11-21`, the date of local time with the given offset.
pub fn day_name(wall_ms: u64, offset: i32) -> String {
    let at = date(seconds(wall_ms) + i64::from(offset));
    format!("{:04}-{:02}-{:02}", at.year, at.month, at.day)
}

/// `Sat, 21 Nov 2026 02:11:55 GMT`, the form of the `Date` header (RFC 9110, 5.6.7).
pub fn http(wall_ms: u64) -> String {
    let unix = seconds(wall_ms);
    let at = date(unix);
    let weekday = usize::try_from(unix.div_euclid(DAY).rem_euclid(7)).unwrap_or(0);
    let month = usize::try_from(at.month).unwrap_or(1).saturating_sub(1);
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        WEEKDAYS.get(weekday).unwrap_or(&"Thu"),
        at.day,
        MONTHS.get(month).unwrap_or(&"Jan"),
        at.year,
        at.hour,
        at.minute,
        at.second
    )
}

/// Unix seconds of a date in the form of [`http`]; the day's name is not compared.
pub fn from_http(text: &str) -> Option<i64> {
    let (_, rest) = text.trim().split_once(", ")?;
    let parts: Vec<&str> = rest.split([' ', ':']).collect();
    let [day, month, year, hour, minute, second, "GMT"] = *parts.as_slice() else { return None };
    let number = |text: &str, most: u32| text.parse::<u32>().ok().filter(|number| *number <= most);
    let day = number(day, 31).filter(|day| *day > 0)?;
    let month = u32::try_from(MONTHS.iter().position(|known| *known == month)?).ok()? + 1;
    let time = number(hour, 23)? * 3600 + number(minute, 59)? * 60 + number(second, 60)?;
    Some(days(i64::from(number(year, 9999)?), month, day) * DAY + i64::from(time))
}

fn iso_fields(wall_ms: u64, offset: i32) -> String {
    let at = date(seconds(wall_ms) + i64::from(offset));
    let mut text = String::with_capacity(32);
    put(&mut text, format_args!("{:04}-{:02}-{:02}T", at.year, at.month, at.day));
    put(&mut text, format_args!("{:02}:{:02}:{:02}.{:03}", at.hour, at.minute, at.second, wall_ms % 1000));
    text
}

fn put(text: &mut String, piece: std::fmt::Arguments<'_>) {
    text.write_fmt(piece).expect("writing to a String cannot fail");
}

/// Calendar fields are far below 2³²; a value that is not would be a fault above and shows as 0.
fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_is_a_thursday() {
        assert_eq!(http(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(weekday(0), 4);
    }

    #[test]
    fn writes_the_example_of_the_rfc() {
        assert_eq!(http(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        for unix in [0, 784_111_777, 1_795_226_400, 4_000_000_000] {
            assert_eq!(from_http(&http(u64::try_from(unix).unwrap() * 1000)), Some(unix));
        }
        for text in [
            "",
            "120",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 Nov 99999999999 08:49:37 GMT",
        ] {
            assert_eq!(from_http(text), None, "{text}");
        }
    }

    #[test]
    fn days_and_date_are_inverse_over_eight_centuries() {
        let mut day = days(1600, 1, 1);
        while day < days(2400, 1, 1) {
            let at = date(day * DAY);
            assert_eq!(days(at.year, at.month, at.day), day);
            day += 1;
        }
    }

    #[test]
    fn leap_days_exist_only_where_they_should() {
        assert_eq!(days(2000, 3, 1) - days(2000, 2, 28), 2);
        assert_eq!(days(1900, 3, 1) - days(1900, 2, 28), 1);
        assert_eq!(days(2024, 3, 1) - days(2024, 2, 28), 2);
    }

    #[test]
    fn offsets_shift_the_day_and_are_written_with_sign() {
        let ms = 1_795_226_400_000 + 234; // 2026-11-21T02:00:00.234Z
        assert_eq!(iso_utc(ms), "2026-11-21T02:00:00.234Z");
        assert_eq!(iso_offset(ms, 5 * 3600 + 1800), "2026-11-21T07:30:00.234+05:30");
        assert_eq!(iso_offset(ms, -3 * 3600), "2026-11-20T23:00:00.234-03:00");
        assert_eq!(day_name(ms, -3 * 3600), "2026-11-20");
        assert_eq!(clock_utc(ms), "02:00:00");
    }
}
