"""ConfigMaps and Secrets as files, kept as a kubelet keeps them: all of a volume changes at once, by one link.

Knows of pods what is needed for that, and nothing of what runs in them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

from sandbox.kubernetes.client import Api, Json

_DATA = "..data"


class Mounts:
    """The volumes of a container below a folder, each where its mount path is below the root."""

    def __init__(self, api: Api, namespace: str, folder: Path, pod: Json, container: Json) -> None:
        """Raises: ValueError, for a volume of a kind that no process outside a pod can have."""
        self._api, self._namespace = api, namespace
        volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
        self.folders: Mapping[str, Path] = {
            mount["mountPath"]: folder / mount["mountPath"].lstrip("/") for mount in container.get("volumeMounts", ())
        }
        """By mount path."""
        self._volumes = {mount["mountPath"]: volumes[mount["name"]] for mount in container.get("volumeMounts", ())}
        for place in self.folders.values():
            place.mkdir(mode=0o700, parents=True)
        self.refresh()

    def refresh(self) -> None:
        """Bring every file to what its ConfigMap or Secret says now."""
        for path, volume in self._volumes.items():
            files = self._files(volume)
            if files is not None:
                _keep(self.folders[path], files)

    def moved(self, text: str) -> str:
        """An argument, or a variable, with the paths below a mount path where they are here."""
        for path, folder in self.folders.items():
            before, found, after = text.partition(path)
            if found and (not before or before.endswith(("=", ":", ","))) and after[:1] in ("", "/"):
                return f"{before}{folder}{after}"
        return text

    def _files(self, volume: Json) -> dict[str, bytes] | None:
        match volume:
            case {"emptyDir": _}:
                return None
            case {"configMap": {"name": name} as said}:
                found = self._api.get(f"/api/v1/namespaces/{self._namespace}/configmaps/{name}")
                data = {key: text.encode() for key, text in (found.get("data") or {}).items()}
                data |= {key: base64.b64decode(held) for key, held in (found.get("binaryData") or {}).items()}
                return _chosen(data, said.get("items"))
            case {"secret": {"secretName": name} as said}:
                found = self._api.get(f"/api/v1/namespaces/{self._namespace}/secrets/{name}")
                data = {key: base64.b64decode(held) for key, held in (found.get("data") or {}).items()}
                return _chosen(data, said.get("items"))
        raise ValueError(f"volume {volume['name']}: only ConfigMaps, Secrets and empty folders can be mounted here")


def _chosen(data: dict[str, bytes], items: Sequence[Json] | None) -> dict[str, bytes]:
    return {item["path"]: data[item["key"]] for item in items} if items else data


def _keep(folder: Path, files: Mapping[str, bytes]) -> None:
    # Source: the kubelet's AtomicWriter: a folder for each state, and `..data` is a link to the present one.
    link = folder / _DATA
    if link.exists() and {each.name: each.read_bytes() for each in link.iterdir()} == files:
        return
    present = Path(mkdtemp(prefix="..", dir=folder))
    for name, content in files.items():
        (present / name).write_bytes(content)
    draft = folder / "..data_tmp"
    draft.symlink_to(present.name)
    before = link.resolve() if link.exists() else None
    draft.replace(link)
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for shown in folder.iterdir():
        if shown.is_symlink() and shown.name != _DATA and shown.name not in files:
            shown.unlink()
    if before is not None:
        for old in before.iterdir():
            old.unlink()
        before.rmdir()
