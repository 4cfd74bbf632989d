"""Names are public: a policy whose name the program keeps secret is refused, whichever resource has it."""

from typing import Any

import pytest

from scone_provider.resources.sealed_policy import SealedPolicyProvider
from scone_provider.resources.security_policy import SecurityPolicyProvider
from support.provider_process import ProviderProcess

PLANTED = "planted-n7"


@pytest.mark.parametrize("provider", [SecurityPolicyProvider, SealedPolicyProvider])
def test_name_of_a_policy_is_no_secret(provider_process: ProviderProcess, provider: Any) -> None:
    """The refusal says why and what to do, and not the name; without the mark the policy is taken."""
    news = {
        "cas": {"url": "cas.test"},
        "policy": {"name": PLANTED, "version": "0.3.10"},
        "mode": "NoUpload",
        "private": {"name": True},
    }
    _, failures = provider_process.check(provider, news)
    ((key, reason),) = failures
    assert key == ""
    assert "the name of a policy cannot be a secret" in reason
    assert "pulumi.Output.unsecret" in reason
    assert PLANTED not in reason
    assert provider_process.check(provider, {**news, "private": {"security": True}})[1] == []
