"""The session language: models, rules, canonical form, wire form, differences. Pure: no Pulumi, no I/O."""
