"""The table of all scenarios.  A new one is a function and a row here."""

from tests.chaos.chaos import Scenario
from tests.chaos.fencing import broker_pause, kill, pause, stall
from tests.chaos.layouts import layouts
from tests.chaos.local_state import changelog, damage, prefix, refusals
from tests.chaos.losses import deleted, partitions_added, recreated
from tests.chaos.poison import poison

SCENARIOS: dict[str, Scenario] = {
    "pause": pause,
    "broker-pause": broker_pause,
    "kill": kill,
    "stall": stall,
    "poison": poison,
    "prefix": prefix,
    "damage": damage,
    "changelog": changelog,
    "refusals": refusals,
    "deleted": deleted,
    "partitions": partitions_added,
    "recreated": recreated,
    "layouts": layouts,
}
