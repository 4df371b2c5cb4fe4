//! The timeline: what happened to which tunnel, why, and how long it took.
//!
//! A bounded ring in memory, and a bounded file under `/var/lib/cgwd` when systemd gives us a state directory, so
//! that the story survives a restart. A file that cannot be written is reported once and never stops the daemon.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::api::Event;
use crate::catalog::Code;

/// Events kept in memory and read back from the file.
pub const EVENTS_MAX: usize = 1000;
/// The file is cut down to its newer half when it grows beyond this.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// More is not read back of a file that somebody else made longer.
const READ_BYTES_MAX: u64 = 2 * FILE_BYTES_MAX;
/// Higher numbers are damage: ten thousand events a second would need thousands of years.
const ID_MAX: u64 = 1 << 53;
/// Where systemd keeps the state of the unit.
const STATE_DEFAULT: &str = "/var/lib/cgwd";
/// The file's name in the state directory.
pub const FILE_NAME: &str = "events.jsonl";

/// Whom an event concerns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The connection.
    pub connection: Option<&'a str>,
    /// The tunnel.
    pub tunnel: Option<&'a str>,
}

/// The timeline.
#[derive(Debug)]
pub struct Timeline {
    ring: VecDeque<Event>,
    next_id: u64,
    store: Option<Store>,
}

#[derive(Debug)]
struct Store {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    file: Option<File>,
    bytes: u64,
}

/// The directory of what outlives a restart: what systemd says, or where it puts it for the unit.
pub fn state_directory() -> PathBuf {
    given_state_directory().unwrap_or_else(|| PathBuf::from(STATE_DEFAULT))
}

/// The directory that systemd gave this process for what outlives a restart.
pub fn given_state_directory() -> Option<PathBuf> {
    let paths = std::env::var_os("STATE_DIRECTORY")?;
    // Several are separated by colons; the first is ours.
    std::env::split_paths(&paths).next().filter(|path| path != Path::new(""))
}

impl Default for Timeline {
    fn default() -> Self {
        Self::in_memory()
    }
}

impl Timeline {
    /// Kept in memory only.
    pub fn in_memory() -> Self {
        Self { ring: VecDeque::with_capacity(EVENTS_MAX), next_id: 1, store: None }
    }

    /// Kept in `directory` too, with what stands there already read back.
    ///
    /// # Errors
    /// When the file can be neither read nor made. Lines that are no events are left out.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE_NAME);
        let (mut timeline, mut torn) = (Self::in_memory(), false);
        match timeline.read_back(&path) {
            Ok(unfinished) => torn = unfinished,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = append_to(&path)?;
        if torn {
            // The power went in the middle of a line: the next event gets one of its own.
            file.write_all(b"\n")?;
        }
        let bytes = file.metadata()?.len();
        timeline.store = Some(Store { path, file: Some(file), bytes });
        Ok(timeline)
    }

