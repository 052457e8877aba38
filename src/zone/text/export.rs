//! What an export says of itself, so that an import knows what it was made of.

use super::write_zone;
use crate::wire::Name;
use crate::zone::{Serial, Zone};
use std::fmt::{self, Write};

/// How the line ends that says which state of which zone follows.
const MADE: &str = ", by dyndns zone export";

/// Writes a zone as a zone file whose first line says of which serial it is. The SOA does not tell: whoever edits the
/// file may move its serial on.
pub fn write_export(out: &mut impl Write, zone: &Zone) -> fmt::Result {
    writeln!(out, "; {:#} at serial {}{MADE}", zone.apex(), zone.serial())?;
    write_zone(out, zone.apex(), zone.records())
}

/// The serial of the zone that a file was exported from, where its first lines say so.
pub(super) fn exported(text: &str, apex: &Name) -> Option<Serial> {
    let head = text.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with(';'));
    let mut made = head.filter_map(|line| {
        let (name, serial) = line.strip_prefix("; ")?.strip_suffix(MADE)?.split_once(" at serial ")?;
        Name::parse(name).is_ok_and(|name| name == *apex).then(|| serial.parse().ok().map(Serial))
    });
    made.next()?
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::zone::seed;

    #[test]
    fn an_export_is_known_by_its_zone_and_serial_whatever_its_soa_says() {
        let apex = Name::parse("home.example").unwrap();
        let zone = Zone::new(&apex, seed(&apex).unwrap()).unwrap();
        let mut text = String::new();
        write_export(&mut text, &zone).unwrap();
        let read = |text: &str| parse(text, "test", Some(apex), &mut |_| Err("no".into())).unwrap();
        let whole = read(&text);
        assert_eq!((whole.exported, whole.records), (Some(zone.serial()), zone.records().collect()));
        let (line, rest) = text.split_once('\n').unwrap();
        assert_eq!(line, "; home.example. at serial 1, by dyndns zone export");
        assert_eq!(read(&format!("; edited\n\n  {line}\n{rest}")).exported, Some(Serial(1)));
        assert_eq!(read(rest).exported, None);
        // Of another zone, or not at the top.
        assert_eq!(read(&text.replacen("; home", "; other", 1)).exported, None);
        assert_eq!(read(&format!("{rest}{line}\n")).exported, None);
    }
}
