//! Placement (`nova/scheduler/client/report.py`).

use hypervisor::{Fault, PlacementRequest, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, HttpAnswer, HttpRequest, successful};

impl Client<'_> {
    pub(super) fn encode_placement(&self, request: &PlacementRequest) -> HttpRequest {
        use PlacementRequest as P;
        let node = self.identity.node;
        let provider = |rest: &str| format!("/resource_providers/{node}{rest}");
        let (method, path, version, body) = match request {
            P::Discover => ("GET", "/".to_owned(), None, None),
            P::GetTree => ("GET", format!("/resource_providers?in_tree={node}"), Some("1.14"), None),
            P::CreateProvider => {
                let body = json!({"uuid": node, "name": self.identity.host});
                ("POST", "/resource_providers".to_owned(), Some("1.20"), Some(body))
            }
            P::GetInventories => ("GET", provider("/inventories"), None, None),
            P::GetAggregates => ("GET", provider("/aggregates"), Some("1.19"), None),
            P::GetSharingProviders => {
                let aggregates = self.accounts.aggregates.join(",");
                let query = format!("member_of=in:{aggregates}&required=MISC_SHARES_VIA_AGGREGATE");
                ("GET", format!("/resource_providers?{query}"), Some("1.18"), None)
            }
            P::GetTraits => ("GET", provider("/traits"), Some("1.6"), None),
            P::GetProviderAllocations => ("GET", provider("/allocations"), None, None),
            P::GetAllocations(consumer) | P::GetEvacuatedAllocations(consumer) => {
                ("GET", format!("/allocations/{consumer}"), Some("1.28"), None)
            }
            P::RemoveAllocations(consumer) => {
                ("PUT", format!("/allocations/{consumer}"), Some("1.28"), Some(self.accounts.evacuated.clone()))
            }
            P::DeleteAllocations(consumer) => ("DELETE", format!("/allocations/{consumer}"), None, None),
            P::PutInventories => ("PUT", provider("/inventories"), Some("1.26"), Some(self.inventories())),
            P::GetTraitNames => {
                ("GET", format!("/traits?name=in:{}", self.release.traits.join(",")), Some("1.6"), None)
            }
            P::PutTraits => ("PUT", provider("/traits"), Some("1.6"), Some(self.traits())),
        };
        HttpRequest {
            method,
            url: format!("{}{path}", self.apis.placement_url),
            token: self.accounts.tokens.placement.clone().filter(|_| *request != P::Discover),
            service_token: None,
            request_id: self.context.request_id().filter(|_| *request != P::Discover),
            placement_version: version,
            body,
            content_type: None,
        }
    }

    fn inventories(&self) -> Value {
        let offered = self.resources;
        let inventory = |total: u64, reserved: u64, ratio: f64| {
            json!({"total": total, "reserved": reserved, "min_unit": 1, "max_unit": total, "step_size": 1,
                "allocation_ratio": ratio})
        };
        json!({
            "resource_provider_generation": self.accounts.provider_generation,
            "inventories": {
                "VCPU": inventory(offered.vcpus.into(), 0, offered.cpu_allocation_ratio),
                "MEMORY_MB": inventory(offered.memory_mb, 512, offered.ram_allocation_ratio),
                "DISK_GB": inventory(offered.local_gb, 0, offered.disk_allocation_ratio),
            },
        })
    }

    fn traits(&self) -> Value {
        json!({"resource_provider_generation": self.accounts.provider_generation, "traits": self.release.traits})
    }

    pub(super) fn decode_placement(
        &mut self,
        request: &PlacementRequest,
        answer: &HttpAnswer,
    ) -> Result<Response, Fault> {
        use PlacementRequest as P;
        let gone_is_fine = matches!(request, P::DeleteAllocations(_)) && answer.status == 404;
        if !gone_is_fine {
            successful(answer.status)?;
        }
        let generation = answer.body.get("resource_provider_generation").or_else(|| answer.body.get("generation"));
        if let Some(generation) = generation.and_then(Value::as_u64) {
            self.accounts.provider_generation = generation;
        }
        Ok(match request {
            P::GetTree => {
                let provider = answer.body.pointer("/resource_providers/0");
                if let Some(generation) = provider.and_then(|p| p["generation"].as_u64()) {
                    self.accounts.provider_generation = generation;
                }
                Response::Found(provider.is_some())
            }
            P::GetInventories => {
                Response::Found(answer.body["inventories"].as_object().is_some_and(|found| !found.is_empty()))
            }
            P::GetAggregates => {
                let aggregates = answer.body["aggregates"].as_array().into_iter().flatten();
                self.accounts.aggregates = aggregates.filter_map(Value::as_str).map(str::to_owned).collect();
                Response::Found(!self.accounts.aggregates.is_empty())
            }
            P::GetEvacuatedAllocations(_) => {
                let mut elsewhere = answer.body.clone();
                if let Some(allocations) = elsewhere["allocations"].as_object_mut() {
                    allocations.remove(&self.identity.node.to_string());
                }
                self.accounts.evacuated = elsewhere;
                Response::Done
            }
            P::RemoveAllocations(_) => {
                self.accounts.evacuated = Value::Null;
                Response::Done
            }
            P::GetProviderAllocations => Response::Consumers(consumers(&answer.body)),
            _ => Response::Done,
        })
    }
}

fn consumers(body: &Value) -> Vec<Uuid> {
    let allocations = body["allocations"].as_object();
    allocations.into_iter().flat_map(|found| found.keys()).filter_map(|key| key.parse().ok()).collect()
}
