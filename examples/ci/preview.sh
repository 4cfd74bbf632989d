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

log=$(mktemp) && diff=$(mktemp) && trap 'rm -f "$log" "$diff"' EXIT
pulumi preview --diff --non-interactive --color never --suppress-outputs --stack "$stack" >"$log" 2>&1
status=$?

# Longer than any run of backticks in what is shown: a value in the pull request cannot end the block and add words of its own.
fence=$(grep -o '`\+' "$log" | sort -r | head -n 1)\`
while [ ${#fence} -lt 3 ]; do fence+=\`; done

if [ "$status" -eq 0 ]; then
  verdict=$(grep -A 9 '^Resources:' "$log" | sed -n '2,$s/^ *//p' | paste -sd ',' - | sed 's/,/, /g')
else
  verdict="the preview failed"
fi
printf '### Preview of `%s`: %s\n\n' "$stack" "${verdict:-no changes}"

# Errors with the lines that belong to them, and warnings: what a reviewer must not miss stands outside of the fold.
notes=$(awk '/^(error|warning): /{on = /^error/; print; next} on && /^  [^ +~-]/ && !/^  pulumi:/ {print; next} {on = 0}' "$log" |
  head -c "$((limit / 4))")
if [ -n "$notes" ]; then
  printf '%stext\n%s\n%s\n\n' "$fence" "$notes" "$fence"
fi

printf '<details><summary>Every changed path</summary>\n\n%sdiff\n' "$fence"
# A diff's colours need the sign in the first column; what is updated or replaced gets the sign for attention.
sed -E 's/^( *)([-+~])( .*)$/\2\1\3/; s/^( *)(\+-|-\+)/!\1\2/; s/^~/!/' "$log" >"$diff"
if [ "$(wc -c <"$diff")" -gt "$limit" ]; then
  head -c "$limit" "$diff" | sed '$d' # whole lines only
  printf '… cut after %s characters; the job log has all of it\n' "$limit"
  cat "$log" >&2
else
  cat "$diff"
fi
printf '%s\n\n</details>\n' "$fence"
exit "$status"
