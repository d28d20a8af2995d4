//! What an upstream server answered, passed on as it came: records are neither read nor written anew.
//!
//! Changed are the parts that belong to one hop: id, question as the asker spelt it, flags, EDNS, and the TTLs by
//! the time that the answer was kept here.

use super::wire::{self, AA, CD, HEADER, OPT_LENGTH, QR, Question, RA, RD, SOA, TC, Transport};

/// No outside answer is kept longer than this, whatever its TTLs say; and none that says there is nothing.
const LONGEST_TTL: u32 = 3600;
const LONGEST_NEGATIVE_TTL: u32 = 60;

const NO_ERROR: u16 = 0;
const FORMAT_ERROR: u16 = 1;
/// A newer EDNS than the server's (RFC 6891 §6.1.3).
const BAD_VERSION: u16 = 16;
const NO_NAME: u16 = 3;
const NOT_IMPLEMENTED: u16 = 4;

/// A well-formed response without EDNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    message: Box<[u8]>,
    /// Where the sections end: answer, authority.
    ends: [usize; 2],
    /// Where its TTLs are.
    ttls: Box<[u32]>,
    /// The response code, EDNS' upper half included.
    code: u16,
    /// How many seconds it may be kept.
    pub ttl: u32,
}

/// Whether this is a header alone that says that the question was not understood: old servers do not repeat what they
/// could not read.
pub fn is_bare_refusal(message: &[u8], id: [u8; 2]) -> bool {
    let is_code = |code: u16| u16::from(message[3] & 15) == code;
    message.len() == HEADER
        && message[..2] == id
        && message[2] & (QR | wire::OPCODE) == QR
        && message[4..] == [0; 8]
        && (is_code(FORMAT_ERROR) || is_code(NOT_IMPLEMENTED))
}

/// What a response says of its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is the name or there is none: that is the answer.
    Answered,
    /// It is to be asked for again, over TCP.
    Truncated,
    /// It may know EDNS no more than the question.
    Misunderstood,
    /// This server cannot or will not say.
    Failed,
}

impl Answer {
    /// Reads a response to the question with the given id; `None` where it is none, or malformed.
    pub fn read(message: &[u8], id: [u8; 2], section: &[u8]) -> Option<Self> {
        let header = message.get(..HEADER)?;
        let count = |at| wire::u16_at(header, at);
        let is_response = header[..2] == id && header[2] & (QR | wire::OPCODE) == QR && count(4)? == 1;
        let end = HEADER + section.len();
        // Types and classes in ASCII letters' case are other types and classes.
        let (name, rest) = section.split_at(section.len().checked_sub(4)?);
        let asked = message.get(HEADER..end)?;
        if !is_response || !asked[..name.len()].eq_ignore_ascii_case(name) || asked[name.len()..] != *rest {
            return None;
        }
        let (mut at, mut ends, mut ttls, mut shortest) = (end, [end; 2], Vec::new(), LONGEST_TTL);
        let mut negative = None;
        for (number, count) in [count(6)?, count(8)?].into_iter().enumerate() {
            for _ in 0..count {
                let place = wire::record_at(message, at)?;
                let ttl = wire::u32_at(message, place.ttl_at)?;
                ttls.push(u32::try_from(place.ttl_at).ok()?);
                match number {
                    0 => shortest = shortest.min(ttl),
                    // RFC 2308 §5: the last number of the SOA record, or its own TTL.
                    _ if place.kind == SOA => {
                        let minimum = wire::u32_at(message, place.data.end.checked_sub(4)?)?;
                        negative = Some(minimum.min(ttl).min(LONGEST_NEGATIVE_TTL));
                    }
                    _ => {}
                }
                at = place.data.end;
            }
            ends[number] = at;
        }
        let (mut kept, mut code) = (0u16, u16::from(header[3] & 15));
        for _ in 0..count(10)? {
            let place = wire::record_at(message, at)?;
            if place.is_opt() {
                code |= u16::from(message[place.ttl_at]) << 4;
                // What comes after it is a signature of this hop, or could point into what is cut out.
                break;
            }
            ttls.push(u32::try_from(place.ttl_at).ok()?);
            (at, kept) = (place.data.end, kept + 1);
        }
        let mut own: Box<[u8]> = message[..at].into();
        own[10..12].copy_from_slice(&kept.to_be_bytes());
        let ttl = match (code, count(6)?) {
            (NO_ERROR, 1..) => shortest,
            (NO_ERROR | NO_NAME, _) => negative.unwrap_or(0),
            _ => 0,
        };
        Some(Self { message: own, ends, ttls: ttls.into(), code, ttl })
    }

