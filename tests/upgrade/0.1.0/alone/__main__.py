"""Every resource alone: a namespace, an image, and policies with what is generated, given and kept."""

import pulumi

from pulumi_scone import Cas, CasNamespace, ConfidentialImage, SecurityPolicy

TOLERANCE = "--only_for_testing-debug --only_for_testing-trust-any --only_for_testing-ignore-signer"
config = pulumi.Config()
url, name = config.require("casUrl"), config.require("casNamespace")
namespace = CasNamespace("app", {"namespace": name, "cas_url": url, "tolerance": TOLERANCE})
image = ConfidentialImage(
    "app",
    {
        "manifest": {
            "apiVersion": "scone/5.8",
            "kind": "genservice",
            "environment": {"local": [{"name": "USER", "value": "myself"}]},
            "build": {
                "kind": "python",
                "name": "app",
                "to": config.require("imageRepo") + "/app:1",
                "command": "python3 /app/main.py",
                "pwd": "/app",
                "copy": ["main.py"],
            },
        }
    },
)
service = {
    "command": "python3 /app/main.py",
    "environment": {"USER": "myself", "TOKEN": "$$SCONE::given$$"},
    "attestation": {"mrenclave": image.measurement},
    "pwd": "/app",
}
plain = {
    "name": name + "/plain",
    "version": "0.3.10",
    "secrets": {
        "generated": {"kind": "ascii", "size": 10},
        "given": {"kind": "ascii", "value": config.require_secret("given")},
        "key": {"kind": "private-key", "migrate": True},
    },
    "services": {"app": service},
}
after = pulumi.ResourceOptions(depends_on=[namespace])
SecurityPolicy("plain", cas=namespace.trust, policy=plain, opts=after)
