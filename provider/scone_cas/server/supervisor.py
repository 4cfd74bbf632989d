"""The supervisor: locks the state, binds both ports, starts a process for each, and stops all when one ends."""

import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

import scone_cas
from scone_cas import VERSION, log
from scone_cas.keystore.settings import KeyStoreSettings
from scone_cas.keystore.unseal import UnsealedKeys, unlock
from scone_cas.server.assembly import finish, initialise, tell_moved_clock
from scone_cas.server.options import ServeOptions
from scone_cas.storage.sealing import KEY_SIZE
from scone_cas.storage.state_directory import lock, prepare_directory
from scone_cas.storage.timeline import ClockWatch
from scone_policy.errors import SconeError
from scone_policy.keys.cas_certificate import cas_key_hash

_CLOCK_PERIOD = 5.0
"""Seconds between two looks whether the clock was moved."""
_STOP_TIME = 15.0
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only where the operator asked for it


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT. Must run in the main thread.

    Raises SconeError when it cannot start, and when one of its processes ends by itself.
    """
    prepare_directory(options.state)
    held = lock(options.state)
    os.set_inheritable(held, True)
    with _listen(options.host, options.client_port) as client, _reserve(options.host, options.enclave_port) as enclave:
        unlocked = _unlocked(options)
        identity = initialise(
            options.state,
            random=secrets.token_bytes(KEY_SIZE),
            audit_log=options.audit_log,
            audit_log_size=options.audit_log_size,
            rollback_counter=options.rollback_counter,
            accept_rollback=options.accept_rollback,
            entra=options.entra,
            peers=options.peers,
            unlocked=unlocked,
        )
        ports = client.getsockname()[1], enclave.getsockname()[1]
        reason = "failed"
        try:
            children = _Children(options, held, unlocked)
            children.start("client", client.fileno(), ["--listening", str(client.fileno())])
            children.start("enclave", enclave.fileno(), ["--port", str(ports[1]), "--workers", str(options.workers)])
            client.close()
            children.supervise(ports, identity.key_hash)
            reason = "stopped"
        finally:
            finish(options.state, reason=reason, unlocked=unlocked)
            os.close(held)


def _unlocked(options: ServeOptions) -> UnsealedKeys | None:
    if options.key_store is None:
        return None
    return unlock(options.key_store, options.state, now=datetime.now(UTC), random=secrets.token_bytes(KEY_SIZE))


class _Children:
    """The processes behind the ports."""

    def __init__(self, options: ServeOptions, held: int, unlocked: UnsealedKeys | None) -> None:
        self._options = options
        self._inherited = [held]
        self._unlocked: list[str] = []
        self._keys = unlocked
        if unlocked is not None:
            descriptor = unlocked.to_descriptor()
            self._inherited.append(descriptor)
            self._unlocked = ["--unlocked", str(descriptor)]
        self._alive, self._hold = os.pipe()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, listening: int, arguments: list[str]) -> None:
        """Start `python -m scone_cas <name>-port`."""
        options = self._options
        command = [sys.executable, "-P", "-m", "scone_cas", f"{name}-port", "--state", str(options.state)]
        command += ["--host", options.host, "--alive", str(self._alive), "--rate", str(options.rate)]
        command += [*self._unlocked, *arguments]
        self._processes[name] = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._alive, listening, *self._inherited),
            env=_environment(options.key_store),
            umask=0o077,
        )

    def supervise(self, ports: tuple[int, int], key_hash: str) -> None:
        """Wait until both serve, say so, wait for the end. Raises SconeError when a process ended by itself."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        watch = ClockWatch()
        try:
            # A process that ends is noticed at once; a busy machine is no reason to stop.
            deadline = time.monotonic() + self._options.start_time
            while not self._ready(ports, key_hash):
                if self._stop_asked(0.05):
                    return
                if time.monotonic() > deadline:
                    raise SconeError(
                        "the CAS did not start in time",
                        fix="read its log above; on a busy machine, give it more --start-time",
                    )
            host = self._options.host
            log.event(
                "serving", version=VERSION, client=f"{host}:{ports[0]}", enclave=f"{host}:{ports[1]}", key=key_hash
            )
            while not self._stop_asked(_CLOCK_PERIOD):
                self._tell_moved(watch)
        finally:
            self._stop()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            log.event("stopped")

    def _tell_moved(self, watch: ClockWatch) -> None:
        moved = watch.moved()
        if moved is None:
            return
        try:
            tell_moved_clock(self._options.state, moved, unlocked=self._keys)
        except SconeError as problem:
            log.event("cas-fault", what=problem.what)

    def _stop_asked(self, seconds: float) -> bool:
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None:
                raise SconeError(
                    f"the process of the {name} port ended by itself (exit code {code}); everything was stopped",
                    fix="read its log above, then start the CAS again",
                )
        found = signal.sigtimedwait(_SIGNALS, seconds)
        return found is not None and found.si_signo != signal.SIGCHLD

    def _ready(self, ports: tuple[int, int], key_hash: str) -> bool:
        host = _WILDCARDS.get(self._options.host, self._options.host)
        return all(_presents(host, port, key_hash) for port in ports)

    def _stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + _STOP_TIME
        for name, process in self._processes.items():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.event("killed", port=name)
                process.kill()
                process.wait()
        os.close(self._hold)
        os.close(self._alive)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SconeError when the port is taken."""
    return _bind(host, port, socket.SOMAXCONN)


def _reserve(host: str, port: int) -> socket.socket:
    """A bound socket that keeps the port for granian's workers, which share it by SO_REUSEPORT. Raises SconeError."""
    with _bind(host, port, 1) as probe:
        found = probe.getsockname()[1]
    return _bind(host, found, None)


def _bind(host: str, port: int, backlog: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if backlog is None:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        if backlog is not None:
            bound.listen(backlog)
    except OSError as problem:
        bound.close()
        raise SconeError(
            f"the port {port} on {host} cannot be used: {problem.strerror}",
            fix="stop what listens there, or choose another port or --host",
        ) from None
    return bound


def _presents(host: str, port: int, key_hash: str) -> bool:
    """True when the port answers with our certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the key is compared below, and nothing is sent
    try:
        with socket.create_connection((host, port), 1.0) as raw, context.wrap_socket(raw) as secured:
            certificate = secured.getpeercert(binary_form=True)
    except OSError:
        return False
    if certificate is None:
        return False
    return cas_key_hash(x509.load_der_x509_certificate(certificate), now=datetime.now(UTC)) == key_hash


def _environment(key_store: KeyStoreSettings | None) -> dict[str, str]:
    """Our own environment without the PIN, with the packages found where they were found here."""
    paths = [str(Path(scone_cas.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    pin = key_store.pkcs11.pin_env if key_store is not None else None
    own = {name: value for name, value in os.environ.items() if name != pin}
    return own | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