    /// What a daemon left in `directory`, for reading only.
    ///
    /// # Errors
    /// When there is nothing, or it may not be read.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut timeline = Self::in_memory();
        timeline.read_back(&directory.join(FILE_NAME))?;
        Ok(timeline)
    }

    /// Takes in the newest events of a file; whether its last line is unfinished.
    fn read_back(&mut self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(READ_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
            if event.id < ID_MAX {
                self.next_id = self.next_id.max(event.id + 1);
                self.keep(event);
            }
        }
        Ok(bytes.last().is_some_and(|byte| *byte != b'\n'))
    }

    /// Adds an event; returns it with its number and time.
    pub fn push(
        &mut self,
        at: SystemTime,
        code: Code,
        subject: Subject<'_>,
        text: String,
        took: Option<Duration>,
    ) -> &Event {
        let event = Event {
            id: self.next_id,
            time: rfc3339(at),
            tunnel: subject.tunnel.map(str::to_owned),
            connection: subject.connection.map(str::to_owned),
            code: code.name().to_owned(),
            text,
            took_ms: took.map(|took| (took.as_secs_f64() * 1e6).round() / 1e3),
        };
        self.next_id += 1;
        self.write(&event);
        self.keep(event);
        // Just pushed; the index exists.
        let newest = self.ring.len() - 1;
        &self.ring[newest]
    }

    /// Events with a number above `after`, oldest first.
    pub fn after(&self, after: u64) -> impl Iterator<Item = &Event> {
        self.ring.iter().filter(move |event| event.id > after)
    }

    /// The newest event's number; 0 when there is none.
    pub fn last_id(&self) -> u64 {
        self.next_id - 1
    }

    fn keep(&mut self, event: Event) {
        if self.ring.len() == EVENTS_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back(event);
    }

    fn write(&mut self, event: &Event) {
        let Some(store) = &mut self.store else { return };
        let worked = store.file.is_some();
        if let Err(error) = append(store, event, &self.ring) {
            store.file = None;
            if worked {
                tracing::warn!(
                    "events are kept in memory only until {} can be written again: {error}; make room or check the permissions",
                    store.path.display()
                );
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn append(store: &mut Store, event: &Event, ring: &VecDeque<Event>) -> io::Result<()> {
    if store.bytes > FILE_BYTES_MAX || store.file.is_none() {
        rewrite(store, ring)?;
    }
    let Some(file) = &mut store.file else { return Ok(()) };
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    file.write_all(&line)?;
    store.bytes += line.len() as u64;
    Ok(())
}

/// The newer half of what is in memory takes the file's place.
fn rewrite(store: &mut Store, ring: &VecDeque<Event>) -> io::Result<()> {
    let fresh = store.path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o640).open(&fresh)?;
    let mut lines = Vec::new();
    let mut bytes = 0;
    for event in ring.iter().rev() {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        bytes += line.len() as u64;
        if bytes > FILE_BYTES_MAX / 2 {
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    let text = lines.concat();
    file.write_all(&text)?;
    fs::rename(&fresh, &store.path)?;
    store.file = Some(append_to(&store.path)?);
    store.bytes = text.len() as u64;
    Ok(())
}

/// RFC 3339, UTC, with milliseconds.
pub fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// The proleptic Gregorian date of a day number counted from 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so the leap day is a year's last day and months follow one linear rule.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(timeline: &mut Timeline, text: &str) -> u64 {
        let subject = Subject { connection: Some("vpn-1"), tunnel: Some("tunnel1") };
        timeline
            .push(UNIX_EPOCH, Code::IkeUp, subject, text.to_owned(), Some(Duration::from_micros(1_234)))
            .id
    }

    #[test]
    fn time_is_written_as_a_person_reads_it() {
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        let leap = UNIX_EPOCH + Duration::from_millis(1_709_210_096_789);
        assert_eq!(rfc3339(leap), "2024-02-29T12:34:56.789Z");
        let new_year = UNIX_EPOCH + Duration::from_secs(4_102_444_799);
        assert_eq!(rfc3339(new_year), "2099-12-31T23:59:59.000Z");
    }

    #[test]
    fn the_ring_forgets_the_oldest() {
        let mut timeline = Timeline::in_memory();
        for n in 0..EVENTS_MAX + 5 {
            push(&mut timeline, &n.to_string());
        }
        assert_eq!(timeline.after(0).count(), EVENTS_MAX);
        assert_eq!(timeline.after(0).next().map(|event| event.text.as_str()), Some("5"));
        assert_eq!(timeline.after(timeline.last_id() - 1).count(), 1);
    }

    #[test]
    fn the_story_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut timeline = Timeline::open(directory.path()).unwrap();
        push(&mut timeline, "one");
        let last = push(&mut timeline, "two");
        drop(timeline);
        fs::OpenOptions::new()
            .append(true)
            .open(directory.path().join(FILE_NAME))
            .unwrap()
            .write_all(b"{torn\n")
            .unwrap();
        let mut timeline = Timeline::open(directory.path()).unwrap();
        assert_eq!(timeline.after(0).map(|event| event.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(push(&mut timeline, "three"), last + 1);
    }

    #[test]
    fn a_line_torn_by_a_power_cut_costs_no_event_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        push(&mut Timeline::open(directory.path()).unwrap(), "before");
        let mut bytes = fs::read(&path).unwrap();
        // Half a line, half a character, and a number that would leave none after it.
        bytes.extend(
            format!("{{\"id\":{},\"time\":\"\",\"code\":\"\",\"text\":\"\"}}\n", u64::MAX).as_bytes(),
        );
        bytes.extend(b"{\"id\":2,\"text\":\"\xc3");
        fs::write(&path, bytes).unwrap();
        assert_eq!(push(&mut Timeline::open(directory.path()).unwrap(), "after"), 2);
        let kept = Timeline::read(directory.path()).unwrap();
        assert_eq!(kept.after(0).map(|event| event.text.as_str()).collect::<Vec<_>>(), ["before", "after"]);
    }

    #[test]
    fn a_file_that_could_not_be_written_for_a_while_has_everything_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let (path, fresh) = (directory.path().join(FILE_NAME), directory.path().join("events.new"));
        let mut timeline = Timeline::open(directory.path()).unwrap();
        push(&mut timeline, "one");
        // As a full disk would: no handle, and no new file.
        timeline.store.as_mut().unwrap().file = None;
        fs::create_dir(&fresh).unwrap();
        push(&mut timeline, "two");
        fs::remove_dir(&fresh).unwrap();
        push(&mut timeline, "three");
        let kept = Timeline::read(directory.path()).unwrap();
        assert_eq!(
            kept.after(0).map(|event| event.text.as_str()).collect::<Vec<_>>(),
            ["one", "two", "three"]
        );
        assert!(path.exists());
    }

    #[test]
    fn a_clock_that_is_set_back_changes_no_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut timeline = Timeline::open(directory.path()).unwrap();
        for seconds in [5000, 100, 6000] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            timeline.push(at, Code::IkeUp, Subject::default(), seconds.to_string(), None);
        }
        let kept = Timeline::open(directory.path()).unwrap();
        assert_eq!(
            kept.after(0).map(|event| event.text.as_str()).collect::<Vec<_>>(),
            ["5000", "100", "6000"]
        );
        assert_eq!(kept.after(1).count(), 2, "followers go by number");
    }

    #[test]
    fn the_file_stays_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let mut timeline = Timeline::open(directory.path()).unwrap();
        let long = "x".repeat(900);
        for _ in 0..2 * EVENTS_MAX {
            push(&mut timeline, &long);
        }
        let size = fs::metadata(directory.path().join(FILE_NAME)).unwrap().len();
        assert!(size <= FILE_BYTES_MAX + 2000, "{size}");
        let kept = Timeline::open(directory.path()).unwrap();
        assert!(kept.after(0).count() >= EVENTS_MAX / 3, "{}", kept.after(0).count());
        assert_eq!(kept.last_id(), 2 * EVENTS_MAX as u64);
    }
}
