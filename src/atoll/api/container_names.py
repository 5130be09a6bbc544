"""Names for containers that were given none. Pure."""

_FIRST = (
    "amber", "azure", "breezy", "bright", "calm", "clear", "coral", "distant", "drifting", "gentle", "golden", "green",
    "hidden", "lively", "mellow", "misty", "pearly", "quiet", "rolling", "sandy", "shining", "silent", "sunny", "tidal",
    "turquoise", "vast", "violet", "warm", "white", "windy", "winding", "young",
)  # fmt: skip
_SECOND = (
    "addu", "aitutaki", "aldabra", "ant", "ari", "bikar", "bikini", "caroline", "cocos", "ebon", "felidhu", "fulanga",
    "funafuti", "gaferut", "huvadhu", "jaluit", "kure", "kwajalein", "likiep", "majuro", "maloelap", "midway",
    "nukuoro", "palmyra", "pingelap", "rangiroa", "rongelap", "taka", "tarawa", "tikehau", "ulithi", "wotho",
)  # fmt: skip


def chosen_name(digits: str, attempt: int) -> str:
    """An adjective and an atoll, chosen by random hexadecimal `digits`; later attempts bear a number too."""
    number = int(digits[:8], 16)
    first, second = _FIRST[number % len(_FIRST)], _SECOND[number // len(_FIRST) % len(_SECOND)]
    return f"{first}_{second}" + (f"_{number % 1000}" if attempt else "")
