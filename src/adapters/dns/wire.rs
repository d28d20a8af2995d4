//! Messages read where they lie: a plain question, and where an answer's records are. Nothing is copied.

use std::fmt::Write as _;
use std::ops::Range;

/// Octets of a message's header (RFC 1035 §4.1.1).
pub const HEADER: usize = 12;
/// The largest UDP response we send or ask for, so that none is cut into fragments (DNS flag day 2020).
pub const UDP_PAYLOAD: u16 = 1232;
/// The class of the Internet.
pub const IN: u16 = 1;

/// In the third octet of the header: a response; the kind of question; authoritative; truncated; recursion desired.
pub const QR: u8 = 0x80;
pub const OPCODE: u8 = 0x78;
pub const AA: u8 = 0x04;
pub const TC: u8 = 0x02;
pub const RD: u8 = 0x01;
/// In the fourth: recursion available; authentic data; checking disabled.
pub const RA: u8 = 0x80;
pub const AD: u8 = 0x20;
pub const CD: u8 = 0x10;

pub const SOA: u16 = 6;
const OPT: u16 = 41;
/// Bit 15 of the lower half of OPT's TTL field (RFC 3225).
const DNSSEC_OK: u16 = 0x8000;

/// How a question came, and so how long its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What an asker says of itself in EDNS 0 (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    pub payload: u16,
    pub dnssec_ok: bool,
}

/// One question, in a message that holds nothing else but EDNS 0: what nearly every client sends.
#[derive(Debug, Clone, Copy)]
pub struct Question<'m> {
    message: &'m [u8],
    /// Where the question section ends.
    end: usize,
    pub edns: Option<Edns>,
}

impl<'m> Question<'m> {
    /// `None` for everything else, well-formed or not.
    pub fn plain(message: &'m [u8]) -> Option<Self> {
        let header = message.get(..HEADER)?;
        let (additional, no_records) = (u16_at(header, 10)?, header[6..10].iter().all(|octet| *octet == 0));
        if header[2] & (QR | OPCODE) != 0 || u16_at(header, 4)? != 1 || !no_records || additional > 1 {
            return None;
        }
        let end = name_end(message, HEADER)? + 4;
        message.get(..end)?;
        let mut question = Self { message, end, edns: None };
        let mut rest = end;
        if additional == 1 {
            let record = record_at(message, end)?;
            let version = message[record.ttl_at + 1];
            if !record.is_opt() || message[end] != 0 || version != 0 {
                return None;
            }
            let flags = u16_at(message, record.ttl_at + 2)?;
            let payload = u16_at(message, record.ttl_at - 2)?;
            question.edns = Some(Edns { payload, dnssec_ok: flags & DNSSEC_OK != 0 });
            rest = record.data.end;
        }
        (rest == message.len()).then_some(question)
    }

    pub fn id(&self) -> [u8; 2] {
        [self.message[0], self.message[1]]
    }

    /// The third and the fourth octet of the header.
    pub fn flags(&self) -> [u8; 2] {
        [self.message[2], self.message[3]]
    }

    /// The question section: name, type, class.
    pub fn section(&self) -> &'m [u8] {
        &self.message[HEADER..self.end]
    }

    /// The name as it was spelt, its labels with their lengths.
    pub fn name(&self) -> &'m [u8] {
        &self.message[HEADER..self.end - 4]
    }

    pub fn kind(&self) -> u16 {
        u16::from_be_bytes([self.message[self.end - 4], self.message[self.end - 3]])
    }

    pub fn class(&self) -> u16 {
        u16::from_be_bytes([self.message[self.end - 2], self.message[self.end - 1]])
    }

    /// How many octets an answer may have.
    pub fn limit(&self, transport: Transport) -> usize {
        limit(transport, self.edns.map(|edns| edns.payload))
    }
}

/// How many octets an answer may have, by the payload that EDNS offers.
pub fn limit(transport: Transport, payload: Option<u16>) -> usize {
    match transport {
        Transport::Tcp => u16::MAX.into(),
        Transport::Udp => payload.map_or(512, |payload| payload.clamp(512, UDP_PAYLOAD)).into(),
    }
}

/// Writes a name's labels as text in lower case. An octet that a host name cannot have, a dot inside a label
/// among them, becomes `\DDD` (RFC 1035 §5.1), so that no two names have one text, and every name has one.
pub fn spell<'l>(labels: impl Iterator<Item = &'l [u8]>, text: &mut String) {
    text.clear();
    for label in labels {
        if !text.is_empty() {
            text.push('.');
        }
        for octet in label {
            match octet {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(*octet)),
                b'A'..=b'Z' => text.push(char::from(octet.to_ascii_lowercase())),
                // Writing to a string cannot fail.
                other => _ = write!(text, "\\{other:03}"),
            }
        }
    }
}

