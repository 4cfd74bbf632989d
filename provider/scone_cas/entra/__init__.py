"""Tokens of Microsoft Entra: fetched for aad-token secrets."""
