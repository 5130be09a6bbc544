"""Records of images.

    config/DIGITS     the config of an image as it came: its sha256 is the image's id
    names.json        reference, complete, with tag or digest: id
    layers/           see layers.py

An image is there once its config is, which is written after its layers. Files are replaced as a whole.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from atoll.errors import Conflict, InvalidRequest, NotFound, StoreCorrupt, WrongState
from atoll.model.image import Image, parse_image_config
from atoll.model.names import short_id
from atoll.model.reference import Reference, parse_reference
from atoll.runtime.images.layers import Layers

CONFIG_MAX_BYTES = 4 << 20
"""Containerd's and skopeo's limit too."""


class ImageStore:
    """The images below one directory, for one event loop. Look-ups read no file; `new_name` names what is new."""

    def __init__(self, directory: Path, *, new_name: Callable[[], str]) -> None:
        self._directory = directory
        self.new_name = new_name
        self.layers = Layers(directory / "layers", new_name=new_name)
        self._changing = asyncio.Lock()
        """Held while layers are there that no image names yet, and while such are removed."""
        self._images: dict[str, Image] = {}
        self._names: dict[str, str] = {}

    def load(self) -> None:
        """Read what is there, and remove what was half made. Raises StoreCorrupt naming the file."""
        for made in ("config", "layers"):
            (self._directory / made).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.layers.prepare()
        self._names = _read_json(self._directory / "names.json")
        for path in (self._directory / "config").iterdir():
            if path.suffix:
                path.unlink()
                continue
            raw = path.read_bytes()
            if hashlib.sha256(raw).hexdigest() != path.name:
                raise StoreCorrupt(f"{path} has other content than its name says", hint=f"rm {path}")
            self._images[path.name] = self._sized(parse_image(raw))
        self._names = {name: image_id for name, image_id in self._names.items() if image_id in self._images}

    def images(self) -> tuple[Image, ...]:
        """All of them, the newest first."""
        named = [self._named(image_id) for image_id in self._images]
        return tuple(sorted(named, key=lambda image: (-image.created_ns, image.id)))

    def find(self, text: str) -> Image:
        """The image of that id (with or without `sha256:`), name, or unambiguous prefix of an id.

        Raises NotFound in Docker's words, which its clients look for; WrongState, InvalidRequest.
        """
        digits = text.removeprefix("sha256:")
        if digits in self._images:
            return self._named(digits)
        if not text.startswith("sha256:"):
            reference = parse_reference(text)
            image_id = self._names.get(_key(reference))
            if image_id is not None:
                return self._named(image_id)
        fits = [image_id for image_id in self._images if digits and image_id.startswith(digits)]
        if len(fits) > 1:
            raise Conflict(f"image prefix {text!r} is ambiguous", hint="give more digits, or the name")
        if not fits:
            shown = text if text.startswith("sha256:") else parse_reference(text).familiar
            raise NotFound(f"No such image: {shown}", hint=f"atoll pull {shown}", subject=text)
        return self._named(fits[0])

    async def add(
        self,
        archives: Iterable[Path],
        config: Callable[[Sequence[str]], bytes],
        *,
        diff_ids: Sequence[str] = (),
        names: Iterable[Reference] = (),
    ) -> Image:
        """Unpack the layers of an image, lowest first, and keep it under `names`.

        `config` makes its config of the layers' diff ids; with `diff_ids` they have to be these. Raises
        InvalidRequest, StoreFull, OSError; then layers that were unpacked before that go again.
        """
        async with self._changing:
            try:
                image = await self._unpacked([*archives], config, [*diff_ids] or [""])
            except BaseException:
                await self._keep_named()
                raise
            if image.id not in self._images:
                self._write(f"config/{image.id}", image.raw)
                self._images[image.id] = self._sized(image)
            self.name(image.id, *names)
            return self._named(image.id)

    async def _unpacked(
        self, archives: Sequence[Path], config: Callable[[Sequence[str]], bytes], expected: Sequence[str]
    ) -> Image:
        found = []
        for index, archive in enumerate(archives):
            with archive.open("rb") as file:
                found.append(await self.layers.add(file, expected[index % len(expected)]))
        image = parse_image(config(found))
        if list(image.layers) != found:
            raise InvalidRequest("the config of the image tells other layers than it has")
        return image

    async def _keep_named(self) -> None:
        """Remove the layers that are of no image."""
        await self.layers.keep(frozenset(layer for image in self._images.values() for layer in image.layers))

    def name(self, image_id: str, *references: Reference) -> None:
        """Give an image names, which others lose."""
        if references:
            self._names |= {_key(reference): image_id for reference in references}
            self._write("names.json", _encoded(self._names))

    async def remove(self, text: str, *, users: Mapping[str, str], force: bool = False) -> tuple[list[str], list[str]]:
        """Remove a name, or the image when that was its last one: what was untagged, and the ids that were deleted.

        `users` says which container (its name) is of which image, by the image's id. Raises NotFound; WrongState when a
        container needs the image, unless `force` is given, and then only names go; WrongState when several names are
        of the id that is given.
        """
        image = self.find(text)
        by_id = image.id.startswith(text.removeprefix("sha256:"))
        user = users.get(image.id)
        held = list(image.tags) + list(image.digests)
        if by_id:
            if len(image.tags) > 1 and not force:
                raise WrongState(
                    f"unable to delete {short_id(image.id)} (must be forced) - image has several names: "
                    + ", ".join(image.tags),
                    hint=f"atoll rmi --force {short_id(image.id)}",
                )
            going = held
        else:
            going = [parse_reference(text).familiar]
            if set(image.tags) <= set(going):
                going = held
        last = set(held) <= set(going)
        if last and user is not None and not force:
            raise WrongState(
                f"unable to remove {text}: image is being used by container {user}", hint=f"atoll rm --force {user}"
            )
        self._names = {name: other for name, other in self._names.items() if not _is_one_of(name, going)}
        self._write("names.json", _encoded(self._names))
        if not last or user is not None:
            return going, []
        (self._directory / "config" / image.id).unlink(missing_ok=True)
        del self._images[image.id]
        async with self._changing:
            await self._keep_named()
        return going, [image.id]

    def _sized(self, image: Image) -> Image:
        return replace(image, size_bytes=sum(self.layers.size_bytes(diff_id) for diff_id in image.layers))

    def _named(self, image_id: str) -> Image:
        names = sorted(name for name, other in self._names.items() if other == image_id)
        familiar = [parse_reference(name).familiar for name in names]
        return replace(
            self._images[image_id],
            tags=tuple(name for name in familiar if "@" not in name),
            digests=tuple(name for name in familiar if "@" in name),
        )

    def _write(self, name: str, content: bytes) -> None:
        path = self._directory / name
        fresh = path.with_name(f"{path.name}.{self.new_name()}")
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)


def parse_image(raw: bytes) -> Image:
    """The image of a config, without names and size. Raises InvalidRequest."""
    if len(raw) > CONFIG_MAX_BYTES:
        raise InvalidRequest(f"the config of the image has {len(raw)} bytes, at most {CONFIG_MAX_BYTES} are allowed")
    try:
        document = json.loads(raw, parse_int=_int64)
        # Halves of characters, which JSON can say, are said to nobody.
        json.dumps(document, ensure_ascii=False).encode()
        layers = tuple(_digits(diff_id) for diff_id in document["rootfs"]["diff_ids"])
        history = document.get("history") or []
        return Image(
            id=hashlib.sha256(raw).hexdigest(),
            raw=raw,
            layers=layers,
            config=parse_image_config(document.get("config") or {}),
            created_ns=parse_time_ns(document.get("created") or ""),
            architecture=str(document.get("architecture") or ""),
            os=str(document.get("os") or ""),
            author=str(document.get("author") or ""),
            comment=str(history[-1].get("comment") or "") if history else "",
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidRequest(f"the config of the image can't be read: {error!r}") from None


def _int64(text: str) -> int:
    """A number as Go has it: what shows images to clients encodes no other."""
    if len(text) > len(str(-(1 << 63))) or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"{text[:40]} has more than 64 bits")
    return int(text)


def _digits(diff_id: Any) -> str:
    algorithm, _, digits = str(diff_id).partition(":")
    if algorithm != "sha256" or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"{diff_id!r} is not a digest")
    return digits


def parse_time_ns(text: str) -> int:
    """Unix time of an image's date, in whole milliseconds; 0 for what is no date."""
    # Nanoseconds, as Go writes them, are more digits than fromisoformat takes before 3.11; longer years fail.
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000
    except (ValueError, OverflowError):
        return 0


def _key(reference: Reference) -> str:
    """A name without the part that does not decide."""
    return replace(reference, tag="").complete if reference.digest else reference.complete


def _is_one_of(name: str, familiar: Iterable[str]) -> bool:
    return parse_reference(name).familiar in set(familiar)


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreCorrupt(f"{path} does not decode: {error}", hint=f"rm {path}") from error
    if not isinstance(document, dict):
        raise StoreCorrupt(f"{path} does not hold an object", hint=f"rm {path}")
    return document