/// The labels of a name without compression that is known to be well-formed.
pub fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first().filter(|(length, _)| **length != 0)?;
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        rest = after;
        Some(label)
    })
}

/// An OPT record with which we answer, and with which we ask.
pub fn write_opt(message: &mut Vec<u8>, dnssec_ok: bool) {
    let flags = if dnssec_ok { DNSSEC_OK } else { 0 };
    message.push(0);
    for field in [OPT, UDP_PAYLOAD, 0, flags, 0] {
        message.extend(field.to_be_bytes());
    }
}

/// Octets that [`write_opt`] writes.
pub const OPT_LENGTH: usize = 11;

/// A response of a header, the question, and EDNS where the asker has it.
pub fn failure(question: &Question<'_>, code: u8, message: &mut Vec<u8>) {
    let flags = question.flags();
    message.clear();
    message.extend(question.id());
    message.extend([QR | flags[0] & RD, RA | flags[1] & CD | code]);
    message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(question.edns.is_some())]);
    message.extend(question.section());
    if let Some(edns) = question.edns {
        write_opt(message, edns.dnssec_ok);
    }
}

/// Where a record is in its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub kind: u16,
    pub ttl_at: usize,
    pub data: Range<usize>,
}

impl Place {
    /// EDNS' own record, which has the root for a name.
    pub fn is_opt(&self) -> bool {
        self.kind == OPT
    }
}

/// The record that begins at `start`.
pub fn record_at(message: &[u8], start: usize) -> Option<Place> {
    let kind_at = skip_name(message, start)?;
    let data_at = kind_at + 10;
    let length = u16_at(message, kind_at + 8)?;
    let data = data_at..data_at + usize::from(length);
    message.get(data.clone())?;
    Some(Place { kind: u16_at(message, kind_at)?, ttl_at: kind_at + 4, data })
}

pub fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?))
}

/// Where a name without compression ends; it has at most 255 octets.
pub fn name_end(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match *message.get(at)? {
            0 => return (at + 1 - start <= 255).then_some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            64.. => return None,
        }
    }
}

/// Where a name ends that may be compressed: at its first pointer, wherever that leads.
fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            64.. => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &[u8], rest: &[u8]) -> Vec<u8> {
        let mut message = vec![7, 8, RD, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(rest.len() > 4)];
        message.extend(name);
        message.extend(rest);
        message
    }

    #[test]
    fn a_plain_question_is_read_with_its_edns_and_nothing_else_is_one() {
        let plain = question(b"\x04Shop\x08platform\0", &[0, 1, 0, 1]);
        let read = Question::plain(&plain).unwrap();
        assert_eq!((read.id(), read.kind(), read.class(), read.edns), ([7, 8], 1, 1, None));
        assert_eq!(read.limit(Transport::Udp), 512);
        let with = |payload: u16, version: u8, flags: u8| {
            let [high, low] = payload.to_be_bytes();
            question(b"\x01a\0", &[0, 28, 0, 1, 0, 0, 41, high, low, 0, version, flags, 0, 0, 2, 9, 9])
        };
        let offered = with(4096, 0, 0x80);
        let read = Question::plain(&offered).unwrap();
        assert_eq!(read.edns, Some(Edns { payload: 4096, dnssec_ok: true }));
        assert_eq!((read.limit(Transport::Udp), read.limit(Transport::Tcp)), (1232, 65_535));
        assert_eq!(Question::plain(&with(0, 0, 0)).unwrap().limit(Transport::Udp), 512);
        assert!(Question::plain(&with(1232, 1, 0)).is_none(), "another EDNS");
        for end in 0..plain.len() {
            assert!(Question::plain(&plain[..end]).is_none());
        }
        assert!(Question::plain(&[&plain[..], b"x"].concat()).is_none(), "something after it");
        assert!(Question::plain(&question(b"\xc0\x0c", &[0, 1, 0, 1])).is_none(), "a pointer to itself");
    }

    #[test]
    fn every_name_has_one_text_and_a_dot_inside_a_label_parts_nothing() {
        let text = |name: &[u8]| {
            let mut text = String::from("left over");
            spell(labels(name), &mut text);
            text
        };
        assert_eq!(text(b"\x04Shop\x08PLATFORM\0"), "shop.platform");
        assert_eq!(text(b"\x05caf\xc3\xa9\x08platform\0"), "caf\\195\\169.platform");
        assert_eq!(text(b"\x03a b\x08platform\0"), "a\\032b.platform");
        assert_eq!(text(b"\x02a\0\x08platform\0"), "a\\000.platform");
        assert_eq!(text(b"\x0ax.platform\0"), "x\\046platform");
        assert_eq!(text(b"\x01\\\0"), "\\092");
        assert_eq!(text(b"\0"), "");
    }
}
