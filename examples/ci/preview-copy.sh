#!/usr/bin/env bash
# preview.sh on a copy of the stack without its secrets (without_secrets.py): no passphrase, no token, no key.
#
#   STACK=prod examples/ci/preview-copy.sh state.json > comment.md
#
# Takes Pulumi.$STACK.yaml of the current folder, and puts it back at the end. Exit code: that of `pulumi preview`.
set -euo pipefail

state=$(realpath "${1:?name the copy of the state: STACK=prod $0 state.json}")
stack=${STACK:?name the stack: STACK=prod $0 state.json}
here=$(dirname "$(realpath "$0")")
settings=Pulumi.$stack.yaml

backend=$(mktemp -d)
cp "$settings" "$backend/settings"
trap 'cp "$backend/settings" "$settings"; rm -rf "$backend"' EXIT
unset PULUMI_ACCESS_TOKEN PULUMI_CONFIG_PASSPHRASE_FILE
export PULUMI_BACKEND_URL=file://$backend PULUMI_CONFIG_PASSPHRASE=none

rm "$settings"
pulumi stack init "$stack" --non-interactive --no-select >&2
salt=$(sed -n 's/^encryptionsalt: //p' "$settings")
"$here/without_secrets.py" config <"$backend/settings" >"$settings"
echo "encryptionsalt: $salt" >>"$settings"
sed "s|SALT OF THE COPY|$salt|" "$state" >"$backend/state.json"
pulumi stack import --stack "$stack" --file "$backend/state.json" --non-interactive >&2
"$here/preview.sh"
