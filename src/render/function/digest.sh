#!/bin/sh
# Reports the digest of the pushed image, without a newline; nothing when the lifecycle gave none.
set -eu
digest="$(sed -n 's/^[[:space:]]*digest[[:space:]]*=[[:space:]]*"\(sha256:[0-9a-f]\{64\}\)".*$/\1/p' "$REPORT" | head -n 1)"
printf '%s' "$digest" >"$(results.IMAGE_DIGEST.path)"
