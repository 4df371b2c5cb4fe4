//! What the timeline tells: how often, how regularly, how long ago.

use super::Facts;
use crate::api::Event;

/// An hour.
pub(super) const HOUR_MS: u64 = 3_600_000;

/// Milliseconds since 1970 of a time as the daemon writes it: `2026-08-01T12:00:00.000Z`.
pub(super) fn millis(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    if !(1970..3000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years counted from March: the leap day is a year's last day.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1000 + format!("{fraction:0<3}").get(..3)?.parse::<u64>().ok()?)
}

/// The same of a time as AWS writes it: `2026-08-01T12:00:00Z`, `2026-08-01T12:00:00+00:00`, with or without a fraction.
/// Times of other zones are not read.
pub(super) fn millis_of_aws(time: &str) -> Option<u64> {
    let bare = time.strip_suffix("+00:00").or_else(|| time.strip_suffix('Z'))?;
    millis(&format!("{bare}Z"))
}

/// How long ago an event was, in milliseconds.
pub(super) fn age(facts: &Facts, event: &Event) -> Option<u64> {
    Some(facts.now_ms.saturating_sub(millis(&event.time)?))
}

/// The events of the running daemon with this code, of the last hour: of one tunnel of a connection, or of all.
pub(super) fn recent<'f>(
    facts: &'f Facts,
    code: &'f str,
    tunnel: Option<(&'f str, &'f str)>,
) -> impl Iterator<Item = (&'f Event, u64)> {
    let events = facts.events();
    let start = events.iter().rposition(|event| event.code == "DAEMON-STARTED").unwrap_or(0);
    events
        .get(start..)
        .unwrap_or_default()
        .iter()
        .filter(move |event| event.code == code)
        .filter(move |event| {
            tunnel.is_none_or(|(connection, name)| {
                event.tunnel.as_deref() == Some(name)
                    && event.connection.as_deref().is_none_or(|id| id == connection)
            })
        })
        .filter_map(|event| Some((event, age(facts, event)?)))
        .filter(|(_, age)| *age <= HOUR_MS)
}

/// The mean distance of these ages in milliseconds, when there are at least `least` distances and all lie within a
/// fifth of the mean.
pub(super) fn period(ages: &[u64], least: usize) -> Option<u64> {
    let distances: Vec<u64> =
        ages.windows(2).filter_map(|pair| Some(pair.first()?.abs_diff(*pair.last()?))).collect();
    if distances.len() < least.max(1) {
        return None;
    }
    let mean = distances.iter().sum::<u64>() / distances.len() as u64;
    distances.iter().all(|distance| distance.abs_diff(mean) <= mean / 5).then_some(mean)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        for ms in [0, 1_709_210_096_789, 4_102_444_799_000, 1_795_511_234_005] {
            let text = crate::events::rfc3339(UNIX_EPOCH + Duration::from_millis(ms));
            assert_eq!(millis(&text), Some(ms), "{text}");
        }
        assert_eq!(millis_of_aws("2026-08-01T12:00:00+00:00"), millis("2026-08-01T12:00:00.000Z"));
        assert_eq!(millis_of_aws("2026-08-01T12:00:00.123456Z"), millis("2026-08-01T12:00:00.123Z"));
        assert_eq!(millis_of_aws(""), None);
        assert_eq!(millis("yesterday"), None);
        assert_eq!(millis("2026-13-01T00:00:00.000Z"), None);
    }

    #[test]
    fn only_a_regular_distance_is_a_period() {
        assert_eq!(period(&[100, 400, 700], 2), Some(300));
        assert_eq!(period(&[100, 400, 1700], 2), None);
        assert_eq!(period(&[100], 1), None);
    }
}
