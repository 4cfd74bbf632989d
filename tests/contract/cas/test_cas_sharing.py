"""Secrets of another CAS over real TLS: granted to whom both sides allow it, and to nobody else."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from cryptography import x509

from scone_cas.errors import Refusal
from scone_cas.federation.peers import FRESH, Peers
from scone_cas.federation.settings import PeerSettings
from scone_cas.identity.cas_evidence import measure
from scone_cas.identity.cas_identity import CasIdentity
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.secrets.value import Value
from scone_cas.sessions.authorization import Caller
from scone_policy.keys.cas_evidence import software_key
from scone_policy.keys.key_hash import decode_key_hash, encode_key_hash
from scone_provider.cas.identity import Identity
from scone_provider.errors import CasError
from support.false_cas import FalseCas, granting
from support.importing_cas import DEBUG, EXPORTED, SERVED, importing, refused, session
from support.real_cas import RealCas


@pytest.fixture(scope="module")
def other(own, tmp_path_factory) -> Iterator[RealCas]:
    """The exporting CAS, which lets the importing one speak for the namespaces `in` and `test`."""
    trusted = [f"--trusted-peer={own.identity.key_hash}={space}" for space in ("in", "test")]
    found = RealCas(tmp_path_factory.mktemp("exporter") / "state", *trusted).start()
    yield found
    found.stop()


@pytest.fixture
def pair(own, other, ann, name) -> Callable[..., str]:
    """Called with an export it makes both sessions (`exporter_…` there, `in/…` here); the importer's name."""
    own.use(PeerSettings(connect_to={"other.test": f"127.0.0.1:{other.port}"}))
    if own.sessions.live("in") is None:
        own.upload(session("in", ""))

    def make(export: str | None = None, *, rest: str = "", importer: str | None = None, **changes: str) -> str:
        importer = importer or f"in/{name}"
        content = EXPORTED.format(export=export or f"{{session: {importer}}}")
        other.client(ann).upload(session(f"exporter_{name}", content + rest))
        own.upload(session(importer, imported(other, name, **changes)))
        return importer

    return make


def imported(other: RealCas, name: str, **changes: str) -> str:
    """The importer's secrets."""
    options = {"key": f"cas_key: {other.key_hash}", "exporter": f"exporter_{name}"} | changes
    return importing("other.test", **options)


def exported_value(other: RealCas, name: str) -> str:
    """What the exporter's own service receives."""
    status, found = other.enclave.attest(f"{name}/main")
    assert status == 200, found
    return str(found["arguments"][1])


@pytest.mark.parametrize("how", ["session", "namespace", "hex"])
def test_exported_secret_arrives(pair, own, other, name, how: str) -> None:
    """A secret that is generated on one CAS and exported reaches the session on the other, which pins the first."""
    export = "{namespace: in}" if how == "namespace" else None
    key = f"cas_key: '{decode_key_hash(other.key_hash).hex()}'" if how == "hex" else f"cas_key: {other.key_hash}"
    importer = pair(export, rest=SERVED, key=key)
    assert own.value(importer).content.decode() == exported_value(other, f"exporter_{name}")


def test_an_export_by_key_needs_no_operator(pair, own, other, ann, name) -> None:
    """The exporter names session and CAS: that one receives it, outside of every namespace that it may speak for."""
    importer, exporter, client = f"solo_{name}", f"exporter_{name}", other.client(ann)
    key = own.identity.key_hash
    with refused(502, "does not share", f"cas_key: {key}"):
        pair(f"{{session: {importer}}}", importer=importer)
    own.now += FRESH
    by_key = EXPORTED.format(export=f"{{session: {importer}, cas_key: {key}, cas_url: own.example}}")
    now = client.upload(session(exporter, by_key + SERVED, client.read(exporter).hash))
    own.upload(session(importer, imported(other, name)))
    assert own.value(importer).content.decode() == exported_value(other, exporter)
    by_other = by_key.replace(key, other.key_hash)
    client.upload(session(exporter, by_other + SERVED, now))
    own.now += FRESH
    with refused(502, "does not share"):
        own.value(importer)


@pytest.mark.parametrize(
    "export", ["{session: in/else}", "{namespace: else}", "{namespace: in, session_hash: '%s'}" % ("1" * 64)]
)
def test_what_is_not_exported_is_refused_at_upload(pair, export: str) -> None:
    """The refusal says where, who, and what to do on the other side; nothing is stored."""
    with refused(502, "secrets.s.import", "other.test", "does not share", "--trusted-peer"):
        pair(export)


