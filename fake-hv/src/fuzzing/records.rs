//! The records of a host, and every question whose answer changes them.

use std::rc::Rc;

use hypervisor::{
    ActionEvent, ConductorCall, InstanceState, LazyField, NetworkRequest, Notice, PlacementRequest, Request, Session,
    Touched, Usage,
};
use serde_json::Value;
use uuid::Uuid;

use super::COMMON;
use crate::{
    contexts::Context,
    host::Common,
    http::{Accounts, Client, HttpAnswer},
    nova::{self, Author, Documents, Identity, InstanceDocument, Rows},
};

/// What a host remembers of its answers.
pub struct Records {
    common: Rc<Common>,
    identity: Identity,
    rows: Rows,
    documents: Documents,
    accounts: Accounts,
    instance: Uuid,
    context: Context,
    calls: Vec<ConductorCall>,
    requests: Vec<Request>,
}

/// A port that the answers may have, too.
const PORT: Uuid = Uuid::from_u128(0x21a5_ef50_4a3c_4d33_9b52_c0b3_fd6d_9f0d);

impl Records {
    /// With the record of one VM, if it is one.
    pub fn new(object: Value) -> Self {
        let instance = InstanceDocument::instance(&object).map_or_else(Uuid::nil, |instance| instance.uuid);
        let mut document = InstanceDocument::new(object.clone());
        document.build_request = object.as_object().cloned();
        let known = InstanceDocument::instance(&object).is_some();
        let documents = if known { Documents::from([(instance, document)]) } else { Documents::new() };
        Self {
            common: COMMON.with(|common| Rc::clone(&common[0])),
            identity: Identity { host: "realfake-2".into(), node: Uuid::from_u128(2) },
            rows: Rows::default(),
            documents,
            accounts: Accounts::default(),
            instance,
            context: Context::Given(object),
            calls: calls(instance),
            requests: requests(instance),
        }
    }

    /// Number of the questions.
    pub fn len(&self) -> usize {
        self.calls.len() + self.requests.len()
    }

    /// There always are some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the questions to the conductor are called, by their numbers.
    pub fn names(&self) -> Vec<&'static str> {
        self.calls.iter().map(ConductorCall::name).collect()
    }

    /// Asks a question by its number, and takes the answer over.
    pub fn ask(&mut self, number: usize, status: u16, token: Option<&str>, body: Value) {
        if let Some(call) = self.calls.get(number).cloned() {
            let _message = nova::call(&mut self.author(), &call);
            let _response = nova::reply(&call, body, "realfake-2", &mut self.rows, &mut self.documents);
        } else if let Some(request) = self.requests.get(number - self.calls.len()).cloned() {
            let mut client = self.client();
            let _request = client.encode(&request);
            let answer = HttpAnswer { status, subject_token: token.map(Into::into), body };
            let _response = client.decode(&request, answer);
        }
    }

    /// Asks and tells everything once more, without looking at answers.
    pub fn say_all(&mut self) {
        for call in self.calls.clone() {
            let _message = nova::call(&mut self.author(), &call);
        }
        for request in self.requests.clone() {
            let _request = self.client().encode(&request);
        }
        let (instance, reason) = (self.instance, "none".to_owned());
        for notice in [
            Notice::InstancesAtStart,
            Notice::InstanceChanged(instance),
            Notice::InstanceDeleted(instance),
            Notice::Stop(instance),
            Notice::Reschedule { instance, reason },
        ] {
            let _message = nova::notice(&self.author(), &notice);
        }
    }

    fn author(&mut self) -> Author<'_> {
        Author {
            release: &self.common.release,
            identity: &self.identity,
            resources: &self.common.config.resources,
            rows: &self.rows,
            documents: &mut self.documents,
            context: &self.context,
            now: "2026-11-23T05:57:35Z",
        }
    }

    fn client(&mut self) -> Client<'_> {
        Client {
            apis: &self.common.apis,
            release: &self.common.release,
            identity: &self.identity,
            resources: &self.common.config.resources,
            accounts: &mut self.accounts,
            documents: &mut self.documents,
            context: &self.context,
        }
    }
}

