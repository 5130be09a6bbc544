"""Addresses as text, for rows of ports that mostly have the same one."""

from atoll.model.addresses import IPAddress


class AddressText:
    """Writes addresses, and remembers the last: an IPv6 address takes longer to write than all else of a port."""

    def __init__(self) -> None:
        self._address: IPAddress | None = None
        self._text = ""

    def __call__(self, address: IPAddress) -> str:
        """An address as text."""
        if address is not self._address:
            self._address, self._text = address, str(address)
        return self._text