def test_missing_session_and_missing_export_look_alike(own, other, pair, name) -> None:
    """Nobody learns by asking which sessions there are on another CAS."""
    answers = []
    for exporter in ("nowhere", f"exporter_{name}"):
        if exporter != "nowhere":
            with refused(502):
                pair("{session: in/else}")
        own.use(own.peers.settings)
        with pytest.raises(Refusal) as refusal:
            own.upload(session(f"in/{name}", imported(other, name, exporter=exporter)))
        answers.append(refusal.value.message.replace(exporter, "X"))
    assert answers[0] == answers[1]


def test_name_that_the_peer_may_not_claim_is_refused(pair) -> None:
    """The operator trusts the importing CAS for namespaces: outside of them a name there means nothing here."""
    with refused(502, "does not share", "--trusted-peer"):
        pair(importer="outside")


def test_peer_that_nobody_trusts_is_refused(pair, own, name) -> None:
    """With an export but without the operator's word, a CAS gets nothing by claiming a name."""
    pair()
    stranger = CasIdentity.create(now=datetime.now(UTC))
    asking = Peers(own.peers.settings, stranger)
    own.sessions = SessionRegistry(own.store, peers=asking)
    with refused(502, "does not share", stranger.key_hash):
        own.value(f"in/{name}")
    asking.close()


def test_withdrawn_and_changed_secrets_are_noticed(pair, own, other, ann, name) -> None:
    """What was learned is used for half a minute; then the exporter's newest version decides."""
    importer = pair()
    first = own.value(importer).content
    exporter = f"exporter_{name}"
    client = other.client(ann)
    rotated = EXPORTED.format(export=f"{{session: {importer}}}").replace("30", "31")
    now = client.upload(session(exporter, rotated, client.read(exporter).hash))
    assert own.value(importer).content == first
    own.now += FRESH
    assert len(own.value(importer).content) == 31
    client.upload(session(exporter, EXPORTED.format(export="{session: in/else}"), now))
    own.now += FRESH
    with refused(502, "does not share"):
        own.value(importer)


def test_updated_importer_asks_anew(pair, own, other, ann, name) -> None:
    """An export to a hash ends with that version of the importer, also on another CAS, and the new one is refused."""
    importer = pair()
    live = own.sessions.live(importer)
    client, exporter = other.client(ann), f"exporter_{name}"
    by_hash = EXPORTED.format(export=f"{{session: {importer}, session_hash: {live.hash}}}")
    client.upload(session(exporter, by_hash, client.read(exporter).hash))
    own.now += FRESH
    assert own.value(importer).content
    with refused(502, "does not share"):
        own.upload(session(importer, imported(other, name) + DEBUG, live.hash))
    assert own.sessions.live(importer).hash == live.hash


def test_hash_of_the_exporter(pair, own, other, ann, name) -> None:
    """An import by hash takes the one version that was read; the next one is refused in words."""
    importer = pair()
    client, exporter = other.client(ann), f"exporter_{name}"
    now = client.read(exporter).hash
    by_hash = imported(other, name, rest=f", session_hash: {now}")
    own.upload(session(importer, by_hash, own.sessions.live(importer).hash))
    assert own.value(importer).content
    client.upload(session(exporter, EXPORTED.format(export=f"{{session: {importer}}}") + DEBUG, now))
    own.now += FRESH
    with refused(502, "another hash than session_hash"):
        own.value(importer)


@pytest.mark.parametrize("kind", ["", "ascii", "binary"])
def test_kinds(pair, own, kind: str) -> None:
    """An import takes the kind that it finds; one that says another is refused at upload."""
    if kind == "binary":
        with refused(400, "has the kind ascii, not binary"):
            pair(kind=kind)
    else:
        assert own.value(pair(kind=kind)).kind == "ascii"


@pytest.mark.parametrize(
    ("kind", "written", "content"), [("ascii", "open door", b"open door"), ("binary", "00ff", b"\0\xff")]
)
def test_public_secret_needs_no_trust(own, other, ann, kind: str, written: str, content: bytes) -> None:  # noqa: PLR0917
    """What is public there is imported by /v1/values, by a session of any name, whether it says the kind or not."""
    own.use(PeerSettings())
    public = f"secrets: [{{name: s, kind: {kind}, value: '{written}', export_public: true}}]\n"
    other.client(ann).upload(session(f"public-{kind}", public))
    for name, stated in ((f"stated-{kind}", kind), (f"unstated-{kind}", "")):
        key = f"cas_key: {other.key_hash}"
        own.upload(session(name, importing(f"127.0.0.1:{other.port}", key, kind=stated, exporter=f"public-{kind}")))
        assert own.value(name) == Value(kind=kind, content=content)


def test_software_key(pair, own, other, name) -> None:
    """A CAS may be named by its software: simulated evidence counts where debug-mode is tolerated, and only there."""
    key = f"cas_software_key: {software_key(measure())}"
    with refused(502, "debug enclave"):
        pair(key=key)
    own.upload(session(f"in/{name}", imported(other, name, key=key) + DEBUG))
    assert own.value(f"in/{name}").content


