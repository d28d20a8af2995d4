//! One query → one response: the zone's reply in wire terms, or the forwarder's.

use std::net::IpAddr;

use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, NS, PTR, SOA, SRV};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{Catalog, MessageResponseBuilder};

use super::Names;
use crate::core::zone::{Answer, QueryKind, Reply, Zone};

/// The largest UDP response we send, so that none is cut into fragments (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// RFC 2308: how long a resolver may remember that a name does not exist. Containers come at any moment.
const NEGATIVE_TTL: u32 = 0;

pub struct Handler {
    names: Names,
    forward: Catalog,
}

impl Handler {
    pub fn new(names: Names, forward: Catalog) -> Self {
        Self { names, forward }
    }
}

/// A response before it is written.
struct Response {
    code: ResponseCode,
    answers: Vec<Record>,
    soa: Vec<Record>,
    additional: Vec<Record>,
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut sender: R) -> ResponseInfo {
        let zone = self.names.zone.load_full();
        let is_query = request.metadata.message_type == MessageType::Query && request.metadata.op_code == OpCode::Query;
        let response = match (request.request_info(), zone) {
            (Ok(info), Some(zone)) if is_query && edns_is_known(request) => {
                let name = Name::from(info.query.name().clone()).to_ascii();
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                respond(&zone, &name, info.query.query_type(), request.src().ip())
            }
            _ => None,
        };
        let Some(response) = response else {
            self.names.meters.forwarded();
            return self.forward.handle_request::<R, T>(request, sender).await;
        };
        self.names.meters.answered();
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        metadata.recursion_available = true;
        metadata.response_code = response.code;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, UDP_PAYLOAD)).set_version(0);
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let message = builder.build(
            metadata,
            &response.answers,
            std::iter::empty::<&Record>(),
            &response.soa,
            &response.additional,
        );
        match sender.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a DNS response was not sent");
                ResponseInfo::from(hickory_server::proto::op::Header { metadata, counts: Default::default() })
            }
        }
    }
}

/// RFC 6891 §6.1.3: a newer EDNS is answered with BADVERS, which the catalog does.
fn edns_is_known(request: &Request) -> bool {
    request.edns.as_ref().is_none_or(|edns| edns.version() == 0)
}

/// `None` where the zone has nothing to say and the query is to be forwarded.
fn respond(zone: &Zone, name: &str, kind: RecordType, asker: IpAddr) -> Option<Response> {
    let ttl = u32::try_from(zone.ttl.as_secs()).unwrap_or(0);
    let owner = Name::from_ascii(format!("{name}.")).ok()?;
    let mut response =
        Response { code: ResponseCode::NoError, answers: Vec::new(), soa: Vec::new(), additional: Vec::new() };
    match zone.lookup(name, query_kind(kind), asker) {
        Reply::NotOurs => return None,
        Reply::NoData => response.soa.extend(soa(zone)),
        Reply::NoName => {
            response.code = ResponseCode::NXDomain;
            response.soa.extend(soa(zone));
        }
        Reply::Answers { answers, extra } => {
            response.answers.extend(answers.into_iter().filter_map(|answer| record(zone, &owner, ttl, answer)));
            response.additional.extend(extra.into_iter().filter_map(|(name, ip)| {
                Some(Record::from_rdata(Name::from_ascii(format!("{name}.")).ok()?, ttl, address(ip)))
            }));
        }
    }
    Some(response)
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
    // Nobody transfers the zone, so serial and refresh times carry no meaning.
    let soa = SOA::new(server, contact, 1, 3600, 600, 86_400, NEGATIVE_TTL);
    Some(Record::from_rdata(apex, NEGATIVE_TTL, RData::SOA(soa)))
}

fn query_kind(kind: RecordType) -> QueryKind {
    match kind {
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
