//! One question → one response, by hickory's types: what is no plain question for an address.
//!
//! Everything well-formed is answered, and everything answered is well-formed: TC says that records of the answer
//! section are missing, and nothing else; what only helps (the additional section) is left out first, and silently.

use std::net::{IpAddr, SocketAddr};

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, NS, PTR, SOA, SRV};
use hickory_server::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;

use super::wire::{self, QR, Transport, UDP_PAYLOAD};
use crate::core::zone::{Answer, QueryKind, Reply, Zone};

/// RFC 2308: how long a resolver may remember that a name does not exist. Containers come at any moment.
pub const NEGATIVE_TTL: u32 = 0;
/// Serial, refresh, retry, expiry: nobody transfers the zone, so they carry no meaning. Then the negative TTL.
pub const SOA_NUMBERS: [u32; 5] = [1, 3600, 600, 86_400, NEGATIVE_TTL];

/// Octets of the shortest record: a compressed name and no data.
const SHORTEST_RECORD: usize = 12;

/// A response before it is written.
#[derive(Default)]
struct Response {
    code: ResponseCode,
    is_ours: bool,
    answers: Vec<Record>,
    soa: Vec<Record>,
    additional: Vec<Record>,
}

impl Response {
    fn failed(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }
}

/// Answers from the zone; what is not in it is refused, since only plain questions are passed on. `None` where there
/// is nobody to answer: no question, or not even a header.
pub fn respond(zone: Option<&Zone>, message: &[u8], asker: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
    let header = message.get(..wire::HEADER).filter(|header| header[2] & QR == 0)?;
    let protocol = if transport == Transport::Udp { Protocol::Udp } else { Protocol::Tcp };
    let Ok(request) = Request::from_bytes(message.to_vec(), asker, protocol) else {
        return Some(bare(header, ResponseCode::FormErr.low()));
    };
    let response = match request.request_info() {
        _ if request.metadata.op_code != OpCode::Query => Response::failed(ResponseCode::NotImp),
        // RFC 6891 §6.1.3: a newer EDNS than ours.
        _ if request.edns.as_ref().is_some_and(|edns| edns.version() != 0) => Response::failed(ResponseCode::BADVERS),
        Err(_) => Response::failed(ResponseCode::FormErr),
        Ok(info) if info.query.query_class() != DNSClass::IN => Response::failed(ResponseCode::Refused),
        Ok(info) => {
            let (name, kind) = (info.query.original().name(), info.query.query_type());
            zone.map_or_else(
                || Response::failed(ResponseCode::Refused),
                |zone| of_zone(zone, name, query_kind(kind.into()), asker.ip()),
            )
        }
    };
    fitting(&request, response, transport)
}

/// Says to somebody who is not answered here that he is not, whatever he asked.
pub fn refuse(message: &[u8], response: &mut Vec<u8>) {
    let refused = ResponseCode::Refused.low();
    match wire::Question::plain(message) {
        Some(question) => wire::failure(&question, refused, response),
        None => *response = bare(message, refused),
    }
}

/// A header that repeats a message's number and says no more than `code`. The message has a header.
fn bare(message: &[u8], code: u8) -> Vec<u8> {
    let flags = QR | message[2] & (wire::OPCODE | wire::RD);
    [&message[..2], &[flags, code], &[0; 8]].concat()
}

fn of_zone(zone: &Zone, owner: &Name, kind: QueryKind, asker: IpAddr) -> Response {
    let ttl = u32::try_from(zone.ttl.as_secs()).unwrap_or(0);
    let mut text = String::new();
    wire::spell(owner.iter(), &mut text);
    let mut response = Response { is_ours: true, ..Response::default() };
    match zone.lookup(&text, kind, asker) {
        Reply::NotOurs => return Response::failed(ResponseCode::Refused),
        Reply::NoData => response.soa.extend(soa(zone)),
        Reply::NoName => {
            response.code = ResponseCode::NXDomain;
            response.soa.extend(soa(zone));
        }
        Reply::Answers { answers, extra } => {
            response.answers.extend(answers.into_iter().filter_map(|answer| record(zone, owner, ttl, answer)));
            response.additional.extend(extra.into_iter().filter_map(|(name, ip)| {
                Some(Record::from_rdata(Name::from_ascii(format!("{name}.")).ok()?, ttl, address(ip)))
            }));
        }
    }
    response
}