def test_other_software_is_refused(pair) -> None:
    """Another program than the one that was named is not asked for anything."""
    with refused(502, "runs other software"):
        pair(key=f"cas_software_key: {encode_key_hash(bytes(32))}")


def test_import_of_an_import_from_elsewhere_is_refused(own, other, ann, name) -> None:
    """What the exporter has from a third CAS it does not pass on: so no circle through several CASes can form."""
    own.use(PeerSettings(connect_to={"other.test": f"127.0.0.1:{other.port}"}))
    importer = f"test/{name}"
    if own.sessions.live("test") is None:
        own.upload(session("test", ""))
    with FalseCas(granting(b"from far away")) as third:
        source = importing(third.url, f"cas_key: {third.identity.key_hash}")
        onward = source.replace("import:", f"export: {{session: {importer}}}, import:")
        other.client(ann).upload(session(f"exporter_{name}", onward))
        with refused(502, "does not share"):
            own.upload(session(importer, imported(other, name)))


def test_authority_on_another_cas(pair, own, other, ann, name) -> None:
    """A CA of another CAS signs what a session generates here, also for those that import from that session in turn.

    The certificate itself is not given to anyone by this CAS: its chain is the other's.
    """
    importer = pair()
    authority = f"""secrets:
- {{name: key, kind: private-key}}
- {{name: s, kind: x509-ca, private_key: key, export: {{session: {importer}}}}}
"""
    other.client(ann).upload(session(f"authority_{name}", authority))
    made = f"""{{name: key, kind: private-key}},
  {{name: leaf, kind: x509, private_key: key, issuer: s, export: {{session: {importer}/x}}, export_public: true}}"""
    ca = imported(other, name, exporter=f"authority_{name}", kind="x509-ca")
    certified = ca.replace("}]", f"}}, {made}]")
    own.now += FRESH
    own.upload(session(importer, certified, own.sessions.live(importer).hash))
    onward = f"secrets: [{{name: leaf, import: {{session: {importer}, secret: leaf}}}}]\n"
    own.now += 2 * FRESH
    own.upload(session(f"{importer}/x", onward))
    for holder in (importer, f"{importer}/x"):
        own.now += 2 * FRESH
        leaf, issuer = own.value(holder, "leaf"), own.value(importer)
        issued = x509.load_der_x509_certificate(leaf.content)
        issued.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.content))
    with refused(404, "lives on another CAS"):
        own.sessions.public_values(importer)


def test_reader_named_by_another_cas(own, other, ann, bob, name) -> None:
    """An access policy may name somebody by a secret of another CAS: what counts is what that CAS says now."""
    own.use(PeerSettings(connect_to={"other.test": f"127.0.0.1:{other.port}"}))
    if own.sessions.live("in") is None:
        own.upload(session("in", ""))
    client, exporter = other.client(ann), f"exporter_{name}"
    people = {who: Caller.of(x509.load_pem_x509_certificate(who.certificate_pem.encode())) for who in (ann, bob)}

    def let_in(who: Identity, predecessor: str | None = None) -> str:
        told = f"secrets: [{{name: s, kind: ascii, value: {who.key_hash}, export: {{session: in/{name}}}}}]\n"
        return client.upload(session(exporter, told, predecessor))

    first = let_in(ann)
    own.upload(session(f"in/{name}", imported(other, name)).replace("read: [ANY]", "read: [$$SCONE::s$$]"))
    for who, another in ((ann, bob), (bob, ann)):
        assert own.sessions.read(f"in/{name}", people[who])
        with refused(403, "no permission to read"):
            own.sessions.read(f"in/{name}", people[another])
        if who is ann:
            let_in(bob, first)
            own.now += FRESH


def test_two_real_cases_import_from_each_other(own_cas, ann) -> None:
    """Each delivers the other's secret to its service, over all real ports; neither passes on what it imported."""
    one, two = own_cas(name="one"), own_cas(name="two")
    for cas, peer in ((one, two), (two, one)):
        cas.stop()
        cas.options = (f"--trusted-peer={peer.key_hash}=/", f"--connect-to=peer.test=127.0.0.1:{peer.port}")
        cas.start()
    for cas in (one, two):
        given = EXPORTED.format(export="{session: in}") + SERVED
        cas.client(ann).upload(session("out", given))
    for cas, peer in ((one, two), (two, one)):
        cas.client(ann).upload(session("in", importing("peer.test", f"cas_key: {peer.key_hash}") + SERVED))
        assert exported_value(cas, "in") == exported_value(peer, "out")
    circle = importing("peer.test", f"cas_key: {two.key_hash}", exporter="in").replace(
        "import:", "export: {session: in}, import:"
    )
    with pytest.raises(CasError, match="does not share"):
        one.client(ann).upload(session("circle", circle))
