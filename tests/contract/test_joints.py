"""What a kernel promises of joints: pairs whose two ends are ports of bridges on the host. Of both kernels."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from atoll.errors import KernelError
from atoll.kernel.kernel import StepFailed
from atoll.model.items import Bridge, Item, Joint, owner_alias
from tests.contract.kernels import BRIDGE, Bench, fake_bench, made, network_items, real_bench, sandbox_items, veth

SEGMENT = Bridge("a1-test", owner_alias("network", "1"), "06:01:00:00:00:01")
JOINT = Joint("ad1-test", owner_alias("network", "1"), BRIDGE, "au1-test", SEGMENT.ifname, isolated=True)


@pytest.fixture(params=["fake", "real"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with ExitStack() as stack:
        if request.param == "fake":
            found = fake_bench()
        else:
            found = stack.enter_context(real_bench(request.getfixturevalue("host")))
        found.kernel.prepare()
        found.add(network_items()[0])
        yield found


def refusal(bench: Bench, item: Item) -> KernelError:
    with pytest.raises(StepFailed) as stop:
        bench.add(item)
    assert isinstance(stop.value.error, KernelError)
    return stop.value.error


def test_a_joint_that_was_added_is_observed_as_asked_also_when_added_again(bench: Bench) -> None:
    bench.add(SEGMENT, JOINT)
    assert not bench.differing(SEGMENT, JOINT)
    bench.add(SEGMENT, JOINT)
    assert not bench.differing(SEGMENT, JOINT)


def test_a_joint_that_was_removed_is_gone_with_both_its_names(bench: Bench) -> None:
    bench.add(SEGMENT, JOINT)
    bench.remove(JOINT, JOINT)
    assert bench.observe(JOINT) == {}
    turned = replace(JOINT, ifname=JOINT.far_ifname, far_ifname=JOINT.ifname)
    bench.add(turned)
    assert not bench.differing(turned)


def test_a_survey_tells_one_item_a_joint_beside_the_cables(bench: Bench) -> None:
    cable, *_ = sandbox_items(2)
    bench.add(SEGMENT, JOINT, made(bench, 2), cable)
    found = bench.survey("s2")
    assert {key: found.get(key) for key in (JOINT.key, veth(2).key)} == {
        JOINT.key: replace(JOINT, mtu_bytes=1500),
        veth(2).key: replace(veth(2), mtu_bytes=1500),
    }
    assert ("link", "", JOINT.far_ifname) not in found


@pytest.mark.parametrize("other", [{"isolated": False}, {"mtu_bytes": 1400}], ids=str)
def test_a_joint_is_changed_in_place(bench: Bench, other: dict[str, int]) -> None:
    bench.add(SEGMENT, JOINT)
    wanted = replace(JOINT, **other)  # type: ignore[arg-type]
    assert bench.differing(wanted)
    bench.change(JOINT, wanted)
    assert not bench.differing(wanted)


@pytest.mark.parametrize("lost", [BRIDGE, SEGMENT.ifname])
def test_a_joint_that_lost_a_bridge_is_plugged_in_again(bench: Bench, lost: str) -> None:
    bench.add(SEGMENT, JOINT)
    bench.others.delete_link(lost)
    (there,) = bench.differing(JOINT).values()
    assert isinstance(there, Joint)
    bench.add(network_items()[0], SEGMENT)
    bench.change(there, JOINT)
    assert not bench.differing(JOINT)


def test_a_joint_whose_far_end_has_another_name_is_made_anew(bench: Bench) -> None:
    before = replace(JOINT, far_ifname="au9-test")
    bench.add(SEGMENT, before)
    bench.change(before, JOINT)
    assert not bench.differing(JOINT)


def test_a_joint_needs_both_bridges_and_both_names(bench: Bench) -> None:
    assert "no bridge a1-test" in refusal(bench, JOINT).message
    bench.add(SEGMENT)
    bench.others.make_bridge(JOINT.far_ifname)
    assert "exists already" in refusal(bench, JOINT).message
    assert bench.observe(JOINT) == {}
    bench.others.delete_link(JOINT.far_ifname)
    bench.others.make_bridge(JOINT.ifname)
    assert "belongs to somebody else" in refusal(bench, JOINT).message
