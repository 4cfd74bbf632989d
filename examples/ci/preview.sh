#!/usr/bin/env bash
# What a pull request would change in who is trusted with what, as Markdown on standard output.
#
#   STACK=prod examples/ci/preview.sh > comment.md
#   STACK=prod FAIL_ON=widens,regenerates ALLOW=accepted.yaml examples/ci/preview.sh > comment.md
#
# Needs: the Pulumi CLI, the project's Python environment on PATH, read access to the stack's state.
# Does not need: cluster, registry, CAS, identity or image key. Without the image key (a pull request from a fork) only
# what depends on it is unknown. Exit code: that of `pulumi preview`, else that of `pulumi-scone review` (3: gated); the
# Markdown is written in either case.
set -uo pipefail

stack=${STACK:?name the stack: STACK=prod $0}
preview=$(mktemp) && trap 'rm -f "$preview"' EXIT
pulumi preview --json --non-interactive --color never --stack "$stack" >"$preview"
status=$?
gate=(--fail-on "${FAIL_ON:-}")
[ -z "${ALLOW:-}" ] || gate+=(--allow "$ALLOW")
pulumi-scone review "$preview" "${gate[@]}"
reviewed=$?
[ "$status" -eq 0 ] || exit "$status"
exit "$reviewed"
