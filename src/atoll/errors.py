"""Every error that atoll raises on purpose, in one tree.

    AtollError
      InvalidRequest      a bad option, range, name or body
      NotFound            no such network, sandbox, endpoint
      Conflict            the request is fine, what exists stands against it
        NameTaken         the name is in use
        InUse             something still depends on the object
        PoolOverlap       the subnet is held by another network or interface
        PortTaken         the host port is held, the holder is named
        WrongState        what it is doing stands against it: it runs, it doesn't, a container needs it
      Forbidden           never allowed on this object (predefined networks)
      Exhausted           no address, subnet, port left
      Unsupported         the kernel, or this version, can't
      Unavailable         a lock, another daemon, a time-out: try again
      KernelError         one kernel operation failed
      ApplyFailed         a change stopped half-way and was undone
      StoreError          the store can't be used
        StoreCorrupt      a record does not decode
        StoreTooNew       written by a newer atoll
        StoreFull         the disk takes no more

Kinds only: protocol numbers (HTTP status, CNI code) live in the tables of `api/` and `cni/`.
Messages are lower case, name the value, and carry no trailing stop. The hint is the next
command to type.
"""


class AtollError(Exception):
    """Base of all errors raised on purpose.

    `message` is for people, `hint` the next command to type ("" when there is none), `subject`
    the id or name the error is about, `detail` what an engineer needs (errno, extack, script).
    """

    def __init__(self, message: str, *, hint: str = "", subject: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.subject = subject
        self.detail = detail


class InvalidRequest(AtollError):
    """A value in the request can't be used; the message names it and says why."""


class NotFound(AtollError):
    """No object of that name, id or prefix."""


class Conflict(AtollError):
    """What exists stands against a request that is otherwise fine."""


class NameTaken(Conflict):
    """The name belongs to another object."""


class InUse(Conflict):
    """Something still depends on the object."""


class PoolOverlap(Conflict):
    """The subnet overlaps one that is held by a network or on-link on this host."""


class WrongState(Conflict):
    """The object's state stands against it; once that has changed, the same request works."""


class PortTaken(Conflict):
    """The host port is held; the message names the holder."""


class Forbidden(AtollError):
    """The operation is never allowed on this object."""


class Exhausted(AtollError):
    """Nothing left to claim: addresses, subnets, ports."""


class Unsupported(AtollError):
    """This kernel, or this version of atoll, lacks what is asked."""


class Unavailable(AtollError):
    """Something is held or out of reach for now; the same request may work later."""


class KernelError(AtollError):
    """One operation was refused by the kernel.

    `errno` is the positive error number; `detail` has the extack text where the kernel gave one.
    """

    def __init__(self, message: str, *, errno: int, hint: str = "", subject: str = "", detail: str = "") -> None:
        super().__init__(message, hint=hint, subject=subject, detail=detail)
        self.errno = errno


class ApplyFailed(AtollError):
    """A change stopped at a failed operation.

    `failed` describes that operation, `undone` how many earlier ones were taken back, `stuck`
    those that could not be (they are left to the reconciler).
    """

    def __init__(
        self, message: str, *, failed: str, undone: int, stuck: tuple[str, ...] = (), hint: str = "", detail: str = ""
    ) -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.failed = failed
        self.undone = undone
        self.stuck = stuck


class StoreError(AtollError):
    """The store can't be opened, read or written."""


class StoreCorrupt(StoreError):
    """A record, or the file itself, does not decode."""


class StoreTooNew(StoreError):
    """The store was written by a newer version."""


class StoreFull(StoreError):
    """The disk takes no more; the change was not made."""
