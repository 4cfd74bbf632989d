"""What a registry's answer says besides its status."""

import email.utils
import json
import time

import requests
import urllib3.exceptions

from scone_provider.deadline import Deadline

_TIME = 10.0
"""Seconds for a reason: without it the status has to do."""


def retry_after(response: requests.Response) -> float:
    """Seconds to wait, as the answer asks: a number or a date (RFC 9110, 10.2.3); 0 where it does not."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def said(response: requests.Response) -> str:
    """What a registry gave as its reason, fit for an error text: its codes and messages, printable and short."""
    try:
        with Deadline(_TIME).applied():
            text = response.raw.read(64 << 10, decode_content=False)
        errors = json.loads(text)["errors"]
        reason = "; ".join(f"{error.get('code', '')} {error.get('message', '')}".strip() for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, urllib3.exceptions.HTTPError):
        reason = ""
    finally:
        response.close()
    reason = "".join(c for c in reason if c.isprintable())[:200]
    return f"{response.status_code}: {reason}" if reason else str(response.status_code)
