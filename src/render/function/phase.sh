#!/bin/sh
# Runs a phase of the lifecycle; its program and its arguments are those of this script, and the image to push is the last one.
# Where a phase that talks to the registry or reads the builder fails, its first error is in the file $CAUSE, without
# user names, passwords and queries of URLs. What buildpacks print is passed on and not read.
set -u

program="$1"
[ -z "${APP_IMAGE:-}" ] || set -- "$@" "$APP_IMAGE"

if [ ! -x "$program" ]; then
  cause="the builder has no program $program: it must be a Cloud Native Buildpacks builder"
  printf 'elpio: %s\n' "$cause" >&2
  printf '%s' "$cause" >"$CAUSE"
  exit 127
fi
case "$program" in
*/detector | */builder) exec "$@" ;;
esac

export LC_ALL=C
notes="$(mktemp -d)" || exec "$@"
{ "$@" 2>&1 && code=0 || code=$?; echo "$code" >"$notes/code"; } | tee -- "$notes/log"
code="$(cat -- "$notes/code")"
if [ "$code" != 0 ]; then
  sed -n 's/^ERROR: //p' "$notes/log" | head -n 1 | tr '[:cntrl:]' ' ' | cut -c1-600 \
    | sed -e "s#://[^[:space:]'\"]*@#://#g" -e "s#\(://[^[:space:]'\"?]*\)?[^[:space:]'\"]*#\1#g" >"$CAUSE"
fi
rm -rf -- "$notes"
exit "$code"
