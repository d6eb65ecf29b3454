"""Makes network_info.json: what Nova's own code makes of what Neutron says of a port.

Run it with the Python of a cloud's venv: STATE/venv/bin/python network_info.py network_info.json
"""

import json, sys
from unittest import mock
from nova import context, conf

conf.CONF([], project="nova")
from nova.network import neutron, model

NET = "5f9e1f30-6a52-4d0c-9a53-6a5f2a3f1c01"
NET2 = "5f9e1f30-6a52-4d0c-9a53-6a5f2a3f1c02"
S4 = "6a52aaaa-0000-4d0c-9a53-000000000004"
S6 = "6a52aaaa-0000-4d0c-9a53-000000000006"
T4 = "6a52aaaa-0000-4d0c-9a53-000000000014"
P1 = "0d6e5b43-9f0a-4b7e-8a5e-1f2e3d4c5b6a"
P2 = "1d6e5b43-9f0a-4b7e-8a5e-1f2e3d4c5b6b"
project = "c0ffee00c0ffee00c0ffee00c0ffee00"
cases = []


def case(name, port, networks, subnets, dhcp, ext, provider):
    c = mock.Mock()
    c.list_floatingips.return_value = {"floatingips": []}
    c.list_subnets.return_value = {"subnets": subnets}
    c.list_ports.return_value = {"ports": dhcp}
    c.show_network.side_effect = [{"network": p} for p in provider]
    api = neutron.API()
    with mock.patch.object(neutron, "get_client", return_value=c), mock.patch.object(
        api, "has_multi_provider_extension", return_value=ext
    ):
        vif = api._build_vif_model(context.get_admin_context(), c, port, networks, set())
    cases.append(
        dict(
            name=name,
            port=port,
            networks=networks,
            subnets=subnets,
            dhcp_ports=dhcp,
            provider=provider,
            multi_provider=ext,
            vif=json.loads(model.NetworkInfo([vif]).json())[0],
        )
    )


n1 = {"id": NET, "name": "kagemusha-1", "tenant_id": project, "mtu": 1500}
n2 = {"id": NET2, "name": "overlay", "tenant_id": project, "mtu": 1450}
case(
    "one address, VLAN, not wired yet",
    {
        "id": P1,
        "network_id": NET,
        "mac_address": "fa:16:3e:00:00:01",
        "admin_state_up": True,
        "status": "DOWN",
        "tenant_id": project,
        "fixed_ips": [{"subnet_id": S4, "ip_address": "10.0.0.221"}],
        "binding:vnic_type": "normal",
        "binding:vif_type": "ovs",
        "binding:profile": {},
        "binding:vif_details": {
            "port_filter": True,
            "ovs_hybrid_plug": False,
            "datapath_type": "system",
            "bridge_name": "br-int",
            "connectivity": "l2",
        },
    },
    [n1],
    [
        {
            "id": S4,
            "network_id": NET,
            "cidr": "10.0.0.0/16",
            "gateway_ip": "10.0.0.1",
            "enable_dhcp": False,
            "dns_nameservers": [],
            "host_routes": [],
            "ipv6_address_mode": None,
        }
    ],
    [],
    True,
    [{}, {"provider:physical_network": "physnet1", "provider:network_type": "vlan"}],
)
case(
    "two subnets in a tunnel, DHCP, name servers, routes, another bridge",
    {
        "id": P2,
        "network_id": NET2,
        "mac_address": "fa:16:3e:00:00:02",
        "admin_state_up": True,
        "status": "ACTIVE",
        "tenant_id": project,
        "fixed_ips": [{"subnet_id": T4, "ip_address": "192.168.7.9"}, {"subnet_id": S6, "ip_address": "2001:db8::9"}],
        "binding:vnic_type": "normal",
        "binding:vif_type": "ovs",
        "binding:profile": {"a": "b"},
        "binding:vif_details": {"port_filter": True, "bridge_name": "br-custom"},
    },
    [n2, n1],
    [
        {
            "id": T4,
            "network_id": NET2,
            "cidr": "192.168.7.0/24",
            "gateway_ip": None,
            "enable_dhcp": True,
            "dns_nameservers": ["192.168.7.2", "192.168.7.3"],
            "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "192.168.7.254"}],
            "ipv6_address_mode": None,
        },
        {
            "id": S6,
            "network_id": NET2,
            "cidr": "2001:db8::/64",
            "gateway_ip": "2001:db8::1",
            "enable_dhcp": True,
            "dns_nameservers": [],
            "host_routes": [],
            "ipv6_address_mode": "slaac",
        },
    ],
    [
        {"fixed_ips": [{"subnet_id": T4, "ip_address": "192.168.7.2"}]},
        {"fixed_ips": [{"subnet_id": T4, "ip_address": "192.168.7.3"}]},
    ],
    False,
    [{"provider:physical_network": None, "provider:network_type": "geneve"}],
)
case(
    "binding failed, disabled, segments with a physical network",
    {
        "id": P1,
        "network_id": NET,
        "mac_address": "fa:16:3e:00:00:01",
        "admin_state_up": False,
        "status": "DOWN",
        "tenant_id": project,
        "fixed_ips": [],
        "binding:vnic_type": "normal",
        "binding:vif_type": "binding_failed",
        "binding:profile": None,
        "binding:vif_details": {},
    },
    [n1],
    [],
    [],
    True,
    [
        {
            "segments": [
                {"provider:physical_network": None, "provider:network_type": "vxlan"},
                {"provider:physical_network": "physnet2", "provider:network_type": "vlan"},
            ]
        }
    ],
)
json.dump(
    {"source": "nova 2026.2, neutron.API._build_vif_model over a mocked client", "cases": cases},
    open(sys.argv[1], "w"),
    indent=1,
    sort_keys=True,
)
