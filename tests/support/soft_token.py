"""A PKCS#11 token for tests: SoftHSM 2 over a folder of the test, its objects made by the usual tools."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
LABEL = "test token"
PIN = "correct horse"


class SoftToken:
    """One token below a folder. Objects are told apart by their labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tokens = folder / "tokens"
        self._next_id = 0

    @classmethod
    def create(cls, folder: Path) -> "SoftToken":
        """An empty token."""
        found = cls(folder)
        found._tokens.mkdir(parents=True)
        found._write_configuration()
        found._run(["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--so-pin", "12345678", "--pin", PIN])
        return found

    def copy(self, folder: Path) -> "SoftToken":
        """A token with the same objects."""
        shutil.copytree(self.folder, folder)
        found = SoftToken(folder)
        found._next_id = self._next_id
        found._write_configuration()
        return found

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find the token."""
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def _write_configuration(self) -> None:
        text = f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        (self.folder / "softhsm2.conf").write_text(text)
        pin = self.folder / "pin"
        pin.write_text(PIN)
        pin.chmod(0o600)

    def make_key(self, label: str, key_type: str, *options: str) -> None:
        """A key pair made in the token: `EC:prime256v1`, `EC:secp384r1`, `EC:edwards25519`, `rsa:2048`."""
        self._tool("--keypairgen", "--key-type", key_type, "--label", label, "--id", self._id(), *options)

    def make_aes(self, label: str, *options: str) -> None:
        """An AES-256 key made in the token."""
        self._tool("--keygen", "--key-type", "AES:32", "--label", label, "--id", self._id(), *options)

    def put_key(self, label: str, key: Any) -> None:
        """A private key from outside, sensitive and not extractable from now on."""
        file = self.folder / "key.pem"
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        options = ["--token", LABEL, "--label", label, "--id", self._id(), "--pin", PIN]
        self._run(["softhsm2-util", "--import", str(file), *options])
        file.unlink()

    def put_aes(self, label: str, key: bytes) -> None:
        """An AES key from outside, sensitive and not extractable from now on."""
        file = self.folder / "key.aes"
        file.write_bytes(key)
        # softhsm2-util imports AES keys too, but without their length, so that nothing can be done with them.
        options = ["--key-type", "AES:32", "--sensitive", "--label", label, "--id", self._id()]
        self._tool("--write-object", str(file), "--type", "secrkey", *options)
        file.unlink()

    def put_data(self, label: str, content: bytes) -> None:
        """A data object."""
        file = self.folder / "content"
        file.write_bytes(content)
        self._tool("--write-object", str(file), "--type", "data", "--label", label, "--private")
        file.unlink()

    def remove(self, label: str, *types: str) -> None:
        """Remove the objects of these types: privkey, pubkey, secrkey, data."""
        for each in types:
            self._tool("--delete-object", "--type", each, "--label", label)

    def unplug(self) -> None:
        """Take the token away."""
        self._tokens.rename(self.folder / "unplugged")

    def plug(self) -> None:
        """Put it back."""
        (self.folder / "unplugged").rename(self._tokens)

    def configure(self, settings: Mapping[str, Any], **token: Any) -> Path:
        """A configuration file of a CAS: the token, changed by `token`, and `settings`."""
        found = {"module": MODULE, "token": LABEL, "pin_file": "pin"} | token
        path = self.folder / "cas.yaml"
        kept = {key: value for key, value in found.items() if value is not None}
        path.write_text(json.dumps({"pkcs11": kept, **settings}, indent=1))
        return path

    def _tool(self, *arguments: str) -> None:
        self._run(["pkcs11-tool", "--module", MODULE, "--token-label", LABEL, "--login", "--pin", PIN, *arguments])

    def _id(self) -> str:
        self._next_id += 1
        return f"{self._next_id:04x}"

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command, env={"PATH": os.environ["PATH"], **self.environment}, capture_output=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stderr.decode()
