"""HTTP: paths, verbs and forms of an answer. Decides nothing about objects."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import yaml
from aiohttp import web

from sandbox.kubernetes.embedded import discovery, errors, openapi, patch, rbac, requests, tables, wire
from sandbox.kubernetes.embedded.deletion import Deletion
from sandbox.kubernetes.embedded.gate import Gate
from sandbox.kubernetes.embedded.listing import Listing, Query, Render
from sandbox.kubernetes.embedded.objects import Objects, WriteOptions
from sandbox.kubernetes.embedded.rbac import User
from sandbox.kubernetes.embedded.requests import Access
from sandbox.kubernetes.embedded.resources import Registry, Resource
from sandbox.kubernetes.embedded.store import Entry, Obj, Store

_FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_PATCHES: dict[str, Callable[[Any, Any], Obj]] = {
    "application/merge-patch+json": patch.merge,
    "application/json-patch+json": patch.json_patch,
    "application/strategic-merge-patch+json": patch.strategic,
}
_ON_COLLECTION = ("list", "watch", "deletecollection")
_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")


class Server:
    def __init__(self, token: str, audit_log: TextIO | None = None) -> None:
        """`token` is the administrator's; `audit_log` is the gate's."""
        self._store, self._registry = Store(), Registry()
        self._gate = Gate(token, self._store, audit_log)
        self._objects = Objects(self._store, self._registry)
        self._deletion = Deletion(self._objects)
        self._listing = Listing(self._store, self._objects)
        for resource in self._registry.all():
            self._store.collection(resource.storage)
        for name in _FIRST_NAMESPACES:
            self._begin_with("", "namespaces", {"metadata": {"name": name}})
        for plural, obj in rbac.first_objects():
            self._begin_with("rbac.authorization.k8s.io", plural, obj)

    def _begin_with(self, group: str, plural: str, obj: Obj) -> None:
        resource = self._registry.find(group, "v1", plural)
        assert resource
        self._objects.create(resource, "", obj, WriteOptions("embedded"), [])

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except errors.ApiError as error:
            return _json(error.status(), error.code)

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        access = requests.read(request.method, request.rel_url.raw_path, request.query)
        user = self._gate.enter(request.headers.get("Authorization", ""), access)
        if not access.resource:
            return self._document(request, access.path)
        resource = self._registry.find(access.group, access.version, access.resource)
        if not resource:
            raise errors.no_such_path()
        if resource.group == "authorization.k8s.io" and request.method == "POST":
            return _json(self._gate.review(user, resource.kind, await _body(request)), 201)
        if access.subresource == "token" and resource.storage == "serviceaccounts":
            whose = self._objects.get(resource, access.namespace, access.name)
            return _json(self._gate.issue(whose, await _body(request)), 201)
        if access.subresource and not (access.subresource == "status" and resource.has_status):
            raise errors.no_such_path()
        namespace = access.namespace if resource.namespaced else ""
        if access.verb in _ON_COLLECTION or (access.verb == "create" and not access.name):
            return await self._on_collection(request, resource, namespace)
        return await self._on_object(request, resource, namespace, access, user)

    # ---- objects

    async def _on_collection(self, request: web.BaseRequest, resource: Resource, namespace: str) -> web.StreamResponse:
        match request.method:
            case "GET":
                query, render = Query.read(request.query, resource, namespace), self._render(request, resource)
                if query.watch:
                    return await self._watch(request, resource, query, render)
                return web.Response(body=self._listing.page(resource, query, render), content_type="application/json")
            case "POST":
                body, warnings = await _body(request), list[str]()
                if resource.namespaced and not namespace:
                    raise errors.not_allowed()
                entry = self._objects.create(resource, namespace, body, _options(request), warnings)
                return self._answer(request, resource, entry, 201, warnings)
            case "DELETE":
                options = await _body(request)
                query = Query.read(request.query, resource, namespace)
                entries = self._listing.matching(resource, query)
                for entry in entries:
                    self._deletion.delete(resource, entry, options)
                raws = [self._render(request, resource).entry(entry) for entry in entries]
                return web.Response(body=self._listing.envelope(resource, raws), content_type="application/json")
        raise errors.not_allowed()

    async def _on_object(
        self, request: web.BaseRequest, resource: Resource, namespace: str, access: Access, user: User
    ) -> web.StreamResponse:
        name, subresource = access.name, access.subresource
        body = await _body(request) if request.method != "GET" else {}
        warnings: list[str] = []
        if request.method == "PATCH" and request.content_type in _APPLY:
            options = _options(request, "Apply")
            force = request.query.get("force") == "true"
            if not self._store.get(resource.storage, (namespace, name)):
                self._gate.check(user, dataclasses.replace(access, verb="create"))
            entry, created = self._objects.apply(
                resource, namespace, name, body, options, warnings, force=force, subresource=subresource
            )
            return self._answer(request, resource, entry, 201 if created else 200, warnings)
        old = self._objects.get(resource, namespace, name)
        match request.method:
            case "GET":
                return self._answer(request, resource, old)
            case "PUT":

                def replace(_: Obj) -> Obj:
                    return body

                entry = self._objects.update(resource, old, replace, _options(request), warnings, subresource)
                return self._answer(request, resource, entry, 200, warnings)
            case "PATCH":
                change = _PATCHES.get(request.content_type)
                if not change or (resource.is_custom and change is patch.strategic):
                    allowed = [
                        each for each in (*_PATCHES, _APPLY[0]) if not (resource.is_custom and "strategic" in each)
                    ]
                    why = (
                        f"the body of the request was in an unknown format - accepted media types: {', '.join(allowed)}"
                    )
                    raise errors.ApiError(415, "UnsupportedMediaType", why)
                entry = self._objects.update(
                    resource, old, lambda obj: change(obj, body), _options(request), warnings, subresource
                )
                return self._answer(request, resource, entry, 200, warnings)
            case "DELETE":
                asked = {name: request.query[name] for name in ("propagationPolicy",) if name in request.query}
                left, is_gone = self._deletion.delete(resource, old, body | asked)
                if not is_gone or resource.storage == "pods":
                    return self._answer(request, resource, left)
                details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": left.meta["uid"]}
                return _json({"kind": "Status", "apiVersion": "v1", "status": "Success", "details": details})
        raise errors.not_allowed()

    async def _watch(
        self, request: web.BaseRequest, resource: Resource, query: Query, render: Render
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):
            async for line in self._listing.watch(resource, query, render):
                await response.write(line)
            await response.write_eof()
        return response

    def _render(self, request: web.BaseRequest, resource: Resource) -> Render:
        accept = request.headers.get("Accept", "")
        if "as=Table" in accept:
            return tables.TableRender(resource, self._objects, request.query.get("includeObject", "Metadata"))
        if "as=PartialObjectMetadata" in accept:
            return tables.MetadataRender(resource, self._objects)
        return Render(resource, self._objects)

    def _answer(
        self,
        request: web.BaseRequest,
        resource: Resource,
        entry: Entry,
        code: int = 200,
        warnings: list[str] | None = None,
    ) -> web.Response:
        response = web.Response(
            body=self._render(request, resource).single(entry), status=code, content_type="application/json"
        )
        for warning in warnings or ():
            response.headers.add("Warning", f"299 - {json.dumps(warning)}")
        return response

    # ---- documents

    def _document(self, request: web.BaseRequest, path: str) -> web.Response:
        parts = path.strip("/").split("/")
        is_aggregated = "as=APIGroupDiscoveryList" in request.headers.get("Accept", "")
        found: Any = None
        match parts:
            case ["version"]:
                found = discovery.VERSION
            case ["api"] | ["apis"] if is_aggregated:
                body = json.dumps(discovery.aggregated(self._registry, is_legacy=parts == ["api"]))
                kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
                return web.Response(body=body.encode(), headers={"Content-Type": kind})
            case ["api"]:
                found = discovery.api_versions()
            case ["apis"]:
                found = discovery.group_list(self._registry)
            case ["apis", group]:
                found = discovery.group(self._registry, group)
            case ["api", version]:
                found = discovery.resource_list(self._registry, "", version)
            case ["apis", group, version]:
                found = discovery.resource_list(self._registry, group, version)
            case ["openapi", "v3"]:
                found = openapi.index(self._registry)
            case ["openapi", "v3", "api", version]:
                found = openapi.document(self._registry, "", version)
            case ["openapi", "v3", "apis", group, version]:
                found = openapi.document(self._registry, group, version)
        if found is None:
            raise errors.no_such_path()
        return _json(found)


def _options(request: web.BaseRequest, operation: str = "Update") -> WriteOptions:
    query = request.query
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0][:128]
    manager = query.get("fieldManager") or agent
    if operation == "Apply" and "fieldManager" not in query:
        problem = errors.required("fieldManager", "is required for apply patch")
        raise errors.invalid("PatchOptions", "meta.k8s.io", "", [problem])
    return WriteOptions(manager, operation, query.get("fieldValidation") or "Warn", query.get("dryRun") == "All")


async def _body(request: web.BaseRequest) -> Any:
    raw = await request.read()
    if not raw:
        return {}
    kind = request.headers.get("Content-Type", "application/json").partition(";")[0]
    if kind == wire.CONTENT_TYPE:
        return wire.decode(raw)
    if not kind.endswith(("json", "yaml")):
        raise errors.ApiError(415, "UnsupportedMediaType", f"the embedded API reads JSON and YAML, not {kind}")
    try:
        return yaml.load(raw, yaml.CSafeLoader) if kind.endswith("yaml") else json.loads(raw)
    except (ValueError, yaml.YAMLError) as error:
        raise errors.bad_request(f"the object provided is unrecognized: {error}") from error


def _json(body: Any, code: int = 200) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), status=code, content_type="application/json")
