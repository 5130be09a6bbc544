"""One host: bridge, NAT, published ports, shared and empty namespaces, isolation, and a crash.

The order is that of the textbook walkthrough of container networks: a switch in software, a cable for each
container, a gateway, NAT on the way out, NAT on the way in; then host, none and joined containers.
"""

from atoll.lab.scenarios.single_host import isolation, lasting, sharing, switching, translation
from atoll.lab.scenarios.single_host.stage import Stage
from atoll.lab.story import Story
from atoll.lab.topology import Lab

TITLE = "atoll demo: the networks of one container host, built and checked with real packets"
DRAWING = """
   Everything below is made of network namespaces; your own network is not touched.

       +-----------+             +--------------------- host ---------------------+
       |  outside  |     LAN     |                                                |
       |           |-------------| eth0 10.99.0.1                                 |
       | 10.99.0.2 |             |   |  NAT: out (masquerade) and in (published)  |
       +-----------+             |   |                                            |
                                 | atoll0  a switch in software, the gateway      |
                                 |   |        |                                   |
                                 +---|--------|-----------------------------------+
                                     |        |      veth pairs: cables
                                  +--|--+  +--|-----+
                                  |eth0 |  |eth0    |     sandboxes: network namespaces
                                  | web |  | client |
                                  +-----+  +--------+
"""


def play(lab: Lab, story: Story) -> None:
    """Play the whole scenario."""
    story.open(TITLE, DRAWING)
    stage = Stage.built(lab, story)
    for chapter in (switching, translation, sharing, isolation, lasting):
        chapter.play(stage)