/// Writes as much as the asker takes, whole records only.
fn fitting(request: &Request, mut response: Response, transport: Transport) -> Option<Vec<u8>> {
    let limit = wire::limit(transport, request.edns.as_ref().map(Edns::max_payload));
    // More than these cannot fit, and need not be tried.
    let most = limit / SHORTEST_RECORD;
    let short = |response: &Response, is_truncated| {
        write(request, response, is_truncated).filter(|written| written.len() <= limit)
    };
    let additional = std::mem::take(&mut response.additional);
    if response.answers.len() <= most {
        let whole = longest(additional.len().min(most), |count| {
            response.additional = additional[..count].to_vec();
            short(&response, false)
        });
        if whole.is_some() {
            return whole;
        }
        response.additional.clear();
    }
    // Over TCP, where the asker turns now, there is room for all of them.
    let answers = std::mem::take(&mut response.answers);
    longest(answers.len().min(most), |count| {
        response.answers = answers[..count].to_vec();
        short(&response, true)
    })
}

/// What is written with the largest count for which something is, from all down to none; found by halves.
fn longest(all: usize, mut write: impl FnMut(usize) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    if let Some(whole) = write(all) {
        return Some(whole);
    }
    let mut best = write(0)?;
    let (mut low, mut high) = (0, all.saturating_sub(1));
    while low < high {
        let middle = (low + high).div_ceil(2);
        match write(middle) {
            Some(written) => (low, best) = (middle, written),
            None => high = middle - 1,
        }
    }
    Some(best)
}

/// `None` where it is longer than any message may be.
fn write(request: &Request, response: &Response, is_truncated: bool) -> Option<Vec<u8>> {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.authoritative = response.is_ours;
    metadata.recursion_available = true;
    metadata.truncation = is_truncated;
    metadata.response_code = response.code;
    let edns = request.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
        edns
    });
    let mut builder = MessageResponseBuilder::from_message_request(request);
    if let Some(edns) = &edns {
        builder.edns(edns);
    }
    let none = std::iter::empty::<&Record>();
    let message = builder.build(metadata, &response.answers, none, &response.soa, &response.additional);
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(u16::MAX);
    let counts = message.destructive_emit(&mut encoder).ok()?.counts();
    // Where it has no room the encoder ends within a record, and counts those before it.
    let (answers, additional) = (response.answers.len(), response.additional.len() + usize::from(edns.is_some()));
    (usize::from(counts.answers) == answers && usize::from(counts.additionals) == additional).then_some(bytes)
}

fn record(zone: &Zone, owner: &Name, ttl: u32, answer: Answer) -> Option<Record> {
    let host = |name: String| Name::from_ascii(format!("{name}.")).ok();
    Some(match answer {
        Answer::Address(ip) => Record::from_rdata(owner.clone(), ttl, address(ip)),
        Answer::Pointer(name) => Record::from_rdata(owner.clone(), ttl, RData::PTR(PTR(host(name)?))),
        Answer::Service { target, port } => {
            Record::from_rdata(owner.clone(), ttl, RData::SRV(SRV::new(0, 1, port, host(target)?)))
        }
        Answer::NameServer(name) => Record::from_rdata(owner.clone(), ttl, RData::NS(NS(host(name)?))),
        Answer::Soa => soa(zone)?,
    })
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

fn soa(zone: &Zone) -> Option<Record> {
    let apex = Name::from_ascii(format!("{}.", zone.domain)).ok()?;
    let server = Name::from_ascii(format!("dns.{}.", zone.domain)).ok()?;
    let contact = Name::from_ascii(format!("hostmaster.{}.", zone.domain)).ok()?;
    let [serial, refresh, retry, expire, negative] = SOA_NUMBERS;
    let [refresh, retry, expire] = [refresh, retry, expire].map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX));
    let soa = SOA::new(server, contact, serial, refresh, retry, expire, negative);
    Some(Record::from_rdata(apex, NEGATIVE_TTL, RData::SOA(soa)))
}

/// What a record type is asked of the zone as.
pub fn query_kind(kind: u16) -> QueryKind {
    match RecordType::from(kind) {
        RecordType::A => QueryKind::A,
        RecordType::AAAA => QueryKind::Aaaa,
        RecordType::PTR => QueryKind::Ptr,
        RecordType::SRV => QueryKind::Srv,
        RecordType::SOA => QueryKind::Soa,
        RecordType::NS => QueryKind::Ns,
        RecordType::ANY => QueryKind::Any,
        _ => QueryKind::Other,
    }
}