/// Every call to the conductor.
fn calls(uuid: Uuid) -> Vec<ConductorCall> {
    use ConductorCall as C;
    use InstanceState as S;
    let states = [
        S::Building,
        S::Claimed,
        S::Networking,
        S::BlockDeviceMapping,
        S::Spawning,
        S::Active,
        S::Rescheduling,
        S::Error,
        S::Deleted,
        S::Reverted,
    ];
    let mut calls = vec![
        C::Ping,
        C::GetMinimumVersion,
        C::GetService,
        C::GetNodesByUuid,
        C::GetInstancesAtStart,
        C::GetInstances,
        C::GetEvacuations,
        C::CreateService,
        C::SaveService { report_count: 1 },
        C::GetNodesByHost,
        C::GetNode,
        C::CreateNode,
        C::SaveNode { usage: Usage::default(), touched: Touched::default() },
        C::GetPciDevices,
        C::GetInstancesByNode,
        C::GetMigrations,
        C::GetServiceOfNode,
        C::GetInstance(uuid),
        C::RefreshInstance(uuid),
        C::GetInstancesWithPower,
        C::GetInstanceToHeal(uuid),
        C::LoadField(uuid, LazyField::Flavor),
        C::LoadField(uuid, LazyField::SystemMetadata),
        C::LoadField(uuid, LazyField::InfoCache),
        C::SavePowerState(uuid, 4),
        C::SavePoweringOff(uuid),
        C::StartStop(uuid),
        C::GetPendingDeletes,
        C::GetIncompleteMigrations,
        C::CleanConsoleTokens,
        C::GetRunningDeleted(vec![uuid]),
        C::GetImageCacheUsers,
        C::StartEvent(uuid, ActionEvent::Build),
        C::FinishEvent { instance: uuid, event: ActionEvent::Terminate, failure: Some("it".to_owned()) },
        C::CreateFault { instance: uuid, message: "é".repeat(200) },
        C::DestroyInstance(uuid),
        C::GetBlockDevices(uuid),
        C::SaveBlockDevice(uuid),
        C::CreateInterface { instance: uuid, port: PORT },
        C::DeleteInterfaces(uuid),
        C::RefreshInfoCache(uuid),
        C::SaveInfoCache(uuid),
        C::SaveInfoCacheWithout { instance: uuid, port: PORT },
        C::GetShares(uuid),
        C::GetResources(uuid),
        C::CleanInstanceConsoleTokens(uuid),
    ];
    calls.extend(states.map(|state| C::SaveInstance(uuid, state)));
    calls
}

/// Every request over HTTP.
fn requests(instance: Uuid) -> Vec<Request> {
    use NetworkRequest as N;
    use PlacementRequest as P;
    let port = PORT;
    let placement = [
        P::Discover,
        P::GetTree,
        P::CreateProvider,
        P::GetInventories,
        P::GetAggregates,
        P::GetSharingProviders,
        P::GetTraits,
        P::GetProviderAllocations,
        P::GetAllocations(instance),
        P::DeleteAllocations(instance),
        P::PutInventories,
        P::GetTraitNames,
        P::PutTraits,
    ];
    let network = [
        N::GetRequestedNetworks(instance),
        N::GetNetworks { instance, ports: vec![port] },
        N::GetProjectNetworks(instance),
        N::GetSharedNetworks,
        N::GetExtensions,
        N::CreatePort { instance, network: Uuid::nil() },
        N::BindPort { instance, port },
        N::GetPorts { instance, only: None },
        N::GetPorts { instance, only: Some(PORT) },
        N::GetAllPorts(instance),
        N::GetFloatingIps { instance, port },
        N::GetSubnets { instance, port },
        N::GetDhcpPorts { instance, port },
        N::GetSegments { instance, port },
        N::GetPhysicalNetwork { instance, port },
        N::DeletePort { instance, port },
    ];
    let sessions = [Session::Placement, Session::Network, Session::ServiceUser].map(Request::Token);
    let all = placement.map(Request::Placement).into_iter().chain(network.map(Request::Network)).chain(sessions);
    all.chain([Request::IdentityVersion]).collect()
}
