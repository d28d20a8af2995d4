//! Consul's routes.

use axum::http::Method;

use super::super::consul::{agent, catalog, kv, not_offered, txn};
use super::super::route::table::{Row, delete, get, put};
use crate::core::access::Right::{Change, Read};
use crate::core::asker::Askers;

/// Consul's wire format, for its clients.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        put("/v1/txn", Change, "Several operations on keys, all or none", txn::commit),
        get("/v1/catalog/datacenters", Read, "The one datacenter", catalog::datacenters).free_to(Askers::Loopback),
        get("/v1/catalog/nodes", Read, "The one node", catalog::nodes),
        get("/v1/catalog/services", Read, "Every service with its tags", catalog::services),
        get("/v1/catalog/service/{name}", Read, "The instances of a service", catalog::service),
        get("/v1/health/service/{name}", Read, "The same with their health; ?passing", catalog::health),
        get("/v1/status/leader", Read, "Who leads: this node", catalog::leader).free_to(Askers::Loopback),
        get("/v1/agent/self", Read, "This node", catalog::this_agent).free_to(Askers::Loopback),
        get("/v1/agent/services", Read, "The registered services", agent::services),
        put("/v1/agent/service/register", Change, "Registers a service", agent::add).asks::<agent::Registration>(),
        put("/v1/agent/service/deregister/{*id}", Change, "Takes a service away", agent::remove),
    ];
    for (all, one) in [("/v1/kv/", "/v1/kv/{*key}"), ("/api/kv/", "/api/kv/{*key}")] {
        rows.extend([
            get(all, Read, "All keys: ?recurse or ?keys", kv::get_all),
            delete(all, Change, "Deletes all keys, with ?recurse", kv::delete_all),
            get(one, Read, "A key, or with ?recurse all below it; ?index=N waits for a change", kv::get),
            put(one, Change, "Sets a key to the body; ?cas=INDEX, ?flags=N", kv::put),
            delete(one, Change, "Deletes a key, or with ?recurse all below it", kv::delete),
        ]);
    }
    for path in ["/v1/session/{*rest}", "/v1/acl/{*rest}", "/v1/event/{*rest}", "/v1/query/{*rest}"] {
        rows.push(get(path, Read, "Not offered", not_offered));
        rows.push(put(path, Change, "Not offered", not_offered));
    }
    let waits = |row: Row| if row.method == Method::GET { row.streams() } else { row };
    rows.into_iter().map(|row| waits(row).token_in_query()).collect()
}
