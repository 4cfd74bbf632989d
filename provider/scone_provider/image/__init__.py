"""Confidential images without a daemon: composed as values, predicted without a registry, pushed by digest.

reference, canonical, keys, seal, measurement, layers, protection    the formats (docs/image-format.md)
tree, archive, elf        the file system of a base image
locked, cache, resolve    a base, locked by digest, that Pulumi inputs can hold
source, launcher          what comes from our disk
layout, build             composes everything: `plan_image`, pure
transport, registry, push the network
"""