    pub fn verdict(&self) -> Verdict {
        match self.code {
            NO_ERROR | NO_NAME if self.message[2] & TC != 0 => Verdict::Truncated,
            NO_ERROR | NO_NAME => Verdict::Answered,
            FORMAT_ERROR | NOT_IMPLEMENTED | BAD_VERSION => Verdict::Misunderstood,
            _ => Verdict::Failed,
        }
    }

    /// Octets of memory that it takes.
    pub fn weight(&self) -> usize {
        self.message.len() + self.ttls.len() * 4 + size_of::<Self>()
    }

    /// The whole response, for who looks up a name itself.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Writes it as the response to a question, `age` seconds after it came.
    pub fn write(&self, question: &Question<'_>, age: u32, transport: Transport, message: &mut Vec<u8>) {
        message.clear();
        message.extend(&self.message);
        for at in &self.ttls {
            let at = *at as usize;
            let ttl = wire::u32_at(message, at).unwrap_or(0).saturating_sub(age);
            message[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
        let [asked, asked_more] = question.flags();
        message[..2].copy_from_slice(&question.id());
        message[2] = message[2] & !(AA | TC | RD) | asked & RD;
        message[3] = (message[3] | RA) & !CD | asked_more & CD;
        message[HEADER..HEADER + question.section().len()].copy_from_slice(question.section());
        let limit = question.limit(transport) - if question.edns.is_some() { OPT_LENGTH } else { 0 };
        self.fit(limit, question.section().len(), message);
        if let Some(edns) = question.edns {
            let additional = wire::u16_at(message, 10).unwrap_or(0) + 1;
            message[10..12].copy_from_slice(&additional.to_be_bytes());
            wire::write_opt(message, edns.dnssec_ok);
        }
    }

    /// Leaves out what is too long: what only helps first, then all of it, and says so.
    fn fit(&self, limit: usize, section: usize, message: &mut Vec<u8>) {
        let [answers, authority] = self.ends;
        if message.len() > limit {
            message.truncate(authority);
            message[10..12].fill(0);
        }
        let is_positive = message[6..8] != [0, 0];
        if message.len() > limit && is_positive {
            message.truncate(answers);
            message[8..10].fill(0);
        }
        if message.len() > limit {
            message.truncate(HEADER + section);
            message[6..10].fill(0);
            message[2] |= TC;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &[u8] = b"\x03Www\x07example\0\0\x01\0\x01";

    fn question(edns: bool) -> Vec<u8> {
        let mut message = vec![1, 2, RD, CD, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        message.extend(SECTION);
        if edns {
            wire::write_opt(&mut message, true);
        }
        message
    }

    fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        let head = [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes()];
        [&head.concat(), data].concat()
    }

    fn response(counts: [u8; 3], code: u8, records: &[Vec<u8>]) -> Vec<u8> {
        let [answers, authority, additional] = counts;
        let mut message = vec![9, 9, QR | AA, AD_AND | code, 0, 1, 0, answers, 0, authority, 0, additional];
        message.extend(SECTION.to_ascii_lowercase());
        message.extend(records.concat());
        message
    }

    const AD_AND: u8 = wire::AD;

    fn opt() -> Vec<u8> {
        let mut opt = Vec::new();
        wire::write_opt(&mut opt, false);
        opt
    }

    fn written(answer: &Answer, edns: bool, age: u32, transport: Transport) -> Vec<u8> {
        let (asked, mut message) = (question(edns), vec![7]);
        answer.write(&Question::plain(&asked).unwrap(), age, transport, &mut message);
        message
    }

    #[test]
    fn a_refusal_that_repeats_nothing_is_told_from_what_is_no_answer() {
        let header = |flags: [u8; 2]| [&[7, 9][..], &flags, &[0; 8]].concat();
        assert!(is_bare_refusal(&header([QR, 1]), [7, 9]) && is_bare_refusal(&header([QR, 4]), [7, 9]));
        assert!(!is_bare_refusal(&header([QR, 1]), [7, 8]), "to another question");
        assert!(!is_bare_refusal(&header([0, 1]), [7, 9]), "a question");
        assert!(!is_bare_refusal(&header([QR, 0]), [7, 9]) && !is_bare_refusal(&header([QR, 1])[..11], [7, 9]));
    }

    #[test]
    fn an_answer_is_passed_on_as_it_came_but_for_what_belongs_to_one_hop() {
        let came = response([1, 0, 2], 0, &[record(1, 60, &[9, 9, 9, 9]), record(16, 99, b"\x01x"), opt()]);
        let answer = Answer::read(&came, [9, 9], SECTION).unwrap();
        assert_eq!((answer.verdict(), answer.ttl), (Verdict::Answered, 60));
        let plain = written(&answer, false, 10, Transport::Udp);
        let records = [record(1, 50, &[9, 9, 9, 9]), record(16, 89, b"\x01x")].concat();
        let head = [1, 2, QR | RD, RA | CD | wire::AD, 0, 1, 0, 1, 0, 0, 0, 1];
        assert_eq!(plain, [&head[..], SECTION, &records].concat());
        let edns = written(&answer, true, 100, Transport::Udp);
        assert_eq!(edns[10..12], [0, 2]);
        assert!(edns.ends_with(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]), "{edns:?}");
    }

    #[test]
    fn what_is_too_long_loses_first_what_only_helps_and_says_only_then_that_it_is_cut() {
        let text = |length: usize| record(16, 5, &vec![0; length]);
        for (records, counts, expected) in [
            ([text(300), text(200), text(100)], [1, 0, 0], false),
            ([text(300), text(100), text(100)], [1, 1, 0], false),
            ([text(600), text(1), text(1)], [0, 0, 0], true),
        ] {
            let answer = Answer::read(&response([1, 1, 1], 0, &records), [9, 9], SECTION).unwrap();
            let short = written(&answer, false, 0, Transport::Udp);
            assert!(short.len() <= 512);
            assert_eq!([short[7], short[9], short[11]], counts);
            assert_eq!(short[2] & TC != 0, expected);
            let whole = written(&answer, false, 0, Transport::Tcp);
            assert_eq!([whole[7], whole[9], whole[11], whole[2] & TC], [1, 1, 1, 0]);
        }
    }

    #[test]
    fn other_responses_are_not_taken_for_the_answer() {
        let good = response([1, 0, 0], 0, &[record(1, 60, &[9, 9, 9, 9])]);
        assert!(Answer::read(&good, [9, 8], SECTION).is_none(), "another id");
        assert!(Answer::read(&good, [9, 9], b"\x03ww2\x07example\0\0\x01\0\x01").is_none(), "another name");
        assert!(Answer::read(&good, [9, 9], b"\x03www\x07example\0\0\x1c\0\x01").is_none(), "another type");
        for end in 0..good.len() {
            assert!(Answer::read(&good[..end], [9, 9], SECTION).is_none(), "cut at {end}");
        }
        assert!(Answer::read(&question(false), [1, 2], SECTION).is_none(), "a question");
    }

    #[test]
    fn only_what_says_whether_there_is_the_name_counts() {
        let verdict = |code: u8| Answer::read(&response([0; 3], code, &[]), [9, 9], SECTION).unwrap().verdict();
        assert_eq!([0, 3].map(verdict), [Verdict::Answered; 2]);
        assert_eq!([2, 5, 9].map(verdict), [Verdict::Failed; 3]);
        assert_eq!([1, 4].map(verdict), [Verdict::Misunderstood; 2]);
        let soa = |minimum: u32| record(SOA, 900, &[&[0, 0][..], &[0; 16], &minimum.to_be_bytes()].concat());
        let negative = |minimum| Answer::read(&response([0, 1, 0], 3, &[soa(minimum)]), [9, 9], SECTION).unwrap().ttl;
        assert_eq!([5, 600].map(negative), [5, LONGEST_NEGATIVE_TTL]);
    }
}
