#!/usr/bin/env bash
# What a pull request would change in who is trusted with what, as Markdown on standard output.
#
#   STACK=prod examples/ci/preview.sh > comment.md
#
# Needs: the Pulumi CLI, the project's Python environment on PATH, read access to the stack's state.
# Does not need: cluster, registry, CAS, identity or image key. Without the image key (a pull request from a fork) only what depends
# on it is unknown. Exit code: that of `pulumi preview`; the Markdown is written in either case.
set -uo pipefail

stack=${STACK:?name the stack: STACK=prod $0}
limit=${COMMENT_LIMIT:-60000} # GitHub takes 65,536 characters

log=$(mktemp) && trap 'rm -f "$log"' EXIT
pulumi preview --diff --non-interactive --color never --suppress-outputs --stack "$stack" >"$log" 2>&1
status=$?

if [ "$status" -eq 0 ]; then
  verdict=$(grep -A 9 '^Resources:' "$log" | sed -n '2,$s/^ *//p' | paste -sd ',' - | sed 's/,/, /g')
else
  verdict="the preview failed"
fi

printf '### Preview of `%s`: %s\n\n' "$stack" "${verdict:-no changes}"
printf '<details><summary>Every changed path</summary>\n\n```diff\n'
# A diff's colours need the sign in the first column.
sed -E 's/^( *)([-+~])( .*)$/\2\1\3/; s/^~/!/' "$log" | head -c "$limit"
if [ "$(wc -c <"$log")" -gt "$limit" ]; then
  printf '\n… cut after %s characters; the job log has all of it\n' "$limit"
  cat "$log" >&2
fi
printf '```\n\n</details>\n'
exit "$status"
